//! Which server gets a request: the less loaded of two that chance picks by weight.
//!
//! Two choices keep the longest queue short without knowing more than two loads (Mitzenmacher, “The power of two
//! choices”, 2001); the weights decide what chance picks, and loads are compared for each unit of weight. Pure but for
//! the random numbers.

use std::cell::Cell;

/// A server that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its weight; more than 0.
    pub weight: u64,
    /// Requests under way.
    pub load: u64,
}

/// A cheap source of chance (xorshift64*); not for secrets.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// Begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed | 1))
    }

    /// A number below `end`, or 0.
    fn below(&self, end: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        let high = x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        high.checked_rem(end).unwrap_or(0)
    }
}

/// Chooses among `count` servers; `candidate` says `None` for one that must not be.
#[must_use]
pub fn choose(
    count: usize,
    candidate: impl Fn(usize) -> Option<Candidate>,
    random: &Random,
) -> Option<usize> {
    let draw = |except: Option<usize>| {
        let open = |index: usize| {
            let open = candidate(index).filter(|_| Some(index) != except)?;
            Some((index, open))
        };
        let total: u64 = (0..count)
            .filter_map(open)
            .map(|(_, open)| open.weight)
            .sum();
        let mut rest = random.below(total);
        (0..count).filter_map(open).find(|(_, open)| {
            let found = rest < open.weight;
            rest = rest.saturating_sub(open.weight);
            found
        })
    };
    let (first, one) = draw(None)?;
    let Some((second, two)) = draw(Some(first)) else {
        return Some(first);
    };
    if two.load.saturating_mul(one.weight) < one.load.saturating_mul(two.weight) {
        Some(second)
    } else {
        Some(first)
    }
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]
mod tests {
    use super::*;

    fn count(servers: &[(u64, u64)], rounds: usize) -> Vec<usize> {
        let random = Random::new(7);
        let mut hits = vec![0; servers.len()];
        for _ in 0..rounds {
            let chosen = choose(
                servers.len(),
                |index| {
                    let (weight, load) = servers[index];
                    (weight > 0).then_some(Candidate { weight, load })
                },
                &random,
            );
            hits[chosen.unwrap()] += 1;
        }
        hits
    }

    #[test]
    fn idle_servers_share_by_weight() {
        let hits = count(&[(1, 0), (3, 0), (0, 0)], 10_000);
        assert!((2_200..2_800).contains(&hits[0]), "{hits:?}");
        assert_eq!(hits[2], 0);
    }

    #[test]
    fn of_two_the_less_loaded_is_taken_and_load_counts_by_weight() {
        assert_eq!(count(&[(1, 5), (1, 4)], 100), [0, 100]);
        assert_eq!(count(&[(1, 5), (4, 16)], 100), [0, 100]);
        // The most loaded of three is never the better of two.
        assert_eq!(count(&[(1, 9), (1, 1), (1, 1)], 1_000)[0], 0);
    }

    #[test]
    fn loads_even_out() {
        let random = Random::new(3);
        let mut loads = [0_u64; 8];
        for _ in 0..8_000 {
            let chosen = choose(
                8,
                |index| {
                    Some(Candidate {
                        weight: 1024,
                        load: loads[index],
                    })
                },
                &random,
            );
            loads[chosen.unwrap()] += 1;
        }
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least < 15, "{loads:?}");
    }

    #[test]
    fn without_candidates_there_is_none() {
        assert_eq!(choose(3, |_| None, &Random::new(0)), None);
        assert_eq!(choose(0, |_| None, &Random::new(0)), None);
    }
}

//! The busiest tenants: which of them have series of their own.
//!
//! A tenant's series begins at 0 when it is taken in; what it did before stays counted with the others, so no series ever
//! goes back. One that is given up vanishes. A newcomer has to be twice as busy as the one it replaces, so that two of a
//! size do not take turns. Memory is bounded by the number of series, not by the number of tenants.

use std::collections::HashMap;
use std::sync::Arc;

use super::{OTHER, Sums, Tally};

/// Tenants watched beyond those with series, at least.
const WATCHED: usize = 1024;
/// Calls of [`Top::turn`] after which the past counts half.
const HALF: u32 = 60;

/// The choice and its sums.
#[derive(Debug)]
pub(super) struct Top {
    most: usize,
    shown: HashMap<Arc<str>, Tally, foldhash::fast::RandomState>,
    other: Tally,
    /// How busy the tenants were lately, in requests.
    busy: HashMap<Arc<str>, u64, foldhash::fast::RandomState>,
    turns: u32,
}

impl Top {
    /// `most` tenants have series; 0: there are none at all.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            shown: HashMap::default(),
            other: Tally::default(),
            busy: HashMap::default(),
            turns: 0,
        }
    }

    pub(super) fn add(&mut self, sums: &Sums) {
        if self.most == 0 {
            return;
        }
        for (tenant, tally) in sums {
            // A tenant of that name would be taken for all others.
            if &**tenant == OTHER {
                self.other.add(tally);
                continue;
            }
            match self.busy.get_mut(tenant) {
                Some(busy) => *busy += tally.requests,
                None => {
                    self.busy.insert(Arc::clone(tenant), tally.requests);
                }
            }
            if let Some(sum) = self.shown.get_mut(tenant) {
                sum.add(tally);
            } else if self.shown.len() < self.most {
                self.shown.insert(Arc::clone(tenant), *tally);
            } else {
                self.other.add(tally);
            }
        }
        self.forget();
    }

    /// Once a second: who is busy now replaces who was.
    pub(super) fn turn(&mut self) {
        self.turns += 1;
        if self.turns.is_multiple_of(HALF) {
            self.busy.retain(|_, busy| {
                *busy /= 2;
                *busy > 0
            });
        }
        let mut waiting: Vec<(u64, &Arc<str>)> = self
            .busy
            .iter()
            .filter(|(tenant, _)| !self.shown.contains_key(*tenant))
            .map(|(tenant, busy)| (*busy, tenant))
            .collect();
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        let busy = |tenant: &Arc<str>| self.busy.get(tenant).copied().unwrap_or(0);
        let mut shown: Vec<(u64, Arc<str>)> = self
            .shown
            .keys()
            .map(|tenant| (busy(tenant), Arc::clone(tenant)))
            .collect();
        shown.sort_unstable();
        let swaps: Vec<(Arc<str>, Arc<str>)> = waiting
            .into_iter()
            .zip(shown)
            .take_while(|((new, _), (old, _))| *new > old.saturating_mul(2))
            .map(|((_, new), (_, old))| (Arc::clone(new), old))
            .collect();
        for (new, old) in swaps {
            self.shown.remove(&old);
            self.shown.insert(new, Tally::default());
        }
    }

    /// All series, in the order of the alphabet, the others last. Empty if there are to be none.
    pub(super) fn rows(&self) -> Vec<(Arc<str>, Tally)> {
        if self.most == 0 {
            return Vec::new();
        }
        let shown = self.shown.iter();
        let mut rows: Vec<_> = shown
            .map(|(tenant, sum)| (Arc::clone(tenant), *sum))
            .collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        rows.push((Arc::from(OTHER), self.other));
        rows
    }

    /// Watches no more than it must: the least busy of those without series are forgotten.
    fn forget(&mut self) {
        let most = WATCHED + 8 * self.most;
        if self.busy.len() <= 2 * most {
            return;
        }
        let mut loads: Vec<u64> = self.busy.values().copied().collect();
        loads.sort_unstable_by(|a, b| b.cmp(a));
        let least = loads.get(most).copied().unwrap_or(0);
        let mut room = most;
        self.busy.retain(|tenant, busy| {
            let keep = self.shown.contains_key(tenant) || (*busy >= least && room > 0);
            room -= usize::from(keep && room > 0);
            keep
        });
    }

    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.busy.len()
    }
}

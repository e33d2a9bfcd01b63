//! Pauses between tries to reach the database: longer from one to the next, and of no two nodes the same.

use std::time::Duration;

/// First and longest pause after a failure; it doubles from one to the other.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// The pauses of one source.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: PAUSE.0 }
    }
}

impl Pauses {
    /// The pause after a try that has lasted so long; a long one begins with short pauses again.
    pub(super) fn after(&mut self, lasted: Duration) -> Duration {
        if lasted > PAUSE.1 {
            self.next = PAUSE.0;
        }
        let pause = jittered(self.next);
        self.next = (self.next * 2).min(PAUSE.1);
        pause
    }
}

/// Half of it and at most all, so that nodes that lost a database together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let share = u32::try_from(random() >> 33).unwrap_or_default();
    pause / 2 + (pause / 2).mul_f64(f64::from(share) / f64::from(u32::MAX >> 1))
}

/// 64 bits nobody can foresee, from the standard library's own source of random keys.
pub(super) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_again_after_a_long_connection() {
        let mut pauses = Pauses::default();
        let mut before = Duration::ZERO;
        for _ in 0..10 {
            before = pauses.after(Duration::from_secs(1));
        }
        assert!(before >= PAUSE.1 / 2 && before <= PAUSE.1, "{before:?}");
        assert!(pauses.after(Duration::from_secs(60)) <= PAUSE.0);
    }

    #[test]
    fn pauses_differ_between_nodes_and_have_bounds() {
        let whole = Duration::from_secs(8);
        let pauses: HashSet<_> = (0..50).map(|_| jittered(whole)).collect();
        assert!(pauses.len() > 10);
        assert!(pauses.iter().all(|it| *it >= whole / 2 && *it <= whole));
    }
}

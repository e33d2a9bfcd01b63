//! How many questions a source gets in a second: one bucket for all, filled evenly, as large as one second's worth.
//!
//! Half of it is kept for hosts that are known to be somebody's. So a flood of made-up hosts cannot keep a tenant's change
//! from being heard. Without a lock: the bucket is one number, the time at which it will be full again (GCRA).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// The bucket.
#[derive(Debug)]
pub(super) struct Budget {
    began: Instant,
    /// Nanoseconds since `began` at which the bucket is full.
    full_at: AtomicU64,
    /// Nanoseconds that one question costs.
    cost: u64,
    /// Nanoseconds that the bucket holds.
    size: u64,
}

impl Budget {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let second = 1_000_000_000;
        let cost = second / u64::from(per_second.max(1));
        Self {
            began: now,
            full_at: AtomicU64::new(0),
            cost,
            // One a second is one at once; and half of the bucket has to hold a question too.
            size: second.max(2 * cost),
        }
    }

    /// Takes one question's worth, if there is as much. `known`: the host was somebody's when it was last asked for.
    pub(super) fn take(&self, known: bool, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.began);
        let now = u64::try_from(Duration::as_nanos(&now)).unwrap_or(u64::MAX);
        let most = if known { self.size } else { self.size / 2 };
        self.full_at
            .fetch_update(Relaxed, Relaxed, |full_at| {
                let full_at = full_at.max(now).saturating_add(self.cost);
                (full_at - now <= most).then_some(full_at)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, known: bool, now: Instant) -> usize {
        (0..1000).filter(|_| budget.take(known, now)).count()
    }

    #[test]
    fn fills_evenly_and_half_is_kept_for_the_known() {
        let began = Instant::now();
        let budget = Budget::new(200, began);
        assert_eq!(taken(&budget, false, began), 100);
        assert_eq!(taken(&budget, true, began), 100);
        assert!(!budget.take(true, began));
        // A fifth of a second fills it by 40: they are for the known first.
        let later = began + Duration::from_millis(200);
        assert_eq!(taken(&budget, false, later), 0);
        assert_eq!(taken(&budget, true, later), 40);
        let much_later = began + Duration::from_secs(3600);
        assert_eq!(taken(&budget, true, much_later), 200);
        let one = Budget::new(1, began);
        assert_eq!(
            (taken(&one, false, began), taken(&one, true, began)),
            (1, 1)
        );
    }
}

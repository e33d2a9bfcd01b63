//! How many retries a worker may spend on a group.
//!
//! Retries multiply load exactly when servers have too much of it. So each request earns a part of a retry, and when
//! what was saved is spent, failures are answered as they are. A floor lets a group with little traffic retry too.

use std::cell::Cell;

/// One retry, in the unit of the account.
const RETRY: u32 = 100;
/// What the floor fills up to: the retries of ten seconds.
const FLOOR: u32 = 100 * RETRY;
/// The floor's income in one tick (a quarter of a second): 10 retries a second.
const FLOOR_PER_TICK: u32 = 10 * RETRY / 4;
/// The most that can be saved.
const MOST: u32 = 500 * RETRY;

/// A worker's account for one group.
#[derive(Debug)]
pub struct Budget {
    saved: Cell<u32>,
    percent: Cell<u32>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            saved: Cell::new(FLOOR),
            percent: Cell::new(0),
        }
    }
}

impl Budget {
    /// Retries for each 100 requests; 0 is none at all.
    pub fn configure(&self, percent: u32) {
        self.percent.set(percent);
    }

    /// A request came.
    pub fn earn(&self) {
        let saved = self.saved.get() + self.percent.get();
        self.saved.set(saved.min(MOST));
    }

    /// Whether a retry may be made; it is paid for with that.
    #[must_use]
    pub fn spend(&self) -> bool {
        if self.percent.get() == 0 {
            return false;
        }
        match self.saved.get().checked_sub(RETRY) {
            Some(rest) => {
                self.saved.set(rest);
                true
            }
            None => false,
        }
    }

    /// Once a tick.
    pub fn tick(&self) {
        let saved = self.saved.get();
        if saved < FLOOR {
            self.saved.set((saved + FLOOR_PER_TICK).min(FLOOR));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spendable(budget: &Budget) -> usize {
        (0..10_000).take_while(|_| budget.spend()).count()
    }

    #[test]
    fn a_fifth_of_the_requests_and_a_floor() {
        let budget = Budget::default();
        budget.configure(20);
        assert_eq!(spendable(&budget), 100);
        for _ in 0..50 {
            budget.earn();
        }
        assert_eq!(spendable(&budget), 10);
        for _ in 0..4 {
            budget.tick();
        }
        assert_eq!(spendable(&budget), 10);
        for _ in 0..1_000_000 {
            budget.earn();
        }
        assert_eq!(spendable(&budget), 500);
        for _ in 0..1_000 {
            budget.tick();
        }
        assert_eq!(spendable(&budget), 100);
    }

    #[test]
    fn zero_is_none() {
        let budget = Budget::default();
        budget.configure(0);
        budget.earn();
        assert!(!budget.spend());
    }
}

//! When to try again after a failure. Pure, but for the jitter.
//!
//! The waiting time follows the class of the failure and how often it came in a row. It is kept in the store, so a
//! restart does not shorten it. Let's Encrypt allows five failed validations an hour and pauses a name after many in a
//! row; the steps stay below that.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{AcmeError, Class};
use crate::clock::UnixTime;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What the store keeps of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) class: Class,
    /// How often in a row, with this one.
    pub(super) count: u32,
    pub(super) at: UnixTime,
    /// The next try is not before this.
    pub(super) until: UnixTime,
    /// For people.
    pub(super) detail: String,
    /// A fingerprint of the configuration, so that a change ends the wait for one.
    pub(super) config: u64,
}

impl Failure {
    /// Notes a failure after an earlier one. `remaining` is how long the certificate in service still lasts.
    pub(super) fn new(
        error: &AcmeError,
        before: Option<&Self>,
        now: UnixTime,
        remaining: Option<Duration>,
        config: u64,
    ) -> Self {
        let class = error.class();
        let count = before
            .filter(|before| before.class == class)
            .map_or(0, |before| before.count)
            .saturating_add(1);
        let until = match error.until() {
            Some(until) => until,
            None => now.plus(jitter(delay(class, count, remaining))),
        };
        Self {
            class,
            count,
            at: now,
            until,
            detail: error.to_string(),
            config,
        }
    }

    /// Whether a try at `now` would come too early.
    pub(super) fn holds(&self, now: UnixTime, config: u64) -> bool {
        let changed = self.class == Class::Blocked && self.config != config;
        // A clock that was set back must not make a wait of years.
        let sane = self.until.seconds_since(now) <= 8 * DAY;
        now < self.until && sane && !changed
    }
}

/// How long to wait, never over a tenth of what the certificate still lasts.
fn delay(class: Class, count: u32, remaining: Option<Duration>) -> Duration {
    let steps: &[i64] = match class {
        Class::Transport => &[30, 60, 120, 240, 480, 960, 1920, HOUR],
        Class::Limited | Class::Storage => {
            &[5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR]
        }
        Class::Dns => &[MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR],
        Class::Propagation => &[MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE],
        Class::Validation => &[15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY],
        Class::Certificate => &[HOUR, 4 * HOUR, 12 * HOUR, DAY],
        Class::Blocked => &[DAY],
    };
    let index = usize::try_from(count.saturating_sub(1))
        .unwrap_or(usize::MAX)
        .min(steps.len() - 1);
    let step = Duration::from_secs(steps.get(index).copied().unwrap_or(DAY).unsigned_abs());
    let first = Duration::from_secs(steps.first().copied().unwrap_or(DAY).unsigned_abs())
        .min(Duration::from_secs(900));
    match remaining {
        Some(remaining) => step.min((remaining / 10).max(first)),
        None => step,
    }
}

/// Up to a fifth more, so that machines that failed together do not come back together.
fn jitter(delay: Duration) -> Duration {
    let random = RandomState::new().hash_one(delay) % 1000;
    delay + delay / 5 * u32::try_from(random).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_a_class_and_begin_anew_with_another() {
        let now = UnixTime(1_000_000);
        let validation = AcmeError::Validation("x".to_owned());
        let mut last: Option<Failure> = None;
        for (count, least) in [
            (1, 900),
            (2, 3600),
            (3, 14_400),
            (4, 43_200),
            (5, 86_400),
            (6, 86_400),
        ] {
            let failure = Failure::new(&validation, last.as_ref(), now, None, 0);
            let wait = failure.until.seconds_since(now);
            assert_eq!(failure.count, count);
            assert!((least..=least * 6 / 5).contains(&wait), "{count}: {wait}");
            last = Some(failure);
        }
        let other = Failure::new(
            &AcmeError::Transport("x".to_owned()),
            last.as_ref(),
            now,
            None,
            0,
        );
        assert_eq!(other.count, 1);
    }

    #[test]
    fn the_cas_own_time_is_kept_to_the_second() {
        let limited = AcmeError::Limited {
            until: UnixTime(5000),
            detail: String::new(),
        };
        let failure = Failure::new(
            &limited,
            None,
            UnixTime(1000),
            Some(Duration::from_secs(10)),
            0,
        );
        assert_eq!(failure.until, UnixTime(5000));
        assert!(failure.holds(UnixTime(4999), 1));
        assert!(!failure.holds(UnixTime(5000), 1));
    }

    #[test]
    fn what_blocks_ends_with_a_change_of_the_configuration() {
        let error = AcmeError::Config("no".to_owned());
        let failure = Failure::new(&error, None, UnixTime(1000), None, 7);
        assert!(failure.holds(UnixTime(1001), 7));
        assert!(!failure.holds(UnixTime(1001), 8));
    }

    #[test]
    fn waits_stay_below_a_tenth_of_what_is_left_but_not_below_the_first_step() {
        let delay =
            |seconds| delay(Class::Validation, 5, Some(Duration::from_secs(seconds))).as_secs();
        assert_eq!(delay(100_000), 10_000);
        assert_eq!(delay(10), 900);
        assert_eq!(delay(90 * 86400), 86400);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_renewal_for_years() {
        let failure = Failure::new(
            &AcmeError::Transport(String::new()),
            None,
            UnixTime(2_000_000_000),
            None,
            0,
        );
        assert!(!failure.holds(UnixTime(1_000_000_000), 0));
    }
}

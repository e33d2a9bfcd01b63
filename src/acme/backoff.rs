//! When to try again after a failure. Pure, but for the jitter.
//!
//! The waiting time follows the class of the failure and how often it came in a row. It is kept in the store, so a
//! restart does not shorten it. Let's Encrypt allows five failed validations an hour and pauses a name after many in a
//! row; the steps stay below that.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{AcmeError, Class};
use super::limits::Scope;
use super::view::SKEW;
use crate::clock::UnixTime;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// No wait is shorter.
const SHORTEST: Duration = Duration::from_secs(5);
/// What a short remaining time may not shorten a long first step below.
const LONGEST_FLOOR: Duration = Duration::from_secs(900);

/// What the store keeps of a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// Its kind.
    pub class: Class,
    /// To what it applies.
    pub scope: Scope,
    /// Directory URL of the CA that was asked.
    pub directory: String,
    /// How often this class in a row, with this one.
    pub count: u32,
    /// When it happened.
    pub at: UnixTime,
    /// The next try is not before this.
    pub until: UnixTime,
    /// For people: cause and hint.
    pub detail: String,
    /// A fingerprint of the configuration, so that a change ends the wait for one.
    pub config: u64,
}

/// What is left of the certificate in service, for the ceiling of waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Until it expires.
    pub(super) remaining: Duration,
    /// From its start to its end.
    pub(super) lifetime: Duration,
}

impl Failure {
    /// Notes a failure after an earlier one. `left` is what the certificate in service still lasts.
    pub(super) fn new(
        error: &AcmeError,
        before: Option<&Self>,
        now: UnixTime,
        left: Option<Left>,
        directory: &str,
        config: u64,
    ) -> Self {
        let class = error.class();
        let count = before
            .filter(|before| before.class == class)
            .map_or(0, |before| before.count)
            .saturating_add(1);
        let until = match error.until() {
            Some(until) => until,
            None => now.plus(delay(class, count, left)),
        };
        Self {
            class,
            scope: error.scope(),
            directory: directory.to_owned(),
            count,
            at: now,
            until,
            detail: error.to_string(),
            config,
        }
    }

    /// Whether a try at `now` would come too early. `config` is none for a reader that cannot see the credentials.
    pub(super) fn holds(&self, now: UnixTime, config: Option<u64>) -> bool {
        let changed =
            self.class == Class::Blocked && config.is_some_and(|config| config != self.config);
        // A clock that was set back must not make a wait of years, nor one of days: a wait that was noted in the future
        // was reckoned by a clock that was ahead, and a certificate of six days does not last over it.
        let sane = self.until.seconds_since(now) <= 8 * DAY && self.at.seconds_since(now) <= SKEW;
        now < self.until && sane && !changed
    }
}

/// How long to wait: a step of the class, up to a fifth more so that machines that failed together do not come back
/// together, and never over a tenth of what the certificate still lasts.
fn delay(class: Class, count: u32, left: Option<Left>) -> Duration {
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
    let waited = jitter(step);
    let Some(left) = left else {
        return waited;
    };
    // Not below the first step, or a sixtieth of a short lifetime: an expired certificate is no reason to hammer.
    let first = Duration::from_secs(steps.first().copied().unwrap_or(DAY).unsigned_abs());
    let floor = first.min(LONGEST_FLOOR).min(left.lifetime / 60);
    waited.min((left.remaining / 10).max(floor).max(SHORTEST))
}

/// Up to a fifth more.
fn jitter(delay: Duration) -> Duration {
    let random = RandomState::new().hash_one(delay) % 1000;
    delay + delay / 5 * u32::try_from(random).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = "https://ca.test/dir";

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
            let failure = Failure::new(&validation, last.as_ref(), now, None, CA, 0);
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
            CA,
            0,
        );
        assert_eq!(other.count, 1);
    }

    #[test]
    fn the_cas_own_time_is_kept_to_the_second() {
        let limited = AcmeError::Limited {
            until: UnixTime(5000),
            scope: Scope::Account,
            detail: String::new(),
        };
        let left = Left {
            remaining: Duration::from_secs(10),
            lifetime: Duration::from_secs(7_776_000),
        };
        let failure = Failure::new(&limited, None, UnixTime(1000), Some(left), CA, 0);
        assert_eq!(failure.scope, Scope::Account);
        assert_eq!(failure.until, UnixTime(5000));
        assert!(failure.holds(UnixTime(4999), Some(1)));
        assert!(!failure.holds(UnixTime(5000), Some(1)));
    }

    #[test]
    fn what_blocks_ends_with_a_change_of_the_configuration() {
        let error = AcmeError::Config("no".to_owned());
        let failure = Failure::new(&error, None, UnixTime(1000), None, CA, 7);
        assert!(failure.holds(UnixTime(1001), Some(7)));
        assert!(!failure.holds(UnixTime(1001), Some(8)));
        assert!(failure.holds(UnixTime(1001), None), "nothing is known");
    }

    #[test]
    fn waits_stay_below_a_tenth_of_what_is_left_for_every_lifetime() {
        let delay = |class, remaining, lifetime| {
            let left = Left {
                remaining: Duration::from_secs(remaining),
                lifetime: Duration::from_secs(lifetime),
            };
            delay(class, 5, Some(left)).as_secs()
        };
        let days = 86400;
        assert_eq!(delay(Class::Validation, 100_000, 90 * days), 10_000);
        assert_eq!(delay(Class::Validation, 0, 90 * days), 900, "expired");
        assert!(delay(Class::Validation, 90 * days, 90 * days) >= days);
        assert_eq!(delay(Class::Transport, 60, 120), 6, "two minutes");
        assert_eq!(delay(Class::Transport, 0, 120), 5);
        assert_eq!(delay(Class::Validation, 3600, 160 * 3600), 900);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_renewal_for_years() {
        let failure = Failure::new(
            &AcmeError::Transport(String::new()),
            None,
            UnixTime(2_000_000_000),
            None,
            CA,
            0,
        );
        assert!(!failure.holds(UnixTime(1_000_000_000), Some(0)));
    }

    #[test]
    fn a_wait_that_was_noted_in_the_future_is_none() {
        let now = UnixTime(1_000_000_000);
        let noted = |ahead: i64| {
            let error = AcmeError::Validation(String::new());
            let at = UnixTime(now.0 + ahead);
            Failure::new(&error, None, at, None, CA, 0)
        };
        for (ahead, holds) in [(0, true), (SKEW, true), (SKEW + 1, false), (5 * DAY, false)] {
            assert_eq!(noted(ahead).holds(now, Some(0)), holds, "{ahead}");
        }
    }
}

//! How near a certificate is to its end, and who should hear of it. Pure: the time is an argument.
//!
//! Everything is a fraction of the certificate's own lifetime, so that 90 days, 45 days and 160 hours share the rules:
//! a warning when the renewal is late by a tenth of the lifetime or less than a quarter is left, a page below an
//! eighth, critical below a twentieth. The renewal itself begins with a third left, so a warning means that it failed
//! for a while.

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;

/// How bad it is; the later the worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    #[default]
    Fine,
    /// Look at it during the day.
    Warning,
    /// Somebody should be called.
    Page,
    /// It ends soon, or has ended, or there is none.
    Critical,
}

impl Level {
    /// The word for people and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Page => "page",
            Self::Critical => "critical",
        }
    }

    /// 0 to 3, for metrics.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// Dates of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// Start of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
}

impl Dates {
    /// From start to end, at least a second.
    #[must_use]
    pub fn lifetime(self) -> i64 {
        self.not_after.seconds_since(self.not_before).max(1)
    }

    /// What is left in thousandths of the lifetime, 0 to 1000; before the start it is all.
    #[must_use]
    pub fn left(self, now: UnixTime) -> u32 {
        let left = i128::from(self.not_after.seconds_since(now).max(0));
        let thousandths = (left * 1000 / i128::from(self.lifetime())).min(1000);
        u32::try_from(thousandths).unwrap_or(1000)
    }
}

/// How near the end is. `renew_at` is when the renewal was due; none if nobody here renews.
#[must_use]
pub fn level(now: UnixTime, dates: Dates, renew_at: Option<UnixTime>) -> Level {
    let late = renew_at.is_some_and(|at| now.seconds_since(at) > dates.lifetime() / 10);
    match dates.left(now) {
        0..50 => Level::Critical,
        50..125 => Level::Page,
        125..250 => Level::Warning,
        _ if late => Level::Warning,
        _ => Level::Fine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    #[test]
    fn levels_are_fractions_of_any_lifetime() {
        for hours in [90 * 24, 45 * 24, 160] {
            let dates = Dates {
                not_before: UnixTime(0),
                not_after: UnixTime(hours * HOUR),
            };
            let at = |thousandths: i64| UnixTime(hours * HOUR * thousandths / 1000);
            for (gone, expected) in [
                (0, Level::Fine),
                (700, Level::Fine),
                (749, Level::Fine),
                (751, Level::Warning),
                (870, Level::Warning),
                (876, Level::Page),
                (949, Level::Page),
                (951, Level::Critical),
                (1000, Level::Critical),
                (2000, Level::Critical),
            ] {
                assert_eq!(level(at(gone), dates, None), expected, "{hours} h, {gone}");
            }
            // Due at half, and nothing happened for a tenth of the lifetime.
            assert_eq!(level(at(599), dates, Some(at(500))), Level::Fine);
            assert_eq!(level(at(602), dates, Some(at(500))), Level::Warning);
        }
    }

    #[test]
    fn absurd_dates_are_critical_and_do_not_panic() {
        let backwards = Dates {
            not_before: UnixTime(10),
            not_after: UnixTime(0),
        };
        assert_eq!(level(UnixTime(5), backwards, None), Level::Critical);
        let for_ever = Dates {
            not_before: UnixTime(0),
            not_after: UnixTime(i64::MAX),
        };
        assert_eq!(level(UnixTime(5), for_ever, None), Level::Fine);
        assert_eq!(for_ever.left(UnixTime(i64::MIN)), 1000);
    }
}

//! When a certificate is due. Pure: the time is an argument.
//!
//! The CA's own advice (ARI, RFC 9773) comes first when there is any: it may pull a renewal forward without limit,
//! and may push it back only as far as a sixth of the lifetime before the end. Without advice it is two thirds of the
//! lifetime, half of it for lifetimes under ten days.

use crate::clock::UnixTime;

/// Lifetimes below this are renewed at half.
const SHORT: i64 = 10 * 86400;

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Start of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// The window in which the CA wants the renewal.
    pub window: Option<Window>,
}

/// A renewal window as the CA suggests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its start.
    pub start: UnixTime,
    /// Its end.
    pub end: UnixTime,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before this time.
    Wait(UnixTime),
    /// A new certificate.
    Renew(Reason),
}

/// Why a certificate is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is none.
    Missing,
    /// It lacks a name that the configuration has.
    Names,
    /// It comes from another CA than the configuration's.
    Issuer,
    /// Its time has come.
    Due,
    /// The CA asks for it early.
    Advised,
    /// The operator wants it.
    Forced,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no certificate",
            Self::Names => "the certificate lacks a name of the configuration",
            Self::Issuer => "the certificate comes from another CA than the configuration's",
            Self::Due => "its renewal time has come",
            Self::Advised => "the CA asks for it",
            Self::Forced => "asked for by the operator",
        })
    }
}

/// Decides.
#[must_use]
pub fn decide(now: UnixTime, facts: &Facts) -> Decision {
    let plain = renewal_time(facts);
    let (at, reason) = match facts.window {
        // RFC 9773 §4.2: an end before the start is no advice.
        Some(window) if window.start < window.end => {
            let latest = facts.not_after.0 - lifetime(facts) / 6;
            (UnixTime(middle(window).0.min(latest)), Reason::Advised)
        }
        _ => (plain, Reason::Due),
    };
    if now < at {
        Decision::Wait(at)
    } else {
        Decision::Renew(reason)
    }
}

/// Two thirds of the lifetime, half of a short one.
#[must_use]
pub fn renewal_time(facts: &Facts) -> UnixTime {
    let lifetime = lifetime(facts);
    let used = if lifetime < SHORT {
        lifetime / 2
    } else {
        lifetime / 3 * 2
    };
    UnixTime(facts.not_before.0.saturating_add(used))
}

fn lifetime(facts: &Facts) -> i64 {
    facts.not_after.seconds_since(facts.not_before).max(0)
}

fn middle(window: Window) -> UnixTime {
    UnixTime(
        window
            .start
            .0
            .saturating_add(window.end.seconds_since(window.start) / 2),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86400;

    fn facts(days: i64, window: Option<(i64, i64)>) -> Facts {
        let window = window.map(|(start, end)| Window {
            start: UnixTime(start),
            end: UnixTime(end),
        });
        Facts {
            not_before: UnixTime(0),
            not_after: UnixTime(days * DAY),
            window,
        }
    }

    #[test]
    fn renews_at_two_thirds_and_short_lived_at_half() {
        for (days, at) in [(90, 60 * DAY), (45, 30 * DAY), (12, 8 * DAY), (6, 3 * DAY)] {
            let facts = facts(days, None);
            assert_eq!(
                decide(UnixTime(at - 1), &facts),
                Decision::Wait(UnixTime(at)),
                "{days}"
            );
            assert_eq!(
                decide(UnixTime(at), &facts),
                Decision::Renew(Reason::Due),
                "{days}"
            );
        }
    }

    #[test]
    fn an_expired_or_absurd_certificate_is_due() {
        assert_eq!(
            decide(UnixTime(91 * DAY), &facts(90, None)),
            Decision::Renew(Reason::Due)
        );
        assert_eq!(
            decide(UnixTime(0), &facts(-1, None)),
            Decision::Renew(Reason::Due)
        );
    }

    #[test]
    fn advice_pulls_forward_without_limit_but_pushes_back_only_to_a_sixth() {
        let early = facts(90, Some((-100, -50)));
        assert_eq!(
            decide(UnixTime(0), &early),
            Decision::Renew(Reason::Advised)
        );
        let late = facts(90, Some((88 * DAY, 89 * DAY)));
        assert_eq!(
            decide(UnixTime(70 * DAY), &late),
            Decision::Wait(UnixTime(75 * DAY))
        );
        assert_eq!(
            decide(UnixTime(75 * DAY), &late),
            Decision::Renew(Reason::Advised)
        );
        let never = facts(90, Some((i64::MAX - 5, i64::MAX)));
        assert_eq!(
            decide(UnixTime(0), &never),
            Decision::Wait(UnixTime(75 * DAY))
        );
    }

    #[test]
    fn a_window_that_ends_before_it_starts_is_no_advice() {
        assert_eq!(
            decide(UnixTime(0), &facts(90, Some((50, 50)))),
            Decision::Wait(UnixTime(60 * DAY))
        );
        assert_eq!(
            decide(UnixTime(0), &facts(90, Some((50, 40)))),
            Decision::Wait(UnixTime(60 * DAY))
        );
    }
}

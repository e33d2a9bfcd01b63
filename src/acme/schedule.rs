//! When a certificate is due. Pure: the time is an argument.
//!
//! The CA's own advice (ARI, RFC 9773) comes first when there is any: it may pull a renewal forward without limit
//! (a window that is over when it is heard of means now, give or take five minutes), and may push it back only as far as
//! a sixth of the lifetime before the end. Without advice it is two thirds of the
//! lifetime, half of it for lifetimes under ten days, less up to a hundredth of it. Nothing here is tied to a lifetime:
//! two minutes and ninety days follow the same fractions.
//!
//! The time chosen is the same at each run and on each node, because it is drawn from the certificate itself
//! ([`spread`]): inside the CA's window, where Let's Encrypt lifts its limits, with a quarter of the window left for
//! further tries.

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;

/// Lifetimes below this are renewed at half.
const SHORT: i64 = 10 * 86400;
/// Without advice, certificates that began together are spread over this part of their lifetime.
const SPREAD: i64 = 100;

/// Where the CA wants many certificates replaced at once, theirs come within so many seconds, or a hundredth of the
/// lifetime if that is less, and not in the same one.
const URGENT: i64 = 300;

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Start of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// The window in which the CA wants the renewal.
    pub window: Option<Window>,
    /// When that window was first heard of; none if that is not known.
    pub learnt: Option<UnixTime>,
    /// Where in a range of times this certificate's time lies: parts of 2³². See [`spread`].
    pub spread: u32,
}

/// A renewal window as the CA suggests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Others know its key.
    Compromised,
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
            Self::Compromised => "others know its key",
            Self::Due => "its renewal time has come",
            Self::Advised => "the CA asks for it",
            Self::Forced => "asked for by the operator",
        })
    }
}

/// Decides.
#[must_use]
pub fn decide(now: UnixTime, facts: &Facts) -> Decision {
    let (at, reason) = renewal(facts);
    if now < at {
        Decision::Wait(at)
    } else {
        Decision::Renew(reason)
    }
}

/// The time from which the certificate is due, and on whose word.
#[must_use]
pub fn renewal(facts: &Facts) -> (UnixTime, Reason) {
    let plain = renewal_time(facts);
    match facts.window {
        // RFC 9773 §4.2: an end before the start is no advice.
        Some(window) if window.start < window.end => {
            let latest = UnixTime(facts.not_after.0.saturating_sub(lifetime(facts) / 6));
            let at = match facts.learnt {
                Some(learnt) if window.end <= learnt => {
                    let within = URGENT.min(lifetime(facts) / SPREAD);
                    UnixTime(learnt.0.saturating_add(part(within, facts.spread)))
                }
                _ => point(window, facts.spread),
            };
            (at.min(latest), Reason::Advised)
        }
        _ => (plain, Reason::Due),
    }
}

/// Two thirds of the lifetime, half of a short one, less up to a hundredth.
#[must_use]
pub fn renewal_time(facts: &Facts) -> UnixTime {
    let lifetime = lifetime(facts);
    let used = if lifetime < SHORT {
        lifetime / 2
    } else {
        lifetime / 3 * 2
    };
    let less = part(lifetime / SPREAD, facts.spread);
    UnixTime(facts.not_before.0.saturating_add(used - less))
}

/// The point inside a window: within its first three quarters, so that there is time for further tries.
#[must_use]
pub fn point(window: Window, spread: u32) -> UnixTime {
    let width = window.end.seconds_since(window.start).max(0);
    let inside = part(width, spread);
    UnixTime(window.start.0.saturating_add(inside - inside / 4))
}

/// Where in a range of times a certificate's time lies, as parts of 2³²: a keyed hash of what tells the certificate
/// and its window from others. The key need not be secret: it is the same on every node that renews the certificate and
/// differs between operators (the account's URL), so that nobody's certificates all come due at the same second.
#[must_use]
pub fn spread(key: &str, certificate: &str, window: Option<Window>) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(certificate.as_bytes());
    if let Some(window) = window {
        context.update(&[0]);
        context.update(&window.start.0.to_be_bytes());
        context.update(&window.end.0.to_be_bytes());
    }
    let tag = context.sign();
    let first = tag.as_ref().first_chunk::<4>();
    first.map_or(0, |first| u32::from_be_bytes(*first))
}

fn lifetime(facts: &Facts) -> i64 {
    facts.not_after.seconds_since(facts.not_before).max(0)
}

/// `spread` of 2³² parts of a length; below the length itself.
fn part(length: i64, spread: u32) -> i64 {
    let part = (i128::from(length) * i128::from(spread)) >> 32;
    i64::try_from(part).unwrap_or(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            learnt: None,
            spread: 0,
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
    fn every_lifetime_follows_the_same_fractions() {
        let hour = 3600;
        for (lifetime, latest) in [
            (90 * DAY, 60 * DAY),
            (45 * DAY, 30 * DAY),
            (160 * hour, 80 * hour),
            (120, 60),
            (45, 22),
        ] {
            for spread in [0, 1, u32::MAX / 2, u32::MAX] {
                let facts = Facts {
                    not_before: UnixTime(1_000_000),
                    not_after: UnixTime(1_000_000 + lifetime),
                    window: None,
                    learnt: None,
                    spread,
                };
                let used = renewal_time(&facts).0 - 1_000_000;
                let earliest = latest - lifetime / 100;
                assert!((earliest..=latest).contains(&used), "{lifetime}: {used}");
            }
        }
    }

    #[test]
    fn the_point_is_stable_and_differs_between_certificates_windows_and_operators() {
        let window = |start| {
            Some(Window {
                start: UnixTime(start),
                end: UnixTime(start + DAY),
            })
        };
        let first = spread("https://ca.test/acct/1", "aki.serial", window(0));
        let again = spread("https://ca.test/acct/1", "aki.serial", window(0));
        assert_eq!(first, again);
        for other in [
            spread("https://ca.test/acct/2", "aki.serial", window(0)),
            spread("https://ca.test/acct/1", "aki.serial2", window(0)),
            spread("https://ca.test/acct/1", "aki.serial", window(1)),
            spread("https://ca.test/acct/1", "aki.serial", None),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn points_are_spread_over_three_quarters_of_the_window() {
        let window = Window {
            start: UnixTime(0),
            end: UnixTime(1000),
        };
        let mut tenths = [0; 10];
        for number in 0..1000 {
            let spread = spread("key", &format!("certificate {number}"), None);
            let point = usize::try_from(point(window, spread).0).unwrap();
            *tenths.get_mut(point / 100).unwrap() += 1;
        }
        let [a, b, c, d, e, f, g, h, i, j] = tenths;
        assert!([a, b, c, d, e, f, g].iter().all(|&n| n > 80), "{tenths:?}");
        assert!(h > 30 && i == 0 && j == 0, "{tenths:?}");
    }

    proptest! {
        #[test]
        fn any_window_is_kept_inside_and_before_a_sixth(
            start in any::<i64>(),
            width in 1i64..,
            spread in any::<u32>(),
            not_before in -1_000_000_000_000i64..1_000_000_000_000,
            lifetime in 0i64..1_000_000_000,
        ) {
            let window = Window { start: UnixTime(start), end: UnixTime(start.saturating_add(width)) };
            let facts = Facts {
                not_before: UnixTime(not_before),
                not_after: UnixTime(not_before + lifetime),
                window: Some(window),
                learnt: None,
                spread,
            };
            let (at, _) = renewal(&facts);
            let latest = facts.not_after.0 - lifetime / 6;
            prop_assert!(at.0 <= latest);
            let point = point(window, spread);
            if window.start < window.end {
                prop_assert!(point >= window.start && point < window.end);
                prop_assert!(at == point || at.0 == latest);
            }
            // Whatever the advice, from the latest time on it is due.
            prop_assert!(matches!(decide(UnixTime(latest), &facts), Decision::Renew(_)));
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
    fn a_window_that_was_over_when_it_was_heard_of_means_within_five_minutes() {
        let learnt = UnixTime(20 * DAY);
        let at = |lifetime_days, window, spread| {
            let facts = Facts {
                learnt: Some(learnt),
                spread,
                ..facts(lifetime_days, Some(window))
            };
            renewal(&facts).0.seconds_since(learnt)
        };
        let over = (19 * DAY, 20 * DAY);
        assert_eq!(at(90, over, 0), 0);
        assert_eq!(at(90, over, u32::MAX / 2), 149);
        assert_eq!(at(90, over, u32::MAX), 299);
        // Not over yet: the point inside counts, past or not.
        assert_eq!(at(90, (19 * DAY, 20 * DAY + 1), 0), -DAY);
        // The last sixth comes first.
        assert_eq!(at(24, over, u32::MAX), 0);
        let short = Facts {
            not_before: UnixTime(learnt.0 - 60),
            not_after: UnixTime(learnt.0 + 60),
            learnt: Some(learnt),
            spread: u32::MAX,
            ..facts(90, Some((learnt.0 - 60, learnt.0 - 30)))
        };
        let within = renewal(&short).0.seconds_since(learnt);
        assert!((0..=1).contains(&within), "two minutes: {within}");
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

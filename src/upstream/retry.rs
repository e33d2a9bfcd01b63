//! When a failed request may be sent again. Pure.
//!
//! RFC 9110 §9.2.2: only requests with idempotent methods may be repeated by a proxy, and only if it is known that
//! nothing of the answer has come. A request of which nothing was written may be sent elsewhere whatever its method.

use http::Method;

/// What is known of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The request came back: nothing of it was written.
    pub unsent: bool,
    /// The connection had served a request before, so it may have been closed while ours was on its way.
    pub reused: bool,
    /// The request can be made again: it has no body and its head was kept.
    pub replayable: bool,
}

/// Attempts for one request, the first included.
pub const MOST_ATTEMPTS: usize = 3;

/// Whether to try again after the attempt number `number` (from 1).
#[must_use]
pub fn decide(method: &Method, attempt: Attempt, number: usize) -> bool {
    number < MOST_ATTEMPTS
        && (attempt.unsent || (attempt.reused && attempt.replayable && method.is_idempotent()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_only_what_is_safe() {
        let attempt = |unsent, reused, replayable| Attempt {
            unsent,
            reused,
            replayable,
        };
        assert!(decide(&Method::POST, attempt(true, false, false), 1));
        assert!(!decide(&Method::POST, attempt(false, true, true), 1));
        assert!(decide(&Method::GET, attempt(false, true, true), 1));
        assert!(!decide(&Method::GET, attempt(false, false, true), 1));
        assert!(!decide(&Method::GET, attempt(false, true, false), 1));
        assert!(!decide(
            &Method::GET,
            attempt(true, true, true),
            MOST_ATTEMPTS
        ));
    }
}

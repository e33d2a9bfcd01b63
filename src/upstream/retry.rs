//! When a failed request may be sent again. Pure.
//!
//! RFC 9110 §9.2.2: only requests with idempotent methods may be repeated by a proxy, and only if nothing of the answer
//! has come, or nothing but a head that nobody was told of (`answer`): on the same server if its connection was an old one,
//! which servers close at any moment; after a fresh one ended, or one that had begun to answer, only on another server, so
//! that a request which ends a server is not brought to it twice. A request of which nothing was written, or that an HTTP/2
//! server says it has not looked at (RFC 9113 §8.7), may be sent elsewhere whatever its method.

use http::Method;

/// What is known of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The request came back: nothing of it was written.
    pub unsent: bool,
    /// The server said that it has not processed it (`REFUSED_STREAM`, or `GOAWAY` with a lower stream).
    pub unprocessed: bool,
    /// The connection had served a request before, so it may have been closed while ours was on its way.
    pub reused: bool,
    /// The request can be made again: it has no body and its head was kept.
    pub replayable: bool,
    /// The connection ended without an answer, and another server can be asked that has not been tried.
    pub elsewhere: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Answer with the failure.
    GiveUp,
    /// Send it again. Costs nothing: no server has had work with it.
    Free,
    /// Send it again, if the budget allows.
    Paid,
}

/// Attempts for one request, the first included.
pub const MOST_ATTEMPTS: usize = 3;

/// Whether to try again after the attempt number `number` (from 1).
#[must_use]
pub fn decide(method: &Method, attempt: Attempt, number: usize) -> Decision {
    if number >= MOST_ATTEMPTS {
        Decision::GiveUp
    } else if attempt.unsent {
        Decision::Free
    } else if attempt.replayable
        && (attempt.unprocessed
            || ((attempt.reused || attempt.elsewhere) && method.is_idempotent()))
    {
        Decision::Paid
    } else {
        Decision::GiveUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_only_what_is_safe() {
        // Unsent, unprocessed, reused, replayable, elsewhere.
        let attempt = |facts: [bool; 5]| Attempt {
            unsent: facts[0],
            unprocessed: facts[1],
            reused: facts[2],
            replayable: facts[3],
            elsewhere: facts[4],
        };
        let (no, yes) = (false, true);
        for (method, facts, number, expected) in [
            (Method::POST, [yes, no, no, no, no], 1, Decision::Free),
            (Method::POST, [no, no, yes, yes, yes], 1, Decision::GiveUp),
            (Method::POST, [no, yes, yes, yes, no], 1, Decision::Paid),
            (Method::POST, [no, yes, yes, no, no], 1, Decision::GiveUp),
            (Method::GET, [no, no, yes, yes, no], 1, Decision::Paid),
            (Method::GET, [no, no, no, yes, no], 1, Decision::GiveUp),
            (Method::GET, [no, no, no, yes, yes], 1, Decision::Paid),
            (Method::GET, [no, no, no, no, yes], 1, Decision::GiveUp),
            (Method::GET, [no, no, yes, no, no], 1, Decision::GiveUp),
            (
                Method::GET,
                [yes, yes, yes, yes, yes],
                MOST_ATTEMPTS,
                Decision::GiveUp,
            ),
        ] {
            assert_eq!(
                decide(&method, attempt(facts), number),
                expected,
                "{method} {facts:?}"
            );
        }
    }
}

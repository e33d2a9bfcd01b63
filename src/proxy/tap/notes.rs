//! What the tap and the request path of one connection tell each other.
//!
//! Both run on one worker; the atomics are there because hyper wants upgradable streams to be `Send`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::Refusal;

/// Notes on one client connection. Requests are counted from 0, in the order in which hyper gets them.
#[derive(Debug, Default)]
pub struct Notes {
    /// Number of the refused request and reason: `number << 8 | reason + 1`.
    refused: AtomicU64,
    /// Number of the request for a WebSocket, plus 1.
    waits: AtomicU64,
    open: AtomicBool,
}

impl Notes {
    pub(super) fn refuse(&self, number: u64, refusal: Refusal) {
        self.refused
            .store(number << 8 | (refusal as u64 + 1), Relaxed);
    }

    pub(super) fn wait(&self, number: u64) {
        self.waits.store(number + 1, Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Why the request with this number is refused, if it is.
    #[must_use]
    pub fn refusal(&self, number: u64) -> Option<Refusal> {
        let refused = self.refused.load(Relaxed);
        let reason = usize::try_from((refused & 0xff).checked_sub(1)?).ok()?;
        (refused >> 8 == number).then(|| Refusal::ALL.get(reason).copied())?
    }

    /// Whether the tap gives nothing more to HTTP after the request with this number: unless it becomes a tunnel, its
    /// answer is the last one.
    #[must_use]
    pub fn waits(&self, number: u64) -> bool {
        self.waits.load(Relaxed) == number + 1
    }

    /// The app has switched protocols: the tap gives on what came and what comes.
    pub fn open_tunnel(&self) {
        self.open.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_told_as_it_is() {
        let notes = Notes::default();
        assert_eq!(notes.refusal(0), None);
        assert!(!notes.waits(0));
        for (number, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, number, "the order of ALL");
            notes.refuse(number as u64, refusal);
            assert_eq!(notes.refusal(number as u64), Some(refusal));
            assert_eq!(notes.refusal(number as u64 + 1), None);
        }
        notes.wait(7);
        assert!(notes.waits(7) && !notes.waits(6) && !notes.waits(8));
    }
}

//! Whether a body comes fast enough: bytes for each second in which we waited for the client.
//!
//! The time that the app takes does not count, so a client that is slowed down by a slow app is not blamed for it. The
//! verdict is given once in a window of waiting, so that a pause in a quick upload is nothing. Times are in ticks of
//! the worker: a single wait is measured coarsely, and many of them add up right.

use std::time::Duration;

use crate::net::deadline::{TICK, Ticks};

/// The pace of one body.
#[derive(Debug)]
pub(super) struct Pace {
    /// Least bytes for each second of waiting; 0 is no limit.
    rate: u64,
    /// In ticks of waiting.
    window: u32,
    waited: u32,
    bytes: u64,
    since: Option<u32>,
}

impl Pace {
    /// At least `rate` bytes for each second, looked at in windows of this length.
    pub(super) fn new(rate: u64, window: Duration) -> Self {
        Self {
            rate,
            window: Ticks::in_ticks(window).max(1),
            waited: 0,
            bytes: 0,
            since: None,
        }
    }

    /// The client has sent nothing at tick `now`.
    pub(super) fn wait(&mut self, now: u32) {
        self.since.get_or_insert(now);
    }

    /// It has sent something, or ended.
    pub(super) fn resume(&mut self, now: u32) {
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(now.saturating_sub(since));
        }
    }

    /// Takes `size` bytes in; whether the window that ended with them had too few.
    pub(super) fn is_too_slow(&mut self, size: u64) -> bool {
        self.bytes = self.bytes.saturating_add(size);
        if self.waited < self.window {
            return false;
        }
        let seconds = TICK.saturating_mul(self.waited).as_secs();
        let slow = self.bytes < self.rate.saturating_mul(seconds);
        (self.waited, self.bytes) = (0, 0);
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten hours of a client that sends `size` bytes every `pause` ticks, at 64 B/s in windows of 30 s.
    fn is_ended(size: u64, pause: u32) -> bool {
        let mut pace = Pace::new(64, Duration::from_secs(30));
        let mut now = 1;
        for _ in 0..36_000 * 4 / pause {
            pace.wait(now);
            now += pause;
            pace.resume(now);
            if pace.is_too_slow(size) {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_byte_every_ten_seconds_is_ended_and_a_slow_but_steady_client_is_not() {
        assert!(is_ended(1, 40));
        assert!(is_ended(15, 1));
        assert!(is_ended(1_000, 116), "34 B/s");
        assert!(!is_ended(17, 1), "68 B/s");
        assert!(!is_ended(16 << 10, 100), "16 KiB every 25 s");
    }

    #[test]
    fn the_time_that_the_app_takes_does_not_count() {
        let mut pace = Pace::new(64, Duration::from_secs(30));
        for now in (0..100_000).step_by(400) {
            pace.wait(now);
            pace.resume(now + 1);
            assert!(!pace.is_too_slow(20), "80 B/s while we waited");
        }
    }

    #[test]
    fn without_a_rate_any_pace_will_do() {
        let mut pace = Pace::new(0, Duration::from_secs(1));
        for now in 0..100 {
            pace.wait(now * 100);
            pace.resume(now * 100 + 99);
            assert!(!pace.is_too_slow(1));
        }
    }
}

//! A token bucket in one atomic number.
//!
//! The number is the time at which the bucket is full again (GCRA, ITU-T I.371, as a virtual schedule): a token moves it on
//! by the time that one token takes to come back, and a bucket whose time has passed is full. So a bucket that nobody
//! uses holds no information and can be forgotten. It has as many tokens as the rate counts and fills evenly.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::units::Rate;

/// Takes a token of the bucket `full_at`. `now` is in nanoseconds from any start that all callers share.
///
/// # Errors
/// How long until there is a token again.
pub fn take(full_at: &AtomicU64, rate: Rate, now: u64) -> Result<(), Duration> {
    let whole = nanos(rate.per);
    let token = (whole / u64::from(rate.count)).max(1);
    let mut seen = full_at.load(Relaxed);
    loop {
        // No bucket is further behind than empty: what is, is from a larger rate before a reload.
        let next = seen.max(now).min(now.saturating_add(whole)) + token;
        let late = next.saturating_sub(now.saturating_add(whole));
        if late > 0 {
            return Err(Duration::from_nanos(late));
        }
        match full_at.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
            Ok(_) => return Ok(()),
            Err(other) => seen = other,
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_bucket_has_its_tokens_at_once_and_fills_evenly() {
        let bucket = AtomicU64::new(0);
        let rate = Rate::parse("10/s").unwrap();
        let now = 5 * SECOND;
        for _ in 0..10 {
            assert_eq!(take(&bucket, rate, now), Ok(()));
        }
        let wait = take(&bucket, rate, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        // Refusals take nothing.
        assert_eq!(take(&bucket, rate, now + SECOND / 10), Ok(()));
        assert!(take(&bucket, rate, now + SECOND / 10).is_err());
        let later = now + 100 * SECOND;
        assert!((0..10).all(|_| take(&bucket, rate, later).is_ok()));
        assert!(take(&bucket, rate, later).is_err());
    }

    #[test]
    fn a_smaller_rate_waits_no_longer_than_its_own_time() {
        let bucket = AtomicU64::new(0);
        let hourly = Rate::parse("2/h").unwrap();
        assert!(take(&bucket, hourly, 0).is_ok() && take(&bucket, hourly, 0).is_ok());
        let wait = take(&bucket, Rate::parse("4/s").unwrap(), 0).unwrap_err();
        assert_eq!(wait, Duration::from_millis(250));
    }

    #[test]
    fn threads_together_take_no_more_than_there_is() {
        let bucket = AtomicU64::new(0);
        let rate = Rate::parse("1000/h").unwrap();
        let taken: usize = std::thread::scope(|scope| {
            let work = || (0..1000).filter(|_| take(&bucket, rate, 7).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}

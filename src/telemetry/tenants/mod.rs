//! What each tenant has used: for metrics of the busiest ones, and for the record that bills are made of.
//!
//! A worker adds up in a map of its own ([`Writer`]) and hands it over about once a second, without waiting; a thread of
//! its own puts the sums together, keeps the busiest for the scraper (`top`) and writes the record (`usage`). Only
//! tenants that the directory knows come here, never a client's `Host`; and memory is bounded however many there are.

mod collector;
mod top;
mod usage;

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

pub use self::collector::{Collector, Setting, StartError};

/// The value of the label for all tenants without series of their own.
pub const OTHER: &str = "other";

/// Tenants that a worker adds up at most before it hands them over.
const MOST: usize = 16_384;
/// How long the end of a worker waits for its last sums to be taken.
const LAST: Duration = Duration::from_secs(1);

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that ended.
    pub requests: u64,
    /// Of these, answered with a status from 500.
    pub errors: u64,
    /// Of these, answered with 429.
    pub limited: u64,
    /// Bytes of bodies and tunnels from clients.
    pub bytes_in: u64,
    /// Bytes of bodies and tunnels to clients.
    pub bytes_out: u64,
}

impl Tally {
    /// One request with this status.
    #[must_use]
    pub fn of(status: u16, bytes_in: u64, bytes_out: u64) -> Self {
        Self {
            requests: 1,
            errors: u64::from(status >= 500),
            limited: u64::from(status == 429),
            bytes_in,
            bytes_out,
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.limited += other.limited;
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }
}

/// Sums by tenant.
type Sums = HashMap<Arc<str>, Tally, foldhash::fast::RandomState>;

/// What the collector is sent.
enum Message {
    Sums(Sums),
    Reopen(std::fs::File),
    Stop,
}

/// One worker's sums. It may move to another thread but not be shared.
#[derive(Debug)]
pub struct Writer {
    queue: Option<SyncSender<Message>>,
    sums: Sums,
    lost: Arc<AtomicU64>,
}

impl Writer {
    /// Adds to a tenant's sums.
    pub fn note(&mut self, tenant: &Arc<str>, tally: Tally) {
        if self.queue.is_none() {
            return;
        }
        if let Some(sum) = self.sums.get_mut(tenant) {
            sum.add(&tally);
            return;
        }
        if self.sums.len() >= MOST {
            self.flush();
        }
        if self.sums.len() < MOST {
            self.sums.insert(Arc::clone(tenant), tally);
        } else {
            self.lost.fetch_add(tally.requests, Relaxed);
        }
    }

    /// Hands the sums over. Never waits: if the collector is behind, they go with the next call.
    pub fn flush(&mut self) {
        if let Some(queue) = &self.queue
            && !self.sums.is_empty()
            && let Err(TrySendError::Full(Message::Sums(sums))) =
                queue.try_send(Message::Sums(mem::take(&mut self.sums)))
        {
            self.sums = sums;
        }
    }
}

impl Drop for Writer {
    /// The worker serves no more, so the last sums may wait for a moment.
    fn drop(&mut self) {
        let end = Instant::now() + LAST;
        self.flush();
        while !self.sums.is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
            self.flush();
        }
    }
}

#[cfg(test)]
mod tests;

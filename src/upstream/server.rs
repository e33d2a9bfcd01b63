//! What the whole process knows of one server: health, addresses, and how much is under way.
//!
//! Workers and the control plane share it. Every field that a request touches is an atomic; no request waits for
//! another core, and no failure wakes one. It outlives reloads, keyed by address, so that a reload forgets no outage.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::config::UpstreamAddress;

/// The share of a server that is well; one that is warming up has less of it, one that is out has 0.
pub const FULL_SHARE: u32 = 1024;
/// The least share of a server that is used at all.
const LEAST_SHARE: u32 = FULL_SHARE / 10;
/// The longest ejection is this many doublings of the first.
const MOST_DOUBLINGS: u32 = 5;

/// One server.
#[derive(Debug)]
pub struct Server {
    address: UpstreamAddress,
    label: Arc<str>,
    began: Instant,
    /// Taken out by probes.
    down: AtomicBool,
    /// Failures in a row, as requests saw them.
    failures: AtomicU32,
    /// Ejections in a row.
    ejections: AtomicU32,
    /// Milliseconds since `began`; 0 is not ejected.
    ejected_until: AtomicU64,
    /// Milliseconds since `began`; 0 is warm.
    warm_from: AtomicU64,
    /// Requests under way, counted while there is a cap.
    requests: AtomicU32,
    /// Connections, counted while there is a cap.
    connections: AtomicU32,
    ejected_total: AtomicU64,
    probes_failed: AtomicU64,
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// One for each worker; locked where a worker first meets the server and where the figures are read.
    counts: Mutex<Vec<Weak<Count>>>,
    /// The last trouble, for people. Written by the control plane.
    trouble: Mutex<Option<String>>,
}

/// What one worker has under way with one server. Written by that worker only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Count {
    requests: AtomicU32,
    connections: AtomicU32,
}

impl Count {
    /// Requests under way.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    // Load and store: there is one writer.
    pub(super) fn add_request(&self) {
        self.requests
            .store(self.requests().wrapping_add(1), Relaxed);
    }

    pub(super) fn remove_request(&self) {
        self.requests
            .store(self.requests().saturating_sub(1), Relaxed);
    }

    pub(super) fn add_connection(&self) {
        let count = self.connections.load(Relaxed);
        self.connections.store(count.wrapping_add(1), Relaxed);
    }

    pub(super) fn remove_connection(&self) {
        let count = self.connections.load(Relaxed);
        self.connections.store(count.saturating_sub(1), Relaxed);
    }
}

/// When a server is left alone because of failures that requests saw.
#[derive(Debug, Clone, Copy)]
pub struct Ejection {
    /// Failures in a row; 0 is never.
    pub failures: u32,
    /// For how long, the first time.
    pub time: Duration,
}

/// How a server is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Used.
    Up,
    /// Used, with less than its share.
    Warming,
    /// Left alone for a while because requests failed.
    Ejected,
    /// Out, because probes fail.
    Down,
}

impl Health {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Warming => "warming",
            Self::Ejected => "ejected",
            Self::Down => "down",
        }
    }
}

/// The figures of a server.
#[derive(Debug, Clone)]
pub struct Facts {
    /// How it is.
    pub health: Health,
    /// Requests under way.
    pub requests: u32,
    /// Open connections.
    pub connections: u32,
    /// Ejections since the start.
    pub ejected_total: u64,
    /// Failed probes since the start.
    pub probes_failed: u64,
    /// The addresses of its name; empty for an address or a socket, and before the first look-up.
    pub addresses: Arc<Vec<SocketAddr>>,
    /// The last trouble, while there is one.
    pub trouble: Option<String>,
}

impl Server {
    /// A server of which nothing bad is known.
    #[must_use]
    pub fn new(address: UpstreamAddress) -> Arc<Self> {
        // An address needs no look-up.
        let addresses = match &address {
            UpstreamAddress::Tcp { host, port, .. } => host
                .parse()
                .map(|ip| vec![SocketAddr::new(ip, *port)])
                .unwrap_or_default(),
            UpstreamAddress::Unix(_) => Vec::new(),
        };
        Arc::new(Self {
            label: Arc::from(address.to_string()),
            address,
            began: Instant::now(),
            down: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            warm_from: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            ejected_total: AtomicU64::new(0),
            probes_failed: AtomicU64::new(0),
            addresses: ArcSwap::from_pointee(addresses),
            counts: Mutex::default(),
            trouble: Mutex::default(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &UpstreamAddress {
        &self.address
    }

    /// The server as log and metrics name it.
    #[must_use]
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    /// How much of its weight it gets: 0 while it is out, [`FULL_SHARE`] when all is well. Three loads for a server
    /// that is well.
    #[must_use]
    pub fn share(&self, slow_start: Duration) -> u32 {
        if self.down.load(Relaxed) {
            return 0;
        }
        let until = self.ejected_until.load(Relaxed);
        let from = self.warm_from.load(Relaxed);
        if until == 0 && from == 0 {
            return FULL_SHARE;
        }
        let now = self.now();
        if until > now {
            return 0;
        }
        let length = u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX);
        let age = now.saturating_sub(from);
        if from == 0 || age >= length {
            return FULL_SHARE;
        }
        let share = u64::from(FULL_SHARE).saturating_mul(age) / length.max(1);
        u32::try_from(share).unwrap_or(FULL_SHARE).max(LEAST_SHARE)
    }

    /// Whether probes have taken it out.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// An exchange went well. Two loads, unless something was wrong before.
    pub fn note_success(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.ejections.load(Relaxed) != 0 && self.ejected_until.load(Relaxed) <= self.now() {
            self.ejections.store(0, Relaxed);
        }
    }

    /// A connection or an exchange failed through the server's fault. Returns for how long the server is left alone,
    /// if this was one failure too many. `others`: whether another server can take its work; the last one is never
    /// left alone.
    pub fn note_failure(&self, rule: Ejection, others: impl FnOnce() -> bool) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if rule.failures == 0 || failures < rule.failures {
            return None;
        }
        let until = self.ejected_until.load(Relaxed);
        let now = self.now();
        if until > now || !others() {
            return None;
        }
        let doublings = self.ejections.load(Relaxed).min(MOST_DOUBLINGS);
        let time = rule.time.saturating_mul(1 << doublings);
        let end = now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        // One worker wins; for the others it is one ejection.
        self.ejected_until
            .compare_exchange(until, end, Relaxed, Relaxed)
            .ok()?;
        self.warm_from.store(end, Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        self.ejected_total.fetch_add(1, Relaxed);
        // Back again, one failure is enough.
        self.failures
            .store(rule.failures.saturating_sub(1), Relaxed);
        Some(time)
    }

    /// Forgets an ejection that is over. True if there was one. For the control plane, which looks now and then.
    pub fn end_ejection(&self) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until != 0
            && until <= self.now()
            && self
                .ejected_until
                .compare_exchange(until, 0, Relaxed, Relaxed)
                .is_ok()
    }

    /// What probes say. True if that is news.
    pub fn set_down(&self, down: bool) -> bool {
        let changed = self.down.swap(down, Relaxed) != down;
        if changed && !down {
            self.warm_from.store(self.now(), Relaxed);
            self.failures.store(0, Relaxed);
        }
        changed
    }

    /// A probe failed, or went well (`None`).
    pub fn note_probe(&self, trouble: Option<String>) {
        if trouble.is_some() {
            self.probes_failed.fetch_add(1, Relaxed);
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The addresses of its name, as last looked up.
    #[must_use]
    pub fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.addresses.load_full()
    }

    /// Takes over what a look-up gave. True if it is another set than before.
    pub fn set_addresses(&self, mut addresses: Vec<SocketAddr>) -> bool {
        addresses.sort_unstable();
        addresses.dedup();
        if **self.addresses.load() == addresses {
            return false;
        }
        self.addresses.store(Arc::new(addresses));
        true
    }

    /// A count for one worker.
    #[must_use]
    pub fn count(&self) -> Arc<Count> {
        let count = Arc::new(Count::default());
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|count| count.strong_count() != 0);
        counts.push(Arc::downgrade(&count));
        count
    }

    /// Whether one more request may be under way.
    #[must_use]
    pub fn has_room(&self, most_requests: Option<u32>) -> bool {
        most_requests.is_none_or(|most| self.requests.load(Relaxed) < most)
    }

    /// Whether one more connection may be made.
    #[must_use]
    pub fn may_connect(&self, most_connections: Option<u32>) -> bool {
        most_connections.is_none_or(|most| self.connections.load(Relaxed) < most)
    }

    pub(super) fn begin_request(&self, most: u32) -> bool {
        begin(&self.requests, most)
    }

    pub(super) fn end_request(&self) {
        self.requests.fetch_sub(1, Relaxed);
    }

    pub(super) fn begin_connection(&self, most: u32) -> bool {
        begin(&self.connections, most)
    }

    pub(super) fn end_connection(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// The figures now.
    #[must_use]
    pub fn facts(&self, slow_start: Duration) -> Facts {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts: Vec<_> = counts.iter().filter_map(Weak::upgrade).collect();
        let sum = |pick: fn(&Count) -> u32| counts.iter().map(|count| pick(count)).sum();
        let health = match self.share(slow_start) {
            FULL_SHARE => Health::Up,
            0 if self.is_down() => Health::Down,
            0 => Health::Ejected,
            _ => Health::Warming,
        };
        Facts {
            health,
            requests: sum(Count::requests),
            connections: sum(|count| count.connections.load(Relaxed)),
            ejected_total: self.ejected_total.load(Relaxed),
            probes_failed: self.probes_failed.load(Relaxed),
            addresses: self.addresses(),
            trouble: self
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

fn begin(counter: &AtomicU32, most: u32) -> bool {
    counter
        .fetch_update(Relaxed, Relaxed, |count| {
            (count < most).then_some(count + 1)
        })
        .is_ok()
}

/// Every server, and what the workers share of each group, by address and name. Kept over reloads.
#[derive(Debug, Default)]
pub struct Registry {
    /// Locked by the control plane only, when it builds a snapshot.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    servers: HashMap<UpstreamAddress, Weak<Server>>,
    groups: HashMap<String, Arc<Shared>>,
}

/// What the workers share of a group.
#[derive(Debug, Default)]
pub struct Shared {
    queued: AtomicU32,
}

impl Shared {
    /// Requests that wait for a server.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    /// A place in the queue, unless `most` are taken. Given back by `Drop`.
    pub(super) fn enter(self: &Arc<Self>, most: u32) -> Option<Place> {
        begin(&self.queued, most).then(|| Place(Arc::clone(self)))
    }
}

/// A place in a queue.
#[derive(Debug)]
pub(super) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Relaxed);
    }
}

impl Registry {
    /// The server at an address: the one that is in use already, or a new one.
    #[must_use]
    pub fn server(&self, address: &UpstreamAddress) -> Arc<Server> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.servers.retain(|_, server| server.strong_count() != 0);
        if let Some(server) = known.servers.get(address).and_then(Weak::upgrade) {
            return server;
        }
        let server = Server::new(address.clone());
        known
            .servers
            .insert(address.clone(), Arc::downgrade(&server));
        server
    }

    /// What the workers share of the group `name`.
    #[must_use]
    pub fn group(&self, name: &str) -> Arc<Shared> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.groups.entry(name.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests;

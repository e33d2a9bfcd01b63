//! Certificates of custom domains: many names, of which few are in memory.
//!
//! The [`register`] says which names there are; it is the engine's, and the proxy follows it ([`follower`]). What the proxy
//! wants it asks for through the [`spool`]. [`OnDemand`] is what handshakes read: a bounded set of certificates in memory,
//! and the way to those on disk ([`loader`]). A certificate that is stored is served, whatever the directory says; nothing
//! here knows tenants, and nothing here is on the way of a name that the table of [`super::live`] has.

pub mod entry;
pub mod follower;
pub mod loader;
pub mod register;
pub mod spool;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use dashmap::DashMap;
use tokio::sync::oneshot;

use self::follower::Known;
use self::loader::{Ask, Loader};
use self::register::Standing;
use super::live::Served;
use crate::host::Host;

/// Handshakes that may wait for a certificate to be read; more are refused.
const MOST_WAITING: usize = 1024;
/// Names that may wait for the proxy to ask for them; more are dropped, and come again with the next client.
const MOST_WISHES: usize = 1024;

/// What handshakes read. Shared by all workers. Its maps are split by hash, so that two handshakes hardly ever meet.
#[derive(Debug)]
pub struct OnDemand {
    shelf: Arc<Shelf>,
    asks: SyncSender<Ask>,
    wishes: SyncSender<Host>,
}

/// What is there.
#[derive(Debug)]
pub struct Shelf {
    /// Every name of the register.
    known: DashMap<Host, Known, foldhash::fast::RandomState>,
    /// The certificates in memory.
    loaded: DashMap<Host, Loaded, foldhash::fast::RandomState>,
    /// Certificates that were read from disk.
    loads: AtomicU64,
    /// Those that could not be.
    failed: AtomicU64,
    /// Those that had to go from memory for others.
    evicted: AtomicU64,
}

/// A certificate in memory.
#[derive(Debug)]
struct Loaded {
    served: Arc<Served>,
    /// How many certificates had been read when a handshake last had it.
    used: AtomicU64,
}

/// The other ends of an [`OnDemand`], for the threads that serve it.
#[derive(Debug)]
pub struct Ends {
    /// Reads certificates.
    pub loader: Loader,
    /// Names that clients have asked for, that have a row and no certificate.
    pub wishes: Receiver<Host>,
}

/// Numbers for metrics and status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Names by how they are doing.
    pub standings: Vec<(Standing, u64)>,
    /// Certificates in memory.
    pub loaded: u64,
    /// Certificates read from disk since the start.
    pub loads: u64,
    /// Certificates that could not be read.
    pub failed: u64,
    /// Certificates that went from memory for others.
    pub evicted: u64,
}

impl OnDemand {
    /// Nothing is known yet. At most `cache` certificates stay in memory.
    #[must_use]
    pub fn new(cache: usize) -> (Self, Ends) {
        let shelf = Arc::new(Shelf {
            known: DashMap::default(),
            loaded: DashMap::default(),
            loads: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        });
        let (asks, asked) = sync_channel(MOST_WAITING);
        let (wishes, wished) = sync_channel(MOST_WISHES);
        let loader = Loader::new(Arc::clone(&shelf), asked, cache);
        let own = Self {
            shelf,
            asks,
            wishes,
        };
        let ends = Ends {
            loader,
            wishes: wished,
        };
        (own, ends)
    }

    /// What is there.
    #[must_use]
    pub fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// The certificate of a name, if it is in memory.
    #[must_use]
    pub fn find(&self, host: &Host) -> Option<Arc<Served>> {
        let loaded = self.shelf.loaded.get(host)?;
        let now = self.shelf.loads.load(Relaxed);
        // Read first: a store would take the line from the other cores each time.
        if loaded.used.load(Relaxed) != now {
            loaded.used.store(now, Relaxed);
        }
        Some(Arc::clone(&loaded.served))
    }

    /// Whether a certificate of this name is stored.
    #[must_use]
    pub fn is_stored(&self, host: &Host) -> bool {
        let known = self.shelf.known.get(host);
        known.is_some_and(|known| known.generation > 0)
    }

    /// Waits until the certificate of a name is in memory. False if it cannot be read, or too many wait.
    pub async fn load(&self, host: &Host) -> bool {
        let (done, loaded) = oneshot::channel();
        let ask = Ask {
            host: host.clone(),
            fresh: false,
            done: Some(done),
        };
        self.asks.try_send(ask).is_ok() && loaded.await.unwrap_or(false)
    }

    /// A client has asked for a name that may have a certificate and has none. Never waits.
    pub fn wish(&self, host: Host) {
        // Too many at once: it comes again with the next client.
        drop(self.wishes.try_send(host));
    }

    /// A newer generation of a name is stored: if it is in memory, it is read anew, and the old one is served until then.
    /// Waits for room in the queue, so it is not for workers.
    pub fn renew(&self, host: &Host) {
        if self.shelf.loaded.contains_key(host) {
            let ask = Ask {
                host: host.clone(),
                fresh: true,
                done: None,
            };
            // The other end is there for as long as the process.
            drop(self.asks.send(ask));
        }
    }
}

impl Shelf {
    /// Takes in a name. Says what was known of it before.
    pub fn note(&self, host: &Host, known: Known) -> Option<Known> {
        self.known.insert(host.clone(), known)
    }

    /// Forgets a name and its certificate.
    pub fn forget(&self, host: &Host) {
        self.known.remove(host);
        self.loaded.remove(host);
    }

    /// What is known of a name.
    #[must_use]
    pub fn known(&self, host: &Host) -> Option<Known> {
        self.known.get(host).map(|known| *known)
    }

    /// Every known name for which `wanted` holds.
    #[must_use]
    pub fn names(&self, wanted: impl Fn(&Host) -> bool) -> Vec<Host> {
        let all = self.known.iter();
        all.filter(|entry| wanted(entry.key()))
            .map(|entry| entry.key().clone())
            .collect()
    }

    /// How many names are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The certificate of a name, if it is in memory; without counting as a use.
    #[must_use]
    pub fn peek(&self, host: &Host) -> Option<Arc<Served>> {
        self.loaded
            .get(host)
            .map(|loaded| Arc::clone(&loaded.served))
    }

    /// Numbers, by a walk over all names.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut standings: Vec<_> = Standing::ALL.map(|standing| (standing, 0)).to_vec();
        for entry in &self.known {
            let slot = standings
                .iter_mut()
                .find(|(standing, _)| *standing == entry.standing);
            if let Some((_, count)) = slot {
                *count += 1;
            }
        }
        Counts {
            standings,
            loaded: u64::try_from(self.loaded.len()).unwrap_or(u64::MAX),
            loads: self.loads.load(Relaxed),
            failed: self.failed.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
        }
    }
}

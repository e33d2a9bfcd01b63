//! Brings certificates of custom domains from disk into memory, one after the other, in a thread of its own.
//!
//! Memory is bounded: of the few that have been there longest, or were spared longest ago, the one that was asked for least
//! recently goes. A certificate that cannot be read leaves the one in memory as it is, and is not tried again at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Loaded, Shelf};
use crate::cert::live::Served;
use crate::host::Host;

/// A name that could not be read is not tried again for so long.
const PAUSE: Duration = Duration::from_secs(5);
/// Of so many the one that was asked for least recently goes.
const SAMPLE: usize = 8;
/// Names remembered for that.
const MOST_BAD: usize = 1024;

/// A name that is wanted in memory.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) host: Host,
    /// Read it even if it is there.
    pub(super) fresh: bool,
    /// Who waits for it.
    pub(super) done: Option<oneshot::Sender<bool>>,
}

/// The one that reads.
#[derive(Debug)]
pub struct Loader {
    shelf: Arc<Shelf>,
    asks: Receiver<Ask>,
    most: usize,
    /// In the order in which they came or were last spared. A name that has gone otherwise is passed over.
    ring: VecDeque<Host>,
    bad: HashMap<Host, Instant>,
}

impl Loader {
    pub(super) fn new(shelf: Arc<Shelf>, asks: Receiver<Ask>, most: usize) -> Self {
        Self {
            shelf,
            asks,
            most,
            ring: VecDeque::new(),
            bad: HashMap::new(),
        }
    }

    /// Reads what is asked for, until nobody is left to ask. `read` gives the certificate in the store.
    pub fn run(mut self, read: impl Fn(&Host) -> Result<Served, String>) {
        while let Ok(ask) = self.asks.recv() {
            let there = !ask.fresh && self.shelf.loaded.contains_key(&ask.host);
            let loaded = there || self.load(&ask, &read);
            if let Some(done) = ask.done {
                // Who has given up waiting has no use for it.
                let _gone = done.send(loaded);
            }
        }
    }

    fn load(&mut self, ask: &Ask, read: &impl Fn(&Host) -> Result<Served, String>) -> bool {
        let host = &ask.host;
        let lately = |at: &Instant| at.elapsed() < PAUSE;
        if !ask.fresh && self.bad.get(host).is_some_and(lately) {
            return false;
        }
        match read(host) {
            Ok(served) => {
                self.bad.remove(host);
                let now = self.shelf.loads.fetch_add(1, Relaxed).saturating_add(1);
                self.keep(host, served, now);
                true
            }
            Err(error) => {
                tracing::error!(domain = %host, %error, "the certificate of a custom domain cannot be loaded");
                self.shelf.failed.fetch_add(1, Relaxed);
                if self.bad.len() >= MOST_BAD {
                    self.bad.retain(|_, at| lately(at));
                }
                if self.bad.len() < MOST_BAD {
                    self.bad.insert(host.clone(), Instant::now());
                }
                false
            }
        }
    }

    fn keep(&mut self, host: &Host, served: Served, now: u64) {
        let loaded = Loaded {
            served: Arc::new(served),
            // The handshake that waits for it comes right after.
            used: AtomicU64::new(now),
        };
        if self.shelf.loaded.insert(host.clone(), loaded).is_none() {
            self.ring.push_back(host.clone());
        }
        while self.shelf.loaded.len() > self.most && self.make_room() {}
    }

    /// Removes one certificate; false if there is none.
    fn make_room(&mut self) -> bool {
        let mut sample: Vec<(u64, Host)> = Vec::with_capacity(SAMPLE);
        while sample.len() < SAMPLE {
            let Some(host) = self.ring.pop_front() else {
                break;
            };
            // One that has gone otherwise is passed over.
            let used = self.shelf.loaded.get(&host);
            if let Some(used) = used.map(|loaded| loaded.used.load(Relaxed)) {
                sample.push((used, host));
            }
        }
        let oldest = (0..sample.len()).min_by_key(|at| sample.get(*at).map(|(used, _)| *used));
        let Some((_, oldest)) = oldest.map(|at| sample.remove(at)) else {
            return false;
        };
        self.ring.extend(sample.into_iter().map(|(_, host)| host));
        self.shelf.loaded.remove(&oldest);
        self.shelf.evicted.fetch_add(1, Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::super::OnDemand;
    use super::super::follower::{Known, number_of};
    use super::super::register::Standing;
    use super::*;
    use crate::cert::lineage::Lineage;
    use crate::cert::{bundle, live::CertName};
    use crate::clock::UnixTime;
    use crate::config::Challenge;

    fn host(number: usize) -> Host {
        Host::parse(&format!("h{number}.test")).unwrap()
    }

    fn served(host: &Host, generation: u64) -> Served {
        let lineage = Lineage {
            name: host.clone(),
            names: vec![CertName::Exact(host.clone())],
            challenge: Challenge::TlsAlpn01,
        };
        let mut served = bundle::placeholder(&lineage, UnixTime::now()).unwrap();
        served.generation = generation;
        served
    }

    #[tokio::test]
    async fn memory_is_bounded_and_those_in_use_stay() {
        let (own, ends) = OnDemand::new(16);
        let own = Arc::new(own);
        let thread = std::thread::spawn(|| ends.loader.run(|host| Ok(served(host, 1))));
        for number in 0..100 {
            assert!(own.load(&host(number)).await);
            assert!(own.find(&host(number)).is_some());
            // Asked for all the time.
            assert!(own.find(&host(0)).is_some(), "{number}");
        }
        let counts = own.shelf().counts();
        assert_eq!((counts.loaded, counts.loads, counts.evicted), (16, 100, 84));
        drop(own);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn one_reads_for_all_and_what_cannot_be_read_waits() {
        let (own, ends) = OnDemand::new(16);
        let own = Arc::new(own);
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reads);
        let bad = host(1);
        let generation = Arc::new(AtomicU64::new(1));
        let stored = Arc::clone(&generation);
        let thread = std::thread::spawn(move || {
            ends.loader.run(|host| {
                counted.fetch_add(1, Relaxed);
                if *host == bad {
                    return Err("injected".to_owned());
                }
                match stored.load(Relaxed) {
                    0 => Err("injected".to_owned()),
                    generation => Ok(served(host, generation)),
                }
            });
        });
        let (first, second) = (host(0), host(0));
        let (a, b) = tokio::join!(own.load(&first), own.load(&second));
        assert!(a && b);
        assert_eq!(reads.load(Relaxed), 1);
        for _ in 0..10 {
            assert!(!own.load(&host(1)).await);
        }
        assert_eq!(reads.load(Relaxed), 2);
        // A newer one takes its place; one that cannot be read does not.
        for (stored, expected) in [(2, 2), (0, 2), (3, 3)] {
            generation.store(stored, Relaxed);
            own.renew(&host(0));
            // The queue is in order: this one is answered after that.
            own.load(&host(0)).await;
            assert_eq!(own.find(&host(0)).unwrap().generation, expected);
        }
        own.renew(&host(2));
        assert!(own.find(&host(2)).is_none(), "only what is in memory");
        drop(own);
        thread.join().unwrap();
    }

    #[test]
    fn names_are_known_without_their_certificates() {
        let (own, _ends) = OnDemand::new(16);
        let known = |generation| Known {
            generation,
            standing: Standing::Served,
            tenant: number_of("t"),
        };
        own.shelf().note(&host(0), known(0));
        own.shelf().note(&host(1), known(4));
        assert!(!own.is_stored(&host(0)) && own.is_stored(&host(1)));
        assert!(!own.is_stored(&host(2)));
        assert_eq!(own.shelf().names(|name| *name != host(0)), [host(1)]);
        own.shelf().forget(&host(1));
        assert!(!own.is_stored(&host(1)));
        assert_eq!(own.shelf().len(), 1);
    }
}

//! The certificates in service: the table that the TLS resolver reads in each handshake.
//!
//! Publishing swaps the whole table in one step; a handshake under way keeps the entry it holds. Nothing here reads
//! files, proves a pair or knows how a certificate came about: an entry is built by `cert::bundle`, which proves it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;

use super::answers::Answers;
use super::on_demand::OnDemand;
use super::store::Lock;
use crate::clock::UnixTime;
use crate::host::Host;

/// A certificate name: exact, or a wildcard for one label below a parent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertName {
    /// `example.com`
    Exact(Host),
    /// `*.example.com`, held as `example.com`
    Wildcard(Host),
}

impl CertName {
    /// Whether a client that wants `host` may accept a certificate with this name (RFC 6125 §6.4.3: a wildcard
    /// stands for exactly one label).
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(parent) => host
                .split_first()
                .is_some_and(|(_, rest)| rest == parent.as_str()),
        }
    }
}

impl std::fmt::Display for CertName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// One proven certificate with its key.
#[derive(Debug)]
pub struct Served {
    /// Chain and key for rustls.
    pub key: Arc<CertifiedKey>,
    /// The DNS names of the leaf.
    pub names: Vec<CertName>,
    /// Start of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// Serial number, lower-case hexadecimal without separators.
    pub serial: String,
    /// Which lineage (set of names) of the store it belongs to.
    pub lineage: String,
    /// Number of the generation in the store.
    pub generation: u64,
    /// Whether this is a stand-in that no client trusts, served until the first real certificate is there.
    pub placeholder: bool,
    /// Tells the store that this generation is in service; none if it is not of a store.
    pub held: Option<Box<dyn Lock>>,
}

impl Served {
    /// Whether one of the names covers `host`.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }
}

/// All certificates in service at one time.
#[derive(Debug, Default)]
pub struct Table {
    all: Vec<Arc<Served>>,
    exact: HashMap<Host, Arc<Served>, foldhash::fast::RandomState>,
    wildcard: HashMap<Host, Arc<Served>, foldhash::fast::RandomState>,
}

impl Table {
    /// Builds a table. The first entry is the default for clients without SNI; of two entries with one name the one
    /// that expires later wins.
    #[must_use]
    pub fn new(all: Vec<Arc<Served>>) -> Self {
        let mut table = Self::default();
        for served in &all {
            for name in &served.names {
                let (map, host) = match name {
                    CertName::Exact(host) => (&mut table.exact, host),
                    CertName::Wildcard(parent) => (&mut table.wildcard, parent),
                };
                let slot = map
                    .entry(host.clone())
                    .or_insert_with(|| Arc::clone(served));
                if slot.not_after < served.not_after {
                    *slot = Arc::clone(served);
                }
            }
        }
        table.all = all;
        table
    }

    /// The certificate for a client that asked for `sni`: exact before wildcard; without SNI the default. `None` if
    /// nothing covers the name.
    #[must_use]
    pub fn find(&self, sni: Option<&Host>) -> Option<&Arc<Served>> {
        let Some(host) = sni else {
            return self.all.first();
        };
        self.exact.get(host).or_else(|| {
            host.split_first()
                .and_then(|(_, parent)| self.wildcard.get(parent))
        })
    }

    /// Every certificate, the default first.
    #[must_use]
    pub fn all(&self) -> &[Arc<Served>] {
        &self.all
    }
}

/// The table in service. Shared by all workers; reading takes no lock.
#[derive(Debug, Default)]
pub struct Live {
    table: ArcSwap<Table>,
    answers: ArcSwap<Answers>,
    /// Set before the first handshake, or never.
    on_demand: OnceLock<OnDemand>,
}

impl Live {
    /// Puts a new table into service. Handshakes that began before keep the old one.
    pub fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// The table in service.
    #[must_use]
    pub fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// The certificate for a client that asked for `sni`, of those in memory: the table first, then custom domains.
    #[must_use]
    pub fn find(&self, sni: Option<&Host>) -> Option<Arc<Served>> {
        if let Some(served) = self.table().find(sni) {
            return Some(Arc::clone(served));
        }
        self.on_demand.get()?.find(sni?)
    }

    /// Lets custom domains have certificates. The second time changes nothing.
    pub fn set_on_demand(&self, on_demand: OnDemand) {
        // There is one caller, at the start.
        drop(self.on_demand.set(on_demand));
    }

    /// The certificates of custom domains, if there are to be any.
    #[must_use]
    pub fn on_demand(&self) -> Option<&OnDemand> {
        self.on_demand.get()
    }

    /// Puts other answers to CAs into service.
    pub fn publish_answers(&self, answers: Answers) {
        self.answers.store(Arc::new(answers));
    }

    /// The answers to CAs in service.
    #[must_use]
    pub fn answers(&self) -> arc_swap::Guard<Arc<Answers>> {
        self.answers.load()
    }
}

//! Brings certificates from the store into service.
//!
//! Everything is loaded and proven before anything is swapped; what cannot be loaded leaves the certificate in service
//! as it is. A domain without any certificate gets a placeholder, so that a client sees a certificate error and not a
//! broken connection.

use std::sync::Arc;

use crate::cert::answers::Answers;
use crate::cert::bundle;
use crate::cert::lineage::Lineage;
use crate::cert::live::{Live, Served, Table};
use crate::cert::store::{Store, load_all};
use crate::clock::UnixTime;
use crate::host::Host;

/// Keeps the table in service in step with the store.
#[derive(Debug)]
pub struct Certs {
    store: Box<dyn Store>,
    live: Arc<Live>,
    seen: u64,
    answers_seen: u64,
}

impl Certs {
    /// Nothing is loaded yet.
    #[must_use]
    pub fn new(store: Box<dyn Store>, live: Arc<Live>) -> Self {
        Self {
            store,
            live,
            seen: 0,
            answers_seen: 0,
        }
    }

    /// Loads if the store has changed since the last look. Returns whether any certificate was loaded.
    pub fn refresh(&mut self, lineages: &[Lineage]) -> bool {
        self.refresh_answers();
        let fingerprint = self.store.fingerprint();
        if fingerprint == self.seen {
            return false;
        }
        self.load(lineages);
        self.seen = fingerprint;
        true
    }

    /// Loads what a CA is to be answered, if that has changed.
    fn refresh_answers(&mut self) {
        let fingerprint = self.store.answers_fingerprint();
        if fingerprint == self.answers_seen {
            return;
        }
        match self.store.answers() {
            Ok(all) => {
                let (answers, problems) = Answers::new(all);
                for problem in problems {
                    tracing::error!("an answer to the CA cannot be served: {problem}");
                }
                tracing::debug!(count = answers.len(), "answers to the CA in service");
                self.live.publish_answers(answers);
                self.answers_seen = fingerprint;
            }
            Err(error) => tracing::error!(%error, "the answers to the CA cannot be read"),
        }
    }

    /// Loads, changed or not.
    pub fn load(&self, lineages: &[Lineage]) {
        let (loaded, problems) = load_all(&*self.store, lineages);
        for problem in &problems {
            tracing::error!(error = %problem, "a certificate cannot be loaded; the one in service stays");
        }
        let old = self.live.table();
        let mut table: Vec<Arc<Served>> = Vec::new();
        let mut loaded: Vec<Arc<Served>> = loaded.into_iter().map(Arc::new).collect();
        for wanted in lineages {
            let lineage = wanted.name.as_str();
            let before = old.all().iter().find(|served| served.lineage == lineage);
            if let Some(place) = loaded.iter().position(|served| served.lineage == lineage) {
                let served = loaded.swap_remove(place);
                announce(&served, before.map(|served| &**served));
                table.push(served);
            } else if let Some(before) = before {
                table.push(Arc::clone(before));
            } else {
                match bundle::placeholder(wanted, UnixTime::now()) {
                    Ok(served) => table.push(Arc::new(served)),
                    Err(error) => {
                        tracing::error!(%error, domain = lineage, "no placeholder can be made")
                    }
                }
            }
        }
        self.live.publish(Table::new(table));
    }
}

fn announce(new: &Served, old: Option<&Served>) {
    if old.is_some_and(|old| old.serial == new.serial) {
        return;
    }
    let days = new.not_after.seconds_since(UnixTime::now()) / 86400;
    tracing::info!(
        domain = %new.lineage,
        serial = %new.serial,
        generation = new.generation,
        not_after = %new.not_after,
        days_left = days,
        "certificate in service"
    );
}

/// Whether every one of `domains` has a real certificate in force; what is missing otherwise. Certificates of single
/// names do not count: some of them can be obtained only while clients, and so the CA, are let in.
#[must_use]
pub fn missing(live: &Live, domains: &[Host], now: UnixTime) -> Vec<String> {
    let table = live.table();
    let own = |lineage: &str| domains.iter().any(|domain| domain.as_str() == lineage);
    table
        .all()
        .iter()
        .filter(|served| own(&served.lineage))
        .filter_map(|served| {
            let name = &served.lineage;
            if served.placeholder {
                Some(format!(
                    "no certificate for `{name}` yet; run `portico cert issue`"
                ))
            } else if served.not_after <= now {
                Some(format!(
                    "the certificate for `{name}` expired at {}; run `portico cert renew`",
                    served.not_after
                ))
            } else {
                None
            }
        })
        .collect()
}

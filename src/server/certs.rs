//! Brings certificates from the store into service.
//!
//! Everything is loaded and proven before anything is swapped; what cannot be loaded leaves the certificate in service
//! as it is. A domain without any certificate gets a placeholder, so that a client sees a certificate error and not a
//! broken connection.

use std::sync::Arc;

use crate::cert::bundle;
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
}

impl Certs {
    /// Nothing is loaded yet.
    #[must_use]
    pub fn new(store: Box<dyn Store>, live: Arc<Live>) -> Self {
        Self {
            store,
            live,
            seen: 0,
        }
    }

    /// Loads if the store has changed since the last look. Returns whether anything was loaded.
    pub fn refresh(&mut self, domains: &[Host]) -> bool {
        let fingerprint = self.store.fingerprint();
        if fingerprint == self.seen {
            return false;
        }
        self.load(domains);
        self.seen = fingerprint;
        true
    }

    /// Loads, changed or not.
    pub fn load(&self, domains: &[Host]) {
        let (loaded, problems) = load_all(&*self.store, domains);
        for problem in &problems {
            tracing::error!(error = %problem, "a certificate cannot be loaded; the one in service stays");
        }
        let old = self.live.table();
        let mut table: Vec<Arc<Served>> = Vec::new();
        let mut loaded: Vec<Arc<Served>> = loaded.into_iter().map(Arc::new).collect();
        for domain in domains {
            let lineage = domain.as_str();
            let before = old.all().iter().find(|served| served.lineage == lineage);
            if let Some(place) = loaded.iter().position(|served| served.lineage == lineage) {
                let served = loaded.swap_remove(place);
                announce(&served, before.map(|served| &**served));
                table.push(served);
            } else if let Some(before) = before {
                table.push(Arc::clone(before));
            } else {
                match bundle::placeholder(std::slice::from_ref(domain), UnixTime::now()) {
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

/// Whether every domain has a real certificate in force; what is missing otherwise.
#[must_use]
pub fn missing(live: &Live, now: UnixTime) -> Vec<String> {
    let table = live.table();
    table
        .all()
        .iter()
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

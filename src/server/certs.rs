//! Brings certificates from the store into service.
//!
//! Everything is loaded and proven before anything is swapped; what cannot be loaded leaves the certificate in service
//! as it is. A domain without any certificate gets a placeholder, so that a client sees a certificate error and not a
//! broken connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cert::answers::Answers;
use crate::cert::bundle::{self, Bundle};
use crate::cert::files::Files;
use crate::cert::lineage::Lineage;
use crate::cert::live::{Live, Served, Table};
use crate::cert::store::Store;
use crate::cert::store::file::FileStore;
use crate::clock::UnixTime;
use crate::config::{CertOrigin, Config};
use crate::host::Host;

/// Where certificates are read from.
#[derive(Debug)]
pub enum Origin {
    /// Ours.
    Store(Box<dyn Store>),
    /// Those of another program.
    Files(Files),
}

impl Origin {
    /// As the configuration says.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        match &config.certs {
            CertOrigin::Acme => Self::Store(Box::new(FileStore::new(&config.state_dir))),
            CertOrigin::Files(files) => Self::Files(Files::new(files.clone())),
        }
    }

    fn fingerprint(&self, lineages: &[Lineage]) -> u64 {
        match self {
            Self::Store(store) => store.fingerprint(),
            Self::Files(files) => {
                let names: Vec<Host> = lineages
                    .iter()
                    .map(|lineage| lineage.name.clone())
                    .collect();
                files.fingerprint(&names)
            }
        }
    }

    /// `held` is the generation in service. One that is older takes its place only if somebody made it current, and
    /// never because a newer one cannot be read any more: what is in service is good.
    fn load(&self, domain: &Host, held: Option<u64>) -> Result<Option<Served>, String> {
        match self {
            Self::Store(store) => match store.load(domain) {
                Ok(Some(stored)) => match stored.instead_of {
                    Some(reason) if held.is_some_and(|held| held > stored.generation) => {
                        Err(reason)
                    }
                    _ => {
                        warn_if_alone(domain, &stored.bundle);
                        let generation = stored.generation;
                        let mut served = stored.bundle.into_served(domain.as_str(), generation);
                        served.held = store.hold(domain, generation);
                        Ok(Some(served))
                    }
                },
                Ok(None) => Ok(None),
                Err(error) => Err(error.to_string()),
            },
            Self::Files(files) => match files.load(domain) {
                Ok(bundle) => {
                    warn_if_alone(domain, &bundle);
                    Ok(Some(bundle.into_served(domain.as_str(), 0)))
                }
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// What could not be loaded at the last look, by lineage. Shared with the admin listener.
#[derive(Debug, Default)]
pub struct Faults(Mutex<BTreeMap<String, String>>);

impl Faults {
    /// Why the certificate of a lineage could not be loaded; none if it could.
    #[must_use]
    pub fn of(&self, lineage: &str) -> Option<String> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.get(lineage).cloned()
    }

    fn replace(&self, faults: BTreeMap<String, String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }
}

/// Keeps the table in service in step with the store.
#[derive(Debug)]
pub struct Certs {
    origin: Origin,
    live: Arc<Live>,
    faults: Arc<Faults>,
    seen: Option<u64>,
    /// What the files of another program were like at the last look, if that was new.
    moving: Option<u64>,
    answers_seen: u64,
}

impl Certs {
    /// Nothing is loaded yet.
    #[must_use]
    pub fn new(origin: Origin, live: Arc<Live>, faults: Arc<Faults>) -> Self {
        Self {
            origin,
            live,
            faults,
            seen: None,
            moving: None,
            answers_seen: 0,
        }
    }

    /// Loads if the store has changed since the last look. Returns whether any certificate was loaded.
    pub fn refresh(&mut self, lineages: &[Lineage]) -> bool {
        self.refresh_answers();
        let fingerprint = self.origin.fingerprint(lineages);
        if self.seen == Some(fingerprint) {
            self.moving = None;
            return false;
        }
        // Another program replaces chain and key one after the other: wait until both have come to rest.
        let still = self.moving == Some(fingerprint) || self.seen.is_none();
        if matches!(self.origin, Origin::Files(_)) && !still {
            self.moving = Some(fingerprint);
            return false;
        }
        self.load(lineages);
        self.seen = Some(fingerprint);
        true
    }

    /// Loads what a CA is to be answered, if that has changed.
    fn refresh_answers(&mut self) {
        let Origin::Store(store) = &self.origin else {
            return;
        };
        let fingerprint = store.answers_fingerprint();
        if fingerprint == self.answers_seen {
            return;
        }
        match store.answers() {
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
        let now = UnixTime::now();
        let old = self.live.table();
        let mut table: Vec<Arc<Served>> = Vec::new();
        let mut faults = BTreeMap::new();
        for wanted in lineages {
            let lineage = wanted.name.as_str();
            let before = old.all().iter().find(|served| served.lineage == lineage);
            let held = before.filter(|before| !before.placeholder && before.not_after > now);
            let held = held.map(|held| held.generation);
            let loaded = self.origin.load(&wanted.name, held).and_then(|new| {
                match (&new, before) {
                    // An expired certificate is better than none, and worse than one that is still good.
                    (Some(new), Some(before))
                        if new.not_after <= now
                            && before.not_after > now
                            && !before.placeholder =>
                    {
                        Err(format!("it expired at {}", new.not_after))
                    }
                    _ => Ok(new),
                }
            });
            let loaded = loaded.unwrap_or_else(|error| {
                let kept = if before.is_some_and(|before| !before.placeholder) {
                    "the one in service stays"
                } else {
                    "there is none in service"
                };
                tracing::error!(domain = lineage, %error, "a certificate cannot be loaded; {kept}");
                faults.insert(lineage.to_owned(), error);
                None
            });
            if let Some(served) = loaded {
                announce(&served, before.map(|served| &**served));
                table.push(Arc::new(served));
            } else if let Some(before) = before {
                table.push(Arc::clone(before));
            } else {
                match bundle::placeholder(wanted, now) {
                    Ok(served) => table.push(Arc::new(served)),
                    Err(error) => {
                        tracing::error!(%error, domain = lineage, "no placeholder can be made")
                    }
                }
            }
        }
        self.faults.replace(faults);
        self.live.publish(Table::new(table));
    }
}

/// It is served all the same: a client that knows the issuer takes it, and none would do without it.
fn warn_if_alone(domain: &Host, bundle: &Bundle) {
    if bundle.lacks_issuer() {
        tracing::warn!(%domain, serial = bundle.serial(), "{}", bundle::ALONE);
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

/// Whether every one of `domains` has a real certificate in force; what is missing otherwise, and what `next` says of
/// it. Certificates of single names do not count: some of them can be obtained only while clients, and so the CA, are
/// let in.
#[must_use]
pub fn missing(
    live: &Live,
    domains: &[Host],
    now: UnixTime,
    next: impl Fn(&str) -> String,
) -> Vec<String> {
    let table = live.table();
    let own = |lineage: &str| domains.iter().any(|domain| domain.as_str() == lineage);
    table
        .all()
        .iter()
        .filter(|served| own(&served.lineage))
        .filter_map(|served| {
            let name = &served.lineage;
            let what = if served.placeholder {
                format!("no certificate for `{name}` yet")
            } else if served.not_after <= now {
                format!(
                    "the certificate for `{name}` expired at {}",
                    served.not_after
                )
            } else {
                return None;
            };
            Some(format!("{what}; {}", next(name)))
        })
        .collect()
}

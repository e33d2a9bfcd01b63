//! How TXT records of ours go: removed at the provider, and struck out of the ledger once every authoritative server
//! says that they are gone.
//!
//! The ledger ([`Store::debts`]) has a value from before the provider hears of it. A provider that says "removed" while
//! the value is still there keeps it in the ledger, and the next run tries again. Nothing that is not in the ledger is
//! ever touched. Assumes that the caller holds the lineage's lock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dns::{Output, Provider, Txt};
use super::error::AcmeError;
use super::propagation::{Propagation, PropagationError};
use crate::cert::failpoint;
use crate::cert::store::{Debt, Store};
use crate::clock::UnixTime;
use crate::host::Host;

/// How long the servers are watched until a removed value is gone from all of them.
const PATIENCE: Duration = Duration::from_secs(10);
/// A value older than this is nobody's if its order is not known; and servers that still have it are asked once only.
const OLD: i64 = 3600;

/// What is needed to remove values.
pub(super) struct Removal<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) lineage: &'a Host,
    /// All names of the lineage.
    pub(super) names: &'a [String],
    pub(super) provider: &'a mut Provider,
    pub(super) propagation: &'a Propagation,
}

impl Removal<'_> {
    /// Removes these values and gives back what came of each.
    pub(super) async fn run(
        self,
        debts: Vec<Debt>,
        out: Output<'_>,
    ) -> Vec<(Debt, Result<(), AcmeError>)> {
        let mut ended = Vec::new();
        let mut removed: BTreeMap<String, Vec<Debt>> = BTreeMap::new();
        let count = debts.len();
        for (debt, left) in debts.into_iter().zip((0..count).rev()) {
            // A person need not be told of what is gone already.
            if self.provider.is_person() && self.remains(&debt).await.is_none() {
                let paid = self.store.paid(self.lineage, &debt);
                ended.push((debt, paid.map_err(AcmeError::from)));
                continue;
            }
            match self
                .provider
                .remove(&txt(&debt, self.names, left), out)
                .await
            {
                Ok(()) => {
                    failpoint::hit(failpoint::RECORD_REMOVED);
                    removed.entry(debt.fqdn.clone()).or_default().push(debt);
                }
                Err(error) => ended.push((debt, Err(error.into()))),
            }
        }
        for (fqdn, debts) in removed {
            let found = if self.provider.removal_shows() {
                let values: Vec<&str> = debts.iter().map(|debt| debt.value.as_str()).collect();
                let limit = patience(self.provider, &debts, UnixTime::now());
                self.propagation.remains(&fqdn, &values, limit).await
            } else {
                vec![None; debts.len()]
            };
            for (debt, found) in debts.into_iter().zip(found) {
                let settled = match found {
                    None => self
                        .store
                        .paid(self.lineage, &debt)
                        .map_err(AcmeError::from),
                    Some(state) => Err(AcmeError::from(PropagationError::StillThere {
                        name: fqdn.clone(),
                        value: debt.value.clone(),
                        state,
                    })),
                };
                ended.push((debt, settled));
            }
        }
        ended
    }

    async fn remains(&self, debt: &Debt) -> Option<String> {
        let values = [debt.value.as_str()];
        let found = self
            .propagation
            .remains(&debt.fqdn, &values, Duration::ZERO);
        found.await.into_iter().next().flatten()
    }
}

/// Nobody waits for a person, nor again for a value that an earlier run has waited for.
fn patience(provider: &Provider, debts: &[Debt], now: UnixTime) -> Duration {
    if provider.is_person() || debts.iter().all(|debt| is_old(debt, now)) {
        Duration::ZERO
    } else {
        PATIENCE
    }
}

/// Whether a value has been in the ledger for so long that an order that is not known cannot be about to use it.
pub(super) fn is_old(debt: &Debt, now: UnixTime) -> bool {
    debt.since
        .is_none_or(|since| now.seconds_since(since).abs() > OLD)
}

/// What the provider is told of a value. `remaining`: how many follow.
pub(super) fn txt(debt: &Debt, names: &[String], remaining: usize) -> Txt {
    Txt {
        domain: debt.domain.clone(),
        zone: debt.zone.clone(),
        fqdn: debt.fqdn.clone(),
        value: debt.value.clone(),
        proof: debt.proof.clone(),
        all: names.to_vec(),
        remaining,
    }
}

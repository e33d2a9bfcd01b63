//! The DNS side of an order without the order.
//!
//! [`trial`] publishes a value, sees it at every name server and removes it: it shows whether provider, zone and name
//! servers are what they should be. [`sweep`] removes what the ledger says is still in DNS. Neither asks a CA for
//! anything. A value is in the ledger from before it is published, so a run that dies leaves nothing unknown behind.

use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

use super::dns::{Output, Provider};
use super::error::AcmeError;
use super::ledger::{self, Removal};
use super::propagation::{Place, Propagation, PropagationError, Sight};
use crate::cert::lineage::Lineage;
use crate::cert::store::file::FileStore;
use crate::cert::store::{Debt, Store};
use crate::clock::UnixTime;
use crate::config::{Config, Dns};
use crate::host::Host;

/// What a trial has shown.
#[derive(Debug)]
pub struct Trial {
    /// The record's name, after delegation.
    pub fqdn: String,
    /// The zone that holds it.
    pub zone: String,
    /// What stands in `provider =`.
    pub provider: &'static str,
    /// What each address of each name server said last.
    pub sights: Vec<Sight>,
    /// How long it took until all of them had the value, or why they did not.
    pub visible: Result<Duration, PropagationError>,
    /// Whether the value could be removed.
    pub removed: Result<(), AcmeError>,
}

/// Tries the record `owner` (without trailing dot), which proves `host`; `None` if another process is at work on the
/// lineage.
///
/// # Errors
/// [`AcmeError`] if the value could not even be published.
pub async fn trial(
    dns: &Dns,
    store: &dyn Store,
    lineage: &Host,
    (host, owner): (&Host, &str),
    out: Output<'_>,
) -> Result<Option<Trial>, AcmeError> {
    let Some(_lock) = store.lock(lineage)? else {
        return Ok(None);
    };
    store.probe()?;
    let mut provider = Provider::new(dns)?;
    let propagation = Propagation::new(dns);
    let place = propagation.locate_name(owner).await?;
    let debt = Debt {
        domain: host.to_string(),
        zone: zone_for(&provider, &place, host)?,
        fqdn: place.fqdn(),
        value: probe_value()?,
        since: Some(UnixTime::now()),
        ..Debt::default()
    };
    provider.open().await?;
    store.owe(lineage, &debt)?;
    let tried = publish(&mut provider, &propagation, &place, &debt, out).await;
    // Also if publishing failed: a call that failed may have worked.
    let debts = vec![debt.clone()];
    let removed = remove(&mut provider, &propagation, store, lineage, debts, out).await;
    let removed = removed.into_iter().try_for_each(|(_, removed)| removed);
    provider.close().await;
    let (sights, visible) = tried?;
    Ok(Some(Trial {
        fqdn: debt.fqdn,
        zone: debt.zone,
        provider: provider.name(),
        sights,
        visible,
        removed,
    }))
}

/// Removes every value that the ledger of a domain holds, and gives back what came of each; `None` if another process is
/// at work on the domain.
///
/// # Errors
/// [`AcmeError`] if the ledger or the provider cannot be used at all.
pub async fn sweep(
    dns: &Dns,
    store: &dyn Store,
    domain: &Host,
    out: Output<'_>,
) -> Result<Option<Vec<(Debt, Result<(), AcmeError>)>>, AcmeError> {
    let Some(_lock) = store.lock(domain)? else {
        return Ok(None);
    };
    let debts = store.debts(domain)?;
    if debts.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let mut provider = Provider::new(dns)?;
    let propagation = Propagation::new(dns);
    let ended = remove(&mut provider, &propagation, store, domain, debts, out).await;
    Ok(Some(ended))
}

/// The domains that the store has TXT records of and the configuration does not have any more: nobody else comes back to
/// them.
#[must_use]
pub fn forgotten(config: &Config, store: &FileStore) -> Vec<Host> {
    let known = Lineage::all(config);
    let left = |domain: &Host| store.debts(domain).is_ok_and(|debts| !debts.is_empty());
    store
        .lineages()
        .into_iter()
        .filter(|domain| known.iter().all(|lineage| lineage.name != *domain))
        .filter(left)
        .collect()
}

/// The zone that the provider is told.
///
/// # Errors
/// [`AcmeError::Config`] if the provider needs one and none was found.
pub(super) fn zone_for(
    provider: &Provider,
    place: &Place,
    domain: &Host,
) -> Result<String, AcmeError> {
    if provider.owns_zone() {
        return Ok(place.delegated_zone().unwrap_or_else(|| place.fqdn()));
    }
    match place.zone() {
        Some(zone) => Ok(zone),
        None if provider.needs_zone() => Err(AcmeError::Config(format!(
            "cannot find the DNS zone of `{}`\nhint: set `zone` in [acme.dns]",
            place.fqdn()
        ))),
        None => Ok(domain.to_string()),
    }
}

async fn publish(
    provider: &mut Provider,
    propagation: &Propagation,
    place: &Place,
    debt: &Debt,
    out: Output<'_>,
) -> Result<(Vec<Sight>, Result<Duration, PropagationError>), AcmeError> {
    let names = [debt.domain.clone()];
    provider.add(&ledger::txt(debt, &names, 0), out).await?;
    let values = [debt.value.clone()];
    let visible = propagation.wait(place, &values).await;
    Ok((propagation.sights(place, &values).await, visible))
}

async fn remove(
    provider: &mut Provider,
    propagation: &Propagation,
    store: &dyn Store,
    domain: &Host,
    debts: Vec<Debt>,
    out: Output<'_>,
) -> Vec<(Debt, Result<(), AcmeError>)> {
    let removal = Removal {
        store,
        lineage: domain,
        names: &[domain.to_string()],
        provider,
        propagation,
    };
    removal.run(debts, out).await
}

/// A value of the form that challenges have (43 characters, RFC 8555 §8.4), which some services insist on.
pub(super) fn probe_value() -> Result<String, AcmeError> {
    let mut bytes = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_no_more_is_known| {
            AcmeError::Config("this machine gives no random numbers".to_owned())
        })?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

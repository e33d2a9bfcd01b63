//! Taking in a certificate that somebody else obtained.

use zeroize::Zeroizing;

use super::{Meta, NewGeneration, Store, StoreError, Stored};
use crate::cert::bundle::{self, Bundle};
use crate::cert::lineage::Lineage;
use crate::clock::UnixTime;
use crate::host::Host;

/// Stores a chain and its key as a new generation of every lineage whose names it covers, and says which.
///
/// # Errors
/// [`StoreError::Bad`] if the pair is no certificate or is out of its dates, [`StoreError::Foreign`] if it covers no
/// lineage with all its names, [`StoreError::Busy`] during a renewal, or what the store says.
pub fn import(
    store: &dyn Store,
    lineages: &[Lineage],
    fullchain: &str,
    key: &Zeroizing<String>,
    now: UnixTime,
) -> Result<Vec<(Host, Stored)>, StoreError> {
    let bad = |error| StoreError::Bad {
        path: "import".into(),
        error,
    };
    let bundle = Bundle::parse(fullchain.as_bytes(), key.as_bytes()).map_err(bad)?;
    bundle.check_dates(now).map_err(bad)?;
    let covered: Vec<&Host> = lineages
        .iter()
        .filter(|lineage| bundle.check_names(&lineage.names).is_ok())
        .map(|lineage| &lineage.name)
        .collect();
    if covered.is_empty() {
        return Err(StoreError::Foreign(bundle::join(bundle.names())));
    }
    let meta = Meta {
        stored_at: Some(now),
        ..Meta::default()
    };
    let new = NewGeneration {
        fullchain: fullchain.to_owned(),
        key: key.clone(),
        meta,
    };
    let stored = covered.into_iter().map(|domain| {
        let lock = store.lock(domain)?;
        let _lock = lock.ok_or_else(|| StoreError::Busy(domain.clone()))?;
        Ok((domain.clone(), store.put(domain, &new)?))
    });
    stored.collect()
}

//! What `cert reconcile` does for domains that were taken out of the configuration: their records are removed.

use std::io::Write;

use super::CertError;
use crate::acme::trial;
use crate::cert::store::file::FileStore;
use crate::config::Config;

/// Removes TXT records of domains that were taken out of the configuration. What cannot be removed is tried again by the
/// next run; it changes nothing for the domains that there are.
pub(super) async fn clean(
    config: &Config,
    store: &FileStore,
    out: &mut (dyn Write + Send),
) -> Result<(), CertError> {
    let Some(dns) = &config.acme.dns else {
        return Ok(());
    };
    for domain in trial::forgotten(config, store) {
        let swept = match Box::pin(trial::sweep(dns, store, &domain, out)).await {
            Ok(swept) => swept.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%domain, %error, "TXT records of a domain that is not configured any more are left");
                continue;
            }
        };
        for (debt, removed) in swept {
            let (record, value) = (debt.fqdn, debt.value);
            match removed {
                Ok(()) => writeln!(
                    out,
                    "{domain}: removed {record} TXT {value}, it is not configured any more"
                )?,
                Err(error) => {
                    tracing::warn!(%domain, record, %error, "a TXT record stays for now; the next run removes it")
                }
            }
        }
    }
    Ok(())
}

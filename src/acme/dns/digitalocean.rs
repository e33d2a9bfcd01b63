//! The DigitalOcean API.
//!
//! Records are found by name and value, so a crash between creating and noting cannot lose one. The API's own limits
//! (429) and failures (5xx) are tried again a few times with growing pauses; a refused token is not.

use std::time::Duration;

use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};

use super::{DnsError, TTL, Txt};
use crate::config::CredentialSource;

/// For one call of the API.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pauses between tries.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

/// The API with our token.
pub struct DigitalOcean {
    updater: DnsUpdater,
}

impl std::fmt::Debug for DigitalOcean {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigitalOcean").finish_non_exhaustive()
    }
}

impl DigitalOcean {
    /// Reads `dns_digitalocean_token`.
    pub(super) fn new(credentials: &CredentialSource) -> Result<Self, DnsError> {
        let ini = credentials.read()?;
        let token = ini.require("dns_digitalocean_token")?.expose();
        if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
            let text = format!(
                "`dns_digitalocean_token` in `{credentials}` has a character that no token has"
            );
            return Err(DnsError::Refused(text));
        }
        let updater = DnsUpdater::new_digitalocean(token, Some(PATIENCE))
            .map_err(|error| DnsError::Refused(format!("DigitalOcean: {error}")))?;
        Ok(Self { updater })
    }

    pub(super) async fn add(&self, txt: &Txt) -> Result<(), DnsError> {
        let record = || vec![DnsRecord::TXT(txt.value.clone())];
        let (name, zone) = (txt.fqdn.as_str(), txt.zone.as_str());
        patient(
            async || {
                self.updater
                    .add_to_rrset(name, DnsRecordType::TXT, TTL, record(), zone)
                    .await
            },
            txt,
        )
        .await
    }

    pub(super) async fn remove(&self, txt: &Txt) -> Result<(), DnsError> {
        let record = || vec![DnsRecord::TXT(txt.value.clone())];
        let (name, zone) = (txt.fqdn.as_str(), txt.zone.as_str());
        let call = async || match self
            .updater
            .remove_from_rrset(name, DnsRecordType::TXT, record(), zone)
            .await
        {
            Err(Error::NotFound) => Ok(()), // somebody removed it in between
            other => other,
        };
        patient(call, txt).await
    }
}

async fn patient(call: impl AsyncFn() -> Result<(), Error>, txt: &Txt) -> Result<(), DnsError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match call().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let text = format!(
            "DigitalOcean, record `{}` in zone `{}`: {error}",
            txt.fqdn, txt.zone
        );
        match error {
            Error::Unauthorized => {
                return Err(DnsError::Refused(format!(
                    "{text}\nhint: the token needs the scopes to read and change domains"
                )));
            }
            Error::NotFound => {
                return Err(DnsError::Refused(format!(
                    "{text}\nhint: is this zone in the account of the token? else set `zone` in [acme.dns]"
                )));
            }
            Error::BadRequest => return Err(DnsError::Refused(text)),
            _ => {}
        }
        let Some(pause) = pauses.next() else {
            return Err(DnsError::Failed(text));
        };
        tracing::warn!(error = text, "trying again in {} s", pause.as_secs());
        tokio::time::sleep(pause).await;
    }
}

//! The hosted DNS services, through the `dns-update` library.
//!
//! Records are found by name and value, so a call that failed after it had worked, or a crash between the call and our
//! note of it, cannot make a second one. A service's own limits (429) and failures (5xx) are tried again a few times with
//! growing pauses; a refused credential is not. Whatever of the credentials turns up in a message is blotted out.

mod connect;
mod keys;

use std::time::Duration;

use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};

use self::keys::Keys;
use super::{DnsError, TTL, Txt};
use crate::config::{CredentialSource, Service, Values};

/// For one call of a service.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pauses between tries.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

/// A service with our credentials.
pub struct Hosted {
    service: &'static Service,
    updater: DnsUpdater,
    keys: Keys,
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted")
            .field("service", &self.service.name)
            .finish_non_exhaustive()
    }
}

impl Hosted {
    /// Reads the service's keys.
    pub(super) fn new(
        service: &'static Service,
        credentials: &CredentialSource,
    ) -> Result<Self, DnsError> {
        let keys = Keys::read(service, credentials)?;
        let updater = connect::updater(service.name, &keys)?;
        Ok(Self {
            service,
            updater,
            keys,
        })
    }

    /// What stands in `provider =`.
    pub(super) fn name(&self) -> &'static str {
        self.service.name
    }

    /// Whether a name has one value only, which a new one replaces.
    pub(super) fn holds_one(&self) -> bool {
        self.service.values == Values::One
    }

    pub(super) async fn add(&self, txt: &Txt) -> Result<(), DnsError> {
        let record = || vec![DnsRecord::TXT(txt.value.clone())];
        let (name, zone) = (txt.fqdn.as_str(), txt.zone.as_str());
        let call = async || {
            if self.holds_one() {
                self.updater
                    .set_rrset(name, DnsRecordType::TXT, TTL, record(), zone)
                    .await
            } else {
                self.updater
                    .add_to_rrset(name, DnsRecordType::TXT, TTL, record(), zone)
                    .await
            }
        };
        self.patient(call, txt).await
    }

    pub(super) async fn remove(&self, txt: &Txt) -> Result<(), DnsError> {
        let record = || vec![DnsRecord::TXT(txt.value.clone())];
        let (name, zone) = (txt.fqdn.as_str(), txt.zone.as_str());
        let call = async || {
            let removed = if self.holds_one() {
                self.updater
                    .set_rrset(name, DnsRecordType::TXT, TTL, Vec::new(), zone)
                    .await
            } else {
                self.updater
                    .remove_from_rrset(name, DnsRecordType::TXT, record(), zone)
                    .await
            };
            match removed {
                Err(Error::NotFound) => Ok(()), // somebody removed it in between
                other => other,
            }
        };
        self.patient(call, txt).await
    }

    async fn patient(
        &self,
        call: impl AsyncFn() -> Result<(), Error>,
        txt: &Txt,
    ) -> Result<(), DnsError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match call().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let text = format!(
                "{}, record `{}` in zone `{}`: {}",
                self.service.name,
                txt.fqdn,
                txt.zone,
                self.keys.blot(&error.to_string())
            );
            if let Some(hint) = hopeless(&error) {
                return Err(DnsError::Refused(format!("{text}\nhint: {hint}")));
            }
            let Some(pause) = pauses.next() else {
                return Err(DnsError::Failed(text));
            };
            tracing::warn!(error = text, "trying again in {} s", pause.as_secs());
            tokio::time::sleep(pause).await;
        }
    }
}

/// What an operator can do about an error that no other try will mend.
fn hopeless(error: &Error) -> Option<&'static str> {
    match error {
        Error::Unauthorized => Some(
            "check the credentials: they must be allowed to read and change the zone's records",
        ),
        Error::NotFound => {
            Some("is this zone in the account of the credentials? else set `zone` in [acme.dns]")
        }
        Error::BadRequest => Some("the service does not take this record"),
        Error::InvalidRegion => Some("check the region in the credentials"),
        Error::Unsupported(_) => {
            Some("the service cannot do this; choose another one (`portico dns providers`)")
        }
        // The library has a text only: the status stands in it.
        Error::Api(text) if text.starts_with("HTTP 403") => {
            Some("the credentials are known but not allowed to change this zone")
        }
        Error::Api(text) if text.starts_with("BadRequest") => {
            Some("the service does not take this record")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

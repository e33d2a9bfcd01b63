//! The ways to publish a TXT record.
//!
//! A [`Provider`] adds and removes one value and leaves every other value of the name alone. It does not decide where
//! the record belongs ([`crate::acme::propagation`] does) nor whether it is visible.

#[cfg(feature = "dns-providers")]
mod digitalocean;
mod exec;
mod manual;
mod responder;
mod rfc2136;
pub(crate) mod wire;

use std::io::Write;

use thiserror::Error;

#[cfg(feature = "dns-providers")]
pub use self::digitalocean::DigitalOcean;
pub use self::exec::Exec;
pub use self::manual::Manual;
pub use self::responder::Responder;
pub use self::rfc2136::Rfc2136;
use crate::config::{Dns, DnsProvider, SecretError};

/// Time to live of our records: they are gone within the minute, and a retry must not meet an old answer.
const TTL: u32 = 30;

/// Why a record could not be published or removed.
#[derive(Debug, Error)]
pub enum DnsError {
    /// The configuration or the credentials are wrong: no use to try again before somebody changes them.
    #[error("{0}")]
    Refused(String),
    /// It may work another time.
    #[error("{0}")]
    Failed(String),
}

impl From<SecretError> for DnsError {
    fn from(error: SecretError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Self::Refused(format!("{error}{}", cause.unwrap_or_default()))
    }
}

/// One TXT value at one name, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txt {
    /// The domain that it proves.
    pub domain: String,
    /// The zone that the record is in, without trailing dot.
    pub zone: String,
    /// The record's name (after delegation by CNAME), without trailing dot.
    pub fqdn: String,
    /// The value.
    pub value: String,
    /// All names of the order.
    pub all: Vec<String>,
    /// How many values of this order follow.
    pub remaining: usize,
}

/// Where text for a person goes.
pub type Output<'a> = &'a mut (dyn Write + Send);

/// A configured provider.
#[derive(Debug)]
pub enum Provider {
    /// Dynamic update.
    Rfc2136(Rfc2136),
    /// Our own answers.
    Responder(Responder),
    /// The DigitalOcean API.
    #[cfg(feature = "dns-providers")]
    DigitalOcean(DigitalOcean),
    /// The operator's hook.
    Exec(Exec),
    /// A person.
    Manual(Manual),
}

impl Provider {
    /// Reads the credentials; opens nothing.
    ///
    /// # Errors
    /// [`DnsError::Refused`] names what is wrong with the configuration.
    pub fn new(config: &Dns) -> Result<Self, DnsError> {
        Ok(match &config.provider {
            DnsProvider::Rfc2136 { credentials } => Self::Rfc2136(Rfc2136::new(credentials)?),
            DnsProvider::Responder {
                listen,
                name_server,
            } => Self::Responder(Responder::new(listen.clone(), name_server.clone())),
            #[cfg(feature = "dns-providers")]
            DnsProvider::DigitalOcean { credentials } => {
                Self::DigitalOcean(DigitalOcean::new(credentials)?)
            }
            #[cfg(not(feature = "dns-providers"))]
            DnsProvider::DigitalOcean { .. } => {
                let text = "this build has no hosted DNS providers\nhint: build with `--features dns-providers`";
                return Err(DnsError::Refused(text.to_owned()));
            }
            DnsProvider::Exec { command } => Self::Exec(Exec::new(command)?),
            DnsProvider::Manual => Self::Manual(Manual),
            DnsProvider::None => {
                let text = "no DNS provider is configured\nhint: add `provider` to [acme.dns]";
                return Err(DnsError::Refused(text.to_owned()));
            }
        })
    }

    /// What stands in `provider =`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rfc2136(_) => "rfc2136",
            Self::Responder(_) => "responder",
            #[cfg(feature = "dns-providers")]
            Self::DigitalOcean(_) => "digitalocean",
            Self::Exec(_) => "exec",
            Self::Manual(_) => "manual",
        }
    }

    /// Prepares for an order. Needed before [`Provider::add`].
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn open(&mut self) -> Result<(), DnsError> {
        match self {
            Self::Responder(responder) => responder.open().await,
            _ => Ok(()),
        }
    }

    /// Adds a value, beside those that the name has. That it is there already is fine.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn add(&mut self, txt: &Txt, out: Output<'_>) -> Result<(), DnsError> {
        match self {
            Self::Rfc2136(provider) => provider.add(txt).await,
            Self::Responder(provider) => provider.add(&txt.zone, &txt.fqdn, &txt.value).await,
            #[cfg(feature = "dns-providers")]
            Self::DigitalOcean(provider) => provider.add(txt).await,
            Self::Exec(provider) => provider.add(txt).await,
            Self::Manual(provider) => provider.add(txt, out),
        }
    }

    /// Removes a value and no other. That it is not there is fine.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn remove(&mut self, txt: &Txt, out: Output<'_>) -> Result<(), DnsError> {
        match self {
            Self::Rfc2136(provider) => provider.remove(txt).await,
            Self::Responder(provider) => provider.remove(&txt.zone, &txt.fqdn, &txt.value).await,
            #[cfg(feature = "dns-providers")]
            Self::DigitalOcean(provider) => provider.remove(txt).await,
            Self::Exec(provider) => provider.remove(txt).await,
            Self::Manual(provider) => provider.remove(txt, out),
        }
    }

    /// Ends what [`Provider::open`] began.
    pub async fn close(&mut self) {
        if let Self::Responder(responder) = self {
            responder.close().await;
        }
    }

    /// Whether a record goes into a zone that only this provider knows, so that a zone need not be found.
    #[must_use]
    pub fn owns_zone(&self) -> bool {
        matches!(self, Self::Responder(_))
    }

    /// Whether the provider must be told the zone.
    #[must_use]
    pub fn needs_zone(&self) -> bool {
        match self {
            Self::Rfc2136(_) => true,
            #[cfg(feature = "dns-providers")]
            Self::DigitalOcean(_) => true,
            Self::Responder(_) | Self::Exec(_) | Self::Manual(_) => false,
        }
    }
}

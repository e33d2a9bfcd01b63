//! The ways to publish a TXT record.
//!
//! A [`Provider`] adds and removes one value and leaves every other value of the name alone. It does not decide where
//! the record belongs ([`crate::acme::propagation`] does) nor whether it is visible.

mod acme_dns;
mod exec;
#[cfg(feature = "dns-providers")]
mod hosted;
mod httpreq;
mod manual;
mod responder;
mod rfc2136;
mod web;
pub(crate) mod wire;

use std::io::Write;

use thiserror::Error;

pub use self::acme_dns::AcmeDns;
pub use self::exec::Exec;
#[cfg(feature = "dns-providers")]
pub use self::hosted::Hosted;
pub use self::httpreq::HttpReq;
pub use self::manual::Manual;
pub use self::responder::Responder;
pub use self::rfc2136::Rfc2136;
use crate::cert::store::Proof;
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
    /// What the value was made of, if it is known.
    pub proof: Option<Proof>,
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
    /// An acme-dns server.
    AcmeDns(AcmeDns),
    /// Lego's JSON over HTTP.
    HttpReq(HttpReq),
    /// A hosted service.
    #[cfg(feature = "dns-providers")]
    Hosted(Box<Hosted>),
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
            DnsProvider::AcmeDns {
                credentials,
                endpoint,
            } => Self::AcmeDns(AcmeDns::new(credentials, endpoint.as_deref())?),
            DnsProvider::HttpReq { credentials } => Self::HttpReq(HttpReq::new(credentials)?),
            #[cfg(feature = "dns-providers")]
            DnsProvider::Hosted {
                service,
                credentials,
            } => Self::Hosted(Box::new(Hosted::new(service, credentials)?)),
            #[cfg(not(feature = "dns-providers"))]
            DnsProvider::Hosted { .. } => {
                let text = "this build has no hosted DNS providers\nhint: build with `--features dns-providers`";
                return Err(DnsError::Refused(text.to_owned()));
            }
            DnsProvider::Exec { command } => Self::Exec(Exec::lego(command)),
            DnsProvider::CertbotHook { auth, cleanup } => Self::Exec(Exec::certbot(auth, cleanup)),
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
            Self::AcmeDns(_) => "acme-dns",
            Self::HttpReq(_) => "httpreq",
            #[cfg(feature = "dns-providers")]
            Self::Hosted(provider) => provider.name(),
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
            Self::AcmeDns(provider) => provider.add(txt).await,
            Self::HttpReq(provider) => provider.add(txt).await,
            #[cfg(feature = "dns-providers")]
            Self::Hosted(provider) => provider.add(txt).await,
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
            // The server keeps the last two values and removes none; the next order's take their place.
            Self::AcmeDns(_) => Ok(()),
            Self::HttpReq(provider) => provider.remove(txt).await,
            #[cfg(feature = "dns-providers")]
            Self::Hosted(provider) => provider.remove(txt).await,
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

    /// Whether a value must be given to it again by each run that waits for it: it lives with the process, or a person is
    /// to be reminded.
    #[must_use]
    pub fn forgets(&self) -> bool {
        matches!(self, Self::Responder(_) | Self::Manual(_))
    }

    /// Whether a removal can be seen at the name servers. Not where the servers end with the run, and not where the
    /// service keeps values until others take their place.
    #[must_use]
    pub fn removal_shows(&self) -> bool {
        !matches!(self, Self::Responder(_) | Self::AcmeDns(_))
    }

    /// Whether a person does what it is told.
    #[must_use]
    pub fn is_person(&self) -> bool {
        matches!(self, Self::Manual(_))
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
            Self::Hosted(_) => true,
            Self::Responder(_)
            | Self::AcmeDns(_)
            | Self::HttpReq(_)
            | Self::Exec(_)
            | Self::Manual(_) => false,
        }
    }

    /// Whether a name can have one value only, so that a domain cannot be proven together with its wildcard.
    #[must_use]
    pub fn holds_one_value(&self) -> bool {
        #[cfg(feature = "dns-providers")]
        if let Self::Hosted(provider) = self {
            return provider.holds_one();
        }
        false
    }
}

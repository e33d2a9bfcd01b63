//! From PEM to a certificate that may be served, with proof.
//!
//! A [`Bundle`] is a chain in order, with the key of its leaf. Nothing here reads files or knows where the PEM came
//! from; whether a CA is trusted is for clients to judge. Dates are checked by the caller's clock with
//! [`Bundle::check_dates`], because an expired certificate is still better in service than none.

mod issuer;

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::issuer::ALONE;
use crate::cert::lineage::Lineage;
use crate::cert::live::{CertName, Served};
use crate::clock::UnixTime;
use crate::host::Host;

/// How far a certificate's start may lie in our future: CAs date back by an hour, so more is a wrong clock.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// How long a placeholder lasts; it is made anew at each start.
const PLACEHOLDER_LIFETIME: Duration = Duration::from_secs(30 * 86400);

/// Why a chain and a key are not a certificate that can be served.
#[derive(Debug, Error)]
pub enum BundleError {
    /// No certificate in the PEM.
    #[error(
        "the chain holds no certificate\nhint: it must begin with a line `-----BEGIN CERTIFICATE-----`"
    )]
    NoCertificate,
    /// The PEM of the chain is damaged.
    #[error("the chain is not readable as PEM: {0}")]
    ChainPem(String),
    /// The PEM of the key is damaged, or holds none.
    #[error(
        "the private key is not readable: {0}\nhint: give an unencrypted PEM key (PKCS#8, SEC1 or PKCS#1)"
    )]
    KeyPem(String),
    /// A certificate is not DER.
    #[error("certificate {position} of the chain is damaged: {reason}")]
    Damaged {
        /// 1 is the leaf.
        position: usize,
        /// What the parser said.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the first certificate of the chain\nhint: {0}")]
    WrongKey(&'static str),
    /// The key or its algorithm cannot be used.
    #[error("the private key cannot be used: {0}")]
    UnusableKey(String),
    /// The chain does not follow from certificate to issuer.
    #[error(
        "certificate {position} of the chain was not issued by the one after it: its issuer is `{issuer}`, the next \
         subject is `{next}`\nhint: order the file leaf first, then each issuer, without the root"
    )]
    Order {
        /// 1 is the leaf.
        position: usize,
        /// Who issued it.
        issuer: String,
        /// Whose certificate comes next.
        next: String,
    },
    /// The first certificate is one of a CA.
    #[error("the first certificate of the chain is a CA's: `{0}`\nhint: order the file leaf first")]
    CaFirst(String),
    /// No DNS name.
    #[error("the certificate has no DNS name (subject alternative name)")]
    NoNames,
    /// A name that is needed is missing.
    #[error("the certificate does not cover `{wanted}`; it covers: {has}")]
    Missing {
        /// The name that is needed.
        wanted: String,
        /// The names that are there.
        has: String,
    },
    /// A leaf alone.
    #[error(
        "the chain holds the certificate alone and not who issued it: many clients would refuse it\nhint: ask the CA \
         for the full chain; if a root of a private CA issues directly, name that root in `acme.ca_file`"
    )]
    NoIssuer,
    /// Expired.
    #[error("the certificate expired at {0}")]
    Expired(UnixTime),
    /// Not valid yet.
    #[error("the certificate is valid only from {0}\nhint: check this machine's clock")]
    NotYet(UnixTime),
    /// A self-signed certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A proven pair: chain in order, key of the leaf.
#[derive(Debug, Clone)]
pub struct Bundle {
    key: Arc<CertifiedKey>,
    names: Vec<CertName>,
    not_before: UnixTime,
    not_after: UnixTime,
    serial: String,
    issuer: String,
}

impl Bundle {
    /// Parses and proves: at least one certificate, leaf first, each issued by the next, key of the leaf, at least one
    /// DNS name. Names that no client can ask for (with `_`) and addresses are left out.
    ///
    /// # Errors
    /// [`BundleError`] names the first thing that is wrong.
    pub fn parse(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, BundleError> {
        let chain = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BundleError::ChainPem(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|error| BundleError::KeyPem(error.to_string()))?;
        Self::prove(chain, key)
    }

    fn prove(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, BundleError> {
        let parsed = chain
            .iter()
            .zip(1..)
            .map(|(der, position)| match X509Certificate::from_der(der) {
                Ok((_, certificate)) => Ok(certificate),
                Err(error) => Err(BundleError::Damaged {
                    position,
                    reason: error.to_string(),
                }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let leaf = parsed.first().ok_or(BundleError::NoCertificate)?;
        if parsed.len() > 1 && leaf.is_ca() {
            return Err(BundleError::CaFirst(leaf.subject().to_string()));
        }
        for ((certificate, next), position) in parsed.iter().zip(parsed.iter().skip(1)).zip(1..) {
            if certificate.issuer().as_raw() != next.subject().as_raw() {
                return Err(BundleError::Order {
                    position,
                    issuer: certificate.issuer().to_string(),
                    next: next.subject().to_string(),
                });
            }
        }
        let names = dns_names(leaf);
        if names.is_empty() {
            return Err(BundleError::NoNames);
        }
        let proven = Self {
            names,
            not_before: UnixTime(leaf.validity().not_before.timestamp()),
            not_after: UnixTime(leaf.validity().not_after.timestamp()),
            serial: serial(leaf),
            issuer: leaf.issuer().to_string(),
            key: Arc::new(certified_key(&chain, key)?),
        };
        Ok(proven)
    }

    /// Whether the certificate may be used at `now`.
    ///
    /// # Errors
    /// [`BundleError::Expired`] or [`BundleError::NotYet`].
    pub fn check_dates(&self, now: UnixTime) -> Result<(), BundleError> {
        if now >= self.not_after {
            return Err(BundleError::Expired(self.not_after));
        }
        if now.plus(CLOCK_TOLERANCE) < self.not_before {
            return Err(BundleError::NotYet(self.not_before));
        }
        Ok(())
    }

    /// Whether every one of `wanted` is among the names.
    ///
    /// # Errors
    /// [`BundleError::Missing`].
    pub fn check_names(&self, wanted: &[CertName]) -> Result<(), BundleError> {
        match wanted.iter().find(|name| !self.names.contains(name)) {
            None => Ok(()),
            Some(name) => Err(BundleError::Missing {
                wanted: name.to_string(),
                has: join(&self.names),
            }),
        }
    }

    /// Whether this PEM is the key of the leaf.
    #[must_use]
    pub fn has_key(&self, key_pem: &[u8]) -> bool {
        PrivateKeyDer::from_pem_slice(key_pem)
            .is_ok_and(|key| certified_key(&self.key.cert, key).is_ok())
    }

    /// The DNS names of the leaf.
    #[must_use]
    pub fn names(&self) -> &[CertName] {
        &self.names
    }

    /// Start of validity.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// End of validity.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Serial number, lower-case hexadecimal without separators.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The issuer's distinguished name, for people.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The leaf in DER.
    #[must_use]
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.key.cert.first()
    }

    /// The entry for the table in service.
    #[must_use]
    pub fn into_served(self, lineage: &str, generation: u64) -> Served {
        Served {
            key: self.key,
            names: self.names,
            not_before: self.not_before,
            not_after: self.not_after,
            serial: self.serial,
            lineage: lineage.to_owned(),
            generation,
            placeholder: false,
            held: None,
        }
    }
}

/// A certificate that no client trusts, for a start without a real one: handshakes work and say what is missing.
///
/// # Errors
/// [`BundleError`] if the key cannot be made.
pub fn placeholder(lineage: &Lineage, now: UnixTime) -> Result<Served, BundleError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = lineage.names.iter().map(san).collect::<Result<_, _>>()?;
    params.distinguished_name = common_name("Portico placeholder, no certificate yet");
    params.not_before = date(now)?;
    params.not_after = date(now.plus(PLACEHOLDER_LIFETIME))?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|reason| BundleError::UnusableKey(reason.to_owned()))?;
    let bundle = Bundle::prove(vec![certificate.der().clone()], key)?;
    Ok(Served {
        placeholder: true,
        ..bundle.into_served(lineage.name.as_str(), 0)
    })
}

/// The names that a domain's certificate carries: the domain and one wildcard below it.
#[must_use]
pub fn names_of(domain: &Host) -> [CertName; 2] {
    [
        CertName::Exact(domain.clone()),
        CertName::Wildcard(domain.clone()),
    ]
}

/// The names with commas between them, for people.
#[must_use]
pub fn join(names: &[CertName]) -> String {
    names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A subject alternative name for `rcgen`.
pub(crate) fn san(name: &CertName) -> Result<SanType, rcgen::Error> {
    name.to_string().try_into().map(SanType::DnsName)
}

/// A subject with nothing but a common name.
pub(crate) fn common_name(text: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, text);
    subject
}

/// A date for `rcgen`.
pub(crate) fn date(time: UnixTime) -> Result<OffsetDateTime, BundleError> {
    let out_of_range =
        |error: time::error::ComponentRange| BundleError::UnusableKey(error.to_string());
    OffsetDateTime::from_unix_timestamp(time.0).map_err(out_of_range)
}

fn certified_key(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, BundleError> {
    let provider = aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain.to_vec(), key, &provider).map_err(|error| match error {
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => BundleError::WrongKey(
            "the key and the chain must come from the same order; check both paths",
        ),
        other => BundleError::UnusableKey(other.to_string()),
    })
}

fn dns_names(leaf: &X509Certificate<'_>) -> Vec<CertName> {
    let mut names = Vec::new();
    for extension in leaf.extensions() {
        let ParsedExtension::SubjectAlternativeName(sans) = extension.parsed_extension() else {
            continue;
        };
        for san in &sans.general_names {
            let GeneralName::DNSName(text) = san else {
                continue;
            };
            let name = match text.strip_prefix("*.") {
                Some(parent) => Host::parse(parent).map(CertName::Wildcard),
                None => Host::parse(text).map(CertName::Exact),
            };
            match name {
                Ok(name) if !names.contains(&name) => names.push(name),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(name = *text, %error, "a certificate name cannot be asked for")
                }
            }
        }
    }
    names
}

/// A serial number, lower-case hexadecimal without separators.
pub(crate) fn serial(leaf: &X509Certificate<'_>) -> String {
    let bytes = leaf.raw_serial();
    let bytes = bytes
        .strip_prefix(&[0])
        .filter(|rest| !rest.is_empty())
        .unwrap_or(bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;

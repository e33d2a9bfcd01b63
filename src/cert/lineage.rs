//! One set of names that is kept in one certificate, and how a CA is shown that they are ours.
//!
//! A lineage is called by its first name, which is its place in the store. Those of the configuration are the base
//! domains, each with its wildcard, and the single names of `[[certificates]]`; others can be made for names that come
//! from elsewhere. Nothing here reads or writes anything.

use crate::cert::bundle;
use crate::cert::live::CertName;
use crate::config::{Certificate, Challenge, Config};
use crate::host::Host;

/// A set of names with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// What the store calls it.
    pub name: Host,
    /// What the certificate must carry.
    pub names: Vec<CertName>,
    /// How the names are proven.
    pub challenge: Challenge,
}

impl Lineage {
    /// A base domain with its wildcard.
    #[must_use]
    pub fn base(domain: &Host, challenge: Challenge) -> Self {
        Self {
            name: domain.clone(),
            names: bundle::names_of(domain).to_vec(),
            challenge,
        }
    }

    /// Single names, without wildcards; `None` if there is no name.
    #[must_use]
    pub fn single(certificate: &Certificate) -> Option<Self> {
        Some(Self {
            name: certificate.names.first()?.clone(),
            names: certificate
                .names
                .iter()
                .cloned()
                .map(CertName::Exact)
                .collect(),
            challenge: certificate.challenge,
        })
    }

    /// Every lineage of the configuration, the base domains first.
    #[must_use]
    pub fn all(config: &Config) -> Vec<Self> {
        let domains = config.domains.iter();
        domains
            .map(|domain| Self::base(domain, config.acme.challenge))
            .chain(config.certificates.iter().filter_map(Self::single))
            .collect()
    }

    /// The lineage of the configuration that is called `name`; a name that is in none is taken for a base domain.
    #[must_use]
    pub fn of(config: &Config, name: &Host) -> Self {
        let single = config
            .certificates
            .iter()
            .find(|certificate| certificate.names.first() == Some(name));
        single
            .and_then(Self::single)
            .unwrap_or_else(|| Self::base(name, config.acme.challenge))
    }
}

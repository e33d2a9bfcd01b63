//! What TLS asks of a client, by host: nothing but TLS itself, or a certificate too.
//!
//! A host under a policy of its own has TLS settings of its own, tickets included, so a session of one policy never
//! resumes under another (CVE-2025-23419 is that bug elsewhere). The name in the ClientHello chooses the policy; a
//! request for a host of another policy than the connection's is misdirected (421), whatever the certificate covers.
//! Nothing here is asked for by requests but [`Policies::covers`].

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ClientHello;
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;

use super::server_config::{ClientAuth, server_config};
use crate::cert::answers::ACME_TLS;
use crate::cert::live::{CertName, Live, Served};
use crate::config::{ClientAuth as Setting, Config};
use crate::host::Host;

/// Largest file of client CAs, in bytes.
const LARGEST_FILE: usize = 1 << 20;

/// Why there are no TLS settings.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The file of a client CA.
    #[error(
        "cannot read the client CA: `{}`: {source}\n  hint: `client_auth.ca_file` is a PEM file that this user may read",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What stands in it.
    #[error(
        "no client CA: `{}`\n  hint: `client_auth.ca_file` has the certificates of one or more CAs, as PEM, at most 1 MiB",
        path.display()
    )]
    NoCa {
        /// The file.
        path: PathBuf,
    },
    /// TLS itself: the crypto provider, or no random bytes.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The TLS settings of all hosts. Built whole and never changed; a reload builds others.
#[derive(Debug)]
pub struct Policies {
    default: Arc<ServerConfig>,
    require_sni: bool,
    all: Vec<Arc<Policy>>,
    exact: HashMap<Host, Arc<Policy>, foldhash::fast::RandomState>,
    wildcard: HashMap<Host, Arc<Policy>, foldhash::fast::RandomState>,
}

/// The settings of hosts that ask for a certificate.
#[derive(Debug)]
pub struct Policy {
    names: Vec<CertName>,
    /// The CA file as it was read.
    ca: Vec<u8>,
    config: Arc<ServerConfig>,
}

/// How to go on after a ClientHello.
#[derive(Debug)]
pub enum Choice {
    /// With these settings.
    Serve(Arc<ServerConfig>, Chosen),
    /// With these, for a CA that validates by tls-alpn-01; no client.
    Validate(Arc<ServerConfig>),
    /// Not before the certificate of this custom domain is read from disk.
    Stored(Host),
    /// Not at all: no certificate covers the name, or there has to be one and is none.
    Unrecognized(Option<Host>),
}

/// What the ClientHello chose.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The certificate.
    pub served: Arc<Served>,
    /// The name that the client asked for.
    pub sni: Option<Host>,
    /// The policy of that name; none is the default one.
    pub policy: Option<Arc<Policy>>,
}

impl Policies {
    /// Reads the client CAs and builds all settings. What is the same as `before` is taken over, so that its tickets
    /// stay good.
    ///
    /// # Errors
    /// [`PolicyError`]; nothing has changed.
    pub fn build(
        config: &Config,
        live: &Arc<Live>,
        before: Option<&Self>,
    ) -> Result<Self, PolicyError> {
        let mut policies = Self {
            default: match before {
                Some(before) => Arc::clone(&before.default),
                None => server_config(Arc::clone(live), ClientAuth::None)?,
            },
            require_sni: config.tls.require_sni,
            all: Vec::new(),
            exact: HashMap::default(),
            wildcard: HashMap::default(),
        };
        for setting in &config.client_auth {
            policies.add(Policy::build(setting, live, before)?);
        }
        Ok(policies)
    }

    fn add(&mut self, policy: Arc<Policy>) {
        for name in &policy.names {
            let (map, host) = match name {
                CertName::Exact(host) => (&mut self.exact, host),
                CertName::Wildcard(parent) => (&mut self.wildcard, parent),
            };
            map.insert(host.clone(), Arc::clone(&policy));
        }
        self.all.push(policy);
    }

    /// The policy of a host: exact before wildcard; none is the default one.
    #[must_use]
    fn of(&self, host: &Host) -> Option<&Arc<Policy>> {
        if self.all.is_empty() {
            return None;
        }
        self.exact.get(host).or_else(|| {
            host.split_first()
                .and_then(|(_, parent)| self.wildcard.get(parent))
        })
    }

    /// Whether requests for `host` may come on a connection whose handshake was under the policy `shaken`.
    #[must_use]
    pub fn covers(&self, host: &Host, shaken: Option<&Arc<Policy>>) -> bool {
        match (self.of(host), shaken) {
            (None, None) => true,
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            _ => false,
        }
    }

    /// Decides what a ClientHello gets.
    #[must_use]
    pub fn choose(&self, hello: &ClientHello<'_>, live: &Live) -> Choice {
        if hello
            .alpn()
            .is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_TLS))
        {
            // The resolver has a certificate for it exactly if it is a CA's question that we wait for.
            return Choice::Validate(Arc::clone(&self.default));
        }
        let sni = match hello.server_name().map(Host::parse) {
            // rustls accepts only DNS names here; one that is no host name of ours is nobody's.
            Some(Err(_)) => return Choice::Unrecognized(None),
            Some(Ok(host)) => Some(host),
            None if self.require_sni => return Choice::Unrecognized(None),
            None => None,
        };
        let Some(served) = live.find(sni.as_ref()) else {
            return match (sni, live.on_demand()) {
                (Some(host), Some(on_demand)) if on_demand.is_stored(&host) => Choice::Stored(host),
                (sni, _) => Choice::Unrecognized(sni),
            };
        };
        let policy = sni.as_ref().and_then(|host| self.of(host)).map(Arc::clone);
        let config = policy.as_ref().map_or(&self.default, |it| &it.config);
        Choice::Serve(
            Arc::clone(config),
            Chosen {
                served,
                sni,
                policy,
            },
        )
    }
}

impl Policy {
    fn build(
        setting: &Setting,
        live: &Arc<Live>,
        before: Option<&Policies>,
    ) -> Result<Arc<Self>, PolicyError> {
        let names: Vec<CertName> = setting
            .hosts
            .iter()
            .map(|pattern| match pattern.wildcard {
                true => CertName::Wildcard(pattern.host.clone()),
                false => CertName::Exact(pattern.host.clone()),
            })
            .collect();
        let (ca, roots) = read_ca(&setting.ca_file)?;
        let same = |other: &&Arc<Self>| other.names == names && other.ca == ca;
        if let Some(same) = before.and_then(|before| before.all.iter().find(same)) {
            return Ok(Arc::clone(same));
        }
        let config = server_config(Arc::clone(live), ClientAuth::Required(roots))?;
        Ok(Arc::new(Self { names, ca, config }))
    }
}

fn read_ca(path: &Path) -> Result<(Vec<u8>, RootCertStore), PolicyError> {
    let no_ca = || PolicyError::NoCa {
        path: path.to_owned(),
    };
    let bytes = std::fs::read(path).map_err(|source| PolicyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    if bytes.len() > LARGEST_FILE {
        return Err(no_ca());
    }
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|_malformed| no_ca())?;
        roots.add(certificate).map_err(|_unfit| no_ca())?;
    }
    if roots.is_empty() {
        return Err(no_ca());
    }
    Ok((bytes, roots))
}

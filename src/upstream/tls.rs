//! TLS to app servers. The certificate is always verified; there is no switch.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use thiserror::Error;

use crate::config::UpstreamTls;

/// Why TLS to app servers cannot be set up.
#[derive(Debug, Error)]
pub enum TlsSetupError {
    /// The file with the roots.
    #[error(
        "cannot read the roots in `{path}`: {source}\n  hint: `upstream.tls.ca_file` is a file of PEM certificates"
    )]
    CaFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// No root at all.
    #[error(
        "this machine trusts no CA, so no app server with `https` can be verified\n  hint: install the package \
         `ca-certificates`, or set `upstream.tls.ca_file`"
    )]
    NoRoots,
    /// Not a name.
    #[error("not a name for a certificate: `{0}`\n  hint: change `upstream.tls.server_name`")]
    Name(String),
    /// rustls.
    #[error("cannot set up TLS to app servers: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What connections with `https` are made with.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Offers HTTP/2 and HTTP/1.1.
    pub any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 only, for upgrades and for what HTTP/2 cannot carry.
    pub http1: Arc<ClientConfig>,
    /// The name that certificates must have; none for each server's own.
    pub name: Option<ServerName<'static>>,
    /// The file of roots as it was read; empty for the system's.
    roots: Arc<[u8]>,
}

impl Tls {
    /// Reads the roots and sets up both.
    ///
    /// # Errors
    /// [`TlsSetupError`].
    pub fn new(settings: &UpstreamTls) -> Result<Self, TlsSetupError> {
        let (roots, file) = roots(settings)?;
        let name = match &settings.server_name {
            None => None,
            Some(name) => Some(
                ServerName::try_from(name.clone())
                    .map_err(|_invalid| TlsSetupError::Name(name.clone()))?,
            ),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut any = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http1 = any.clone();
        any.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            any: Arc::new(any),
            http1: Arc::new(http1),
            name,
            roots: file.into(),
        })
    }

    /// Whether what one of them verified is good for the other.
    #[must_use]
    pub fn verifies_like(&self, other: &Self) -> bool {
        self.name == other.name && self.roots == other.roots
    }
}

/// The roots, and the file that they came from.
fn roots(settings: &UpstreamTls) -> Result<(RootCertStore, Vec<u8>), TlsSetupError> {
    let mut file = Vec::new();
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let bad = |source| TlsSetupError::CaFile {
                path: path.clone(),
                source,
            };
            file = std::fs::read(path).map_err(bad)?;
            for certificate in CertificateDer::pem_slice_iter(&file) {
                let certificate = certificate.map_err(|error| bad(io::Error::other(error)))?;
                roots
                    .add(certificate)
                    .map_err(|error| bad(io::Error::other(error)))?;
            }
            if roots.is_empty() {
                return Err(bad(io::Error::other("there is no certificate in it")));
            }
        }
    }
    if roots.is_empty() {
        return Err(TlsSetupError::NoRoots);
    }
    Ok((roots, file))
}

//! Picks the certificate of a handshake by SNI.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::cert::answers::ACME_TLS;
use crate::cert::live::Live;
use crate::host::Host;

/// Reads the live table: one atomic load and one look-up for a handshake; then the custom domains in memory.
#[derive(Debug)]
pub struct Resolver {
    live: Arc<Live>,
}

impl Resolver {
    /// A resolver over the certificates in service.
    #[must_use]
    pub fn new(live: Arc<Live>) -> Self {
        Self { live }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A CA that validates: exactly this one protocol (RFC 8737 §3), and only while a name is being proven.
        if let Some(mut offered) = hello.alpn()
            && let Some(first) = offered.next()
        {
            let validation = first == ACME_TLS;
            if validation && offered.next().is_none() {
                let host = Host::parse(hello.server_name()?).ok()?;
                return self.live.answers().tls(&host).map(Arc::clone);
            }
            // Among other protocols it has no meaning; rustls would choose it if it knew none of them.
            if validation || offered.any(|protocol| protocol == ACME_TLS) {
                return None;
            }
        }
        let sni = match hello.server_name() {
            // rustls accepts only DNS names here; one that is no host name of ours is nobody's.
            Some(name) => Some(Host::parse(name).ok()?),
            None => None,
        };
        let served = self.live.find(sni.as_ref())?;
        Some(Arc::clone(&served.key))
    }
}

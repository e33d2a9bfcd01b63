//! Picks the certificate of a handshake by SNI.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::cert::live::Live;
use crate::host::Host;

/// Reads the live table: one atomic load and one look-up for a handshake.
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
        let sni = match hello.server_name() {
            // rustls accepts only DNS names here; one that is no host name of ours is nobody's.
            Some(name) => Some(Host::parse(name).ok()?),
            None => None,
        };
        self.live
            .table()
            .find(sni.as_ref())
            .map(|served| Arc::clone(&served.key))
    }
}

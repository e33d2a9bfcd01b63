//! The TLS settings of the https listeners.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, version};

use super::resolver::Resolver;
use crate::cert::answers::ACME_TLS;
use crate::cert::live::Live;

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, stateless tickets, certificates from `live`.
///
/// One configuration serves for the life of the process: certificates are swapped below it, so tickets survive a
/// renewal. Tickets are bound to the SNI by rustls, so they never cross tenants of different names.
///
/// # Errors
/// Only if the crypto provider lacks what TLS needs, or the system gives no random bytes.
pub fn server_config(live: Arc<Live>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver::new(live)));
    // The last one is a CA's. The resolver has a certificate for it only while a name is being proven.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS.to_vec()];
    // rustls's own session cache is one mutex over 256 entries; tickets need no memory and no lock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // One ticket is what a client uses for its next connection; more only cost time in the handshake.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

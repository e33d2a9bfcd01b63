//! The TLS settings of the https listeners.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, version};

use super::resolver::Resolver;
use crate::cert::answers::ACME_TLS;
use crate::cert::live::Live;

/// Whether a client has to show a certificate.
#[derive(Debug)]
pub(super) enum ClientAuth {
    /// None is asked for.
    None,
    /// One of these CAs must have signed it.
    Required(RootCertStore),
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, stateless tickets, certificates from `live`.
///
/// X25519MLKEM768 is the first of the key exchanges (rustls's feature `prefer-post-quantum`). rustls has neither
/// renegotiation nor compression, refuses a client whose ALPN has no protocol of ours, and takes no early data
/// (RFC 8470) unless told to.
///
/// One configuration serves for the life of the process: certificates are swapped below it, so tickets survive a
/// renewal. The key of the tickets changes every six hours and the one before is good for as long again. Tickets are
/// bound to the SNI by rustls, so they never cross tenants of different names.
///
/// # Errors
/// Only if the crypto provider lacks what TLS needs, or the system gives no random bytes.
pub(super) fn server_config(
    live: Arc<Live>,
    clients: ClientAuth,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
    let builder = match clients {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Required(roots) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(no_verifier)?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(live)));
    // The last one is a CA's. The resolver has a certificate for it only while a name is being proven.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS.to_vec()];
    // rustls's own session cache is one mutex over 256 entries; tickets need no memory and no lock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // One ticket is what a client uses for its next connection; more only cost time in the handshake.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Without roots there is no verifier, and callers come with roots.
fn no_verifier(error: VerifierBuilderError) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

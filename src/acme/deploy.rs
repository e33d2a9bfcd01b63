//! Whether a new certificate is really served: a look at the listeners, as a client would have one.
//!
//! A handshake with each name (for a wildcard, one nobody knows), at each address, until all of them show the leaf. The
//! other side proves that it has the key; who signed the certificate does not matter here, because exactly one is
//! expected. Nothing but the handshake is sent. A certificate that is not served is never issued again for it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime as TlsTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::dns::Output;
use crate::cert::bundle::{self, Bundle};
use crate::cert::live::CertName;
use crate::config::{Config, DeployProbe};
use crate::host::Host;

/// How long a new certificate may take to be served; the proxy looks every second.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// For one handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Between two words to the person who waits.
const WORD: Duration = Duration::from_secs(5);

/// What came of looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deployed {
    /// Every address serves it.
    Served {
        /// How long that took.
        after: Duration,
    },
    /// Nobody listens on this machine: the proxy takes it when it starts.
    Nobody,
    /// The configuration wants no look.
    NotAsked,
    /// Something else is served.
    Failed {
        /// Where and what, in one line.
        detail: String,
    },
}

/// Looks until the leaf of `expected` is served for `domain` everywhere, or until `patience` is over.
pub async fn confirm(
    config: &Config,
    domain: &Host,
    expected: &Bundle,
    patience: Duration,
    out: Output<'_>,
) -> Deployed {
    let (targets, own) = match &config.acme.deploy_probe {
        DeployProbe::Off => return Deployed::NotAsked,
        DeployProbe::Address(address) => (vec![*address], false),
        DeployProbe::Listener => (config.listen.https.iter().map(reachable).collect(), true),
    };
    let Some(leaf) = expected.leaf() else {
        return Deployed::NotAsked;
    };
    let eyes = match Eyes::new() {
        Ok(eyes) => eyes,
        Err(error) => {
            return Deployed::Failed {
                detail: error.to_string(),
            };
        }
    };
    let random = RandomState::new().hash_one(expected.serial());
    let asked = |name: &CertName| match name {
        CertName::Exact(host) => host.to_string(),
        CertName::Wildcard(parent) => format!("probe-{random:016x}.{parent}"),
    };
    let names: Vec<String> = expected.names().iter().map(asked).collect();
    let start = Instant::now();
    let mut told = start;
    loop {
        let mut wrong = None;
        let mut refused = 0;
        for target in &targets {
            match eyes.check(*target, &names, leaf).await {
                Ok(()) => {}
                Err(Sight::Refused) => {
                    refused += 1;
                    wrong = Some(format!("nobody listens at {target}"));
                }
                Err(Sight::Wrong(detail)) => wrong = Some(detail),
            }
        }
        let Some(detail) = wrong else {
            return Deployed::Served {
                after: start.elapsed(),
            };
        };
        // A proxy that is not running now is another alarm's business; it loads the newest when it starts.
        if own && refused == targets.len() {
            return Deployed::Nobody;
        }
        if start.elapsed() >= patience {
            return Deployed::Failed { detail };
        }
        if told.elapsed() >= WORD {
            told = Instant::now();
            let line = format!(
                "{domain}: waiting for the proxy to serve it, {} s of {} s: {detail}\n",
                start.elapsed().as_secs(),
                patience.as_secs()
            );
            if out.write_all(line.as_bytes()).is_err() {
                tracing::debug!("nobody reads what is waited for");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// An address to connect to for an address that is listened on.
pub(super) fn reachable(listener: &SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        // `[::]` takes IPv4 as well, and unlike `::1` that is there on every machine.
        IpAddr::V6(ip) if ip == Ipv6Addr::UNSPECIFIED => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Why an address does not show the leaf.
enum Sight {
    Refused,
    Wrong(String),
}

/// A TLS client that looks at one certificate and trusts none.
struct Eyes(TlsConnector);

impl Eyes {
    fn new() -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let looker = Looker(provider.signature_verification_algorithms);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(looker))
            .with_no_client_auth();
        // A resumed session would show the certificate of the first handshake.
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    async fn check(
        &self,
        address: SocketAddr,
        names: &[String],
        leaf: &CertificateDer<'static>,
    ) -> Result<(), Sight> {
        for name in names {
            let seen = match tokio::time::timeout(HANDSHAKE, self.look(address, name)).await {
                Ok(Ok(seen)) => seen,
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    return Err(Sight::Refused);
                }
                Ok(Err(error)) => {
                    let detail = format!("no handshake for `{name}` at {address}: {error}");
                    return Err(Sight::Wrong(detail));
                }
                Err(_elapsed) => {
                    let detail = format!("no handshake for `{name}` at {address} in time");
                    return Err(Sight::Wrong(detail));
                }
            };
            if seen != *leaf {
                let serial = X509Certificate::from_der(&seen)
                    .map_or_else(|_| "?".to_owned(), |(_, leaf)| bundle::serial(&leaf));
                let detail = format!("{address} serves certificate {serial} for `{name}`");
                return Err(Sight::Wrong(detail));
            }
        }
        Ok(())
    }

    async fn look(&self, address: SocketAddr, name: &str) -> io::Result<CertificateDer<'static>> {
        let server = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        let tls = self.0.connect(server, stream).await?;
        let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        leaf.cloned()
            .ok_or_else(|| io::Error::other("it shows no certificate"))
    }
}

/// Takes every certificate, if the other side has its key: what it is, is compared afterwards.
#[derive(Debug)]
struct Looker(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: TlsTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

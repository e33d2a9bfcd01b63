//! The client's side of TLS: what it trusts and what it offers.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::NamedTempFile;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::wait;

/// The protocols a client offers by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// No extension at all.
    None,
    /// `http/1.1` only.
    Http1,
    /// `h2` only.
    Http2,
    /// `h2`, then `http/1.1`, as browsers do.
    Browser,
}

/// The roots a client trusts: for rustls in memory, for programs as a file.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    roots: Arc<RootCertStore>,
    file: Arc<NamedTempFile>,
}

impl Trust {
    /// Trusts the certificates in this PEM text.
    pub(crate) fn from_pem(pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots
                .add(root.expect("PEM certificates"))
                .expect("a certificate fit as a root");
        }
        assert!(!roots.is_empty(), "no certificate in {pem:?}");
        let mut file = NamedTempFile::with_suffix(".pem").expect("a temporary file");
        file.write_all(pem.as_bytes()).expect("a temporary file");
        Self {
            roots: Arc::new(roots),
            file: Arc::new(file),
        }
    }

    /// The roots as a PEM file, for `--cacert` and the like.
    pub(crate) fn file(&self) -> &Path {
        self.file.path()
    }

    /// A rustls configuration that verifies with these roots; change it for odd clients (old TLS, no tickets).
    pub(crate) fn config(&self, alpn: Alpn) -> ClientConfig {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        self.config_of(alpn, provider, rustls::DEFAULT_VERSIONS)
    }

    /// The same for a client of these versions with this cryptography.
    pub(crate) fn config_of(
        &self,
        alpn: Alpn,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("aws-lc knows the usual versions")
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        let offered: &[&[u8]] = match alpn {
            Alpn::None => &[],
            Alpn::Http1 => &[b"http/1.1"],
            Alpn::Http2 => &[b"h2"],
            Alpn::Browser => &[b"h2", b"http/1.1"],
        };
        config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

/// Connects and shakes hands with `sni`; the error is the handshake's, for tests that expect an alert.
pub(crate) async fn connect(
    address: SocketAddr,
    sni: &str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_from(Ipv4Addr::LOCALHOST, address, sni, config).await
}

/// The same from another address of loopback: another client, to those who count by address.
pub(crate) async fn connect_from(
    client: Ipv4Addr,
    address: SocketAddr,
    sni: &str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(sni.to_owned()).expect("a server name");
    wait::within("TLS handshake", async {
        let stream = if client != Ipv4Addr::LOCALHOST {
            let socket = TcpSocket::new_v4()?;
            socket.bind((client, 0).into())?;
            socket.connect(address).await?
        } else {
            TcpStream::connect(address).await?
        };
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    })
    .await
}

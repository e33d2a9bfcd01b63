//! TLS to the database, by the one rustls of the program. Verifies, or is not used at all.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;

/// Why there is nothing to verify by.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of `sslrootcert`.
    #[error(
        "no certificates in `sslrootcert`: {reason}: `{}`\n  hint: a file of PEM certificates that the proxy's user can read", path.display()
    )]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system's.
    #[error(
        "this machine trusts no CA\n  hint: install the package `ca-certificates`, or set `sslrootcert`"
    )]
    NoRoots,
    /// The cryptography.
    #[error("TLS cannot be set up: {0}\n  hint: this is a defect; please report it")]
    Setup(#[from] rustls::Error),
}

/// How a connection is protected.
#[derive(Clone)]
pub(super) struct Tls(Option<TlsConnector>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.0.is_some())
    }
}

impl Tls {
    /// For connections without TLS.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Trusts the certificates of `roots`, or without them the system's.
    pub(super) fn verifying(roots: Option<&Path>) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        match roots {
            Some(path) => add_file(&mut store, path)?,
            None => {
                let native = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(native.certs);
            }
        }
        if store.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self(Some(TlsConnector::from(Arc::new(config)))))
    }
}

fn add_file(store: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let bad = |reason: String| TlsError::Roots {
        path: path.to_owned(),
        reason,
    };
    let content = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(&content) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        store
            .add(certificate)
            .map_err(|error| bad(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(bad("it has none".to_owned()));
    }
    Ok(())
}

/// A TLS connection as the client library takes it.
pub(super) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

/// The way to one server; without a connector or a name of the server there is none, which matters only if TLS is asked for.
pub(super) struct Connect {
    connector: Option<TlsConnector>,
    name: Option<ServerName<'static>>,
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connect> {
        // Asked for before it is known whether TLS is wanted, for Unix sockets with an empty name too.
        Ok(Connect {
            connector: self.0.clone(),
            name: ServerName::try_from(domain.to_owned()).ok(),
        })
    }
}

impl<S> TlsConnect<S> for Connect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let (Some(connector), Some(name)) = (self.connector, self.name) else {
                return Err(io::Error::other("TLS needs a `host` with a name"));
            };
            connector.connect(name, stream).await.map(Stream)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Stream<S> {
    /// None: the server's certificate is verified instead.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

//! Makes a connection to an app server: look-up where there was none yet, TCP or a Unix socket, PROXY protocol, TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::resolve;
use super::server::Server;
use super::tls::Tls;
use crate::config::{Transport, UpstreamAddress};
use crate::net::proxy_header::Header;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name cannot be looked up")]
    Dns(#[source] io::Error),
    /// Nobody takes the connection.
    #[error("the connection cannot be made")]
    Refused(#[source] io::Error),
    /// TLS failed, or the certificate is not the server's.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// HTTP did not begin.
    #[error("HTTP did not begin")]
    Http(#[source] hyper::Error),
}

/// What a TLS failure was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailure {
    /// The certificate does not prove the server.
    Certificate,
    /// The server sent an alert.
    Alert,
    /// Anything else.
    Protocol,
}

impl TlsFailure {
    /// Reads it off the error of a handshake.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                Self::Certificate
            }
            Some(rustls::Error::AlertReceived(_)) => Self::Alert,
            _ => Self::Protocol,
        }
    }
}

/// A stream to an app server.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection and what is known of it.
#[derive(Debug)]
pub struct Connected {
    /// The bytes.
    pub stream: Stream,
    /// Whether HTTP/2 is spoken on it.
    pub http2: bool,
    /// The address; none for a Unix socket.
    pub peer: Option<SocketAddr>,
}

/// How a connection is to be made.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// TLS, for servers with `https`.
    pub tls: Option<&'a Tls>,
    /// Whether HTTP/2 must not be chosen.
    pub only_http1: bool,
    /// What a PROXY protocol header in front of everything says; none without one.
    pub header: Option<Header>,
    /// Which of a name's addresses is tried first.
    pub turn: usize,
    /// The caller's own limit; a name's addresses share it, so that a dead one leaves time for the others.
    pub limit: Duration,
}

/// Connects. Of a name with several addresses the next one is tried first, the others if that fails.
///
/// # Errors
/// [`ConnectError`]; for a name with several addresses, of the last one.
pub async fn connect(server: &Server, how: How<'_>) -> Result<Connected, ConnectError> {
    let (transport, host) = match server.address() {
        UpstreamAddress::Unix(path) => {
            let mut stream = UnixStream::connect(path)
                .await
                .map_err(ConnectError::Refused)?;
            introduce(&mut stream, how.header).await?;
            return Ok(Connected {
                stream: Stream::Unix(stream),
                http2: false,
                peer: None,
            });
        }
        UpstreamAddress::Tcp {
            transport, host, ..
        } => (*transport, host),
    };
    let mut stream = tcp(server, how).await?;
    introduce(&mut stream, how.header).await?;
    let peer = stream.peer_addr().ok();
    match transport {
        Transport::Http | Transport::H2c => Ok(Connected {
            stream: Stream::Tcp(stream),
            http2: transport == Transport::H2c,
            peer,
        }),
        Transport::Https => {
            let stream = tls(stream, host, how).await?;
            Ok(Connected {
                http2: stream.get_ref().1.alpn_protocol() == Some(b"h2"),
                stream: Stream::Tls(Box::new(stream)),
                peer,
            })
        }
    }
}

/// Says whose connection it is, if the server is to be told.
async fn introduce(
    stream: &mut (impl AsyncWrite + Unpin),
    header: Option<Header>,
) -> Result<(), ConnectError> {
    match header {
        Some(header) => {
            let written = stream.write_all(&header.to_bytes()).await;
            written.map_err(ConnectError::Refused)
        }
        None => Ok(()),
    }
}

async fn tcp(server: &Server, how: How<'_>) -> Result<TcpStream, ConnectError> {
    let mut addresses = server.addresses();
    if addresses.is_empty() {
        // The control plane has not got to it yet.
        let found = resolve::look_up(server.address()).await;
        addresses = Arc::new(found.map_err(ConnectError::Dns)?);
    }
    let count = addresses.len();
    let mut last = None;
    for step in 0..count {
        let Some(&address) = addresses.get(how.turn.wrapping_add(step) % count) else {
            break;
        };
        let connecting = TcpStream::connect(address);
        let connected = if count == 1 {
            connecting.await
        } else {
            let limit = how.limit / u32::try_from(count).unwrap_or(u32::MAX);
            tokio::time::timeout(limit, connecting)
                .await
                .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
        };
        match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let none = || io::Error::other("the name has no address");
    Err(last.map_or_else(|| ConnectError::Dns(none()), ConnectError::Refused))
}

async fn tls(
    stream: TcpStream,
    host: &str,
    how: How<'_>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let failed = |text: &'static str| ConnectError::Tls(io::Error::other(text));
    // The snapshot has both wherever a server has `https`.
    let tls = how.tls.ok_or_else(|| failed("TLS is not set up"))?;
    let name = match &tls.name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.to_owned())
            .map_err(|_invalid| failed("the server's name cannot stand in a certificate"))?,
    };
    let config = if how.only_http1 { &tls.http1 } else { &tls.any };
    TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .map_err(ConnectError::Tls)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // As to the client: most requests are one piece, for which `send` costs less than `writev`.
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn how(turn: usize) -> How<'static> {
        How {
            tls: None,
            only_http1: false,
            header: None,
            turn,
            limit: Duration::from_secs(5),
        }
    }

    fn named(host: &str) -> Arc<Server> {
        Server::new(UpstreamAddress::Tcp {
            transport: Transport::Http,
            host: host.to_owned(),
            port: 1,
        })
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_are_used_in_turn_and_a_dead_one_is_passed_over() {
        let server = named("app.internal");
        let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let two = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (first, second) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        server.set_addresses(vec![first, second]);
        let peer = async |turn| connect(&server, how(turn)).await.unwrap().peer.unwrap();
        let mut peers = [peer(0).await, peer(1).await];
        assert_eq!(peer(2).await, peers[0]);
        peers.sort_unstable();
        let mut both = [first, second];
        both.sort_unstable();
        assert_eq!(peers, both);
        drop(one);
        assert_eq!(peer(0).await, second);
        assert_eq!(peer(1).await, second);
        drop(two);
        let refused = connect(&server, how(0)).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Refused(_)), "{refused}");
    }

    #[tokio::test]
    async fn a_look_up_replaces_the_addresses_and_a_failed_one_keeps_them() {
        let old = vec![SocketAddr::from(([127, 0, 0, 9], 9))];
        let gone = named("no-such-name.invalid");
        gone.set_addresses(old.clone());
        resolve::refresh(&gone).await;
        assert_eq!(*gone.addresses(), old);
        let moved = named("localhost");
        moved.set_addresses(old.clone());
        resolve::refresh(&moved).await;
        assert!(!moved.addresses().is_empty());
        assert!(!moved.addresses().contains(&old[0]));
        let never = connect(&named("no-such-name.invalid"), how(0)).await;
        assert!(matches!(never, Err(ConnectError::Dns(_))));
    }
}

//! One handshake, with its deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::cert::answers::ACME_TLS;
use crate::cert::live::{Live, Served};
use crate::host::Host;
use crate::net::deadline::Deadline;
use crate::net::socket::Socket;

/// Most plaintext that waits encrypted for a slow client before writers are told to wait, in bytes.
const SEND_BUFFER: usize = 64 << 10;

/// Longest wait for the end of TLS to be sent.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

/// What a finished handshake says.
#[derive(Debug, Clone)]
pub struct TlsInfo {
    /// The certificate in service for this client's SNI.
    pub served: Arc<Served>,
    /// The name that the client asked for.
    pub sni: Option<Host>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// Whether ALPN chose HTTP/2.
    pub http2: bool,
}

/// A handshake that was done.
#[derive(Debug)]
pub enum Accepted {
    /// A client, with its stream.
    Client(Box<TlsStream<Socket>>, TlsInfo),
    /// A CA looked at the certificate for this name (tls-alpn-01); the connection is closed.
    Validation(Option<Host>),
}

/// Why there was no handshake.
#[derive(Debug, Error)]
pub enum TlsError {
    /// Not done in time.
    #[error("the handshake was not done in time")]
    Timeout,
    /// The client went away or sent no TLS.
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
    /// No certificate covers the name.
    #[error("no certificate covers the name that the client asked for")]
    NoCertificate,
}

impl TlsError {
    /// A short word for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Failed(_) => "failed",
            Self::NoCertificate => "no_certificate",
        }
    }
}

/// Does the handshake on `socket`.
///
/// # Errors
/// [`TlsError`]; the socket is closed.
pub async fn accept(
    acceptor: &TlsAcceptor,
    live: &Live,
    socket: Socket,
    deadline: &Deadline,
    longest: Duration,
) -> Result<Accepted, TlsError> {
    let handshake = acceptor.accept_with(socket, |session| {
        session.set_buffer_limit(Some(SEND_BUFFER))
    });
    // Boxed: a handshake's state is large, and the connection's task lives much longer.
    let stream = match deadline.limit(longest, Box::pin(handshake)).await {
        None => return Err(TlsError::Timeout),
        Some(Err(error)) => return Err(TlsError::Failed(error)),
        Some(Ok(stream)) => Box::new(stream),
    };
    if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) {
        return Ok(Accepted::Validation(close(stream, deadline).await));
    }
    let session = stream.get_ref().1;
    let sni = session
        .server_name()
        .and_then(|name| Host::parse(name).ok());
    // The table may have been swapped since the resolver read it; the names of a lineage are the same before and
    // after a renewal, which is all that is asked of this entry.
    let served = live
        .table()
        .find(sni.as_ref())
        .map(Arc::clone)
        .ok_or(TlsError::NoCertificate)?;
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let http2 = session.alpn_protocol() == Some(b"h2");
    let info = TlsInfo {
        served,
        sni,
        version,
        http2,
    };
    Ok(Accepted::Client(stream, info))
}

/// Ends a validation: no data belongs on it (RFC 8737 §3). Gives back the name that it was about.
async fn close(mut stream: Box<TlsStream<Socket>>, deadline: &Deadline) -> Option<Host> {
    let name = stream.get_ref().1.server_name();
    let name = name.and_then(|name| Host::parse(name).ok());
    // Only politeness: the CA has seen the certificate.
    drop(deadline.limit(LONGEST_GOODBYE, stream.shutdown()).await);
    name
}

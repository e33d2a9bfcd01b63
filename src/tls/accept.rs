//! One handshake, with its deadline.
//!
//! The ClientHello is read first and chooses the settings ([`Policies`]), or ends the handshake with the alert that
//! says why: rustls by itself would send `access_denied` for a name that it has no certificate for.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::server::{Acceptor, ServerConnection};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::policy::{Choice, Chosen, Policies, Policy};
use crate::cert::answers::ACME_TLS;
use crate::cert::live::{Live, Served};
use crate::host::Host;
use crate::net::deadline::Deadline;
use crate::net::socket::Socket;
use crate::net::turns::{Busy, Turns};

/// Most plaintext that waits encrypted for a slow client before writers are told to wait, in bytes.
const SEND_BUFFER: usize = 64 << 10;

/// Longest wait for the end of TLS to be sent.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

/// HTTP/2 over TLS (RFC 9113 §3.2).
const HTTP2: &[u8] = b"h2";

/// The alert `unrecognized_name`, fatal (RFC 6066 §3), as a record of its own: before the first message of the server
/// alerts are not encrypted (RFC 8446 §5.1).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What a finished handshake says.
#[derive(Debug, Clone)]
pub struct TlsInfo {
    /// The certificate in service for this client's SNI.
    pub served: Arc<Served>,
    /// The name that the client asked for.
    pub sni: Option<Host>,
    /// The policy that the handshake was under; none is the default one.
    pub policy: Option<Arc<Policy>>,
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
    NoCertificate(Option<Host>),
    /// Too many handshakes wait for their turn.
    #[error("too many handshakes wait for their turn; see `limits.handshakes`")]
    Busy,
}

impl TlsError {
    /// A short word for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Failed(_) => "failed",
            Self::NoCertificate(_) => "no_certificate",
            Self::Busy => "busy",
        }
    }
}

/// Where handshakes wait for the processor.
#[derive(Debug, Clone, Copy)]
pub struct Gate<'t> {
    /// The worker's turns.
    pub turns: &'t Turns,
    /// Who asks.
    pub client: IpAddr,
    /// How many may wait.
    pub most: usize,
}

/// Does the handshake on `socket`.
///
/// # Errors
/// [`TlsError`]; the socket is closed.
pub async fn accept(
    policies: &Policies,
    live: &Live,
    socket: Socket,
    gate: Gate<'_>,
    deadline: &Deadline,
    longest: Duration,
) -> Result<Accepted, TlsError> {
    // Boxed: the connection's task lives much longer.
    let handshake = Box::pin(shake(policies, live, socket, gate));
    let (stream, chosen) = match deadline.limit(longest, handshake).await {
        None => return Err(TlsError::Timeout),
        Some(shaken) => shaken?,
    };
    let Some(chosen) = chosen else {
        return Ok(Accepted::Validation(close(stream, deadline).await));
    };
    let session = stream.get_ref().1;
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let http2 = session.alpn_protocol() == Some(HTTP2);
    let info = TlsInfo {
        served: chosen.served,
        sni: chosen.sni,
        policy: chosen.policy,
        version,
        http2,
    };
    Ok(Accepted::Client(stream, info))
}

/// The whole handshake; nothing is chosen for a CA that validates.
///
/// rustls's state is more than a KiB and changes its type on the way. Each is boxed as soon as it is there, so that it is
/// moved as little as can be.
async fn shake(
    policies: &Policies,
    live: &Live,
    socket: Socket,
    gate: Gate<'_>,
) -> Result<(Box<TlsStream<Socket>>, Option<Chosen>), TlsError> {
    let mut start = {
        let mut hello = Box::new(LazyConfigAcceptor::new(Acceptor::default(), socket));
        Box::new((&mut *hello).await.map_err(TlsError::Failed)?)
    };
    let mut choice = policies.choose(&start.client_hello(), live);
    if let Choice::Stored(host) = &choice {
        let loaded = match live.on_demand() {
            Some(on_demand) => on_demand.load(host).await,
            None => false,
        };
        if loaded {
            choice = policies.choose(&start.client_hello(), live);
        }
    }
    let (config, chosen) = match choice {
        Choice::Serve(config, chosen) => (config, Some(chosen)),
        Choice::Validate(config) => (config, None),
        // One that cannot be read now is not said to be missing: nobody is to order another.
        Choice::Stored(_) | Choice::Unrecognized(_) => {
            let missing = match choice {
                Choice::Unrecognized(host) => host,
                _ => None,
            };
            let StartHandshake { mut io, .. } = *start;
            // Who is gone before the alert needs none.
            drop(io.write_all(&UNRECOGNIZED_NAME).await);
            drop(io.shutdown().await);
            return Err(TlsError::NoCertificate(missing));
        }
    };
    let turn = gate.turns.take(gate.client, gate.most).await;
    let turn = turn.map_err(|Busy| TlsError::Busy)?;
    start.io.gather();
    // Here is nearly all of a handshake's computing; what comes after mostly waits for the client.
    let shaking = start.into_stream_with(config, |session| {
        session.set_buffer_limit(Some(SEND_BUFFER));
    });
    let mut shaking = Box::new(shaking.into_fallible());
    turn.end();
    let mut stream = match (&mut *shaking).await {
        Ok(stream) => Box::new(stream),
        Err((error, mut socket)) => {
            // The alert that says why; a client that takes nothing goes without.
            let once = poll_fn(|cx| Poll::Ready(socket.poll_release(cx)));
            drop(once.await);
            return Err(TlsError::Failed(error));
        }
    };
    let (socket, session) = stream.get_mut();
    socket.gather_no_more();
    if !answers_soon(session) {
        poll_fn(|cx| socket.poll_release(cx))
            .await
            .map_err(TlsError::Failed)?;
    }
    let validated = stream.get_ref().1.alpn_protocol() == Some(ACME_TLS);
    if validated != chosen.is_none() {
        return Err(TlsError::NoCertificate(None));
    }
    Ok((stream, chosen))
}

/// Whether the last messages of a handshake need no packet of their own. In TLS 1.3 they are tickets, for which nobody
/// waits (RFC 8446 §4.6.1), and mostly the request has come with the client's last message.
fn answers_soon(session: &ServerConnection) -> bool {
    let tickets = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    // rustls wants to read unless plaintext has come, or the client's end. An HTTP/2 server speaks first (RFC 9113 §3.4).
    tickets && (!session.wants_read() || session.alpn_protocol() == Some(HTTP2))
}

/// Ends a validation: no data belongs on it (RFC 8737 §3). Gives back the name that it was about.
async fn close(mut stream: Box<TlsStream<Socket>>, deadline: &Deadline) -> Option<Host> {
    let name = stream.get_ref().1.server_name();
    let name = name.and_then(|name| Host::parse(name).ok());
    // Only politeness: the CA has seen the certificate.
    drop(deadline.limit(LONGEST_GOODBYE, stream.shutdown()).await);
    name
}

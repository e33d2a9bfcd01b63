//! WebSocket: the one upgrade that is passed on (RFC 6455, RFC 9110 §7.8).
//!
//! An upgrade is asked for by a GET of HTTP/1.1 without body, with `Upgrade: websocket` and `Connection: upgrade`; any
//! other `Upgrade` is dropped, so that nothing can be tunnelled past the edge as `h2c`. The tunnel begins only after
//! the app's own 101. Half-closes are passed on; silence ends it.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, Method, Response, Version, header, request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use super::body::RequestBody;
use super::error::RequestError;
use super::exchange::Exchange;
use crate::net::local;
use crate::upstream::Lease;

/// Buffer of each direction of a tunnel, in bytes.
const BUFFER: usize = 16 << 10;

/// Whether `head` asks for a WebSocket. `empty` says that the request has no body.
///
/// # Errors
/// A WebSocket request with a body: what follows could be read as body or as tunnel.
pub fn asked(head: &request::Parts, empty: bool) -> Result<bool, RequestError> {
    let asked = head.version == Version::HTTP_11
        && head.method == Method::GET
        && is_websocket(&head.headers)
        && head
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|line| has_token(line, b"upgrade"));
    if asked && (!empty || head.headers.contains_key(header::CONTENT_LENGTH)) {
        return Err(RequestError::BadFraming(
            "a request for a WebSocket has a body",
        ));
    }
    Ok(asked)
}

/// Whether there is exactly one `Upgrade` line and it says `websocket`.
#[must_use]
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::UPGRADE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"websocket"),
        _ => false,
    }
}

fn has_token(line: &HeaderValue, token: &[u8]) -> bool {
    line.as_bytes()
        .split(|&byte| byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// Puts the headers of a WebSocket upgrade into a message whose hop-by-hop headers are gone.
pub fn announce(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// The client's side of the tunnel-to-be.
pub fn client_side(head: &mut request::Parts) -> Option<OnUpgrade> {
    head.extensions.remove::<OnUpgrade>()
}

/// A tunnel that begins when both sides have let go of HTTP.
#[derive(Debug)]
pub struct Tunnel {
    client: OnUpgrade,
    app: OnUpgrade,
}

impl Tunnel {
    /// A tunnel from `client` to the app that answered with `response`, a 101.
    #[must_use]
    pub fn new(client: OnUpgrade, response: &mut Response<Incoming>) -> Self {
        Self {
            client,
            app: hyper::upgrade::on(response),
        }
    }

    /// Runs on this worker until both sides are through, one breaks, or there is silence.
    pub fn run(self, mut exchange: Box<Exchange>, lease: Lease<RequestBody>) {
        drop(local::spawn(async move {
            let activity = exchange.conn.activity.clone();
            let conn = Rc::clone(&exchange.conn);
            let metrics = &conn.context.metrics;
            activity.tunnel_began();
            metrics.tunnel_opened();
            if let (Ok(client), Ok(app)) = (self.client.await, self.app.await) {
                let sent = Rc::<Cell<u64>>::default();
                let mut client = Counted::new(TokioIo::new(client), &exchange.bytes_in);
                let mut app = Counted::new(TokioIo::new(app), &sent);
                let mut copy = pin!(copy_bidirectional_with_sizes(
                    &mut client,
                    &mut app,
                    BUFFER,
                    BUFFER
                ));
                let end = poll_fn(|cx| match copy.as_mut().poll(cx) {
                    Poll::Ready(end) => Poll::Ready(Some(end)),
                    Poll::Pending => activity.poll_expired(cx).map(|_| None),
                });
                match end.await {
                    // Many clients end a WebSocket properly and then leave without the end of TLS.
                    Some(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                        exchange.error = Some("client-gone");
                    }
                    Some(_) | None => {}
                }
                exchange.bytes_out = sent.get();
            }
            metrics.tunnel_closed();
            drop(lease);
            drop(exchange);
        }));
    }
}

/// A stream that counts what is read from it, however it ends.
struct Counted<T> {
    stream: T,
    bytes: Rc<Cell<u64>>,
}

impl<T> Counted<T> {
    fn new(stream: T, bytes: &Rc<Cell<u64>>) -> Self {
        let bytes = Rc::clone(bytes);
        Self { stream, bytes }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let size = (buf.filled().len() - before) as u64;
        self.bytes.set(self.bytes.get() + size);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

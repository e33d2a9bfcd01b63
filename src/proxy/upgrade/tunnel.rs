//! Bytes both ways between a client and an app, after HTTP.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use super::super::body::RequestBody;
use super::super::exchange::Exchange;
use super::super::inbound::Http2Body;
use super::Place;
use crate::net::local;
use crate::upstream::Lease;

/// Buffer of each direction of a tunnel, in bytes.
const BUFFER: usize = 16 << 10;

/// Runs on this worker until both sides are through, one breaks, or there is silence.
pub(super) fn run_connection(
    client: OnUpgrade,
    app: OnUpgrade,
    exchange: Box<Exchange>,
    lease: Lease<RequestBody>,
) {
    drop(local::spawn(async move {
        let activity = exchange.conn.activity.clone();
        activity.tunnel_began();
        let open = Open::new(exchange, lease);
        if let (Ok(client), Ok(app)) = (client.await, app.await) {
            let silent = |cx: &mut Context<'_>, _moved| activity.poll_expired(cx).map(drop);
            open.copy(TokioIo::new(client), TokioIo::new(app), silent)
                .await;
        }
    }));
}

/// A tunnel over a stream of HTTP/2: it runs in the stream's task and ends with it.
#[derive(Debug)]
pub struct StreamTunnel {
    client: Http2Body,
    app: OnUpgrade,
    exchange: Box<Exchange>,
    lease: Lease<RequestBody>,
    longest: Duration,
    _place: Place,
}

impl StreamTunnel {
    pub(super) fn new(
        (client, place): (Http2Body, Place),
        app: OnUpgrade,
        exchange: Box<Exchange>,
        lease: Lease<RequestBody>,
        longest: Duration,
    ) -> Self {
        Self {
            client,
            app,
            exchange,
            lease,
            longest,
            _place: place,
        }
    }

    /// Runs until both sides are through, one breaks, or there is silence.
    pub async fn run(self, send: h2::SendStream<Bytes>) {
        let timers = self.exchange.conn.context.timers.clone();
        let open = Open::new(self.exchange, self.lease);
        let Ok(app) = self.app.await else { return };
        let client = StreamIo {
            receive: self.client.into_stream(),
            send,
            rest: Bytes::new(),
        };
        let silence = timers.deadline();
        silence.arm(self.longest);
        let silent = |cx: &mut Context<'_>, moved| {
            if moved {
                silence.arm(self.longest);
            }
            silence.poll_fired(cx)
        };
        open.copy(client, TokioIo::new(app), silent).await;
    }
}

/// A tunnel that counts as open. Dropping it, for whatever reason, writes the record of its exchange.
struct Open {
    exchange: Box<Exchange>,
    sent: Rc<Cell<u64>>,
    _lease: Lease<RequestBody>,
}

impl Open {
    fn new(exchange: Box<Exchange>, lease: Lease<RequestBody>) -> Self {
        exchange.conn.context.metrics.tunnel_opened();
        Self {
            exchange,
            sent: Rc::default(),
            _lease: lease,
        }
    }

    /// Copies both ways until the end, or until `silent`, which is told whether bytes have moved since it last was.
    async fn copy(
        mut self,
        client: impl AsyncRead + AsyncWrite + Unpin,
        app: impl AsyncRead + AsyncWrite + Unpin,
        mut silent: impl FnMut(&mut Context<'_>, bool) -> Poll<()>,
    ) {
        let received = Rc::clone(self.exchange.bytes_in());
        let sent = Rc::clone(&self.sent);
        let mut client = Counted::new(client, &received);
        let mut app = Counted::new(app, &sent);
        let mut copy = pin!(copy_bidirectional_with_sizes(
            &mut client,
            &mut app,
            BUFFER,
            BUFFER
        ));
        let mut before = 0;
        let end = poll_fn(|cx| {
            if let Poll::Ready(end) = copy.as_mut().poll(cx) {
                return Poll::Ready(Some(end));
            }
            let now = received.get() + sent.get();
            silent(cx, std::mem::replace(&mut before, now) != now).map(|()| None)
        });
        match end.await {
            // Many clients end a WebSocket properly and then leave without the end of TLS.
            Some(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                self.exchange.error = Some("client-gone");
            }
            Some(_) | None => {}
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.exchange.bytes_out = self.sent.get();
        self.exchange.conn.context.metrics.tunnel_closed();
    }
}

/// A stream of HTTP/2 as a stream of bytes: END_STREAM is the end of a direction (RFC 8441 §5). Dropped before both
/// directions have ended, it resets the stream.
struct StreamIo {
    receive: h2::RecvStream,
    send: h2::SendStream<Bytes>,
    /// What was received and not yet read.
    rest: Bytes,
}

impl AsyncRead for StreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let size = self.rest.len().min(buf.remaining());
        buf.put_slice(self.rest.get(..size).unwrap_or_default());
        self.rest.advance(size);
        // Only what the app's side takes lets the client send more.
        drop(self.receive.flow_control().release_capacity(size));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(reset) = self.send.poll_reset(cx) {
            return Poll::Ready(Err(match reset {
                Ok(reason) => broken(reason.into()),
                Err(error) => broken(error),
            }));
        }
        self.send.reserve_capacity(bytes.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let size = self.send.capacity().min(bytes.len());
        let piece = Bytes::copy_from_slice(bytes.get(..size).unwrap_or_default());
        match self.send.send_data(piece, false) {
            Ok(()) => Poll::Ready(Ok(size)),
            Err(error) => Poll::Ready(Err(broken(error))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = self.send.send_data(Bytes::new(), true);
        Poll::Ready(end.map_err(broken))
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
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

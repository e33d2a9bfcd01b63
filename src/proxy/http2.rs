//! The HTTP/2 adapter: h2's connection, driven under the connection's deadlines.
//!
//! It reads no setting but the caps of streams and head and two waits; everything else is in
//! [`super::service::handle`]. h2 is used without hyper's server around it: that ends the whole connection over one bad
//! CONNECT, reads a cancelled upload as a complete one, and cannot tell a client why it has to go.
//!
//! Each stream has a task of its own (`stream`); the `meter` ends a connection that only keeps us busy.

mod guard;
mod meter;
mod stream;
mod trailers;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Connection;
use tokio::io::{AsyncRead, AsyncWrite};

use self::guard::Guard;
use self::meter::Meter;
use super::exchange::ClientConn;
use crate::net::conn::Expired;
use crate::net::cork::Cork;
use crate::net::deadline::{Deadline, Ticks};
use crate::net::linger::linger;

/// Most of an upload that one stream may send before the app has taken it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Most of an answer that waits for the client's socket, for each stream, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that we reset because of the client's errors, before the connection is closed (CVE-2025-8671).
const MAX_ERROR_RESETS: usize = 64;

/// Longest wait for the end of a connection that is told to go.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);
/// What the end of an answer may need from our socket to the client. A connection that had one less than this ago is waited for
/// as long: that the client has heard us says that it has all that went before. Then its last words are read for as long
/// again, since what comes after a close costs the client what it has not received.
const SETTLING: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub async fn serve<T>(conn: Rc<ClientConn>, stream: T)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    conn.activity.set_multiplexed();
    let limits = conn.context.view().snapshot.limits.clone();
    let meter = Meter::new(conn.context.timers.ticks().clone());
    let largest_head = usize::try_from(limits.header_size.0).unwrap_or(usize::MAX);
    let cork = Cork::new(Guard::new(stream, Rc::clone(&meter), largest_head));
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.http2_streams)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size.0).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(Some(MAX_ERROR_RESETS))
        .enable_connect_protocol();
    let handshake = builder.handshake(cork.clone());
    let Some(http) = shake(&conn, &cork, handshake).await else {
        return;
    };
    let mut serving = Serving {
        http,
        wait: conn.context.timers.deadline(),
        conn,
        cork,
        meter,
        longest_head: limits.header_timeout,
        stream_limits: stream::Limits {
            longest_unread: limits.body_timeout,
            largest_head,
        },
        state: State::Open,
        goodbye: false,
        busy_at: 0,
    };
    let end = poll_fn(|cx| serving.poll(cx)).await;
    if end == End::Cut || serving.is_settled() {
        return;
    }
    let Serving {
        http,
        mut cork,
        wait,
        ..
    } = serving;
    drop(http);
    // Boxed: it is rare, and every connection would carry it.
    Box::pin(wait.limit(SETTLING, linger(&mut cork))).await;
}

/// Waits for the client's preface.
async fn shake<T>(
    conn: &ClientConn,
    cork: &Cork<T>,
    handshake: h2::server::Handshake<Cork<T>, Bytes>,
) -> Option<Connection<Cork<T>, Bytes>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = pin!(handshake);
    poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            if let Err(error) = &done {
                tracing::debug!(%error, "no HTTP/2");
            }
            return Poll::Ready(done.ok());
        }
        if let Poll::Ready(Err(_)) = cork.poll_release(cx) {
            return Poll::Ready(None);
        }
        conn.activity.poll_expired(cx).map(|_expired| None)
    })
    .await
}

/// How far a connection is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The client has been told that no new stream will be taken.
    Closing,
    /// The client has been told to go.
    Ended,
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client was told, has heard it, and has had all its answers.
    Orderly,
    /// The client, a deadline or the network ended it.
    Cut,
}

/// A connection at work.
struct Serving<T: AsyncRead + AsyncWrite + Unpin + 'static> {
    http: Connection<Cork<Guard<T>>, Bytes>,
    cork: Cork<Guard<T>>,
    conn: Rc<ClientConn>,
    meter: Rc<Meter>,
    /// For the end of a header block that has begun; then, for the end of the connection.
    wait: Deadline,
    longest_head: Duration,
    stream_limits: stream::Limits,
    state: State,
    /// The client has its last moment: it was told to go and has nothing under way.
    goodbye: bool,
    /// The tick at which a request was last under way; 0 before the first one.
    busy_at: u32,
}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Serving<T> {
    /// One turn: whatever came, whatever is ready to go, and the deadlines.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.conn.context.is_draining() || self.conn.is_spent() {
            self.close();
        }
        let mut end = self.poll_streams(cx);
        if self.state != State::Ended
            && let Some(breach) = self.meter.breach()
        {
            self.conn.context.metrics.http2_ended();
            tracing::debug!(client = %self.conn.info.client, ?breach, "connection ended");
            self.http.abrupt_shutdown(breach.reason());
            self.state = State::Ended;
            self.wait.arm(LONGEST_GOODBYE);
            end = self.poll_streams(cx).map(|_orderly| End::Cut);
        }
        if end.is_ready() {
            return end;
        }
        match self.cork.poll_release(cx) {
            Poll::Ready(Ok(())) => self.meter.turn_over(),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "connection broke");
                return Poll::Ready(End::Cut);
            }
            Poll::Pending => {}
        }
        self.poll_waits(cx).map(|()| End::Cut)
    }

    /// Takes new streams and moves the others; ready at the end of the connection.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.conn.activity.exchanges() > 0 {
            self.busy_at = self.conn.context.timers.ticks().now();
        }
        loop {
            match pin!(self.http.accept()).poll(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.busy_at = self.conn.context.timers.ticks().now();
                    stream::start(
                        &self.conn,
                        request,
                        respond,
                        &self.meter,
                        self.stream_limits,
                    );
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "connection ended");
                    if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                        self.conn.context.metrics.http2_ended();
                    }
                    return Poll::Ready(End::Cut);
                }
                Poll::Ready(None) if self.state == State::Closing => {
                    return Poll::Ready(End::Orderly);
                }
                Poll::Ready(None) => return Poll::Ready(End::Cut),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_waits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state != State::Ended {
            match (self.meter.is_block_open(), self.wait.is_armed()) {
                (true, false) if !self.wait.has_fired() => self.wait.arm(self.longest_head),
                (false, true) => self.wait.disarm(),
                _ => {}
            }
        }
        if self.wait.poll_fired(cx).is_ready() {
            return Poll::Ready(());
        }
        let idle = self.conn.activity.exchanges() == 0;
        if self.state == State::Closing && idle && !self.goodbye {
            let longest = if self.is_settled() {
                LONGEST_GOODBYE
            } else {
                SETTLING
            };
            self.conn.activity.close_within(longest);
        }
        self.goodbye = self.state == State::Closing && idle;
        if let Poll::Ready(expired) = self.conn.activity.poll_expired(cx) {
            if self.state != State::Open || expired != Expired::Idle {
                return Poll::Ready(());
            }
            // GOAWAY takes a round trip, in which a request that is on its way still comes in.
            self.close();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the client must have had its answers by now.
    fn is_settled(&self) -> bool {
        let since = self
            .conn
            .context
            .timers
            .ticks()
            .now()
            .saturating_sub(self.busy_at);
        self.busy_at == 0 || since > Ticks::in_ticks(SETTLING)
    }

    fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Closing;
            self.http.graceful_shutdown();
        }
    }
}

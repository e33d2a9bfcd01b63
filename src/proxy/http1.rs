//! The HTTP/1.1 adapter: hyper's connection, driven under the connection's deadlines.
//!
//! It reads no setting but the size of a head; everything else is in [`service::handle`]. What the client sends goes
//! through the [`Tap`](super::tap) first. A connection without a request for a moment is *parked*: hyper's state and
//! buffers (most of the memory of an idle connection) are given up, and made again when the next bytes come. One that
//! ends while the client may still be sending is closed only after a moment of reading, so that the answer arrives.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::server::TlsStream;

use super::exchange::ClientConn;
use super::inbound::Inbound;
use super::service::{self, Received};
use super::tap::Tapped;
use crate::net::conn::Expired;
use crate::net::deadline::Deadline;
use crate::net::linger::linger;
use crate::net::socket::Socket;

/// Most that is read ahead, and most of an answer's pieces that is gathered for one write, in bytes.
const BUFFER: usize = 64 << 10;
/// A connection that is idle at a tick is parked: making hyper's state again costs a microsecond or two, and keeping it
/// for longer leaves holes in memory after a rush of connections.
const PARK_AFTER: Duration = Duration::ZERO;
/// What an idle connection gets to send one more request when a drain begins.
const GRACE: Duration = Duration::from_millis(500);
/// Longest wait for the end of TLS to be sent.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

/// Longest time of reading before a close.
const LONGEST_LINGER: Duration = Duration::from_secs(1);

/// A stream that says when it has something to read, without reading.
pub trait Park: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ready when a read would not wait.
    ///
    /// # Errors
    /// Those of the socket.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Park for Socket {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_readable(self, cx)
    }
}

impl Park for Box<TlsStream<Socket>> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_readable(cx)
    }
}

/// Serves a connection to its end.
pub async fn serve<T: Park>(conn: Rc<ClientConn>, stream: T) {
    let head = conn.context.view().snapshot.limits.header_size.0;
    let head = usize::try_from(head).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(true)
        .half_close(false)
        // Our own deadlines do this without a timer for each request, and cover more.
        .header_read_timeout(None)
        .max_header_size(head)
        // hyper holds a head to this as well.
        .max_buf_size(BUFFER.max(head))
        .writev(true);
    let park = conn.context.timers.deadline();
    let mut stream = Tapped::new(stream, head, Arc::clone(&conn.notes));
    loop {
        let handle = service_fn(|request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            let answer =
                service::handle(Rc::clone(&conn), Received::new(head, Inbound::Http1(body)));
            answer.map(Ok::<_, Infallible>)
        });
        let mut http = Box::new(
            builder
                .serve_connection(TokioIo::new(stream), handle)
                .with_upgrades(),
        );
        let end = drive(&mut *http, &conn, &park).await;
        if end == End::Cut {
            return;
        }
        stream = {
            // None of them if the connection became a tunnel.
            let Some(parts) = http.into_parts() else {
                return;
            };
            let mut stream = parts.io.into_inner();
            stream.unread(parts.read_buf);
            stream
        };
        if end == End::Over {
            if stream.is_interrupted() {
                park.limit(LONGEST_LINGER, linger(stream.stream())).await;
            }
            return;
        }
        if stream.has_unread() {
            // Part of the next head: it has begun, so its deadline runs.
            conn.activity.read_progress();
        } else if !wait(stream.stream(), &conn, &park).await {
            // Only politeness is left: tell the client that no more will come.
            let bye = stream.stream().shutdown();
            drop(park.limit(LONGEST_GOODBYE, bye).await);
            return;
        }
    }
}

/// How a connection came to the end of [`drive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It rests.
    Parked,
    /// HTTP is through with it; the client has been told.
    Over,
    /// A deadline has passed.
    Cut,
}

/// What hyper's connection type must do for us.
trait Drive: Unpin {
    fn poll_conn(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    fn shut_down(&mut self);
}

impl<T, S> Drive for http1::UpgradeableConnection<TokioIo<Tapped<T>>, S>
where
    T: Park,
    S: hyper::service::HttpService<Incoming, ResBody = super::body::ResponseBody> + Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_conn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whatever ended it (reset, malformed head, close) concerns this client only; hyper has answered it.
        Pin::new(self).poll(cx).map(|end| {
            if let Err(error) = end {
                tracing::debug!(%error, "connection ended");
            }
        })
    }

    fn shut_down(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

/// Drives the connection until it rests or ends.
async fn drive(http: &mut impl Drive, conn: &ClientConn, park: &Deadline) -> End {
    let mut closing = false;
    let mut grace = Grace::default();
    poll_fn(|cx| {
        // A drain lets a request that is on its way come in: a busy connection is told with its next answer, one
        // without a request is closed when it has had a moment to send one.
        if conn.context.is_draining() && !closing {
            let grace_over = conn.activity.is_quiet() && grace.poll_over(park, cx).is_ready();
            if conn.activity.exchanges() > 0 || grace_over {
                closing = true;
                http.shut_down();
            }
        }
        if http.poll_conn(cx).is_ready() {
            return Poll::Ready(End::Over);
        }
        if !closing && conn.is_spent() {
            // Told with the answer that is under way; closed at once if that was quicker.
            closing = true;
            http.shut_down();
            if http.poll_conn(cx).is_ready() {
                return Poll::Ready(End::Over);
            }
        }
        if let Poll::Ready(expired) = conn.activity.poll_expired(cx) {
            if expired == Expired::Idle && !closing {
                // Ends at once with a proper close, or not at all.
                http.shut_down();
                if http.poll_conn(cx).is_pending() {
                    tracing::debug!("an idle connection did not close at once");
                }
            }
            return Poll::Ready(End::Cut);
        }
        if conn.context.is_draining() && !closing && conn.activity.is_quiet() {
            if grace.poll_over(park, cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        if closing || !conn.activity.is_idle() {
            park.disarm();
            grace = Grace::default();
            return Poll::Pending;
        }
        if park.poll_fired(cx).is_ready() {
            park.disarm();
            return Poll::Ready(End::Parked);
        }
        if !park.is_armed() {
            park.arm(PARK_AFTER);
        }
        Poll::Pending
    })
    .await
}

/// Waits while parked: `true` when bytes have come, `false` when the connection is to be closed.
async fn wait(stream: &impl Park, conn: &ClientConn, park: &Deadline) -> bool {
    let mut grace = Grace::default();
    let ready = poll_fn(|cx| {
        // What has come is served first, also when the connection is to close.
        if let Poll::Ready(readable) = stream.poll_readable(cx) {
            return Poll::Ready(readable.is_ok());
        }
        let drained = conn.context.is_draining() && grace.poll_over(park, cx).is_ready();
        if drained || conn.activity.poll_expired(cx).is_ready() {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await;
    park.disarm();
    ready
}

/// The moment that an idle connection has once a drain began.
#[derive(Default)]
struct Grace {
    began: bool,
}

impl Grace {
    fn poll_over(&mut self, deadline: &Deadline, cx: &Context<'_>) -> Poll<()> {
        if !self.began {
            self.began = true;
            deadline.arm(GRACE);
        }
        deadline.poll_fired(cx)
    }
}

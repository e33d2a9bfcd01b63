//! The HTTP/2 adapter: hyper's connection, driven under the connection's deadlines.
//!
//! It reads no setting but the caps of streams and head and the wait for a client that takes nothing; everything else
//! is in [`service::handle`].
//!
//! A client that opens no window for a stream blocks no socket, so [`crate::net::conn::Activity`] cannot see it. Each
//! stream therefore has a deadline of its own: `Watched` arms it with each piece of an answer, and the stream's task
//! resets the stream when it fires. Other streams of the connection go on.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::{BodyError, ResponseBody};
use super::exchange::ClientConn;
use super::service;
use crate::net::conn::Expired;
use crate::net::deadline::{Deadline, Timers};
use crate::net::local;

/// Most of an upload that one stream may send before the app has taken it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Most of an answer that waits for the client, for each stream, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that we reset because of the client's errors, before the connection is closed (CVE-2025-8671).
const MAX_ERROR_RESETS: usize = 64;

/// Most of an answer that is handed over at once, in bytes: what a client must take within `limits.body_timeout`.
const PIECE: usize = 16 << 10;

tokio::task_local! {
    /// How long the client of this stream may leave its answer.
    static UNREAD: Deadline;
}

/// Longest wait for the end of a connection that is told to go.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

/// Runs a stream's work on the worker that has the connection, until it is done or its client takes nothing.
#[derive(Debug, Clone)]
struct OnThisWorker(Timers);

impl<F> hyper::rt::Executor<F> for OnThisWorker
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, work: F) {
        let timers = self.0.clone();
        let unread = timers.deadline();
        drop(local::spawn(UNREAD.scope(unread.clone(), async move {
            {
                let mut work = pin!(work);
                poll_fn(|cx| match work.as_mut().poll(cx) {
                    Poll::Ready(_) => Poll::Ready(()),
                    // Dropping the work resets the stream and gives up the exchange with the app.
                    Poll::Pending => unread.poll_fired(cx),
                })
                .await;
            }
            timers.recycle(unread);
        })));
    }
}

/// The body of an answer, in small pieces, with the deadline of its stream: hyper asks for the next piece only when
/// the client has room for it.
struct Watched {
    body: ResponseBody,
    /// What is left of a large piece.
    rest: Bytes,
    unread: Option<Deadline>,
    longest: Duration,
}

impl Watched {
    fn new(body: ResponseBody, longest: Duration) -> Self {
        let unread = UNREAD.try_with(Deadline::clone).ok();
        if let Some(unread) = &unread {
            unread.arm(longest);
        }
        Self {
            body,
            rest: Bytes::new(),
            unread,
            longest,
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let size = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(size)))))
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.next(cx);
        if let Some(unread) = &self.unread {
            match polled {
                Poll::Ready(Some(Ok(_))) => unread.arm(self.longest),
                _ => unread.disarm(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let hint = self.body.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

/// Serves a connection to its end.
pub async fn serve<T>(conn: Rc<ClientConn>, stream: T)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    conn.activity.set_multiplexed();
    let limits = conn.context.view().snapshot.limits.clone();
    let longest = limits.body_timeout;
    let handle = {
        let conn = Rc::clone(&conn);
        service_fn(move |request| {
            let conn = Rc::clone(&conn);
            async move {
                let answer = service::handle(conn, request).await;
                Ok::<_, Infallible>(answer.map(|body| Watched::new(body, longest)))
            }
        })
    };
    let http = http2::Builder::new(OnThisWorker(conn.context.timers.clone()))
        .max_concurrent_streams(limits.http2_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size.0).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .serve_connection(TokioIo::new(stream), handle);
    let mut http = pin!(http);
    let mut closing = false;
    poll_fn(|cx| {
        if conn.context.is_draining() && !closing {
            closing = true;
            http.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(end) = http.as_mut().poll(cx) {
            if let Err(error) = end {
                tracing::debug!(%error, "connection ended");
            }
            return Poll::Ready(());
        }
        if let Poll::Ready(expired) = conn.activity.poll_expired(cx) {
            if closing || expired != Expired::Idle {
                return Poll::Ready(());
            }
            // GOAWAY takes a round trip, in which a request that is on its way still comes in.
            closing = true;
            http.as_mut().graceful_shutdown();
            conn.activity.close_within(LONGEST_GOODBYE);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

//! The HTTP/2 adapter: hyper's connection, driven under the connection's deadlines.
//!
//! It reads no setting but the caps of streams and head and the wait for a client that takes nothing; everything else
//! is in [`service::handle`].
//!
//! A client that opens no window for a stream blocks no socket, so [`crate::net::conn::Activity`] cannot see it. Each
//! stream therefore has a deadline of its own: `Watched` tells with each piece of an answer that the client has
//! something to take, and if the stream's task then has to wait it resets the stream when that takes too long. Other
//! streams of the connection go on.

use std::cell::Cell;
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
use crate::net::cork::Cork;
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

/// Longest wait for the end of a connection that is told to go.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

/// What the answer of a stream did in one turn of the stream's task.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// It was given bytes that the client must take.
    Given,
    /// It waits for the app.
    Waits,
}

/// How the answers of a connection tell the task that polls them. Tasks run one after another, so one note serves all.
type Note = Rc<Cell<Option<Turn>>>;

/// Runs a stream's work on the worker that has the connection, until it is done or its client takes nothing.
#[derive(Debug, Clone)]
struct OnThisWorker {
    timers: Timers,
    note: Note,
    longest: Duration,
}

impl<F> hyper::rt::Executor<F> for OnThisWorker
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, work: F) {
        drop(local::spawn(Stream {
            work,
            unread: None,
            worker: self.clone(),
        }));
    }
}

pin_project_lite::pin_project! {
    /// The task of one stream. Dropping the work resets the stream and gives up the exchange with the app.
    struct Stream<F> {
        #[pin]
        work: F,
        // Made once the client lets an answer wait: most answers are taken in the turn in which they are ready.
        unread: Option<Deadline>,
        worker: OnThisWorker,
    }

    impl<F> PinnedDrop for Stream<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(unread) = this.unread.take() {
                this.worker.timers.recycle(unread);
            }
        }
    }
}

impl<F: Future> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let worker = this.worker;
        worker.note.set(None);
        if this.work.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match worker.note.take() {
            Some(Turn::Given) => this
                .unread
                .get_or_insert_with(|| worker.timers.deadline())
                .arm(worker.longest),
            Some(Turn::Waits) => {
                if let Some(unread) = this.unread {
                    unread.disarm();
                }
            }
            None => {}
        }
        match this.unread {
            Some(unread) => unread.poll_fired(cx),
            None => Poll::Pending,
        }
    }
}

/// The body of an answer, in small pieces: hyper asks for the next piece only when the client has room for it.
struct Watched {
    body: ResponseBody,
    /// What is left of a large piece.
    rest: Bytes,
    note: Note,
}

impl Watched {
    fn new(body: ResponseBody, note: Note) -> Self {
        note.set(Some(Turn::Given));
        Self {
            body,
            rest: Bytes::new(),
            note,
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
        self.note.set(Some(match polled {
            Poll::Ready(Some(Ok(_))) => Turn::Given,
            _ => Turn::Waits,
        }));
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
    let worker = OnThisWorker {
        timers: conn.context.timers.clone(),
        note: Note::default(),
        longest: limits.body_timeout,
    };
    let handle = {
        let (conn, note) = (Rc::clone(&conn), Rc::clone(&worker.note));
        service_fn(move |request| {
            let (conn, note) = (Rc::clone(&conn), Rc::clone(&note));
            // Boxed once here: hyper moves the future of a stream several times on its way to the task.
            Box::pin(async move {
                let answer = service::handle(conn, request).await;
                Ok::<_, Infallible>(answer.map(|body| Watched::new(body, note)))
            })
        })
    };
    let stream = Cork::new(stream);
    let http = http2::Builder::new(worker)
        .max_concurrent_streams(limits.http2_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size.0).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .serve_connection(TokioIo::new(stream.clone()), handle);
    let mut http = pin!(http);
    let mut closing = false;
    poll_fn(|cx| {
        if (conn.context.is_draining() || conn.is_spent()) && !closing {
            closing = true;
            http.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(end) = http.as_mut().poll(cx) {
            if let Err(error) = end {
                tracing::debug!(%error, "connection ended");
            }
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(error)) = stream.poll_release(cx) {
            tracing::debug!(%error, "connection broke");
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

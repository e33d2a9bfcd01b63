//! One stream of HTTP/2: a request, and its answer given out as the client takes it.
//!
//! A client that opens no window for a stream blocks no socket, so [`crate::net::conn::Activity`] cannot see it. Each
//! piece of an answer therefore has a deadline of its own; a stream whose client takes nothing is reset, and the others
//! go on. Nothing is handed to h2 before there is a window for it: what h2 holds only waits for the socket, and that has
//! a bound for the connection ([`Meter::poll_room`]).
//!
//! Dropping the task resets the stream and gives up the exchange with the app.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderValue, Request, Response, header};
use http_body::Body;

use super::super::body::ResponseBody;
use super::super::context::Context as WorkerContext;
use super::super::exchange::ClientConn;
use super::super::inbound::{Http2Body, Inbound};
use super::super::service::{self, Received};
use super::super::upgrade;
use super::meter::Meter;
use crate::net::deadline::{Deadline, Timers};
use crate::net::local;

/// Most of an answer that is handed over at once, in bytes: what a client must take within `limits.body_timeout`.
const PIECE: usize = 16 << 10;

/// What a stream may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Longest wait for a client that takes nothing of its answer.
    pub(super) longest_unread: Duration,
    /// From where on h2 leaves out fields of trailers, in bytes.
    pub(super) largest_head: usize,
}

/// Answers one request, in a task of its own.
pub(super) fn start(
    conn: &Rc<ClientConn>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    meter: &Rc<Meter>,
    limits: Limits,
) {
    let (mut head, stream) = request.into_parts();
    let body = Http2Body::new(stream, &head.headers, limits.largest_head);
    upgrade::mark_extended(&mut head);
    let received = Received::new(head, Inbound::Http2(body));
    // Boxed: its state is large and not needed while the answer streams. Made here rather than in the task: a task is moved
    // to where it stays, with all that it was ever given.
    let answer = Box::pin(service::handle(Rc::clone(conn), received));
    let (context, meter) = (Rc::clone(&conn.context), Rc::clone(meter));
    let longest_unread = limits.longest_unread;
    drop(local::spawn(run(
        answer,
        respond,
        (context, meter),
        longest_unread,
    )));
}

async fn run<A: Future<Output = Response<ResponseBody>>>(
    mut answer: Pin<Box<A>>,
    mut respond: SendResponse<Bytes>,
    (context, meter): (Rc<WorkerContext>, Rc<Meter>),
    longest_unread: Duration,
) {
    let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => respond.poll_reset(cx).map(|_reset| None),
    });
    let Some(answered) = answered.await else {
        return;
    };
    drop(answer);
    let (mut head, body) = answered.into_parts();
    let end = body.is_end_stream();
    if !head.headers.contains_key(header::DATE) {
        head.headers.insert(header::DATE, context.date());
    }
    if !end
        && !head.headers.contains_key(header::CONTENT_LENGTH)
        && let Some(length) = body.size_hint().exact()
    {
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut send = match respond.send_response(Response::from_parts(head, ()), end) {
        Ok(send) => send,
        Err(error) => {
            tracing::debug!(%error, "an answer could not be sent");
            return respond.send_reset(Reason::INTERNAL_ERROR);
        }
    };
    match body {
        // Boxed: it is rare and large, and every stream would carry it.
        ResponseBody::Tunnel(Some(tunnel)) => Box::pin(tunnel.run(send)).await,
        _ if end => meter.answered(),
        mut body => {
            let mut unread = Unread {
                deadline: None,
                timers: &context.timers,
                meter: &meter,
                longest: longest_unread,
            };
            // Lent, not given: what is given to a future is in it twice.
            pipe(&mut body, &mut send, &mut unread).await;
        }
    }
}

/// Gives out the body of an answer.
async fn pipe(body: &mut ResponseBody, send: &mut SendStream<Bytes>, unread: &mut Unread<'_>) {
    let meter = unread.meter;
    loop {
        let next = poll_fn(|cx| {
            // A stream that cannot go on asks the app for nothing.
            if meter.poll_room(cx).is_ready()
                && let Poll::Ready(next) = Pin::new(&mut *body).poll_frame(cx)
            {
                return Poll::Ready(Some(next));
            }
            send.poll_reset(cx).map(|_reset| None)
        });
        let frame = match next.await {
            Some(Some(Ok(frame))) => frame,
            Some(Some(Err(_))) => return send.send_reset(Reason::INTERNAL_ERROR),
            Some(None) => {
                drop(send.send_data(Bytes::new(), true));
                return meter.answered();
            }
            None => return,
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    drop(send.send_trailers(trailers));
                    return meter.answered();
                }
                continue;
            }
        };
        let last = body.is_end_stream();
        while !data.is_empty() {
            let mut piece = data.split_to(data.len().min(PIECE));
            while !piece.is_empty() {
                let room = poll_fn(|cx| unread.poll_room(send, piece.len(), cx));
                let Some(room) = room.await else {
                    return send.send_reset(Reason::CANCEL);
                };
                let part = piece.split_to(room.min(piece.len()));
                meter.handed(part.len());
                let end = last && data.is_empty() && piece.is_empty();
                if send.send_data(part, end).is_err() {
                    return;
                }
                if end {
                    return meter.answered();
                }
            }
            unread.taken();
            meter.piece();
        }
        if last {
            drop(send.send_data(Bytes::new(), true));
            return meter.answered();
        }
    }
}

/// The wait for a client to open its window.
struct Unread<'t> {
    /// Made once a client lets an answer wait: most answers are taken in the turn in which they are ready.
    deadline: Option<Deadline>,
    timers: &'t Timers,
    meter: &'t Meter,
    longest: Duration,
}

impl Unread<'_> {
    /// How much of `wanted` bytes may be sent; `None` when the stream is over or has waited for too long.
    fn poll_room(
        &mut self,
        send: &mut SendStream<Bytes>,
        wanted: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<usize>> {
        if self.meter.poll_room(cx).is_pending() {
            // The socket has a deadline of its own, so this wait has none.
            return send.poll_reset(cx).map(|_reset| None);
        }
        send.reserve_capacity(wanted);
        loop {
            if send.capacity() > 0 {
                return Poll::Ready(Some(send.capacity()));
            }
            match send.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        let deadline = self.deadline.get_or_insert_with(|| {
            let deadline = self.timers.deadline();
            deadline.arm(self.longest);
            deadline
        });
        if !deadline.is_armed() && !deadline.has_fired() {
            deadline.arm(self.longest);
        }
        deadline.poll_fired(cx).map(|()| None)
    }

    /// A piece is through.
    fn taken(&self) {
        if let Some(deadline) = &self.deadline {
            deadline.disarm();
        }
    }
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if let Some(deadline) = self.deadline.take() {
            self.timers.recycle(deadline);
        }
    }
}

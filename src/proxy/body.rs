//! Bodies in both directions, as they stream by.
//!
//! Limits, deadlines and the rules for trailers live in `poll_frame`, so no protocol can miss them. A body holds one
//! frame at most; whoever reads slowly slows down whoever writes.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use super::exchange::Exchange;
use super::inbound::Inbound;
use super::managed::{Class, Names};
use super::pace::Pace;
use super::upgrade::StreamTunnel;
use crate::net::conn::Activity;
use crate::net::deadline::{Deadline, TICK, Ticks, Timers};
use crate::tenant::naming::Naming;
use crate::upstream::{AnswerBody, Lease};

/// Why a body ended early.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The client sent nothing for too long.
    #[error("the client stopped sending")]
    Stalled,
    /// The body is larger than allowed.
    #[error("the body is larger than `limits.body_size`")]
    TooLarge,
    /// The app sent nothing for too long in the middle of its answer.
    #[error("the app stopped answering")]
    Silent,
    /// The connection broke.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// More trailers than a head may have lines, or larger ones than HTTP/1.1 may have.
    #[error("the trailers are too many or too large")]
    Trailers,
    /// The client reset its stream, or what it sent was malformed.
    #[error("the stream was reset")]
    Reset(#[source] h2::Error),
}

/// How far a request's body has come; shared by the body and the pipeline.
#[derive(Debug, Default)]
pub struct Upload {
    done: Cell<bool>,
    answered: Cell<bool>,
    failure: Cell<Option<Failure>>,
    /// For an answer over HTTP/2, whose two directions are one conversation (gRPC): the longest silence of both.
    duplex: Cell<Option<Duration>>,
    /// The tick of the last piece in either direction; kept up to date for a conversation only.
    moved: Cell<u32>,
}

/// What the client did wrong with its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It stopped.
    Stalled,
    /// It sent too much.
    TooLarge,
    /// It went away.
    Gone,
}

impl Upload {
    /// Whether the app's connection took the whole body.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    /// From now on one direction may be silent as long as the other one is not.
    fn converse(&self, longest_silence: Duration, ticks: &Ticks) {
        self.duplex.set(Some(longest_silence));
        self.moved.set(ticks.now());
    }

    fn note_piece(&self, ticks: &Ticks) {
        if self.duplex.get().is_some() {
            self.moved.set(ticks.now());
        }
    }

    /// How much longer one direction may wait because the other one has moved.
    fn patience(&self, ticks: &Ticks) -> Option<Duration> {
        let silent = ticks.now().saturating_sub(self.moved.get());
        let left = self
            .duplex
            .get()?
            .checked_sub(TICK.saturating_mul(silent))?;
        (!left.is_zero()).then_some(left)
    }

    /// What went wrong on the client's side, if anything did.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }
}

/// The body of a request on its way to the app. The default one is empty.
#[derive(Debug, Default)]
pub struct RequestBody(Option<Box<Streaming>>);

#[derive(Debug)]
struct Streaming {
    inner: Inbound,
    upload: Rc<Upload>,
    bytes: Rc<Cell<u64>>,
    left: Option<u64>,
    stall: Deadline,
    longest_stall: Duration,
    pace: Pace,
    /// The wait for the app's answer; it begins anew with each piece that the app takes.
    answer: Deadline,
    longest_answer: Duration,
    timers: Timers,
    /// The connection is at work as long as this body is: what the client sends is body and no head, and a
    /// connection in the middle of a body must never be parked.
    activity: Activity,
    naming: Rc<Naming>,
}

/// What a request's body needs to know.
#[derive(Debug)]
pub struct UploadRules<'a> {
    /// The worker's deadlines.
    pub timers: &'a Timers,
    /// The client's connection.
    pub activity: &'a Activity,
    /// Largest body.
    pub most: Option<u64>,
    /// Longest wait for the next bytes.
    pub longest_stall: Duration,
    /// Least bytes for each second of waiting; 0 is no limit.
    pub least_rate: u64,
    /// The wait for the app's answer.
    pub answer: Deadline,
    /// How long that one is.
    pub longest_answer: Duration,
    /// Its names are never let through in trailers.
    pub naming: &'a Rc<Naming>,
}

impl RequestBody {
    /// Wraps a body that is not empty. `bytes` counts what is read.
    #[must_use]
    pub fn streaming(
        inner: Inbound,
        bytes: Rc<Cell<u64>>,
        rules: UploadRules<'_>,
    ) -> (Self, Rc<Upload>) {
        let upload = Rc::new(Upload::default());
        rules.activity.exchange_began();
        let body = Streaming {
            inner,
            upload: Rc::clone(&upload),
            bytes,
            left: rules.most,
            stall: rules.timers.deadline(),
            longest_stall: rules.longest_stall,
            pace: Pace::new(rules.least_rate, rules.longest_stall),
            answer: rules.answer,
            longest_answer: rules.longest_answer,
            timers: rules.timers.clone(),
            activity: rules.activity.clone(),
            naming: Rc::clone(rules.naming),
        };
        (Self(Some(Box::new(body))), upload)
    }
}

impl Streaming {
    fn fail(
        &self,
        failure: Failure,
        error: BodyError,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.upload.failure.set(Some(failure));
        Poll::Ready(Some(Err(error)))
    }

    fn poll_frame(&mut self, task: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(task);
        let Poll::Ready(frame) = polled else {
            if !self.stall.is_armed() && !self.stall.has_fired() {
                self.stall.arm(self.longest_stall);
                self.pace.wait(self.timers.ticks().now());
            }
            ready!(self.stall.poll_fired(task));
            if let Some(left) = self.upload.patience(self.timers.ticks()) {
                self.stall.arm(left);
                ready!(self.stall.poll_fired(task));
            }
            return self.fail(Failure::Stalled, BodyError::Stalled);
        };
        self.stall.disarm();
        self.upload.note_piece(self.timers.ticks());
        self.pace.resume(self.timers.ticks().now());
        if !self.upload.answered.get() && self.answer.is_armed() {
            self.answer.arm(self.longest_answer);
        }
        match frame {
            None => {
                self.upload.done.set(true);
                Poll::Ready(None)
            }
            Some(Err(error)) => self.fail(Failure::Gone, error),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let size = data.len() as u64;
                    self.bytes.set(self.bytes.get() + size);
                    // After the answer has begun it may be a conversation, in which silence is no attack.
                    if self.pace.is_too_slow(size) && !self.upload.answered.get() {
                        return self.fail(Failure::Stalled, BodyError::Stalled);
                    }
                    if let Some(left) = &mut self.left {
                        match left.checked_sub(size) {
                            Some(rest) => *left = rest,
                            None => return self.fail(Failure::TooLarge, BodyError::TooLarge),
                        }
                    }
                    if self.inner.is_end_stream() {
                        self.upload.done.set(true);
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Err(frame) => {
                    self.upload.done.set(true);
                    let trailers = frame.into_trailers().ok().map(|trailers| {
                        trailers_to_pass(trailers, &Names::of_requests(&self.naming))
                    });
                    match trailers {
                        Some(trailers) if !trailers.is_empty() => {
                            Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                        }
                        _ => Poll::Ready(None),
                    }
                }
            },
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.timers.recycle(self.stall.clone());
        self.activity.exchange_ended();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Some(body) => body.poll_frame(task),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|body| body.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |body| body.inner.size_hint())
    }
}

/// The body of an answer on its way to the client. Dropping it ends the exchange.
#[derive(Debug)]
pub enum ResponseBody {
    /// Made by the edge.
    Own {
        /// What is left to send.
        bytes: Option<Bytes>,
        /// The exchange that it answers.
        exchange: Box<Exchange>,
    },
    /// From the app.
    Upstream(Box<Download>),
    /// None: the exchange goes on in a tunnel. That of a stream of HTTP/2 runs in the stream's own task.
    Tunnel(Option<Box<StreamTunnel>>),
}

/// An answer that streams from the app.
#[derive(Debug)]
pub struct Download {
    inner: AnswerBody,
    exchange: Box<Exchange>,
    lease: Option<Lease<RequestBody>>,
    upload: Option<Rc<Upload>>,
    silence: Deadline,
    longest_silence: Duration,
    naming: Rc<Naming>,
}

impl ResponseBody {
    /// An answer of the edge.
    #[must_use]
    pub fn own(bytes: Bytes, exchange: Box<Exchange>) -> Self {
        Self::Own {
            bytes: (!bytes.is_empty()).then_some(bytes),
            exchange,
        }
    }

    /// The app's answer. `lease` goes back to its pool when both bodies are through. `silence` is the exchange's
    /// deadline, disarmed.
    #[must_use]
    pub fn upstream(
        inner: AnswerBody,
        exchange: Box<Exchange>,
        lease: Lease<RequestBody>,
        upload: Option<Rc<Upload>>,
        silence: Deadline,
        longest_silence: Duration,
        naming: Rc<Naming>,
    ) -> Self {
        if let Some(upload) = &upload {
            upload.answered.set(true);
            if lease.is_http2() {
                upload.converse(longest_silence, exchange.conn.context.timers.ticks());
            }
        }
        let download = Download {
            inner,
            exchange,
            lease: Some(lease),
            upload,
            silence,
            longest_silence,
            naming,
        };
        Self::Upstream(Box::new(download))
    }
}

impl Download {
    /// The app's connection is clean if the answer was read to its end and the request was sent to its end.
    fn finish(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.upload.as_ref().is_none_or(|upload| upload.is_done())
        {
            lease.give_back();
        }
    }

    fn poll_frame(&mut self, task: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(task);
        let Poll::Ready(frame) = polled else {
            if !self.silence.is_armed() && !self.silence.has_fired() {
                self.silence.arm(self.longest_silence);
            }
            ready!(self.silence.poll_fired(task));
            let ticks = self.exchange.conn.context.timers.ticks();
            if let Some(upload) = self.upload.as_ref().filter(|upload| !upload.is_done())
                && let Some(left) = upload.patience(ticks)
            {
                self.silence.arm(left);
                ready!(self.silence.poll_fired(task));
            }
            self.exchange.error = Some("upstream-body");
            return Poll::Ready(Some(Err(BodyError::Silent)));
        };
        self.silence.disarm();
        if let Some(upload) = &self.upload {
            upload.note_piece(self.exchange.conn.context.timers.ticks());
        }
        match frame {
            None => {
                self.finish();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.exchange.error = Some("upstream-body");
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.exchange.bytes_out += data.len() as u64;
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().ok().map(|trailers| {
                        trailers_to_pass(trailers, &Names::of_answers(&self.naming))
                    });
                    // Nothing follows trailers, and hyper does not ask again.
                    self.finish();
                    match trailers {
                        Some(trailers) if !trailers.is_empty() => {
                            Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                        }
                        _ => Poll::Ready(None),
                    }
                }
            },
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.inner.is_end_stream() {
            self.finish();
        } else if self.exchange.error.is_none() && self.lease.is_some() {
            self.exchange.error = Some("client-gone");
        }
        // An upload that still runs holds the same deadline (`Streaming::answer`); it must not become another's.
        if self.upload.as_ref().is_none_or(|upload| upload.is_done()) {
            self.exchange
                .conn
                .context
                .timers
                .recycle(self.silence.clone());
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Own { bytes, exchange } => Poll::Ready(bytes.take().map(|bytes| {
                exchange.bytes_out += bytes.len() as u64;
                Ok(Frame::data(bytes))
            })),
            Self::Upstream(download) => download.poll_frame(task),
            Self::Tunnel(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { bytes, .. } => bytes.is_none(),
            Self::Upstream(download) => download.inner.is_end_stream(),
            Self::Tunnel(tunnel) => tunnel.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Upstream(download) => download.inner.size_hint(),
            Self::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

/// Trailers are held to the rules of headers, and may not carry framing, routing or authentication (RFC 9110 §6.5.1).
fn trailers_to_pass(trailers: HeaderMap, names: &Names<'_>) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in &trailers {
        let forbidden = [
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::TE,
            header::TRAILER,
            header::UPGRADE,
            header::AUTHORIZATION,
            header::PROXY_AUTHORIZATION,
            header::COOKIE,
            header::SET_COOKIE,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_RANGE,
            header::CACHE_CONTROL,
            header::EXPECT,
            header::RANGE,
            header::VIA,
            header::STRICT_TRANSPORT_SECURITY,
        ];
        if names.classify(name.as_str().as_bytes()) == Class::Pass && !forbidden.contains(name) {
            passed.append(name, value.clone());
        }
    }
    passed
}

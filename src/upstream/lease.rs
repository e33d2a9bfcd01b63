//! A connection, or a stream of one, in use by one request; and the request's place on its server.

use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use super::interim::Interim;
use super::pool::{Multi, Permit, Pool};
use super::wire;
use crate::net::deadline::Deadline;
use crate::net::quota::Taken;

/// How long a connection that nobody waits for may take to send what is left of its request.
const LAST_BYTES: Duration = Duration::from_secs(30);

/// A request's place on a server: it counts as under way until this is dropped.
#[derive(Debug)]
pub struct Slot<B> {
    pool: Rc<Pool<B>>,
    /// Whether it is counted against the cap of all workers.
    counted: bool,
    /// The place of its tenant's share.
    place: Option<Taken>,
}

impl<B> Slot<B> {
    pub(super) fn new(pool: &Rc<Pool<B>>, counted: bool) -> Self {
        pool.count().add_request();
        Self {
            pool: Rc::clone(pool),
            counted,
            place: None,
        }
    }

    /// Counts it as `place` of its tenant too, as long as it lasts.
    pub(super) fn hold(&mut self, place: Option<Taken>) {
        self.place = place;
    }

    /// The pool of the server.
    #[must_use]
    pub fn pool(&self) -> &Rc<Pool<B>> {
        &self.pool
    }
}

impl<B> Drop for Slot<B> {
    fn drop(&mut self) {
        self.pool.count().remove_request();
        if self.counted {
            self.pool.server().end_request();
        }
        // Before the next one is let look.
        drop(self.place.take());
        self.pool.queue().wake();
    }
}

/// A connection in use. Dropped, HTTP/1.1 closes it; [`Lease::give_back`] keeps it. An HTTP/2 connection goes on with
/// its other streams either way.
#[derive(Debug)]
pub struct Lease<B> {
    conn: Conn<B>,
    slot: Slot<B>,
    /// The place of a connection of HTTP/1.1 among those the server may have. Its driver has it too, but ends when the
    /// connection becomes a tunnel.
    _permit: Option<Rc<Permit>>,
}

/// Whether a connection may serve another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It may.
    Allowed,
    /// It is one client's: its PROXY protocol header names it.
    Never,
}

/// A connection of HTTP/1.1, which serves one request at a time.
#[derive(Debug)]
pub struct Single<B> {
    /// Where requests go in.
    pub sender: http1::SendRequest<B>,
    /// Ends the connection when nobody waits for it any more.
    pub abandoned: Deadline,
    /// Interim answers to the request under way.
    pub interim: Arc<Interim>,
    /// Whether another request may follow.
    pub reuse: Reuse,
    /// Its place among the connections the server may have; none when it has ended.
    pub permit: Weak<Permit>,
    /// Where it leads to; none for a Unix socket.
    pub peer: Option<SocketAddr>,
}

#[derive(Debug)]
pub(super) enum Conn<B> {
    /// None once given back.
    Http1(Option<Single<B>>),
    Http2 {
        sender: http2::SendRequest<B>,
        scheme: Scheme,
        multi: Rc<Multi<B>>,
    },
}

impl<B> Lease<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn http1(slot: Slot<B>, single: Single<B>) -> Self {
        Self {
            _permit: single.permit.upgrade(),
            conn: Conn::Http1(Some(single)),
            slot,
        }
    }

    pub(super) fn http2(slot: Slot<B>, multi: &Rc<Multi<B>>, scheme: Scheme) -> Self {
        multi.begin();
        let conn = Conn::Http2 {
            sender: multi.sender(),
            scheme,
            multi: Rc::clone(multi),
        };
        Self {
            conn,
            slot,
            _permit: None,
        }
    }

    /// As [`Slot::hold`].
    pub(super) fn hold(&mut self, place: Option<Taken>) {
        self.slot.hold(place);
    }

    /// The pool it belongs to.
    #[must_use]
    pub fn pool(&self) -> &Rc<Pool<B>> {
        self.slot.pool()
    }

    /// The server as log and metrics name it.
    #[must_use]
    pub fn label(&self) -> &Arc<str> {
        self.pool().server().label()
    }

    /// Whether this is a stream of an HTTP/2 connection: both directions go on by themselves.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        matches!(self.conn, Conn::Http2 { .. })
    }

    /// Sends a request, in the form that the connection's protocol wants, and waits for the head of the response.
    ///
    /// # Errors
    /// hyper's, with the request if nothing of it was written.
    pub async fn send(
        &mut self,
        mut request: Box<Request<B>>,
    ) -> Result<Response<Incoming>, Failed<B>> {
        match &mut self.conn {
            Conn::Http1(Some(single)) => {
                wire::for_http1(&mut request);
                if single.reuse == Reuse::Never {
                    wire::close_after(&mut request);
                }
                single.interim.watch();
                let answer = single.sender.try_send_request(*request).await;
                // One that was not sent has no answers, whatever the app said unasked.
                let unsent = matches!(&answer, Err(failed) if failed.message().is_some());
                if !unsent && single.interim.is_too_many() {
                    return Err(Failed {
                        unsent: None,
                        cause: Cause::TooManyInterim,
                    });
                }
                answer.map_err(Failed::from)
            }
            Conn::Http1(None) => Err(Failed {
                unsent: Some(request),
                cause: Cause::Unused,
            }),
            Conn::Http2 { sender, scheme, .. } => {
                wire::for_http2(&mut request, scheme);
                sender
                    .try_send_request(*request)
                    .await
                    .map_err(Failed::from)
            }
        }
    }

    /// The request was sent whole and the response read to the end: the connection may serve another.
    pub fn give_back(mut self) {
        if let Conn::Http1(single) = &mut self.conn
            && let Some(single) = single.take_if(|single| single.reuse == Reuse::Allowed)
        {
            self.slot.pool().give_back(single);
        }
    }
}

impl<B> Drop for Conn<B> {
    fn drop(&mut self) {
        match self {
            Self::Http1(single) => {
                if let Some(Single {
                    sender, abandoned, ..
                }) = single.take()
                {
                    drop(sender);
                    abandoned.arm(LAST_BYTES);
                    abandoned.wake();
                }
            }
            Self::Http2 { multi, .. } => multi.end(),
        }
    }
}

/// Why an exchange failed.
#[derive(Debug)]
pub struct Failed<B> {
    /// The request, if nothing of it was written.
    pub unsent: Option<Box<Request<B>>>,
    /// What went wrong.
    pub cause: Cause,
}

/// What went wrong with an exchange.
#[derive(Debug)]
pub enum Cause {
    /// Nothing: the connection was never used.
    Unused,
    /// hyper's word for it.
    Error(hyper::Error),
    /// The server sent more interim answers than are waited for.
    TooManyInterim,
}

impl<B> From<TrySendError<Request<B>>> for Failed<B> {
    fn from(mut failed: TrySendError<Request<B>>) -> Self {
        Self {
            unsent: failed.take_message().map(Box::new),
            cause: Cause::Error(failed.into_error()),
        }
    }
}

impl<B> From<hyper::Error> for Failed<B> {
    fn from(error: hyper::Error) -> Self {
        Self {
            unsent: None,
            cause: Cause::Error(error),
        }
    }
}

impl<B> Failed<B> {
    /// Whether the server says that it has not looked at the request (RFC 9113 §8.7).
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        self.h2().is_some_and(|error| {
            error.is_remote()
                && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
        })
    }

    /// Whether the connection ended, and not what came on it was wrong.
    #[must_use]
    pub fn is_broken_connection(&self) -> bool {
        self.error().is_some_and(|error| {
            self.blames_server()
                && !error.is_parse()
                && !error.is_parse_too_large()
                && !error.is_timeout()
        })
    }

    /// Whether this speaks against the server: not the reset of one stream, and nothing that we or the client did.
    #[must_use]
    pub fn blames_server(&self) -> bool {
        match &self.cause {
            Cause::Unused => false,
            Cause::TooManyInterim => true,
            Cause::Error(error) => {
                let stream_only = self.h2().is_some_and(|error| !error.is_io());
                !error.is_user() && !stream_only
            }
        }
    }

    /// Whether something of an answer has come, so that the request was looked at.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        matches!(self.cause, Cause::TooManyInterim)
    }

    fn error(&self) -> Option<&hyper::Error> {
        match &self.cause {
            Cause::Error(error) => Some(error),
            Cause::Unused | Cause::TooManyInterim => None,
        }
    }

    fn h2(&self) -> Option<&h2::Error> {
        let error: &dyn std::error::Error = self.error()?;
        error.source()?.downcast_ref()
    }
}

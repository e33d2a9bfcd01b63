//! A connection, or a stream of one, in use by one request; and the request's place on its server.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use super::pool::{Multi, Pool};
use super::wire;
use crate::net::deadline::Deadline;

/// How long a connection that nobody waits for may take to send what is left of its request.
const LAST_BYTES: Duration = Duration::from_secs(30);

/// A request's place on a server: it counts as under way until this is dropped.
#[derive(Debug)]
pub struct Slot<B> {
    pool: Rc<Pool<B>>,
    /// Whether it is counted against the cap of all workers.
    counted: bool,
}

impl<B> Slot<B> {
    pub(super) fn new(pool: &Rc<Pool<B>>, counted: bool) -> Self {
        pool.count().add_request();
        Self {
            pool: Rc::clone(pool),
            counted,
        }
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
        self.pool.queue().wake();
    }
}

/// A connection in use. Dropped, HTTP/1.1 closes it; [`Lease::give_back`] keeps it. An HTTP/2 connection goes on with
/// its other streams either way.
#[derive(Debug)]
pub struct Lease<B> {
    conn: Conn<B>,
    slot: Slot<B>,
}

/// Whether a connection may serve another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It may.
    Allowed,
    /// It is one client's: its PROXY protocol header names it.
    Never,
}

#[derive(Debug)]
pub(super) enum Conn<B> {
    Http1 {
        /// None once given back.
        sender: Option<http1::SendRequest<B>>,
        abandoned: Deadline,
        reuse: Reuse,
    },
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
    pub(super) fn http1(
        slot: Slot<B>,
        sender: http1::SendRequest<B>,
        abandoned: Deadline,
        reuse: Reuse,
    ) -> Self {
        let conn = Conn::Http1 {
            sender: Some(sender),
            abandoned,
            reuse,
        };
        Self { conn, slot }
    }

    pub(super) fn http2(slot: Slot<B>, multi: &Rc<Multi<B>>, scheme: Scheme) -> Self {
        multi.begin();
        let conn = Conn::Http2 {
            sender: multi.sender(),
            scheme,
            multi: Rc::clone(multi),
        };
        Self { conn, slot }
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
    pub async fn send(&mut self, mut request: Request<B>) -> Result<Response<Incoming>, Failed<B>> {
        match &mut self.conn {
            Conn::Http1 {
                sender: Some(sender),
                reuse,
                ..
            } => {
                wire::for_http1(&mut request);
                if *reuse == Reuse::Never {
                    wire::close_after(&mut request);
                }
                sender.try_send_request(request).await.map_err(Failed::from)
            }
            Conn::Http1 { sender: None, .. } => Err(Failed {
                unsent: Some(request),
                error: None,
            }),
            Conn::Http2 { sender, scheme, .. } => {
                wire::for_http2(&mut request, scheme);
                sender.try_send_request(request).await.map_err(Failed::from)
            }
        }
    }

    /// The request was sent whole and the response read to the end: the connection may serve another.
    pub fn give_back(mut self) {
        if let Conn::Http1 {
            sender,
            abandoned,
            reuse: Reuse::Allowed,
        } = &mut self.conn
            && let Some(sender) = sender.take()
        {
            self.slot.pool().give_back(sender, abandoned.clone());
        }
    }
}

impl<B> Drop for Conn<B> {
    fn drop(&mut self) {
        match self {
            Self::Http1 {
                sender, abandoned, ..
            } => {
                if sender.take().is_some() {
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
    pub unsent: Option<Request<B>>,
    /// What hyper said; none if the connection was never used.
    pub error: Option<hyper::Error>,
}

impl<B> From<TrySendError<Request<B>>> for Failed<B> {
    fn from(mut failed: TrySendError<Request<B>>) -> Self {
        Self {
            unsent: failed.take_message(),
            error: Some(failed.into_error()),
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
        self.error.as_ref().is_some_and(|error| {
            self.blames_server()
                && !error.is_parse()
                && !error.is_parse_too_large()
                && !error.is_timeout()
        })
    }

    /// Whether this speaks against the server: not the reset of one stream, and nothing that we or the client did.
    #[must_use]
    pub fn blames_server(&self) -> bool {
        let Some(error) = &self.error else {
            return false;
        };
        let stream_only = self.h2().is_some_and(|error| !error.is_io());
        !error.is_user() && !stream_only
    }

    fn h2(&self) -> Option<&h2::Error> {
        let error: &dyn std::error::Error = self.error.as_ref()?;
        error.source()?.downcast_ref()
    }
}

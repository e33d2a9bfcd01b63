//! Sends one request to one server of a group.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;

use super::error::SendError;
use super::pool::{Lease, Pool};
use super::retry::{self, Attempt};
use crate::net::deadline::Deadline;

/// The servers that may answer, as one worker sees them.
#[derive(Debug)]
pub struct Group<B> {
    pools: Vec<Rc<Pool<B>>>,
    next: Cell<usize>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

/// A response head with the connection it came on.
#[derive(Debug)]
pub struct Answer<B> {
    /// The response; its body streams.
    pub response: Response<Incoming>,
    /// To be given back when request and response are through.
    pub lease: Lease<B>,
    /// How it came about.
    pub sent: Sent,
}

/// What an exchange cost, for log and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Connections made.
    pub connects: u32,
    /// Whether the answer came on a kept connection.
    pub reused: bool,
    /// Attempts beyond the first.
    pub retries: u32,
}

impl<B> Group<B>
where
    B: Body + Default + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A group over `pools`.
    #[must_use]
    pub fn new(
        pools: Vec<Rc<Pool<B>>>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Self {
        Self {
            pools,
            next: Cell::new(0),
            connect_timeout,
            response_timeout,
        }
    }

    /// Sends `request`, whose target is in origin form and whose headers are final. `deadline` is used for each wait.
    ///
    /// Dropped before it is done, the connection in use is closed.
    ///
    /// # Errors
    /// [`SendError`], after the retries that are safe.
    pub async fn send(
        &self,
        mut request: Request<B>,
        deadline: &Deadline,
    ) -> Result<Answer<B>, SendError> {
        let mut sent = Sent::default();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (mut lease, reused) = match self.pick(attempt).and_then(Pool::take) {
                Some(lease) => (lease, true),
                None => (self.connect(attempt, &mut sent, deadline).await?, false),
            };
            let copy = if reused { keep_copy(&request) } else { None };
            let method = request.method().clone();
            let label = Arc::clone(lease.pool().label());
            let server = || label.to_string();
            let Some(sender) = lease.sender() else {
                continue;
            };
            match deadline
                .limit(self.response_timeout, sender.try_send_request(request))
                .await
            {
                None => return Err(SendError::ResponseTimeout { server: server() }),
                Some(Ok(response)) => {
                    sent.reused = reused;
                    return Ok(Answer {
                        response,
                        lease,
                        sent,
                    });
                }
                Some(Err(mut failed)) => {
                    let back = failed.take_message();
                    let state = Attempt {
                        unsent: back.is_some(),
                        reused,
                        replayable: copy.is_some(),
                    };
                    match back.or_else(|| copy.map(Copy::into_request)) {
                        Some(again) if retry::decide(&method, state, attempt) => request = again,
                        _ => {
                            return Err(SendError::Exchange {
                                server: server(),
                                source: failed.into_error(),
                            });
                        }
                    }
                    sent.retries += 1;
                }
            }
        }
    }

    /// The server with the fewest requests under way, from a place that moves on; one that refused a moment ago only
    /// if all did. A second attempt goes to another server where there is one.
    fn pick(&self, attempt: usize) -> Option<&Rc<Pool<B>>> {
        let count = self.pools.len();
        if count <= 1 {
            return self.pools.first();
        }
        let start = self.next.get();
        self.next.set((start + attempt) % count);
        let (before, after) = self.pools.split_at(start % count);
        after
            .iter()
            .chain(before)
            .min_by_key(|pool| (pool.is_avoided(), pool.in_flight()))
    }

    /// Connects to the server of this attempt; on failure to the others in turn.
    async fn connect(
        &self,
        attempt: usize,
        sent: &mut Sent,
        deadline: &Deadline,
    ) -> Result<Lease<B>, SendError> {
        let mut tries = self.pools.len().max(1);
        loop {
            let Some(pool) = self.pick(attempt) else {
                let source = std::io::Error::other("the group has no server");
                return Err(SendError::Connect {
                    server: String::new(),
                    source,
                });
            };
            let server = || pool.label().to_string();
            sent.connects += 1;
            // Boxed: making a connection is rare and its state is large, and every request would carry it.
            let connected = Box::pin(pool.connect());
            let error = match deadline.limit(self.connect_timeout, connected).await {
                Some(Ok(lease)) => return Ok(lease),
                Some(Err(source)) => SendError::Connect {
                    server: server(),
                    source,
                },
                None => SendError::ConnectTimeout { server: server() },
            };
            pool.avoid();
            tries -= 1;
            if tries == 0 {
                return Err(error);
            }
        }
    }
}

/// The head of a request that can be made again.
struct Copy {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Copy {
    fn into_request<B: Default>(self) -> Request<B> {
        let mut request = Request::new(B::default());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers;
        request
    }
}

/// Keeps the head of a request that may have to be repeated: idempotent and without body. Only for a connection that
/// was used before, which the app may close at any moment, be it right after its last answer.
fn keep_copy<B: Body>(request: &Request<B>) -> Option<Copy> {
    (request.method().is_idempotent() && request.body().is_end_stream()).then(|| Copy {
        method: request.method().clone(),
        uri: request.uri().clone(),
        headers: request.headers().clone(),
    })
}

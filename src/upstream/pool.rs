//! The connections of one worker to one app server.
//!
//! Last in, first out: the connection used last is the one most likely to be alive. A connection comes back only when
//! its request was sent and its response read to the end; whatever else happens, it is closed. Unused connections are
//! closed by us before the app would ([`Pool::prune`] at each tick), because a request that meets a connection just
//! closed by the app is lost.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::connect::connect;
use crate::config::UpstreamAddress;
use crate::net::deadline::{Deadline, TICK, Ticks, Timers};
use crate::net::local;

/// Largest head of a response.
const MAX_HEAD: usize = 64 << 10;
/// Read buffer of a connection: what one read may take, and so the largest piece of a body that is in memory.
const MAX_BUFFER: usize = 256 << 10;
/// How long a connection that nobody waits for may take to send what is left of its request.
const LAST_BYTES: Duration = Duration::from_secs(30);
/// A server that refused is passed over for this long while others are there.
const AVOID: Duration = Duration::from_secs(1);

/// The pool of one server.
#[derive(Debug)]
pub struct Pool<B> {
    address: UpstreamAddress,
    label: Arc<str>,
    ticks: Ticks,
    timers: Timers,
    idle: RefCell<Vec<Idle<B>>>,
    in_flight: Cell<usize>,
    avoid_until: Cell<u32>,
    keepalive: Cell<Duration>,
    most_idle: Cell<usize>,
}

#[derive(Debug)]
struct Idle<B> {
    sender: SendRequest<B>,
    abandoned: Deadline,
    since: u32,
}

impl<B> Pool<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool.
    #[must_use]
    pub fn new(address: UpstreamAddress, timers: Timers) -> Rc<Self> {
        Rc::new(Self {
            label: Arc::from(address.to_string()),
            address,
            ticks: timers.ticks().clone(),
            timers,
            idle: RefCell::default(),
            in_flight: Cell::new(0),
            avoid_until: Cell::new(0),
            keepalive: Cell::new(Duration::ZERO),
            most_idle: Cell::new(0),
        })
    }

    /// Takes over settings that may change at a reload.
    pub fn configure(&self, keepalive: Duration, most_idle: usize) {
        self.keepalive.set(keepalive);
        self.most_idle.set(most_idle);
    }

    /// The server.
    #[must_use]
    pub fn address(&self) -> &UpstreamAddress {
        &self.address
    }

    /// The server as the log names it.
    #[must_use]
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Whether the server refused a connection a moment ago.
    #[must_use]
    pub fn is_avoided(&self) -> bool {
        self.avoid_until.get() > self.ticks.now()
    }

    /// Notes that the server refused a connection.
    pub fn avoid(&self) {
        self.avoid_until
            .set(self.ticks.now().saturating_add(Ticks::in_ticks(AVOID)));
    }

    /// A kept connection that is still open, as far as is known.
    #[must_use]
    pub fn take(self: &Rc<Self>) -> Option<Lease<B>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(entry) = idle.pop() {
            let unused = self.ticks.now().saturating_sub(entry.since);
            if entry.sender.is_ready() && !self.is_stale(unused) {
                return Some(Lease::new(self, entry.sender, entry.abandoned));
            }
        }
        None
    }

    /// Makes a connection. Its driver runs on this worker until both sides are done with it.
    ///
    /// # Errors
    /// What the system says, or hyper of the handshake.
    pub async fn connect(self: &Rc<Self>) -> io::Result<Lease<B>> {
        let stream = connect(&self.address).await?;
        let handshake = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            .writev(true)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        // The driver ends by itself when the server closes, or soon after the sender is dropped. An app that neither
        // reads the rest of a request nor closes would hold it for ever: hence the deadline.
        let abandoned = self.timers.deadline();
        let deadline = abandoned.clone();
        drop(local::spawn(async move {
            let mut connection = pin!(connection.with_upgrades());
            let mut registered = false;
            poll_fn(|cx| {
                if let Poll::Ready(end) = connection.as_mut().poll(cx) {
                    if let Err(error) = end {
                        tracing::debug!(%error, "connection to an app server ended");
                    }
                    return Poll::Ready(());
                }
                // Registered once, so that arming can wake this task, and again only while armed.
                if registered && !deadline.is_armed() && !deadline.has_fired() {
                    return Poll::Pending;
                }
                registered = true;
                deadline.poll_fired(cx)
            })
            .await;
        }));
        self.avoid_until.set(0);
        Ok(Lease::new(self, sender, abandoned))
    }

    /// Closes what was unused for too long.
    pub fn prune(&self) {
        let now = self.ticks.now();
        self.idle.borrow_mut().retain(|entry| {
            !entry.sender.is_closed() && !self.is_stale(now.saturating_sub(entry.since))
        });
    }

    /// One tick is taken off, because an age in ticks may be up to one tick too small.
    fn is_stale(&self, unused: u32) -> bool {
        TICK.saturating_mul(unused.saturating_add(1)) > self.keepalive.get()
    }

    fn give_back(&self, sender: SendRequest<B>, abandoned: Deadline) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.most_idle.get() && !sender.is_closed() {
            idle.push(Idle {
                sender,
                abandoned,
                since: self.ticks.now(),
            });
        }
    }
}

/// A connection in use. Dropped, it closes; [`Lease::give_back`] keeps it.
#[derive(Debug)]
pub struct Lease<B> {
    sender: Option<SendRequest<B>>,
    abandoned: Deadline,
    pool: Rc<Pool<B>>,
}

impl<B> Lease<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn new(pool: &Rc<Pool<B>>, sender: SendRequest<B>, abandoned: Deadline) -> Self {
        pool.in_flight.set(pool.in_flight.get() + 1);
        Self {
            sender: Some(sender),
            abandoned,
            pool: Rc::clone(pool),
        }
    }

    /// The connection; `None` cannot be seen by callers, as only [`Lease::give_back`] takes it out.
    pub fn sender(&mut self) -> Option<&mut SendRequest<B>> {
        self.sender.as_mut()
    }

    /// The pool it belongs to.
    #[must_use]
    pub fn pool(&self) -> &Rc<Pool<B>> {
        &self.pool
    }

    /// The request was sent whole and the response read to the end: the connection may serve another.
    pub fn give_back(mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.give_back(sender, self.abandoned.clone());
        }
    }
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        if self.sender.take().is_some() {
            self.abandoned.arm(LAST_BYTES);
            self.abandoned.wake();
        }
        self.pool
            .in_flight
            .set(self.pool.in_flight.get().saturating_sub(1));
    }
}

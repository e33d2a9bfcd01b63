//! The connections of one worker to one app server.
//!
//! HTTP/1.1: last in, first out, as the connection used last is the one most likely to be alive. A connection comes back only
//! when its request was sent and its response read to the end; whatever else happens, it is closed. Unused connections
//! are closed by us before the app would ([`Pool::prune`] at each tick), because a request that meets a connection
//! just closed by the app is lost.
//!
//! HTTP/2: several streams on a connection, as many as the server allows and [`MOST_STREAMS`] at most; then another
//! connection. Requests that come while the first connection is being made wait for it. A connection that the server
//! ends (GOAWAY) takes no new stream and goes when its last stream does.
//!
//! With a PROXY protocol header a connection is one client's, so it carries one request of HTTP/1.1 and is never
//! kept. To keep it for the same client would help that client only, for the second or two of `keepalive`, and hold a
//! place in the app from all others; and the pool could not mix up what it does not have.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::uri::Scheme;
use http_body::Body;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use super::connect::{ConnectError, Connected, How, connect};
use super::interim::{Interim, Watched};
use super::lease::{Lease, Reuse, Single, Slot};
use super::queue::{Queue, Wants};
use super::server::{Count, Server};
use super::tls::Tls;
use crate::config::{Transport, UpstreamAddress};
use crate::net::deadline::{TICK, Ticks, Timers};
use crate::net::local;
use crate::net::proxy_header::Header;

/// Largest head of a response.
const MAX_HEAD: usize = 64 << 10;
/// Read buffer of an HTTP/1.1 connection: what one read may take, and so the largest piece of a body that is in memory.
const MAX_BUFFER: usize = 256 << 10;
/// Most of an answer that one HTTP/2 stream may send before the client has taken it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Most of an upload that waits for the server, for each stream, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// Most streams on one connection, whatever the server allows.
pub const MOST_STREAMS: usize = 100;
/// A silent HTTP/2 connection with open streams is asked for a sign of life after this long, and closed without one.
const PING: Duration = Duration::from_secs(20);
/// A server that refused is passed over for this long while others are there.
const AVOID: Duration = Duration::from_secs(1);

/// The pool of one server.
#[derive(Debug)]
pub struct Pool<B> {
    server: Arc<Server>,
    count: Arc<Count>,
    queue: Rc<Queue>,
    timers: Timers,
    ticks: Ticks,
    tls: RefCell<Option<Tls>>,
    settings: Cell<Settings>,
    idle: RefCell<Vec<Idle<B>>>,
    multi: RefCell<Vec<Rc<Multi<B>>>>,
    /// Whether connections turn out to be HTTP/2; for `https` known once the first one is made.
    http2: Cell<bool>,
    /// Whether a connection is being made that others wait for.
    connecting: Cell<bool>,
    connected: Notify,
    avoid_until: Cell<u32>,
    turn: Cell<usize>,
    /// The addresses of the server's name at the last tick: this worker's own, so that no request asks for those shared
    /// with other cores.
    addresses: RefCell<Arc<Vec<SocketAddr>>>,
}

/// What may change at a reload.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// How long an unused connection is kept.
    pub keepalive: Duration,
    /// Unused HTTP/1.1 connections kept.
    pub most_idle: usize,
    /// Whether connections begin with a PROXY protocol header.
    pub send_proxy_protocol: bool,
    /// Most requests on the server, of all workers.
    pub most_requests: Option<u32>,
    /// Most connections to the server, of all workers.
    pub most_connections: Option<u32>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
}

#[derive(Debug)]
struct Idle<B> {
    single: Single<B>,
    since: u32,
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Multi<B> {
    sender: http2::SendRequest<B>,
    streams: Cell<usize>,
    /// What the server allows now; kept by the driver.
    allowed: Rc<Cell<usize>>,
    since: Cell<u32>,
    ticks: Ticks,
    peer: Option<SocketAddr>,
    queue: Rc<Queue>,
}

impl<B> Multi<B> {
    pub(super) fn sender(&self) -> http2::SendRequest<B> {
        self.sender.clone()
    }

    pub(super) fn begin(&self) {
        self.streams.set(self.streams.get() + 1);
    }

    pub(super) fn end(&self) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.since.set(self.ticks.now());
        self.queue.wake();
    }

    fn has_room(&self) -> bool {
        let most = self.allowed.get().min(MOST_STREAMS);
        !self.sender.is_closed() && self.streams.get() < most
    }
}

/// A connection's place among those that the server may have.
#[derive(Debug)]
pub struct Permit {
    server: Arc<Server>,
    count: Arc<Count>,
    queue: Rc<Queue>,
    counted: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.count.remove_connection();
        if self.counted {
            self.server.end_connection();
        }
        self.queue.wake();
    }
}

/// How a request gets its connection.
#[derive(Debug)]
pub enum Way<B> {
    /// One that is open.
    Kept(Lease<B>),
    /// One to be made.
    Connect(Slot<B>, Permit),
    /// One that is being made already.
    Soon(Slot<B>),
}

impl<B> Pool<B> {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub(super) fn count(&self) -> &Count {
        &self.count
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
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

    /// Ready when a connection that others wait for was made, or was not.
    pub async fn connected(&self) {
        if self.connecting.get() {
            self.connected.notified().await;
        }
    }

    /// Whether a connection leads to an address that the server's name no longer has.
    fn is_gone(&self, peer: Option<SocketAddr>) -> bool {
        let addresses = self.addresses.borrow();
        peer.is_some_and(|peer| !addresses.is_empty() && !addresses.contains(&peer))
    }

    /// One tick is taken off, because an age in ticks may be up to one tick too small.
    fn is_stale(&self, since: u32) -> bool {
        let unused = self.ticks.now().saturating_sub(since);
        TICK.saturating_mul(unused.saturating_add(1)) > self.settings.get().keepalive
    }
}

impl<B> Pool<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool.
    #[must_use]
    pub fn new(server: Arc<Server>, queue: Rc<Queue>, timers: Timers) -> Rc<Self> {
        let http2 = matches!(server.address(), UpstreamAddress::Tcp { transport, .. } if *transport != Transport::Http);
        Rc::new(Self {
            count: server.count(),
            addresses: RefCell::new(server.addresses()),
            server,
            queue,
            ticks: timers.ticks().clone(),
            timers,
            tls: RefCell::default(),
            settings: Cell::default(),
            idle: RefCell::default(),
            multi: RefCell::default(),
            http2: Cell::new(http2),
            connecting: Cell::new(false),
            connected: Notify::new(),
            avoid_until: Cell::new(0),
            turn: Cell::new(0),
        })
    }

    /// Takes over settings that may change at a reload. Connections that were verified by other rules are let go, and
    /// those without a header that is wanted now.
    pub fn configure(&self, settings: Settings, tls: Option<&Tls>) {
        self.settings.set(settings);
        let before = self.tls.replace(tls.cloned());
        if settings.send_proxy_protocol
            || before
                .as_ref()
                .zip(tls)
                .is_some_and(|(before, now)| !before.verifies_like(now))
        {
            self.idle.borrow_mut().clear();
            self.multi.borrow_mut().clear();
        }
    }

    /// Whether a request could get a connection now, or wait for one that is being made.
    #[must_use]
    pub fn has_room(&self, wants: Wants) -> bool {
        let settings = self.settings.get();
        if !self.server.has_room(settings.most_requests) {
            return false;
        }
        if self.server.may_connect(settings.most_connections) {
            return true;
        }
        if settings.send_proxy_protocol {
            return false;
        }
        let streams = self.http2.get() && !wants.only_http1;
        let kept = || {
            !self.idle.borrow().is_empty()
                || (streams && self.multi.borrow().iter().any(|multi| multi.has_room()))
        };
        (streams && self.connecting.get()) || (!wants.fresh && kept())
    }

    /// A way to a connection; `None` if the server is at its limit. Before it says so it takes nothing: what it took and gave
    /// back would wake those who wait, and that is who asks.
    pub fn admit(self: &Rc<Self>, wants: Wants) -> Option<Way<B>> {
        if !self.has_room(wants) {
            return None;
        }
        let Wants {
            only_http1, fresh, ..
        } = wants;
        let settings = self.settings.get();
        let counted = match settings.most_requests {
            None => false,
            Some(most) if self.server.begin_request(most) => true,
            Some(_) => return None,
        };
        let slot = Slot::new(self, counted);
        let slot = if fresh || settings.send_proxy_protocol {
            slot
        } else {
            match self.take(slot, only_http1) {
                Ok(lease) => return Some(Way::Kept(lease)),
                Err(slot) => slot,
            }
        };
        let only_http1 = only_http1 || settings.send_proxy_protocol;
        if self.http2.get() && !only_http1 && self.connecting.get() {
            return Some(Way::Soon(slot));
        }
        let counted = match settings.most_connections {
            None => false,
            Some(most) if self.server.begin_connection(most) => true,
            Some(_) => return None,
        };
        self.count.add_connection();
        let permit = Permit {
            server: Arc::clone(&self.server),
            count: Arc::clone(&self.count),
            queue: Rc::clone(&self.queue),
            counted,
        };
        Some(Way::Connect(slot, permit))
    }

    /// A connection that is open, as far as is known; else the slot again.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&self, slot: Slot<B>, only_http1: bool) -> Result<Lease<B>, Slot<B>> {
        if self.http2.get() && !only_http1 {
            let multi = self.multi.borrow();
            if let Some(multi) = multi.iter().find(|multi| multi.has_room()) {
                return Ok(Lease::http2(slot, multi, self.scheme()));
            }
        }
        let mut idle = self.idle.borrow_mut();
        while let Some(entry) = idle.pop() {
            if entry.single.sender.is_ready() && !self.is_stale(entry.since) {
                return Ok(Lease::http1(slot, entry.single));
            }
        }
        Err(slot)
    }

    /// Makes a connection, for `from` if the server is to be told. Its driver runs on this worker until both sides
    /// are done with it.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        self: &Rc<Self>,
        slot: Slot<B>,
        permit: Permit,
        only_http1: bool,
        from: Header,
    ) -> Result<Lease<B>, ConnectError> {
        let header = self.settings.get().send_proxy_protocol.then_some(from);
        let only_http1 = only_http1 || header.is_some();
        let _connecting = (self.http2.get() && !only_http1).then(|| Connecting::begin(self));
        let tls = self.tls.borrow().clone();
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let how = How {
            tls: tls.as_ref(),
            only_http1,
            header,
            turn,
            limit: self.settings.get().connect_timeout,
        };
        let connected = connect(&self.server, how).await?;
        if !only_http1 {
            self.http2.set(connected.http2);
        }
        let lease = if connected.http2 {
            self.begin_http2(slot, permit, connected).await?
        } else {
            let reuse = if header.is_some() {
                Reuse::Never
            } else {
                Reuse::Allowed
            };
            self.begin_http1(slot, permit, connected, reuse).await?
        };
        self.avoid_until.set(0);
        Ok(lease)
    }

    async fn begin_http1(
        self: &Rc<Self>,
        slot: Slot<B>,
        permit: Permit,
        connected: Connected,
        reuse: Reuse,
    ) -> Result<Lease<B>, ConnectError> {
        let interim = Arc::new(Interim::default());
        let stream = Watched::new(connected.stream, Arc::clone(&interim));
        let handshake = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            .writev(true)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(ConnectError::Http)?;
        // The driver ends by itself when the server closes, or soon after the sender is dropped. An app that neither
        // reads the rest of a request nor closes would hold it for ever: hence the deadline.
        let abandoned = self.timers.deadline();
        let deadline = abandoned.clone();
        let count = Arc::clone(&interim);
        // Its lease holds the place too: the driver of a connection that becomes a tunnel ends when the tunnel begins.
        let permit = Rc::new(permit);
        let place = Rc::downgrade(&permit);
        drop(local::spawn(async move {
            let _permit = permit;
            let mut connection = pin!(connection.with_upgrades());
            let mut registered = false;
            poll_fn(|cx| {
                if let Poll::Ready(end) = connection.as_mut().poll(cx) {
                    if let Err(error) = end {
                        tracing::debug!(%error, "connection to an app server ended");
                    }
                    return Poll::Ready(());
                }
                if count.is_too_many() {
                    tracing::debug!("an app server sent too many interim answers");
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
        let single = Single {
            sender,
            abandoned,
            interim,
            reuse,
            permit: place,
            peer: connected.peer,
        };
        Ok(Lease::http1(slot, single))
    }

    async fn begin_http2(
        self: &Rc<Self>,
        slot: Slot<B>,
        permit: Permit,
        connected: Connected,
    ) -> Result<Lease<B>, ConnectError> {
        let handshake = http2::Builder::new(OnThisWorker)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .handshake(TokioIo::new(connected.stream));
        let (sender, connection) = handshake.await.map_err(ConnectError::Http)?;
        let allowed = Rc::new(Cell::new(connection.current_max_send_streams()));
        let told = Rc::clone(&allowed);
        drop(local::spawn(async move {
            let _permit = permit;
            let mut connection = pin!(connection);
            // Ends when the server closes, or when no sender is left and the last stream is through.
            let end = poll_fn(|cx| {
                let end = connection.as_mut().poll(cx);
                told.set(connection.current_max_send_streams());
                end
            });
            if let Err(error) = end.await {
                tracing::debug!(%error, "connection to an app server ended");
            }
        }));
        let multi = Rc::new(Multi {
            sender,
            streams: Cell::new(0),
            allowed,
            since: Cell::new(self.ticks.now()),
            ticks: self.ticks.clone(),
            peer: connected.peer,
            queue: Rc::clone(&self.queue),
        });
        self.multi.borrow_mut().push(Rc::clone(&multi));
        Ok(Lease::http2(slot, &multi, self.scheme()))
    }

    fn scheme(&self) -> Scheme {
        match self.server.address() {
            UpstreamAddress::Tcp {
                transport: Transport::Https,
                ..
            } => Scheme::HTTPS,
            _ => Scheme::HTTP,
        }
    }

    /// Closes what was unused for too long, and connections to addresses that the server's name no longer has. With
    /// `wanted`, requests of other workers wait for connections of this server: all unused ones go.
    pub fn prune(&self, wanted: bool) {
        self.addresses.replace(self.server.addresses());
        let wanted = wanted && self.settings.get().most_connections.is_some();
        self.idle.borrow_mut().retain(|Idle { single, since }| {
            let gone = self.is_gone(single.peer);
            !wanted && !gone && !single.sender.is_closed() && !self.is_stale(*since)
        });
        self.multi.borrow_mut().retain(|multi| {
            let unused = multi.streams.get() == 0 && (wanted || self.is_stale(multi.since.get()));
            !multi.sender.is_closed() && !self.is_gone(multi.peer) && !unused
        });
    }

    /// Keeps a connection for the next request. One that leads nowhere any more is closed here: while it is busy, no
    /// [`Self::prune`] meets it.
    pub(super) fn give_back(&self, single: Single<B>) {
        let (mut idle, settings) = (self.idle.borrow_mut(), self.settings.get());
        let room = !settings.send_proxy_protocol && idle.len() < settings.most_idle;
        if room && !single.sender.is_closed() && !self.is_gone(single.peer) {
            idle.push(Idle {
                single,
                since: self.ticks.now(),
            });
        }
    }
}

/// Marks that a connection is being made which others wait for; tells them when it is over.
struct Connecting<'p, B>(&'p Pool<B>);

impl<'p, B> Connecting<'p, B> {
    fn begin(pool: &'p Pool<B>) -> Self {
        pool.connecting.set(true);
        Self(pool)
    }
}

impl<B> Drop for Connecting<'_, B> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.connected.notify_waiters();
    }
}

/// Runs the parts of an HTTP/2 connection on the worker that has it.
#[derive(Debug, Clone, Copy)]
struct OnThisWorker;

impl<F> hyper::rt::Executor<F> for OnThisWorker
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, work: F) {
        drop(local::spawn(work));
    }
}

#[cfg(test)]
mod tests;

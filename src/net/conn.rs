//! What is known of a client connection, and how far it has come.
//!
//! [`ConnInfo`] holds facts that never change. [`Activity`] follows the connection through its phases and arms the
//! deadline of each: the first request head, the idle time between requests, a client that does not take its answer,
//! a silent tunnel. The stream ([`super::socket::Socket`]) and the protocol adapters report to it; the connection's
//! task waits on it and closes. No deadline lives anywhere else on the client side, so no protocol can miss one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use super::deadline::{Deadline, Timers};

/// Longest waits on a client; from the `[limits]` section.
#[derive(Debug, Clone, Copy)]
pub struct ClientWaits {
    /// For a whole request head.
    pub header: Duration,
    /// Between requests.
    pub idle: Duration,
    /// For the client to take bytes of an answer.
    pub write: Duration,
    /// For any byte, either way, on a tunnel.
    pub tunnel: Duration,
}

/// The facts of a client connection below TLS.
#[derive(Debug, Clone)]
pub struct ConnInfo {
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// The client's address; IPv4-mapped IPv6 is unmapped, so that `::ffff:203.0.113.9` reads `203.0.113.9`.
    pub client: IpAddr,
    /// The client's port; 0 if nobody told it.
    pub client_port: u16,
    /// The address that the client connected to.
    pub destination: SocketAddr,
    /// The port that the client came to, as the client sees it.
    pub public_port: u16,
    /// The port of the https listener, as clients see it; redirects lead there.
    pub https_port: u16,
}

impl ConnInfo {
    /// The same facts of the client that a trusted proxy has named, and of the address that it says the client
    /// connected to.
    #[must_use]
    pub fn proxied(mut self, client: SocketAddr, destination: SocketAddr) -> Self {
        self.client = client.ip().to_canonical();
        self.client_port = client.port();
        self.destination = destination;
        self
    }

    /// The facts of a connection from `peer` to our socket `local`, which clients know under `public_port`.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr, public_port: u16, https_port: u16) -> Self {
        Self {
            peer,
            client: peer.ip().to_canonical(),
            client_port: peer.port(),
            destination: local,
            public_port,
            https_port,
        }
    }
}

/// Why a connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// No whole request head in time.
    Header,
    /// No request for too long.
    Idle,
    /// The client does not take its answer.
    Write,
    /// Silence on a tunnel.
    Tunnel,
}

const HEAD: u8 = 0;
const IDLE: u8 = 1;
const ACTIVE: u8 = 2;
const TUNNEL: u8 = 3;
/// As [`HEAD`], before the first byte of it.
const NEW: u8 = 4;

/// How far a connection has come. Starts by waiting for the first request head. Cloning gives another handle.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: AtomicU8,
    exchanges: AtomicU32,
    /// HTTP/2: bytes may come at any time without being a request.
    multiplexed: AtomicBool,
    wait: Deadline,
    write: Deadline,
    waits: ClientWaits,
    /// How long it may rest, in milliseconds: `waits.idle`, or less once it was told to end.
    rest: AtomicU32,
}

impl Activity {
    /// Begins with the wait for a request head.
    #[must_use]
    pub fn new(timers: &Timers, waits: ClientWaits) -> Self {
        let activity = Self(Arc::new(Inner {
            phase: AtomicU8::new(HEAD),
            exchanges: AtomicU32::new(0),
            multiplexed: AtomicBool::new(false),
            wait: timers.deadline(),
            write: timers.deadline(),
            waits,
            rest: AtomicU32::new(millis(waits.idle)),
        }));
        activity.0.wait.arm(waits.header);
        activity
    }

    /// The handshake is done (or there is none): the wait for the first request begins anew.
    pub fn handshake_done(&self) {
        self.0.phase.store(NEW, Relaxed);
        self.0.wait.arm(self.0.waits.header);
    }

    /// The connection was told to end: it has this long for its last exchange of messages.
    pub fn close_within(&self, longest: Duration) {
        self.0.rest.store(millis(longest), Relaxed);
        self.0.wait.arm(longest);
    }

    /// HTTP/2: frames that come while no request is open begin no head.
    pub fn set_multiplexed(&self) {
        self.0.multiplexed.store(true, Relaxed);
    }

    /// A request head is complete.
    pub fn exchange_began(&self) {
        self.0.exchanges.store(self.exchanges() + 1, Relaxed);
        if self.0.phase.load(Relaxed) != TUNNEL {
            self.0.phase.store(ACTIVE, Relaxed);
            self.0.wait.disarm();
        }
    }

    /// An exchange is over. With the last one the connection is idle.
    pub fn exchange_ended(&self) {
        let left = self.exchanges().saturating_sub(1);
        self.0.exchanges.store(left, Relaxed);
        if left == 0 && self.0.phase.load(Relaxed) == ACTIVE {
            self.0.phase.store(IDLE, Relaxed);
            self.0.wait.arm(self.0.waits.idle);
        }
    }

    /// Requests being answered.
    #[must_use]
    pub fn exchanges(&self) -> u32 {
        self.0.exchanges.load(Relaxed)
    }

    /// Whether no request is being answered and no byte of the next has come.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.phase.load(Relaxed) == IDLE && !self.0.write.is_armed()
    }

    /// Whether nothing is lost if the connection ends now: it is idle, or no byte of the first request has come.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.is_idle() || self.0.phase.load(Relaxed) == NEW
    }

    /// The connection became a tunnel: from now on only silence ends it.
    pub fn tunnel_began(&self) {
        self.0.phase.store(TUNNEL, Relaxed);
        self.0.wait.arm(self.0.waits.tunnel);
    }

    /// Bytes came from the client.
    pub fn read_progress(&self) {
        match self.0.phase.load(Relaxed) {
            IDLE if !self.0.multiplexed.load(Relaxed) => {
                self.0.phase.store(HEAD, Relaxed);
                self.0.wait.arm(self.0.waits.header);
            }
            TUNNEL => self.0.wait.arm(self.0.waits.tunnel),
            NEW => self.0.phase.store(HEAD, Relaxed),
            _ => {}
        }
    }

    /// The client took bytes.
    pub fn write_progress(&self) {
        self.0.write.disarm();
        if self.0.phase.load(Relaxed) == TUNNEL {
            self.0.wait.arm(self.0.waits.tunnel);
        }
    }

    /// Bytes wait for a client that takes none.
    pub fn write_blocked(&self) {
        if !self.0.write.is_armed() && !self.0.write.has_fired() {
            self.0.write.arm(self.0.waits.write);
        }
    }

    /// Ready when a deadline has passed. Must be polled by the connection's own task only, after it has written what it can.
    ///
    /// While the end of an answer still waits for the client to take it, a connection does not rest, though the exchange
    /// is over: whoever hands the answer over holds part of it. The wait for the client to take bytes bounds that.
    pub fn poll_expired(&self, cx: &Context<'_>) -> Poll<Expired> {
        if self.0.write.poll_fired(cx).is_ready() {
            return Poll::Ready(Expired::Write);
        }
        let resting = self.0.phase.load(Relaxed) == IDLE;
        if resting && self.0.write.is_armed() && self.0.wait.has_fired() {
            let rest = self.0.rest.load(Relaxed);
            self.0.wait.arm(Duration::from_millis(rest.into()));
        }
        self.0
            .wait
            .poll_fired(cx)
            .map(|()| match self.0.phase.load(Relaxed) {
                HEAD | NEW => Expired::Header,
                TUNNEL => Expired::Tunnel,
                _ => Expired::Idle,
            })
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::deadline::TICK;
    use super::*;

    fn setup() -> (Timers, Activity) {
        let timers = Timers::default();
        let waits = ClientWaits {
            header: TICK,
            idle: TICK * 4,
            write: TICK * 2,
            tunnel: TICK * 8,
        };
        let activity = Activity::new(&timers, waits);
        (timers, activity)
    }

    fn after(timers: &Timers, activity: &Activity, ticks: u32) -> Option<Expired> {
        for _ in 0..ticks {
            timers.tick();
        }
        match activity.poll_expired(&Context::from_waker(Waker::noop())) {
            Poll::Ready(expired) => Some(expired),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_silent_connection_expires_as_header() {
        let (timers, activity) = setup();
        assert_eq!(after(&timers, &activity, 1), None);
        assert_eq!(after(&timers, &activity, 1), Some(Expired::Header));
    }

    #[test]
    fn a_connection_is_quiet_until_its_first_byte_and_while_idle() {
        let (timers, activity) = setup();
        assert!(!activity.is_quiet(), "a handshake is under way");
        activity.handshake_done();
        assert!(activity.is_quiet() && !activity.is_idle());
        activity.read_progress();
        assert!(!activity.is_quiet());
        assert_eq!(after(&timers, &activity, 2), Some(Expired::Header));
        activity.exchange_began();
        assert!(!activity.is_quiet());
        activity.exchange_ended();
        assert!(activity.is_quiet() && activity.is_idle());
    }

    #[test]
    fn a_request_may_take_any_time_and_idling_may_not() {
        let (timers, activity) = setup();
        activity.exchange_began();
        assert_eq!(after(&timers, &activity, 100), None);
        activity.exchange_ended();
        assert_eq!(after(&timers, &activity, 4), None);
        assert_eq!(after(&timers, &activity, 1), Some(Expired::Idle));
    }

    #[test]
    fn a_connection_does_not_rest_while_its_answer_is_leaving() {
        let (timers, activity) = setup();
        activity.exchange_began();
        activity.write_blocked();
        activity.exchange_ended();
        // Some of it goes every tick, for longer than any wait.
        for _ in 0..20 {
            assert_eq!(after(&timers, &activity, 1), None);
            activity.write_progress();
            activity.write_blocked();
        }
        activity.write_progress();
        assert_eq!(after(&timers, &activity, 5), Some(Expired::Idle));
        activity.exchange_began();
        activity.write_blocked();
        activity.exchange_ended();
        activity.close_within(TICK);
        assert_eq!(after(&timers, &activity, 2), None);
        activity.write_progress();
        assert_eq!(after(&timers, &activity, 2), Some(Expired::Idle));
    }

    #[test]
    fn the_first_byte_after_idling_starts_the_head_deadline() {
        let (timers, activity) = setup();
        activity.exchange_began();
        activity.exchange_ended();
        activity.read_progress();
        assert_eq!(after(&timers, &activity, 2), Some(Expired::Header));
    }

    #[test]
    fn a_client_that_takes_nothing_expires_even_while_active() {
        let (timers, activity) = setup();
        activity.exchange_began();
        activity.write_blocked();
        assert_eq!(after(&timers, &activity, 2), None);
        activity.write_progress();
        activity.write_blocked();
        assert_eq!(after(&timers, &activity, 2), None);
        activity.write_blocked();
        assert_eq!(after(&timers, &activity, 1), Some(Expired::Write));
    }
}

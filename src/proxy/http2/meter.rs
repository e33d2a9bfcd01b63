//! What a client has done on a connection of HTTP/2, and when it is enough.
//!
//! A frame costs its sender nine bytes and us some work. Most of what a client may do at will is bounded by windows,
//! by the number of streams or by h2 itself; what is not: frames that only keep us busy (SETTINGS, PING, PRIORITY,
//! WINDOW_UPDATE, empty DATA, unknown types) and requests that are taken back at once (CVE-2023-44487). For these a
//! connection has two budgets that come back with time and with honest work. An honest client never meets them.
//!
//! The other way it bounds what waits for a client that does not read: h2 does so for each stream only, and a connection
//! may have a hundred.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use h2::Reason;

use crate::net::deadline::Ticks;

/// Frames of no use that a client may have sent in advance.
const MOST_IDLE: i64 = 1_000;
/// How many of them come back in a tick of a quarter of a second.
const IDLE_A_TICK: i64 = 50;
/// How many of them a piece of an answer is worth: a client may open both windows for each, and measure with a PING.
const IDLE_A_PIECE: i64 = 4;
/// How many of them a new stream is worth.
const IDLE_A_STREAM: i64 = 4;
/// What SETTINGS costs: a changed window goes to every stream.
pub(super) const SETTINGS_COST: i64 = 10;
/// Requests that a client may take back in advance: as many as a browser has under way when its user leaves the page.
const MOST_RESETS: i64 = 200;
/// How many of them come back in a tick.
const RESETS_A_TICK: i64 = 5;
/// Most bytes of answers that wait for the socket of a connection, all streams together. What is asked for more waits in
/// the app's connections.
const MOST_WAITING: usize = 256 << 10;

/// What the guard knows of a connection. Shared by the stream, the connection's task and the tasks of its streams.
#[derive(Debug)]
pub(super) struct Meter {
    ticks: Ticks,
    seen_tick: Cell<u32>,
    idle: Cell<i64>,
    resets: Cell<i64>,
    /// A header block has begun and not ended.
    open_block: Cell<bool>,
    breach: Cell<Option<Breach>>,
    /// The socket takes nothing more.
    blocked: Cell<bool>,
    /// Bytes of answers handed over since everything was last written.
    waiting: Cell<usize>,
    /// Streams that wait for it.
    streams: RefCell<Vec<Waker>>,
}

/// What a client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// Too many frames of no use.
    Frames,
    /// Too many requests taken back.
    Resets,
    /// A pseudo-header in trailers.
    Malformed,
    /// A field of trailers that is larger than a head may be.
    Trailers,
    /// A frame whose size is not that of its type.
    FrameSize,
    /// A window beyond 2^31-1.
    Window,
    /// DATA or HEADERS on a stream that the client has ended.
    Closed,
}

impl Breach {
    /// What the client is told.
    #[must_use]
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Frames | Self::Resets | Self::Trailers => Reason::ENHANCE_YOUR_CALM,
            Self::Malformed => Reason::PROTOCOL_ERROR,
            Self::FrameSize => Reason::FRAME_SIZE_ERROR,
            Self::Window => Reason::FLOW_CONTROL_ERROR,
            Self::Closed => Reason::STREAM_CLOSED,
        }
    }
}

impl Meter {
    /// Full budgets.
    #[must_use]
    pub(super) fn new(ticks: Ticks) -> Rc<Self> {
        Rc::new(Self {
            seen_tick: Cell::new(ticks.now()),
            ticks,
            idle: Cell::new(MOST_IDLE),
            resets: Cell::new(MOST_RESETS),
            open_block: Cell::new(false),
            breach: Cell::new(None),
            blocked: Cell::new(false),
            waiting: Cell::new(0),
            streams: RefCell::default(),
        })
    }

    /// What the client did, if it went too far.
    #[must_use]
    pub(super) fn breach(&self) -> Option<Breach> {
        self.breach.get()
    }

    /// Whether the client is in the middle of a header block.
    #[must_use]
    pub(super) fn is_block_open(&self) -> bool {
        self.open_block.get()
    }

    /// Ready when a stream may hand over more of its answer.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.get() < MOST_WAITING {
            return Poll::Ready(());
        }
        let mut streams = self.streams.borrow_mut();
        if !streams.iter().any(|waker| waker.will_wake(cx.waker())) {
            streams.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The end of a turn in which everything was flushed that could be: unless the socket is full, nothing waits.
    pub(super) fn turn_over(&self) {
        if !self.blocked.get() && self.waiting.replace(0) >= MOST_WAITING {
            for stream in self.streams.borrow_mut().drain(..) {
                stream.wake();
            }
        }
    }

    /// Bytes of an answer were handed over.
    pub(super) fn handed(&self, size: usize) {
        self.waiting.set(self.waiting.get() + size);
    }

    /// The client has taken a piece of an answer.
    pub(super) fn piece(&self) {
        self.idle
            .set((self.idle.get() + IDLE_A_PIECE).min(MOST_IDLE));
    }

    /// A request was answered to its end.
    pub(super) fn answered(&self) {
        self.resets.set((self.resets.get() + 1).min(MOST_RESETS));
    }

    /// The client sent a frame of no use, or what costs as many.
    pub(super) fn idle(&self, cost: i64) {
        self.spend(&self.idle, cost, Breach::Frames);
    }

    /// The client opened a stream.
    pub(super) fn stream(&self) {
        self.idle
            .set((self.idle.get() + IDLE_A_STREAM).min(MOST_IDLE));
    }

    /// The client took a request back.
    pub(super) fn reset(&self) {
        self.idle(1);
        self.spend(&self.resets, 1, Breach::Resets);
    }

    /// The client sent what ends a connection.
    pub(super) fn end(&self, breach: Breach) {
        self.breach.set(Some(breach));
    }

    /// A frame of a header block came: whether more are to come.
    pub(super) fn block(&self, open: bool) {
        self.open_block.set(open);
    }

    /// Whether the last write found the socket full.
    pub(super) fn wrote(&self, blocked: bool) {
        self.blocked.set(blocked);
    }

    fn spend(&self, budget: &Cell<i64>, cost: i64, breach: Breach) {
        let left = budget.get() - cost;
        budget.set(left);
        if left >= 0 {
            return;
        }
        // The clock is asked only when a budget is gone.
        let now = self.ticks.now();
        let passed = i64::from(now.saturating_sub(self.seen_tick.replace(now)));
        let back = |budget: &Cell<i64>, a_tick: i64, most| {
            budget.set(
                budget
                    .get()
                    .saturating_add(passed.saturating_mul(a_tick))
                    .min(most),
            );
        };
        back(&self.idle, IDLE_A_TICK, MOST_IDLE);
        back(&self.resets, RESETS_A_TICK, MOST_RESETS);
        if budget.get() < 0 {
            self.breach.set(Some(breach));
        }
    }
}

//! The cells that one worker writes.
//!
//! Never locks, never allocates after construction, never uses a locked instruction. Assumes the wall of
//! [`Metrics::new`](super::Metrics::new): one [`Shard`] for each set of cells.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::super::Protocol;
use super::Labels;

/// Upper bounds of the buckets of every histogram, in microseconds; `text` prints them in seconds.
pub(super) const BOUNDS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
/// One more for what is above every bound.
pub(super) const BUCKETS: usize = BOUNDS_US.len() + 1;
/// Classes of status codes.
pub(super) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// The metrics of one worker: only the thread that holds it writes them.
#[derive(Debug)]
pub struct Shard {
    cells: Arc<Cells>,
    /// `Cell` is not `Sync`, so neither is this: two threads would lose each other's updates.
    one_thread: PhantomData<Cell<()>>,
}

impl Shard {
    /// The caller makes one for each set of cells.
    pub(super) fn new(cells: Arc<Cells>) -> Self {
        Self {
            cells,
            one_thread: PhantomData,
        }
    }

    /// A connection was let in.
    pub fn connection_opened(&self) {
        self.cells.accepted.add(1);
        self.cells.open.add(1);
    }

    /// It ended.
    pub fn connection_closed(&self) {
        self.cells.open.subtract(1);
    }

    /// A connection was refused.
    pub fn refused(&self, reason: &str) {
        self.cells.refused.add(self.cells.labels.refused, reason);
    }

    /// An HTTP/2 connection was ended because its client only kept us busy.
    pub fn http2_ended(&self) {
        self.cells.http2_ended.add(1);
    }

    /// A TLS handshake succeeded.
    pub fn handshake(&self, duration_us: u64) {
        self.cells.handshakes.observe(duration_us);
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, class: &str) {
        self.cells
            .handshake_failures
            .add(self.cells.labels.handshake, class);
    }

    /// A response ended; status 0 if the client left before there was one.
    pub fn request(&self, protocol: Protocol, status: u16, duration_us: u64) {
        let class = match status / 100 {
            class @ 1..=5 => usize::from(class - 1),
            _ => CLASSES.len() - 1,
        };
        self.cells
            .requests
            .at(protocol as usize * CLASSES.len() + class)
            .add(1);
        self.cells.request_duration.observe(duration_us);
    }

    /// Body or tunnel bytes moved from and to a client. Apart from [`Self::request`], so that a long transfer shows
    /// while it runs.
    pub fn moved(&self, received: u64, sent: u64) {
        self.cells.received.add(received);
        self.cells.sent.add(sent);
    }

    /// Portico answered a request with an error of its own.
    pub fn edge_error(&self, label: &str) {
        self.cells.errors.add(self.cells.labels.errors, label);
    }

    /// A request was sent, or could not be. The usual case is one addition: an open connection and nothing else.
    pub fn upstream_sent(&self, cost: &UpstreamCost) {
        if cost.reused {
            self.cells.reused.add(1);
        }
        let usual = UpstreamCost {
            reused: cost.reused,
            ..UpstreamCost::default()
        };
        if *cost == usual {
            return;
        }
        self.cells.connects_ok.add(u64::from(cost.connects));
        self.cells
            .connects_failed
            .add(u64::from(cost.connects_failed));
        self.cells.retries.add(u64::from(cost.retries));
        self.cells.budget_spent.add(u64::from(cost.budget_spent));
        self.cells.queued.add(u64::from(cost.queued));
    }

    /// An exchange with an app server failed.
    pub fn upstream_failed(&self, kind: &str) {
        self.cells
            .upstream_failures
            .add(self.cells.labels.upstream, kind);
    }

    /// The head of an answer came.
    pub fn upstream_first_byte(&self, duration_us: u64) {
        self.cells.first_byte.observe(duration_us);
    }

    /// A tenant named a plan that is not known.
    pub fn unknown_plan(&self) {
        self.cells.unknown_plan.add(1);
    }

    /// A connection was upgraded.
    pub fn tunnel_opened(&self) {
        self.cells.tunnels.add(1);
    }

    /// An upgraded connection ended.
    pub fn tunnel_closed(&self) {
        self.cells.tunnels.subtract(1);
    }

    /// Sets the number of records that this worker's access log has dropped since the start.
    pub fn access_log_dropped(&self, total: u64) {
        self.cells.access_log_dropped.set(total);
    }
}

/// What it took to send one request to an app server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpstreamCost {
    /// Connections made.
    pub connects: u32,
    /// Connections that could not be made.
    pub connects_failed: u32,
    /// Whether it went over an open connection.
    pub reused: bool,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Whether a retry was left out because the budget was spent.
    pub budget_spent: bool,
    /// Whether it waited because every server was at its limit.
    pub queued: bool,
}

/// What one worker counts. 128: processors fetch cache lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cells {
    labels: Labels,
    pub(super) accepted: Counter,
    pub(super) open: Counter,
    pub(super) http2_ended: Counter,
    pub(super) handshakes: Histogram,
    pub(super) request_duration: Histogram,
    pub(super) received: Counter,
    pub(super) sent: Counter,
    pub(super) connects_ok: Counter,
    pub(super) connects_failed: Counter,
    pub(super) reused: Counter,
    pub(super) retries: Counter,
    pub(super) budget_spent: Counter,
    pub(super) queued: Counter,
    pub(super) first_byte: Histogram,
    pub(super) tunnels: Counter,
    pub(super) unknown_plan: Counter,
    pub(super) access_log_dropped: Counter,
    pub(super) requests: Row,
    pub(super) refused: Row,
    pub(super) handshake_failures: Row,
    pub(super) upstream_failures: Row,
    pub(super) errors: Row,
}

impl Cells {
    pub(super) fn new(labels: Labels) -> Self {
        Self {
            labels,
            accepted: Counter::default(),
            open: Counter::default(),
            http2_ended: Counter::default(),
            handshakes: Histogram::default(),
            request_duration: Histogram::default(),
            received: Counter::default(),
            sent: Counter::default(),
            connects_ok: Counter::default(),
            connects_failed: Counter::default(),
            reused: Counter::default(),
            retries: Counter::default(),
            budget_spent: Counter::default(),
            queued: Counter::default(),
            first_byte: Histogram::default(),
            tunnels: Counter::default(),
            unknown_plan: Counter::default(),
            access_log_dropped: Counter::default(),
            requests: Row::new(Protocol::ALL.len() * CLASSES.len()),
            refused: Row::new(labels.refused.len()),
            handshake_failures: Row::new(labels.handshake.len()),
            upstream_failures: Row::new(labels.upstream.len()),
            errors: Row::new(labels.errors.len()),
        }
    }
}

/// A number with one writer.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    // Load and store, not `fetch_add`: with one writer nothing is lost, and no locked instruction is needed.
    fn add(&self, by: u64) {
        self.set(self.get().wrapping_add(by));
    }

    fn subtract(&self, by: u64) {
        self.set(self.get().wrapping_sub(by));
    }
}

/// A histogram with the buckets of [`BOUNDS_US`], each for itself (not yet added up as in the text format).
#[derive(Debug, Default)]
pub(super) struct Histogram {
    pub(super) buckets: [Counter; BUCKETS],
    pub(super) sum_us: Counter,
}

impl Histogram {
    fn observe(&self, value_us: u64) {
        let at = BOUNDS_US
            .iter()
            .take_while(|&&bound| bound < value_us)
            .count();
        if let Some(bucket) = self.buckets.get(at) {
            bucket.add(1);
            self.sum_us.add(value_us);
        }
    }
}

/// Counters for the values of a label, and one for all others.
#[derive(Debug)]
pub(super) struct Row {
    lines: Box<[Line]>,
    other: Counter,
}

/// Its own lines, or rows of two workers could meet in one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([Counter; 16]);

impl Row {
    fn new(values: usize) -> Self {
        Self {
            lines: (0..values.div_ceil(16)).map(|_| Line::default()).collect(),
            other: Counter::default(),
        }
    }

    /// The counter of the value at `index`; the number of values for all others.
    pub(super) fn at(&self, index: usize) -> &Counter {
        self.lines
            .get(index / 16)
            .and_then(|line| line.0.get(index % 16))
            .unwrap_or(&self.other)
    }

    /// Adds 1 to a value. A walk over the values: only rare events have labels.
    fn add(&self, values: &[&str], value: &str) {
        let index = values.iter().position(|known| *known == value);
        self.at(index.unwrap_or(values.len())).add(1);
    }
}

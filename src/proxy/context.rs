//! What a worker lends to the request path.
//!
//! One [`Context`] for each worker, never shared between two: its cells need no lock. It holds the worker's view of the
//! current snapshot with the upstream pools that go with it; the pools outlive a reload, keyed by server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::Notify;

use super::body::RequestBody;
use super::hosts::Hosts;
use super::identity::Tokens;
use crate::cert::live::Live;
use crate::clock::{UnixMillis, UnixTime};
use crate::host::Host;
use crate::net::deadline::{Ticks, Timers};
use crate::net::permit::Permit;
use crate::net::pressure::Pressure;
use crate::net::turns::Turns;
use crate::policy::accounts::{Accounts, Book};
use crate::snapshot::{Current, Snapshot};
use crate::telemetry::access::AccessWriter;
use crate::telemetry::metrics::Shard;
use crate::telemetry::tenants;
use crate::tenant::naming::Naming;
use crate::upstream::{Group, Upstreams};

/// Least time between two lines of a worker's log about failures of apps.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// Ticks from one look at what tenants use to the next.
const TURN: u32 = 4;

/// A worker's part in the request path.
#[derive(Debug)]
pub struct Context {
    /// Deadlines.
    pub timers: Timers,
    /// The access log.
    pub log: RefCell<AccessWriter>,
    /// Counters.
    pub metrics: Shard,
    /// What tenants have used.
    pub used: RefCell<tenants::Writer>,
    /// Turns of handshakes.
    pub turns: Turns,
    /// Whether memory runs short.
    pub pressure: Pressure,
    /// What limited tenants use.
    pub book: Book,
    current: Arc<Current>,
    live: Arc<Live>,
    view: RefCell<Rc<View>>,
    upstreams: Upstreams<RequestBody>,
    ids: RequestIds,
    draining: Cell<bool>,
    open: Cell<usize>,
    closed: Notify,
    /// When an app's failure was last put into the log, and how many were left out since.
    complained: Cell<(u32, u32)>,
    date: RefCell<(UnixTime, HeaderValue)>,
}

/// A client connection that is open, from accept to the end of its last tunnel. Dropping it closes the count.
#[derive(Debug)]
pub struct OpenConn {
    /// The worker's part.
    pub context: Rc<Context>,
    /// Counts it, and whom it is from.
    pub permit: Permit,
}

/// A snapshot with this worker's connections to its servers.
#[derive(Debug)]
pub struct View {
    /// The settings.
    pub snapshot: Arc<Snapshot>,
    /// The app servers: `[upstream]`, and behind it the other pools.
    groups: Vec<Group<RequestBody>>,
    /// [`Snapshot::naming`], for bodies, which outlive the view.
    pub naming: Rc<Naming>,
    /// Proofs of tenants that may be sent again.
    pub tokens: Tokens,
    /// What is known of hosts.
    pub hosts: Hosts,
}

impl Context {
    /// The context of one worker. `seed` must differ between workers and processes.
    #[must_use]
    pub fn new(
        current: Arc<Current>,
        live: Arc<Live>,
        (log, used): (AccessWriter, tenants::Writer),
        metrics: Shard,
        seed: u64,
        pressure: Pressure,
        accounts: Arc<Accounts>,
    ) -> Rc<Self> {
        let timers = Timers::default();
        let upstreams = Upstreams::new(timers.clone(), seed);
        let view = View::new(Arc::clone(&current.load()), &upstreams);
        Rc::new(Self {
            timers,
            log: RefCell::new(log),
            used: RefCell::new(used),
            metrics,
            turns: Turns::default(),
            pressure,
            book: Book::new(accounts),
            current,
            live,
            view: RefCell::new(Rc::new(view)),
            upstreams,
            ids: RequestIds {
                seed,
                count: Cell::new(0),
            },
            draining: Cell::new(false),
            open: Cell::new(0),
            closed: Notify::new(),
            complained: Cell::new((0, 0)),
            date: RefCell::new((UnixTime(0), http_date(UnixTime(0)))),
        })
    }

    /// Whether an app's failure may have a line in the log now, with the number of those left out since the last
    /// line. At most one in a second, so that a dead app does not fill the log at the rate of requests; all
    /// of them are in the access log and in metrics.
    #[must_use]
    pub fn may_complain(&self) -> Option<u32> {
        let (last, left_out) = self.complained.get();
        let now = self.timers.ticks().now();
        if last != 0 && now.saturating_sub(last) < Ticks::in_ticks(COMPLAIN_EVERY) {
            self.complained.set((last, left_out.saturating_add(1)));
            return None;
        }
        self.complained.set((now, 0));
        Some(left_out)
    }

    /// Counts a connection that came with `permit`.
    #[must_use]
    pub fn open(self: &Rc<Self>, permit: Permit) -> OpenConn {
        self.open.set(self.open.get() + 1);
        self.metrics.connection_opened();
        OpenConn {
            context: Rc::clone(self),
            permit,
        }
    }

    /// Ends when no connection is open.
    pub async fn all_closed(&self) {
        while self.open.get() != 0 {
            self.closed.notified().await;
        }
    }

    /// The settings in effect now; to be asked once for a request.
    #[must_use]
    pub fn view(&self) -> Rc<View> {
        let current = self.current.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(&view.snapshot, &current) {
            *view = Rc::new(View::new(Arc::clone(&current), &self.upstreams));
        }
        Rc::clone(&view)
    }

    /// What http-01 answers to `path` on `host`, while a CA is expected to ask.
    #[must_use]
    pub fn validation(&self, host: &Host, path: &str) -> Option<Bytes> {
        self.live.answers().http(host, path).cloned()
    }

    /// The value of `Date` (RFC 9110 §5.6.7), made once a second.
    #[must_use]
    pub fn date(&self) -> HeaderValue {
        let now = UnixTime::now();
        let mut date = self.date.borrow_mut();
        if date.0 != now {
            *date = (now, http_date(now));
        }
        date.1.clone()
    }

    /// A new request id, of a request that came at `now`.
    #[must_use]
    pub fn request_id(&self, now: UnixMillis) -> RequestId {
        self.ids.next(now)
    }

    /// Whether the worker takes no new work.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Takes no new work from now on and tells every connection.
    pub fn drain(&self) {
        self.draining.set(true);
        self.timers.wake_all();
    }

    /// Once a tick: deadlines, unused upstream connections, accounts of tenants, the access log.
    pub fn tick(&self) {
        self.timers.tick();
        if self.timers.ticks().now().is_multiple_of(TURN) {
            self.book.turn();
            self.used.borrow_mut().flush();
        }
        self.upstreams.tick();
        let mut log = self.log.borrow_mut();
        log.flush();
        self.metrics.access_log_dropped(log.dropped());
    }
}

impl Drop for OpenConn {
    fn drop(&mut self) {
        let left = self.context.open.get().saturating_sub(1);
        self.context.open.set(left);
        self.context.metrics.connection_closed();
        if left == 0 {
            self.context.closed.notify_one();
        }
    }
}

impl View {
    fn new(snapshot: Arc<Snapshot>, upstreams: &Upstreams<RequestBody>) -> Self {
        let groups = snapshot.pools.iter().map(|spec| upstreams.group(spec));
        let groups = groups.collect();
        upstreams.retain(|name| snapshot.pools.iter().any(|spec| &*spec.name == name));
        Self {
            naming: Rc::new(snapshot.naming.clone()),
            snapshot,
            groups,
            tokens: Tokens::default(),
            hosts: Hosts::default(),
        }
    }

    /// The app servers of a pool.
    #[must_use]
    pub fn group(&self, pool: &str) -> Option<&Group<RequestBody>> {
        self.groups.iter().find(|group| &*group.spec().name == pool)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(now: UnixTime) -> HeaderValue {
    let form = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let text = OffsetDateTime::from_unix_timestamp(now.0)
        .ok()
        .and_then(|time| time.format(form).ok());
    // Times beyond the year 9999 are those of a broken clock.
    text.and_then(|text| HeaderValue::try_from(text).ok())
        .unwrap_or_else(|| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// An id of a request: time, then what is the worker's own, as 32 hexadecimal digits. Unique, in order of time, not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 32]);

impl RequestId {
    fn new(id: u128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        let mut text = [0; 32];
        let (places, _) = text.as_chunks_mut::<2>();
        for (place, byte) in places.iter_mut().zip(id.to_be_bytes()) {
            *place = [digit(byte >> 4), digit(byte & 0xf)];
        }
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Digits are text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id as a header value.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        // Digits are always a legal value.
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}

/// Makes the ids of a worker.
#[derive(Debug)]
struct RequestIds {
    seed: u64,
    count: Cell<u64>,
}

impl RequestIds {
    fn next(&self, now: UnixMillis) -> RequestId {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        // splitmix64 of the worker's seed and count: neighbours look nothing alike, and none repeats in a worker.
        let mut mixed = self
            .seed
            .wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        RequestId::new((u128::from(now.0) << 64) | u128::from(mixed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_digits() {
        for id in [0, 1, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, u128::MAX] {
            let written = RequestId::new(id);
            assert_eq!(written.as_str(), format!("{id:032x}"));
            assert_eq!(written.header_value(), written.as_str());
        }
    }

    #[test]
    fn a_date_is_written_as_the_rfc_says() {
        assert_eq!(
            http_date(UnixTime(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            http_date(UnixTime(i64::MAX)),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }
}

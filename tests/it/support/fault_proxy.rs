//! An HTTPS proxy in front of Pebble: it records what an ACME client asks and spoils what it is told to.
//!
//! Pebble has neither rate limits nor bad days; this adds them. The `Host` header stays as it is, so the URLs that
//! Pebble hands out lead through the proxy and the signed `url` of each request still fits. It lives on a thread of its
//! own, so blocking calls in the test never stall it. What no rule spoils is passed on untouched.

mod serve;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::pebble::Pebble;
use super::pki::Ca;
use super::tls::{Alpn, Trust};

/// What a request is about, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RenewalInfo,
    Revoke,
    KeyChange,
    Other,
}

impl Kind {
    /// Pebble's paths.
    fn of(path: &str) -> Self {
        const PATHS: &[(&str, Kind)] = &[
            ("/dir", Kind::Directory),
            ("/nonce-plz", Kind::NewNonce),
            ("/sign-me-up", Kind::NewAccount),
            ("/my-account/", Kind::Account),
            ("/order-plz", Kind::NewOrder),
            ("/my-order/", Kind::Order),
            ("/authZ/", Kind::Authorization),
            ("/chalZ/", Kind::Challenge),
            ("/finalize-order/", Kind::Finalize),
            ("/certZ/", Kind::Certificate),
            ("/draft-ietf-acme-ari-03/renewalInfo/", Kind::RenewalInfo),
            ("/revoke-cert", Kind::Revoke),
            ("/rollover-account-key", Kind::KeyChange),
        ];
        PATHS
            .iter()
            .find(|(start, _)| path.starts_with(start))
            .map_or(Self::Other, |&(_, kind)| kind)
    }
}

/// An answer, of Pebble or made up.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A made-up one.
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(content_type));
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    /// A problem document (RFC 8555 section 6.7) of the ACME type `kind`.
    pub(crate) fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let body = json!({ "type": kind, "detail": detail, "status": status });
        Self::new(status, "application/problem+json", body.to_string())
    }

    /// The page of a load balancer whose servers are gone.
    pub(crate) fn html(status: u16) -> Self {
        Self::new(
            status,
            "text/html",
            "<html><body><h1>Sorry</h1></body></html>",
        )
    }

    /// Sets a header.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header value");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON from Pebble")
    }

    /// The same with another body.
    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// What happens to a request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Pebble never hears of it; the client gets this.
    Answer(Answer),
    /// Pebble never hears of it, and the client gets nothing until it hangs up.
    Hang,
    /// Pebble never hears of it; the connection is reset.
    Reset,
    /// Pebble did as it was asked; the connection is reset before the client learns of it.
    ResetAfter,
    /// Pebble did as it was asked; its answer comes at one byte a second.
    Drip,
    /// Pebble did as it was asked; its answer is changed on the way.
    Change(Change),
}

/// How an answer is changed.
pub(crate) type Change = Arc<dyn Fn(Answer) -> Answer + Send + Sync>;

impl Fault {
    /// Changes Pebble's answer on the way.
    pub(crate) fn change(change: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> Self {
        Self::Change(Arc::new(change))
    }

    /// 429 as Let's Encrypt says it; `retry_after` in seconds or as an HTTP date.
    pub(crate) fn rate_limited(retry_after: &str) -> Self {
        let words = "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s";
        let answer = Answer::problem(429, "rateLimited", words);
        Self::Answer(answer.header("retry-after", retry_after))
    }

    /// A good nonce is called bad.
    pub(crate) fn bad_nonce() -> Self {
        Self::Answer(Answer::problem(400, "badNonce", "unknown nonce"))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => write!(f, "Answer({})", answer.status),
            Self::Hang => f.write_str("Hang"),
            Self::Reset => f.write_str("Reset"),
            Self::ResetAfter => f.write_str("ResetAfter"),
            Self::Drip => f.write_str("Drip"),
            Self::Change(_) => f.write_str("Change"),
        }
    }
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// When it had arrived.
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// The signed content of a POST, decoded; null for one without (POST-as-GET) and for other methods.
    pub(crate) payload: Value,
    /// The status of Pebble's answer; none if it never heard of it.
    pub(crate) by_ca: Option<u16>,
    /// The status that the client got; none if it got none.
    pub(crate) answered: Option<u16>,
}

#[derive(Debug)]
struct Rule {
    kind: Kind,
    /// So many more such requests pass before.
    skip: usize,
    /// So many more times.
    times: usize,
    /// After so many times one request passes, and the count begins anew.
    cycle: Option<usize>,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Plan {
    rules: Vec<Rule>,
    calls: Vec<Call>,
    skew: i64,
}

impl Plan {
    /// The fault for a request of this kind: that of the first rule that is not used up.
    fn next(&mut self, kind: Kind) -> Option<Fault> {
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| rule.kind == kind && rule.times > 0)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        if let (0, Some(times)) = (rule.times, rule.cycle) {
            (rule.skip, rule.times) = (1, times);
        }
        Some(rule.fault.clone())
    }
}

/// The running proxy; dropping it ends it, and prints what it saw if the test is failing.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    ca_file: PathBuf,
    plan: Arc<Mutex<Plan>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl FaultProxy {
    /// Starts in front of `pebble`, on a free port and with a certificate of its own. Pebble may be restarted behind it.
    pub(crate) fn before(pebble: &Pebble) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = Ca::new();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, ca.pem()).expect("our own folder");
        // Valid whatever the clock of the client says.
        let names = ["localhost", "127.0.0.1"];
        let (now, years) = (OffsetDateTime::now_utc(), time::Duration::days(1000));
        let mut tls = ca
            .leaf_valid(&names, now - years, now + years)
            .server_config();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));

        let roots = std::fs::read_to_string(pebble.ca_file()).expect("Pebble's own root");
        let ca = serve::Upstream::new(
            pebble.address(),
            Trust::from_pem(&roots).config(Alpn::Http1),
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("our own socket");
        let address = listener.local_addr().expect("a bound socket");

        let plan = Arc::new(Mutex::new(Plan::default()));
        let shared = Arc::clone(&plan);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::from_std(listener).expect("inside the runtime");
                tokio::select! {
                    () = serve::serve(listener, acceptor, ca, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            ca_file,
            plan,
            stop: Some(stop),
            thread: Some(thread),
            _folder: folder,
        }
    }

    /// For `[acme] directory`.
    pub(crate) fn directory_url(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// For `[acme] ca_file`: the root of the proxy's own certificate.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Spoils every request of a kind from now on.
    pub(crate) fn on(&self, kind: Kind, fault: Fault) -> &Self {
        self.rule(kind, 0, usize::MAX, fault)
    }

    /// Spoils the next `times` requests of a kind.
    pub(crate) fn times(&self, times: usize, kind: Kind, fault: Fault) -> &Self {
        self.rule(kind, 0, times, fault)
    }

    /// Spoils `times` requests of a kind before each one that passes.
    pub(crate) fn each(&self, times: usize, kind: Kind, fault: Fault) -> &Self {
        self.rule(kind, 0, times, fault);
        if let Some(rule) = self.plan().rules.last_mut() {
            rule.cycle = Some(times);
        }
        self
    }

    /// Lets `skip` requests of a kind pass, then spoils `times`. Rules of one kind are used up one after the other.
    pub(crate) fn rule(&self, kind: Kind, skip: usize, times: usize, fault: Fault) -> &Self {
        self.plan().rules.push(Rule {
            kind,
            skip,
            times,
            cycle: None,
            fault,
        });
        self
    }

    /// No more faults.
    pub(crate) fn heal(&self) {
        let mut plan = self.plan();
        plan.rules.clear();
        plan.skew = 0;
    }

    /// The CA's clock (`Date`) is so many seconds ahead of ours.
    pub(crate) fn skew(&self, seconds: i64) {
        self.plan().skew = seconds;
    }

    /// Every request so far, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.plan().calls.clone()
    }

    /// The requests of a kind so far.
    pub(crate) fn calls_of(&self, kind: Kind) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.kind == kind);
        calls
    }

    /// How many POST requests of a kind have come, also those that Pebble never heard of.
    pub(crate) fn posts(&self, kind: Kind) -> usize {
        let calls = self.calls_of(kind);
        calls.iter().filter(|call| call.method == "POST").count()
    }

    /// How many requests of a kind, by any method.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.calls_of(kind).len()
    }

    /// How many POST requests of a kind Pebble has granted (a bad nonce is not one).
    pub(crate) fn granted(&self, kind: Kind) -> usize {
        let granted =
            |call: &&Call| call.method == "POST" && call.by_ca.is_some_and(|status| status < 400);
        self.calls_of(kind).iter().filter(granted).count()
    }

    /// Forgets the requests so far; the rules stay.
    pub(crate) fn forget(&self) {
        self.plan().calls.clear();
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("never held over a panic")
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if std::thread::panicking() {
            eprintln!("--- requests to the CA ---");
            for call in self.calls() {
                let Call { method, path, .. } = &call;
                let (by_ca, answered) = (call.by_ca, call.answered);
                eprintln!(
                    "{:?} {method} {path}: CA {by_ca:?}, client {answered:?}",
                    call.kind
                );
            }
            eprintln!("--- end of the requests ---");
        }
    }
}

/// A time as RFC 9110 section 5.6.7 writes it.
pub(crate) fn http_date(at: OffsetDateTime) -> String {
    let form = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    at.format(form).expect("a date")
}

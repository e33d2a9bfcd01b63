//! An upstream inside the test: records every request and answers by a closure.
//!
//! It lives on a thread of its own, so blocking calls in the test never stall it. A panic in the closure fails
//! the test that owns the origin. To see or send bytes that hyper would not, use `raw_origin`.

mod serve;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{HeaderMap, Response, Version};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use self::serve::{Listener, serve};
use super::body::{self, Body};
use super::pki::Leaf;
use super::raw::Stream;
use super::wait;

/// How much of a request's body is kept; the rest is only counted.
const KEPT: usize = 1 << 20;

/// One request as the upstream saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// The target as it was sent: path and query for an honest proxy.
    pub(crate) target: String,
    /// `:authority` of HTTP/2, or that of an absolute target.
    pub(crate) authority: Option<String>,
    pub(crate) version: Version,
    /// In order of arrival, duplicates after the first of their name; names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) trailers: Option<HeaderMap>,
    /// The first MiB.
    pub(crate) body: Bytes,
    pub(crate) body_len: u64,
    /// False when the body broke off.
    pub(crate) complete: bool,
    /// Which connection brought it, from 1.
    pub(crate) connection: usize,
}

impl Seen {
    /// All values of a header, line by line.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(key, _)| key == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that must be there exactly once.
    pub(crate) fn one(&self, name: &str) -> &str {
        match self.all(name)[..] {
            [value] => value,
            _ => panic!("`{name}` is not there exactly once: {:?}", self.headers),
        }
    }
}

/// A plain answer for closures.
pub(crate) fn text(status: u16, text: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(body::full(text))
        .expect("a status")
}

#[derive(Debug, Default)]
struct Record {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    begun: AtomicUsize,
    panic: Mutex<Option<String>>,
}

/// The running origin; dropping it stops it and fails the test if its closure panicked.
pub(crate) struct Origin {
    address: String,
    record: Arc<Record>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Listens on a free TCP port.
    pub(crate) fn tcp<H, F>(handler: H) -> Self
    where
        H: Fn(Seen) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let (listener, address) = tcp_listener();
        Self::start(address, handler, || {
            TcpListener::from_std(listener).map(Listener::Tcp)
        })
    }

    /// Listens on this TCP address, which must be free: for a server that comes back.
    pub(crate) fn at<H, F>(address: SocketAddr, handler: H) -> Self
    where
        H: Fn(Seen) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(address).expect("an address that is free");
        listener.set_nonblocking(true).expect("our own socket");
        Self::start(address.to_string(), handler, || {
            TcpListener::from_std(listener).map(Listener::Tcp)
        })
    }

    /// Listens on a free TCP port and speaks HTTP/2 without TLS, with at most `streams` at once on a connection.
    pub(crate) fn h2c<H, F>(streams: u32, handler: H) -> Self
    where
        H: Fn(Seen) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let (listener, address) = tcp_listener();
        Self::start(address, handler, move || {
            TcpListener::from_std(listener).map(|listener| Listener::H2c(listener, streams))
        })
    }

    /// Listens on a Unix socket at `path`.
    pub(crate) fn unix<H, F>(path: &Path, handler: H) -> Self
    where
        H: Fn(Seen) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = std::os::unix::net::UnixListener::bind(path).expect("a path for a socket");
        listener.set_nonblocking(true).expect("our own socket");
        let address = format!("unix:{}", path.display());
        Self::start(address, handler, || {
            UnixListener::from_std(listener).map(Listener::Unix)
        })
    }

    /// Listens on a free TCP port with TLS; speaks HTTP/2 to clients that offer it.
    pub(crate) fn tls<H, F>(leaf: &Leaf, handler: H) -> Self
    where
        H: Fn(Seen) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let (listener, address) = tcp_listener();
        let acceptor = TlsAcceptor::from(Arc::new(leaf.server_config()));
        Self::start(address, handler, || {
            Ok(Listener::Tls(TcpListener::from_std(listener)?, acceptor))
        })
    }

    /// Answers everything with 200 and `hello`.
    pub(crate) fn hello() -> Self {
        Self::tcp(async |_| text(200, "hello"))
    }

    /// For `[upstream] servers`: `127.0.0.1:PORT` or `unix:PATH`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its TCP address.
    pub(crate) fn socket(&self) -> SocketAddr {
        self.address.parse().expect("a TCP origin")
    }

    /// Every request so far, in the order their bodies ended.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.record
            .seen
            .lock()
            .expect("never held over a panic")
            .clone()
    }

    /// The one request that must have come.
    pub(crate) fn only_request(&self) -> Seen {
        let mut all = self.requests();
        assert_eq!(all.len(), 1, "not exactly one request: {all:#?}");
        all.remove(0)
    }

    /// Waits until `count` requests have been seen.
    pub(crate) fn wait_requests(&self, count: usize) -> Vec<Seen> {
        wait::until(&format!("{count} requests at the origin"), || {
            Some(self.requests()).filter(|all| all.len() >= count)
        })
    }

    /// How many requests have come as far as the end of their head.
    pub(crate) fn begun(&self) -> usize {
        self.record.begun.load(Ordering::SeqCst)
    }

    /// How many connections have been accepted.
    pub(crate) fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    fn start<H, F>(
        address: String,
        handler: H,
        listen: impl FnOnce() -> io::Result<Listener> + Send + 'static,
    ) -> Self
    where
        H: Fn(Seen) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let record = Arc::new(Record::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&record);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async move {
                let listener = listen().expect("a listener inside the runtime");
                tokio::select! {
                    () = serve(listener, handler, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            record,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let panic = self
            .record
            .panic
            .lock()
            .expect("never held over a panic")
            .take();
        if let Some(message) = panic {
            if std::thread::panicking() {
                eprintln!("the origin panicked too: {message}");
            } else {
                panic!("the origin panicked: {message}");
            }
        }
    }
}

fn tcp_listener() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("our own socket");
    let address = listener.local_addr().expect("a bound socket").to_string();
    (listener, address)
}

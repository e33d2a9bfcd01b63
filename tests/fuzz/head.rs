//! The tap: in one piece or many, and beside hyper, which must take what it lets through and find as many requests.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portico::proxy::tap::{Next, Tap};

use crate::names::outcome;

/// The longest head of these taps.
const MOST: usize = 16 << 10;

pub(crate) const SEEDS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a.x\r\n\r\n",
    b"POST /a?b HTTP/1.1\r\nHost: a.x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a.x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a.x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"GET /c HTTP/1.1\r\nHost: a.x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
    b"\r\nGET https://a.x/ HTTP/1.0\r\nHost: a.x\r\nConnection: keep-alive\r\n\r\nOPTIONS * HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: \xff\xfe\tz\r\nCookie: a=b; c=d\r\nAccept: */*\r\nExpect: 100-continue\r\n\r\n",
];
pub(crate) const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ": ",
    ",",
    ";",
    "\0",
    "#",
    "?",
    "\u{e9}",
    "GET / HTTP/1.1\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Content-Length: 9223372036854775807\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "chunked",
    "Upgrade: websocket\r\n",
    "Connection: upgrade\r\n",
    "Connection: close\r\n",
    "Host: a.x\r\n",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "ffffffffffffffff\r\n",
    "1;x\r\n",
    "X: y\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
];

/// Feeds `bytes` in pieces of `size`: what goes through, what comes then, and how many heads went through.
fn run(bytes: &[u8], size: usize) -> (Vec<u8>, Next, u64) {
    let mut tap = Tap::new(MOST);
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        held.extend_from_slice(piece);
        let (through, next) = tap.feed(&held);
        passed.extend(held.drain(..through));
        if next != Next::More {
            return (passed, next, tap.heads());
        }
    }
    (passed, Next::More, tap.heads())
}

fn label(next: &Next) -> String {
    match next {
        Next::Refused(refusal, _) => format!("{refusal:?}"),
        other => format!("{other:?}"),
    }
}

/// Pieces make no difference, and a stand-in passes another tap.
pub(crate) fn pieces(bytes: &[u8]) -> u64 {
    let whole = run(bytes, bytes.len());
    for size in [1, 7] {
        assert_eq!(run(bytes, size), whole, "in pieces of {size}");
    }
    assert!(bytes.starts_with(&whole.0));
    if let Next::Refused(_, stand_in) = &whole.1 {
        assert_eq!(run(stand_in, MOST), (stand_in.clone(), Next::More, 1));
    }
    outcome((label(&whole.1), whole.2))
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
}

/// hyper takes all that goes through, and finds as many requests in it.
pub(crate) fn parser(bytes: &[u8]) -> u64 {
    let (passed, next, heads) = run(bytes, bytes.len());
    let served = Rc::new(Cell::new(0_u64));
    let last = Rc::new(RefCell::new(None));
    let handle = service_fn(|request: Request<Incoming>| {
        let (served, last) = (Rc::clone(&served), Rc::clone(&last));
        async move {
            served.set(served.get() + 1);
            // A request after which hyper reads no other, whatever the answer is.
            let connection = request.headers().get_all("connection").iter();
            let closes = connection.into_iter().any(|line| {
                line.as_bytes()
                    .to_ascii_lowercase()
                    .windows(5)
                    .any(|part| part == b"close")
            });
            let ends = closes
                || request.version() != http::Version::HTTP_11
                || request.method() == "CONNECT";
            if ends && last.borrow().is_none() {
                *last.borrow_mut() = Some(served.get());
            }
            let body = request
                .into_body()
                .collect()
                .await
                .map(|body| body.to_bytes().len());
            drop(body);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let ended = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let io = tokio::io::join(&passed[..], tokio::io::sink());
            let mut builder = http1::Builder::new();
            builder
                .half_close(true)
                .header_read_timeout(None)
                .max_header_size(MOST);
            builder.serve_connection(TokioIo::new(io), handle).await
        })
    });
    if let Err(error) = &ended {
        assert!(
            !error.is_parse(),
            "the parser refuses what the tap passes: {error}"
        );
    }
    let served = served.get();
    match *last.borrow() {
        Some(last) => assert!(served <= heads && last <= heads, "{served} of {heads}"),
        None => assert_eq!(served, heads, "the parser finds another number of requests"),
    }
    outcome((label(&next), heads, ended.is_ok()))
}

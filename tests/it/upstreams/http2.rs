//! HTTP/2 to app servers: streams, limits, GOAWAY, and the name rules of trailers.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{HOST, ask};
use crate::support::body;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::raw_origin::{RawConnection, RawOrigin};
use crate::support::site::Site;
use crate::support::wait;

fn h2c(address: &str) -> String {
    format!("h2c://{address}")
}

/// Names that pass, and names that must not, in either direction.
fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for name in [
        "grpc-status",
        "x-checksum",
        "x-tenant",
        "x.tenant",
        "x_under",
        "x-forwarded-for",
        "content-length",
        "authorization",
        "set-cookie",
        "host",
    ] {
        let name: http::HeaderName = name.parse().unwrap();
        trailers.append(name, HeaderValue::from_static("1"));
    }
    trailers
}

fn names(trailers: Option<&HeaderMap>) -> Vec<String> {
    let mut names: Vec<_> = trailers
        .into_iter()
        .flat_map(HeaderMap::keys)
        .map(ToString::to_string)
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn upstream_http2_passes_bodies_and_trailers_by_the_rules_of_headers() {
    let origin = Origin::h2c(100, async |seen| {
        Response::new(body::with_trailers(seen.body, trailers()))
    });
    let site = Site::before(&[&h2c(origin.address())]).start();
    let mut connection = site.edge.connect(Protocol::Http2, HOST).await;
    let ask = connection
        .request("POST", "/a")
        .header("te", "trailers")
        .body(body::with_trailers("data", trailers()));
    let answer = ask.send().await;
    assert_eq!(answer.text(), "data");
    let passed = ["grpc-status", "x-checksum"];
    assert_eq!(names(answer.trailers.as_ref()), passed);
    let seen = origin.only_request();
    assert_eq!(names(seen.trailers.as_ref()), passed);
    assert_eq!(seen.one("te"), "trailers");
    assert_eq!((seen.authority.as_deref(), seen.body_len), (Some(HOST), 4));
    assert!(seen.all("connection").is_empty() && seen.all("transfer-encoding").is_empty());
    // A client of HTTP/1.1 gets to the same app.
    let mut connection = site.edge.connect(Protocol::Http1, HOST).await;
    let (sender, data) = body::channel();
    let ask = connection.request("POST", "/b").body(data);
    let feed = async {
        for piece in ["one ", "two"] {
            sender.send(Ok(Frame::data(piece.into()))).await.unwrap();
        }
        drop(sender);
    };
    let (answer, ()) = tokio::join!(ask.send(), feed);
    assert_eq!(answer.text(), "one two");
}

#[tokio::test]
async fn upstream_http2_uses_one_connection_and_keeps_to_the_servers_limit() {
    let gate = Arc::new(Semaphore::new(0));
    let wide = gate.clone();
    let origin = Origin::h2c(100, move |_| {
        let gate = Arc::clone(&wide);
        async move {
            gate.acquire().await.unwrap().forget();
            origin::text(200, "through")
        }
    });
    let site = Site::before(&[&h2c(origin.address())])
        .set("server", "workers = 1")
        .start();
    // All of them come while the first connection is being made.
    let asked: Vec<_> = (0..20)
        .map(|round| ask(&site, Protocol::BOTH[round % 2], "GET"))
        .collect();
    wait::until_async("20 requests", async || {
        (origin.requests().len() == 20).then_some(())
    })
    .await;
    gate.add_permits(20);
    for answer in asked {
        assert_eq!(answer.await.unwrap().text(), "through");
    }
    assert_eq!(origin.connections(), 1);

    // Two streams at once on a connection: there are never more, and everybody is answered.
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    let narrow = Origin::h2c(2, move |seen| {
        let (now, most) = (Arc::clone(&counted), Arc::clone(&highest));
        async move {
            // One connection's streams only; others may be busy too.
            if seen.connection == 1 {
                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::SeqCst);
            }
            origin::text(200, "narrow")
        }
    });
    let site = Site::before(&[&h2c(narrow.address())])
        .set("server", "workers = 1")
        .start();
    for _ in 0..3 {
        let asked: Vec<_> = (0..20)
            .map(|_| ask(&site, Protocol::Http2, "POST"))
            .collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap().text(), "narrow");
        }
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert_eq!(narrow.requests().len(), 60);
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The last stream that was processed is 0: none was.
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Stream 1: REFUSED_STREAM.
const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
/// Stream 1: CANCEL.
const CANCEL: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
/// Stream 1: `:status: 200` and the end.
const OK: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];

/// Reads until the head of the first request is there; false if the proxy closed before.
fn read_request(connection: &mut RawConnection) -> bool {
    let has_headers = |bytes: &[u8]| {
        let mut rest = bytes.get(24..).unwrap_or_default();
        while let [a, b, c, kind, tail @ ..] = rest {
            if *kind == 1 {
                return true;
            }
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            rest = tail.get(length + 5..).unwrap_or_default();
        }
        false
    };
    while !has_headers(&connection.bytes()) {
        if !connection.read_more() {
            return false;
        }
    }
    true
}

/// Answers the first request with `first`, all others with 200.
fn stubborn(first: &'static [u8]) -> (RawOrigin, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let origin = RawOrigin::new(move |connection| {
        connection.write(SETTINGS);
        if !read_request(connection) {
            return;
        }
        let number = count.fetch_add(1, Ordering::SeqCst);
        connection.write(if number == 0 { first } else { OK });
        if number == 0 && first == REFUSED {
            // The same connection gets the next stream: 3.
            let mut next = OK.to_vec();
            next[8] = 3;
            while connection.read_more() {
                if connection
                    .bytes()
                    .windows(9)
                    .any(|frame| frame[3] == 1 && frame[5..] == [0, 0, 0, 3])
                {
                    count.fetch_add(1, Ordering::SeqCst);
                    connection.write(&next);
                    break;
                }
            }
        }
        while connection.read_more() {}
    });
    (origin, requests)
}

#[tokio::test]
async fn m14_what_an_http2_server_has_not_processed_is_sent_again() {
    for method in ["GET", "POST"] {
        for (first, again) in [(GOAWAY, true), (REFUSED, true), (CANCEL, false)] {
            let (origin, requests) = stubborn(first);
            let site = Site::before(&[&h2c(&origin.address())])
                .set("server", "workers = 1")
                .start();
            let mut connection = site.edge.connect(Protocol::Http2, HOST).await;
            let answer = connection.request(method, "/").send().await;
            let expected = if again {
                (StatusCode::OK, 2)
            } else {
                (StatusCode::BAD_GATEWAY, 1)
            };
            let count = requests.load(Ordering::SeqCst);
            assert_eq!((answer.status, count), expected, "{method} {first:?}");
        }
    }
}

/// Answers at once with a piece every 300 ms and never looks at the request's body.
async fn talkative(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(async |request: Request<Incoming>| {
            let (sender, body) = body::channel();
            tokio::spawn(async move {
                for round in 0..10 {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    let piece = Bytes::from(round.to_string());
                    if sender.send(Ok(Frame::data(piece))).await.is_err() {
                        return;
                    }
                }
                drop(request);
            });
            Ok::<_, Infallible>(Response::new(body))
        });
        let server = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    }
}

#[tokio::test]
async fn upstream_http2_conversation_lives_while_one_side_talks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let origin = tokio::spawn(talkative(listener));
    // The client is silent for longer than a request's body may be otherwise.
    let site = Site::before(&[&h2c(&address)])
        .set("limits", "body_timeout = \"1s\"")
        .set("limits", "stream_timeout = \"1s\"")
        .start();
    let mut connection = site.edge.connect(Protocol::Http2, HOST).await;
    let (sender, data) = body::channel();
    let response = connection.request("POST", "/").body(data).try_head().await;
    let collected = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.to_bytes(), "0123456789");
    drop(sender);
    origin.abort();
}

//! Slow but steady clients and apps, and connections that rest between requests, are served.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::Frame;
use rustls::pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::site;
use crate::support::body;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::port;
use crate::support::site::Site;
use crate::support::tls::Alpn;
use crate::support::wait;

/// Less than every deadline.
const PAUSE: Duration = Duration::from_millis(400);
/// Together more than every deadline.
const PIECES: usize = 7;

fn slowly() -> body::Body {
    let (pieces, streamed) = body::channel();
    tokio::spawn(async move {
        for _ in 0..PIECES {
            let _ = pieces.send(Ok(Frame::data("piece".into()))).await;
            tokio::time::sleep(PAUSE).await;
        }
    });
    streamed
}

#[tokio::test]
async fn bodies_that_come_slowly_but_steadily_pass() {
    let origin = Origin::tcp(async |seen: origin::Seen| {
        assert!(seen.complete);
        http::Response::new(slowly())
    });
    let site = site(&origin);
    let ask = |protocol| {
        let edge = site.edge.clone();
        tokio::spawn(async move {
            let mut connection = edge.connect(protocol, "acme.example.test").await;
            let answer = connection.request("POST", "/").body(slowly()).send().await;
            assert_eq!(answer.text(), "piece".repeat(PIECES), "{protocol:?}");
        })
    };
    for task in Protocol::BOTH.map(ask) {
        task.await.unwrap();
    }
    assert!(origin.requests().iter().all(|seen| seen.body_len == 35));
}

#[tokio::test]
async fn a_connection_that_rested_serves_the_next_request() {
    let origin = Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.target));
    let site = Site::before(&[origin.address()]).start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let mut http2 = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    for round in 0..4 {
        // The last request comes in two writes, the others in one; after each the connection is parked.
        let head = format!("GET /{round} HTTP/1.1\r\nHost: acme.example.test\r\n\r\n");
        let (first, rest) = head.split_at(if round == 3 { 9 } else { 0 });
        raw.write(first).await;
        tokio::task::yield_now().await;
        let answer = raw.write(rest).await.response().await.unwrap();
        assert_eq!(
            (answer.status, String::from_utf8_lossy(&answer.body)),
            (200, format!("/{round}").into())
        );
        assert_eq!(http2.request("GET", "/h2").send().await.text(), "/h2");
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
}

#[tokio::test]
async fn v39_pipelined_requests_are_answered_in_order() {
    let origin = Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.target));
    let site = Site::before(&[origin.address()]).start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    for _rested in [false, true] {
        let all: String = (0..20)
            .map(|number| match number % 2 {
                0 => format!("GET /{number} HTTP/1.1\r\nHost: acme.example.test\r\n\r\n"),
                _ => format!(
                    "POST /{number} HTTP/1.1\r\nHost: globex.example.test\r\nContent-Length: 4\r\n\r\nfour"
                ),
            })
            .collect();
        raw.write(all).await;
        for number in 0..20 {
            let answer = raw.response().await.unwrap();
            assert_eq!(String::from_utf8_lossy(&answer.body), format!("/{number}"));
        }
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    for seen in origin.requests() {
        let tenant = if seen.method == "GET" {
            "acme"
        } else {
            "globex"
        };
        assert_eq!(seen.one("x-tenant"), tenant);
    }
}

/// Asks for an answer of `size` bytes with windows as wide as can be, begins to read after a while, and says nothing more.
/// Gives back how much came.
async fn download_late(site: &Site, size: usize) -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let address = port::local(site.portico.https_port());
    let stream = socket.connect(address).await.unwrap();
    let config = Arc::new(site.ca.trust().config(Alpn::Http2));
    let name = ServerName::try_from("acme.example.test").unwrap();
    let stream = TlsConnector::from(config).connect(name, stream).await;
    let wide = (1 << 31) - 1;
    let (mut sender, mut connection) = h2::client::Builder::new()
        .initial_window_size(wide)
        .initial_connection_window_size(wide)
        .handshake::<_, Bytes>(stream.unwrap())
        .await
        .unwrap();
    let request = Request::get(format!("https://acme.example.test/{size}"));
    let (answer, _) = sender
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    // One look sends the request; after it nobody reads until the edge can hand over no more.
    let once = poll_fn(|cx| Poll::Ready(Pin::new(&mut connection).poll(cx).is_pending()));
    assert!(once.await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let driver = tokio::spawn(connection);
    let mut body = wait::within("answer", answer).await.unwrap().into_body();
    let mut read = 0;
    while let Some(Ok(piece)) = wait::within("the end of it", body.data()).await {
        read += piece.len();
    }
    driver.abort();
    read
}

/// Sizes of answers that end in the socket's buffer, in what TLS takes more than the socket does (64 KiB), and above.
const SIZES: std::ops::Range<usize> = 2_400_000..4_400_000;

/// Such a client says nothing that would make the edge look after the rest.
#[tokio::test]
async fn the_end_of_an_answer_over_http2_reaches_a_silent_client_with_wide_windows() {
    downloads_are_whole("body_timeout = \"8s\"", SIZES).await;
}

/// The exchange is over when the last piece is handed over, and the connection was told to end before.
#[tokio::test]
async fn the_end_of_the_last_answer_over_http2_reaches_a_slow_client() {
    downloads_are_whole("requests_per_connection = 1", 400_000..SIZES.end).await;
}

#[tokio::test]
async fn a_connection_whose_answer_is_still_leaving_does_not_idle() {
    downloads_are_whole("idle_timeout = \"1s\"", SIZES).await;
}

/// Asks for answers of `sizes` from an edge with this limit, all at once.
async fn downloads_are_whole(limit: &str, sizes: std::ops::Range<usize>) {
    let origin = Origin::tcp(async |seen: origin::Seen| {
        let size = seen.target.trim_start_matches('/').parse().unwrap();
        origin::text(200, vec![b'x'; size])
    });
    let site = Site::before(&[origin.address()])
        .set("limits", limit)
        .start();
    let all = sizes.step_by(48_000).map(|size| {
        let site = &site;
        async move { (size, download_late(site, size).await) }
    });
    for (size, read) in futures_util::future::join_all(all).await {
        assert_eq!(read, size);
    }
}

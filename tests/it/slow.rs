//! Clients that are slow on purpose: each is closed at its deadline, not before, and honest slowness is not punished.

mod stalled;
mod steady;
mod upload;

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::support::origin::Origin;
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::tls::Alpn;

/// Every deadline of the sites here.
const LIMIT: Duration = Duration::from_secs(1);
/// Deadlines fire late by a tick or two, never early.
const LATE: Duration = Duration::from_millis(1_500);

fn site(origin: &Origin) -> Site {
    let mut site = Site::before(&[origin.address()]);
    for key in ["handshake", "header", "body", "idle"] {
        site = site.set("limits", &format!("{key}_timeout = \"1s\""));
    }
    // Slow on purpose, and slower than the least rate of a body.
    site.set("limits", "body_rate = \"8B\"").start()
}

fn check(what: &str, began: Instant) {
    let took = began.elapsed();
    assert!(
        took >= LIMIT && took < LIMIT + LATE,
        "{what}: closed after {took:?}"
    );
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let origin = Origin::hello();
    let site = site(&origin);
    let hello: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7];
    for (what, bytes) in [("silence", &[][..]), ("half a ClientHello", hello)] {
        let began = Instant::now();
        let mut raw = Raw::plain(site.portico.https_port()).await;
        raw.write(bytes).await.rest().await;
        check(what, began);
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for (what, alpn, bytes) in [
        ("silence after TLS", Alpn::Http1, &b""[..]),
        ("half a head", Alpn::Http1, b"GET / HTTP/1.1\r\nHost: acme"),
        ("silence after TLS (h2)", Alpn::Http2, b""),
        ("the preface of HTTP/2 alone", Alpn::Http2, preface),
    ] {
        let mut raw = site.edge.raw("acme.example.test", alpn).await;
        let began = Instant::now();
        raw.write(bytes).await.rest().await;
        check(what, began);
    }
    let began = Instant::now();
    let mut raw = Raw::plain(site.portico.http_port()).await;
    raw.write("GET /").await.rest().await;
    check("the plain listener", began);
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_head_that_drips_is_closed() {
    let origin = Origin::hello();
    let site = site(&origin);
    let address = crate::support::port::local(site.portico.https_port());
    for first in ["", "GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n"] {
        let config = site.ca.trust().config(Alpn::Http1);
        let stream = crate::support::tls::connect(address, "acme.example.test", config).await;
        let (read, mut write) = tokio::io::split(stream.unwrap());
        let mut raw = Raw::new(tokio::io::join(read, tokio::io::sink()));
        if !first.is_empty() {
            write.write_all(first.as_bytes()).await.unwrap();
            assert_eq!(raw.response().await.unwrap().status, 200);
        }
        let began = Instant::now();
        let drip = tokio::spawn(async move {
            for byte in b"GET / HTTP/1.1\r\nHost: acme.example.test\r\nX: "
                .iter()
                .cycle()
            {
                if write.write_all(&[*byte]).await.is_err() || write.flush().await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        raw.rest().await;
        check("a dripping head", began);
        drip.abort();
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let origin = Origin::hello();
    let site = site(&origin);
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let head = "GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    let began = Instant::now();
    raw.write(head).await.response().await.unwrap();
    assert_eq!(raw.read().await, None);
    check("HTTP/1.1", began);

    let config = site.ca.trust().config(Alpn::Http2);
    let address = crate::support::port::local(site.portico.https_port());
    let stream = crate::support::tls::connect(address, "acme.example.test", config).await;
    let (mut sender, connection) = h2::client::handshake(stream.unwrap()).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::get("https://acme.example.test/")
        .body(())
        .unwrap();
    let began = Instant::now();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    while let Some(piece) = body.data().await {
        piece.unwrap();
    }
    let _ = driver.await.unwrap();
    check("HTTP/2", began);
}

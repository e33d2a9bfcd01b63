//! Musts that fit nowhere else.

use http::StatusCode;

use super::{HOST, connect, hello};
use crate::support::http::{Connection, Protocol};
use crate::support::raw::Raw;
use crate::support::tls::{self, Alpn};
use crate::support::{port, websocket};

#[tokio::test]
async fn m40_http_3_is_neither_offered_nor_announced() {
    let (origin, site) = hello();
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!(answer.header("alt-svc"), None);
    let mut config = site.ca.trust().config(Alpn::None);
    config.alpn_protocols = vec![b"h3".to_vec()];
    let address = port::local(site.portico.https_port());
    let chosen = match tls::connect(address, "acme.example.test", config).await {
        Ok(stream) => stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
        Err(_) => None,
    };
    assert_eq!(chosen, None);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn m23_an_old_client_gets_answers_that_it_can_read() {
    let origin = crate::support::raw_origin::RawOrigin::new(|connection| {
        while connection.read_head().is_some() {
            connection.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n",
            );
        }
    });
    let site = crate::support::site::Site::before(&[&origin.address()]).start();
    let mut raw = connect(&site).await;
    raw.write(format!("GET / HTTP/1.0\r\n{HOST}\r\n")).await;
    let answer = raw.response().await.unwrap();
    assert_eq!(answer.header("transfer-encoding"), None, "{}", answer.head);
    assert_eq!(answer.body, b"four");
    assert!(
        origin.heard()[0].starts_with("GET / HTTP/1.1\r\n"),
        "the app is spoken to in 1.1"
    );
}

#[tokio::test]
async fn m43_hsts_is_said_over_tls_only() {
    let (_origin, site) = hello();
    for host in ["acme.example.test", "mail.example.test"] {
        let mut plain = Connection::plain(site.portico.http_port(), host).await;
        let answer = plain.request("GET", "/").send().await;
        assert_eq!(answer.header("strict-transport-security"), None, "{host}");
        let answer = site.edge.get(Protocol::Http1, host, "/").await;
        assert!(
            answer.header("strict-transport-security").is_some(),
            "{host}"
        );
    }
    let mut plain = Raw::plain(site.portico.http_port()).await;
    plain.write("GET / HTTP/1.1\r\nX : y\r\n\r\n").await;
    let answer = plain.response().await.unwrap();
    assert_eq!(answer.header("strict-transport-security"), None);
}

#[tokio::test]
async fn m20_a_misdirected_request_leaves_the_connection_in_use() {
    let (origin, site) = hello();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        for _ in 0..2 {
            let answer = connection
                .request("GET", "/")
                .host("acme.other.test")
                .send()
                .await;
            assert_eq!(
                answer.status,
                StatusCode::MISDIRECTED_REQUEST,
                "{protocol:?}"
            );
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let answer = connection.request("GET", "/").send().await;
            assert_eq!(answer.status, StatusCode::OK);
        }
    }
    assert_eq!(origin.requests().len(), 4);
}

#[tokio::test]
async fn v20_an_address_on_the_plain_listener_is_nobodys() {
    let (_origin, site) = hello();
    for host in ["127.0.0.1", "[::1]", "0x7f.1", "127.1"] {
        let mut plain = Raw::plain(site.portico.http_port()).await;
        plain
            .write(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(plain.response().await.unwrap().status, 404, "{host}");
    }
}

/// A client that speaks as if the tunnel were open before it is: if it does not open, none of that is a request.
#[tokio::test]
async fn m12_early_bytes_of_a_websocket_are_never_requests() {
    let (origin, site) = hello();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: globex.example.test\r\n\r\n";
    let ask =
        format!("GET /chat HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    for split in [false, true] {
        let mut raw = connect(&site).await;
        raw.write(&ask).await;
        if split {
            tokio::task::yield_now().await;
        }
        raw.write(smuggled).await;
        let answer = raw.response().await.unwrap();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (200, Some("close"))
        );
        assert!(raw.rest().await.is_empty());
    }
    assert!(origin.requests().iter().all(|seen| seen.target == "/chat"));
    // And when it does open, they reach the app.
    let app = websocket::EchoApp::start();
    let site = crate::support::site::Site::before(&[&app.address()]).start();
    let mut raw = connect(&site).await;
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let ask = ask.strip_suffix("\r\n").unwrap().to_owned() + key;
    // A masked text frame `hi`, with a mask of zeros.
    raw.write([ask.as_bytes(), &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']].concat())
        .await;
    let head = raw.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut got = Vec::new();
    while got.len() < 4 {
        got.extend(raw.read().await.expect("the echo"));
    }
    assert_eq!(got, [0x81, 2, b'h', b'i']);
}

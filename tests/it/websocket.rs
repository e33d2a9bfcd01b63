//! WebSocket through the edge, and everything that is not one.

use tokio_tungstenite::tungstenite::Message;

use crate::support::origin::{self, Origin};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;
use crate::support::tls::Alpn;
use crate::support::websocket::{Client, EchoApp};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: acme.example.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn m12_messages_pass_both_ways_and_the_app_sees_https() {
    let app = EchoApp::start();
    let site = Site::before(&[&app.address()]).start();
    let mut client = Client::open(&site).await;
    for message in [
        Message::text("hello"),
        Message::binary(vec![7; 1 << 20]),
        Message::text(""),
        Message::text("x".repeat(100_000)),
    ] {
        assert_eq!(client.echo(message.clone()).await, message);
    }
    client.close().await;
    let head = app.heads().remove(0);
    let all = |name: &str| -> Vec<&str> {
        let lines = head.iter().filter(|(key, _)| key == name);
        lines.map(|(_, value)| value.as_str()).collect()
    };
    for (name, value) in [
        ("x-forwarded-proto", "https"),
        ("x-tenant", "acme"),
        ("host", "acme.example.test"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(all(name), [value], "{name}");
    }
}

#[tokio::test]
async fn m42_half_closes_are_passed_on_in_both_directions() {
    let origin = RawOrigin::new(|connection| {
        connection.read_head();
        connection.write(SWITCH.to_owned() + "early");
        // Reads to the client's end, then has the last word.
        while connection.read_more() {}
        connection.write("last");
    });
    let site = Site::before(&[&origin.address()]).start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let head = raw.write(format!("{ASK}\r\n")).await.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    raw.write("from the client").await;
    raw.shutdown().await;
    assert_eq!(raw.rest().await, b"earlylast");
    assert!(origin.heard()[0].ends_with("from the client"));

    let origin = RawOrigin::new(|connection| {
        connection.read_head();
        connection.write(SWITCH);
        connection.finish();
    });
    let site = Site::before(&[&origin.address()]).start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    raw.write(format!("{ASK}\r\n")).await.head().await.unwrap();
    assert_eq!(raw.read().await, None, "the app has ended");
    raw.write("still talking").await;
    origin.wait_heard("still talking");
}

#[tokio::test]
async fn m12_v31_only_a_websocket_is_passed_on() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
        "Connection: keep-alive\r\nUpgrade: websocket\r\n",
    ] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let head = format!("GET / HTTP/1.1\r\nHost: acme.example.test\r\n{lines}\r\n");
        assert_eq!(
            raw.write(head).await.response().await.unwrap().status,
            200,
            "{lines}"
        );
        let seen = origin.requests().pop().unwrap();
        for name in ["upgrade", "connection", "http2-settings"] {
            assert!(seen.all(name).is_empty(), "{name}: {:?}", seen.headers);
        }
    }
    for (method, version) in [("POST", "1.1"), ("GET", "1.0")] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let ask =
            ASK.replacen("GET", method, 1)
                .replacen("HTTP/1.1", &format!("HTTP/{version}"), 1);
        assert_eq!(
            raw.write(format!("{ask}\r\n"))
                .await
                .response()
                .await
                .unwrap()
                .status,
            200
        );
        assert!(
            origin.requests().pop().unwrap().all("upgrade").is_empty(),
            "{method} {version}"
        );
    }
}

#[tokio::test]
async fn v32_a_request_for_a_websocket_may_not_have_a_body() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for rest in [
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let answer = raw
            .write(format!("{ASK}{rest}"))
            .await
            .response()
            .await
            .unwrap();
        assert_eq!(answer.status, 400, "{rest:?}");
        assert_eq!(raw.read().await, None, "closed");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn m12_v32_an_app_that_does_not_switch_answers_and_ends_it() {
    let origin = Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.target));
    let site = Site::before(&[origin.address()]).start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let answer = raw
        .write(format!("{ASK}\r\n"))
        .await
        .response()
        .await
        .unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"/chat"[..]));
    let next = "GET /next HTTP/1.1\r\nHost: globex.example.test\r\n\r\n";
    if answer.header("connection") != Some("close") {
        let answer = raw.write(next).await.response().await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"/next"[..]));
        assert_eq!(origin.requests().pop().unwrap().one("x-tenant"), "globex");
    }
    let mut raw = site.edge.raw("mail.example.test", Alpn::Http1).await;
    let ask = ASK.replace("acme", "mail");
    assert_eq!(
        raw.write(format!("{ask}\r\n"))
            .await
            .response()
            .await
            .unwrap()
            .status,
        404
    );
}

#[tokio::test]
async fn m12_v32_a_switch_that_nobody_asked_for_is_a_502() {
    let plain = "GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n".to_owned();
    let websocket = format!("{ASK}\r\n");
    for (request, answer) in [
        (&plain, SWITCH.to_owned()),
        (&plain, SWITCH.replace("websocket", "h2c")),
        (&websocket, SWITCH.replace("websocket", "h2c")),
        (&websocket, SWITCH.replace("Upgrade: websocket\r\n", "")),
    ] {
        let origin = RawOrigin::new(move |connection| {
            connection.read_head();
            connection.write(&answer);
            while connection.read_more() {}
        });
        let site = Site::before(&[&origin.address()]).start();
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let answer = raw.write(request).await.response().await.unwrap();
        assert_eq!(answer.status, 502, "{request:?}");
        assert_eq!(answer.header("upgrade"), None);
    }
}

#[tokio::test]
async fn a_silent_tunnel_is_closed_and_a_busy_one_is_not() {
    let app = EchoApp::start();
    let site = Site::before(&[&app.address()])
        .set("limits", "tunnel_timeout = \"1s\"")
        .start();
    let mut client = Client::open(&site).await;
    let began = std::time::Instant::now();
    while began.elapsed().as_millis() < 2_500 {
        assert_eq!(client.echo(Message::text("x")).await, Message::text("x"));
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    let silent = std::time::Instant::now();
    let end =
        crate::support::wait::within("the end", futures_util::StreamExt::next(&mut client.0)).await;
    assert!(end.is_none_or(|message| message.is_err()));
    let took = silent.elapsed().as_millis();
    assert!((600..2_600).contains(&took), "{took} ms");
}

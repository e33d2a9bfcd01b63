//! WebSocket over HTTP/2 (RFC 8441): a stream that becomes a tunnel, before an app that speaks HTTP/1.1.

use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::support::framer::hpack::Block;
use crate::support::framer::{End, Framer, Frames, HOST, code, flag, request, setting};
use crate::support::origin::Origin;
use crate::support::raw_origin::{RawConnection, RawOrigin};
use crate::support::site::Site;
use crate::support::wait;
use crate::support::websocket::EchoApp;

/// An extended CONNECT.
fn connect(protocol: &str) -> Block {
    Block::of(&[
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/chat?room=1"),
        ("sec-websocket-version", "13"),
        ("origin", "https://acme.example.test"),
    ])
}

fn websocket() -> Block {
    connect("websocket")
}

/// A message of a client (RFC 6455 section 5.2), masked with zeros.
fn message(text: &[u8]) -> Vec<u8> {
    frame(0x81, text, true)
}

fn frame(first: u8, text: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match text.len() {
        length @ 0..126 => bytes.push(mask | u8::try_from(length).unwrap()),
        length => {
            bytes.push(mask | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend([0; 4]);
    }
    bytes.extend(text);
    bytes
}

/// Opens a tunnel on `stream`, which must succeed.
async fn open(framer: &mut Framer, stream: u32, block: &Block) -> Vec<(String, String)> {
    framer
        .write(Frames::new().headers(stream, flag::END_HEADERS, block))
        .await;
    let head = framer.head(stream).await;
    assert_eq!(
        head[0],
        (":status".to_owned(), "200".to_owned()),
        "{head:?}"
    );
    head
}

/// Reads as many bytes.
async fn read(framer: &mut Framer, stream: u32, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < size {
        bytes.extend(framer.data(stream).await.expect("an open tunnel"));
    }
    bytes
}

/// Switches as the key demands, or with `accept`.
fn switch(connection: &mut RawConnection, accept: Option<&str>) {
    let head = connection.read_head().unwrap_or_default();
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("sec-websocket-key: "));
    let right = derive_accept_key(key.unwrap_or_default().as_bytes());
    connection.write(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept.unwrap_or(&right)
    ));
}

#[tokio::test]
async fn messages_pass_both_ways_beside_other_streams() {
    let app = EchoApp::start();
    let site = Site::before(&[&app.address()]).start();
    let mut framer = Framer::open(&site.edge).await;
    assert!(
        framer
            .server
            .contains(&(setting::ENABLE_CONNECT_PROTOCOL, 1))
    );
    // What a client says of itself in headers of ours is not believed, whatever the protocol.
    let block = websocket()
        .field("x-tenant", "globex")
        .field("x_tenant", "globex")
        .field("x-forwarded-proto", "http")
        .field("sec-websocket-key", "bm90IHRoZSBlZGdlJ3M=")
        .field("sec-websocket-accept", "x");
    let head = open(&mut framer, 1, &block).await;
    assert!(
        !head.iter().any(|(name, _)| name == "sec-websocket-accept"),
        "{head:?}"
    );
    open(&mut framer, 3, &websocket()).await;
    let long = vec![b'x'; 20_000];
    for (stream, text) in [(1, &b"hello"[..]), (3, b"there"), (1, &long), (3, b"")] {
        let sent = message(text);
        let pieces = sent.chunks(1 << 14);
        let frames = pieces.fold(Frames::new(), |frames, piece| frames.data(stream, 0, piece));
        framer.write(frames).await;
        let expected = frame(0x81, text, false);
        // 16 bits of length are enough for tungstenite, where ours are 64.
        let size = if text.len() > 125 {
            text.len() + 4
        } else {
            expected.len()
        };
        let echo = read(&mut framer, stream, size).await;
        assert!(echo.ends_with(text) && echo.len() == size);
    }
    assert!((site.portico.metric("portico_tunnels_open") - 2.0).abs() < 0.1);
    // A close frame is answered, and then the app ends its side.
    framer
        .write(Frames::new().data(1, 0, &frame(0x88, b"", true)))
        .await;
    assert_eq!(read(&mut framer, 1, 2).await, [0x88, 0]);
    assert_eq!(framer.data(1).await, Err(End::Whole));
    framer
        .write(Frames::new().data(1, flag::END_STREAM, b""))
        .await;
    wait::until_async("the tunnel to be over", async || {
        (site.portico.metric("portico_tunnels_open") < 1.5).then_some(())
    })
    .await;
    let heads = app.heads();
    let all = |name: &str| -> Vec<&str> {
        let lines = heads[0].iter().filter(|(key, _)| key == name);
        lines.map(|(_, value)| value.as_str()).collect()
    };
    for (name, value) in [
        ("x-forwarded-proto", "https"),
        ("x-tenant", "acme"),
        ("host", HOST),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("origin", "https://acme.example.test"),
        ("sec-websocket-version", "13"),
    ] {
        assert_eq!(all(name), [value], "{name}");
    }
    assert!(all("x_tenant").is_empty() && all("sec-websocket-accept").is_empty());
    let key = |head: &[(String, String)]| {
        let mut lines = head.iter().filter(|(name, _)| name == "sec-websocket-key");
        let key = lines.next().expect("a key").1.clone();
        assert!(lines.next().is_none() && key.len() == 24);
        key
    };
    assert_ne!(key(&heads[0]), key(&heads[1]), "each is fresh");
    assert_ne!(key(&heads[0]), "bm90IHRoZSBlZGdlJ3M=");
}

#[tokio::test]
async fn half_closes_are_passed_on_and_early_bytes_kept() {
    let origin = RawOrigin::new(|connection| {
        switch(connection, None);
        connection.write("early");
        while connection.read_more() {}
        connection.write("last");
    });
    let site = Site::before(&[&origin.address()]).start();
    let mut framer = Framer::open(&site.edge).await;
    open(&mut framer, 1, &websocket()).await;
    assert_eq!(read(&mut framer, 1, 5).await, b"early");
    framer
        .write(Frames::new().data(1, flag::END_STREAM, b"from the client"))
        .await;
    assert_eq!(read(&mut framer, 1, 4).await, b"last");
    assert_eq!(framer.data(1).await, Err(End::Whole));
    assert!(origin.heard()[0].ends_with("from the client"));

    let origin = RawOrigin::new(|connection| {
        switch(connection, None);
        connection.finish();
    });
    let site = Site::before(&[&origin.address()]).start();
    let mut framer = Framer::open(&site.edge).await;
    open(&mut framer, 1, &websocket()).await;
    assert_eq!(framer.data(1).await, Err(End::Whole), "the app has ended");
    framer
        .write(Frames::new().data(1, 0, b"still talking"))
        .await;
    origin.wait_heard("still talking");
}

#[tokio::test]
async fn a_tunnel_that_breaks_on_one_side_breaks_on_the_other() {
    let origin = RawOrigin::new(|connection| {
        switch(connection, None);
        while connection.read_more() {}
        connection.write("gone");
    });
    let site = Site::before(&[&origin.address()]).start();
    let mut framer = Framer::open(&site.edge).await;
    open(&mut framer, 1, &websocket()).await;
    framer.write(Frames::new().reset(1, code::CANCEL)).await;
    wait::until_async("the tunnel to be over", async || {
        (site.portico.metric("portico_tunnels_open") < 0.5).then_some(())
    })
    .await;
    assert!(framer.round_trip().await, "the connection lives on");

    let origin = RawOrigin::new(|connection| {
        switch(connection, None);
        connection.read_more();
        connection.reset();
    });
    let site = Site::before(&[&origin.address()]).start();
    let mut framer = Framer::open(&site.edge).await;
    open(&mut framer, 1, &websocket()).await;
    framer.write(Frames::new().data(1, 0, b"hello")).await;
    assert!(matches!(framer.data(1).await, Err(End::Reset(_))));
    assert!(framer.round_trip().await, "the connection lives on");
}

#[tokio::test]
async fn only_a_real_switch_opens_a_tunnel() {
    for (answer, verdict) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "502"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "502"),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
            "403",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            "302",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            "502",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "502",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            "502",
        ),
    ] {
        let origin = RawOrigin::answering(answer);
        let site = Site::before(&[&origin.address()]).start();
        let mut framer = Framer::open(&site.edge).await;
        framer
            .write(Frames::new().headers(1, flag::END_HEADERS, &websocket()))
            .await;
        assert_eq!(framer.answer(1).await.verdict(), verdict, "{answer}");
        assert!(framer.round_trip().await, "the connection lives on");
    }
}

#[tokio::test]
async fn other_protocols_and_other_sites_are_refused() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let mut framer = Framer::open(&site.edge).await;
    let other_host = |host: &str| {
        let fields = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", host),
            (":path", "/"),
        ];
        Block::of(&fields)
    };
    let cases = [
        (connect("connect-udp"), "501"),
        (connect("WebTransport"), "501"),
        (connect(""), "501"),
        (
            Block::of(&[
                (":method", "CONNECT"),
                (":authority", "acme.example.test:443"),
            ]),
            "405",
        ),
        (websocket().field("content-length", "0"), "400"),
        (websocket().field("host", "globex.example.test"), "400"),
        (other_host("mail.example.test"), "404"),
        (other_host("acme.example.org"), "421"),
        // `:protocol` belongs to CONNECT (RFC 8441 section 4).
        (request().raw(&[]).field("x", "y"), "200"),
    ];
    for (number, (block, verdict)) in (0..).zip(cases) {
        let stream = 2 * number + 1;
        framer
            .write(Frames::new().headers(stream, flag::END_HEADERS, &block))
            .await;
        if verdict == "200" {
            framer
                .write(Frames::new().data(stream, flag::END_STREAM, b""))
                .await;
        }
        assert_eq!(framer.answer(stream).await.verdict(), verdict, "{block:?}");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn a_silent_tunnel_is_closed_and_a_busy_one_is_not() {
    let app = EchoApp::start();
    let site = Site::before(&[&app.address()])
        .set("limits", "tunnel_timeout = \"1s\"")
        .start();
    let mut framer = Framer::open(&site.edge).await;
    open(&mut framer, 1, &websocket()).await;
    let began = Instant::now();
    while began.elapsed().as_millis() < 2_500 {
        framer.write(Frames::new().data(1, 0, &message(b"x"))).await;
        assert_eq!(read(&mut framer, 1, 3).await, frame(0x81, b"x", false));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let silent = Instant::now();
    assert!(matches!(framer.data(1).await, Err(End::Reset(_))));
    let took = silent.elapsed().as_millis();
    assert!((600..2_600).contains(&took), "{took} ms");
    assert!(framer.round_trip().await, "the connection lives on");
}

#[tokio::test]
async fn a_drain_keeps_a_tunnel_to_its_end() {
    let app = EchoApp::start();
    let mut site = Site::before(&[&app.address()]).start();
    let mut framer = Framer::open(&site.edge).await;
    open(&mut framer, 1, &websocket()).await;
    site.portico.sigterm();
    site.portico.wait_log("drain");
    for _ in 0..5 {
        framer
            .write(Frames::new().data(1, 0, &message(b"late")))
            .await;
        assert_eq!(read(&mut framer, 1, 6).await, frame(0x81, b"late", false));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    framer
        .write(Frames::new().data(1, 0, &frame(0x88, b"", true)))
        .await;
    assert_eq!(read(&mut framer, 1, 2).await, [0x88, 0]);
    framer
        .write(Frames::new().data(1, flag::END_STREAM, b""))
        .await;
    assert!(site.portico.wait_exit().success());
}

#[tokio::test]
async fn d16_a_connection_has_so_many_tunnels_and_no_more() {
    const MOST: u32 = 64;
    let app = EchoApp::start();
    let site = Site::before(&[&app.address()]).start();
    let mut framer = Framer::open(&site.edge).await;
    for number in 0..MOST {
        open(&mut framer, 2 * number + 1, &websocket()).await;
    }
    let answer = framer.ask(2 * MOST + 1, &websocket()).await;
    assert_eq!(answer.status(), 429, "{answer:?}");
    assert_eq!(answer.header("x-edge-reason"), Some("too-many-tunnels"));
    // Requests are no tunnels, other connections have tunnels of their own, and one that ends makes room.
    let mut other = Framer::open(&site.edge).await;
    open(&mut other, 1, &websocket()).await;
    framer.write(Frames::new().reset(1, code::CANCEL)).await;
    wait::until_async("one tunnel less", async || {
        (site.portico.metric("portico_tunnels_open") < f64::from(MOST) + 0.5).then_some(())
    })
    .await;
    open(&mut framer, 2 * MOST + 3, &websocket()).await;
    let answer = framer.ask(2 * MOST + 5, &websocket()).await;
    assert_eq!(answer.status(), 429, "full again");
}

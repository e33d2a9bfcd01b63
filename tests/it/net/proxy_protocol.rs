//! The PROXY protocol from a balancer: who is believed, what the app is told, and what a wait costs.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::origin::Origin;
use crate::support::port;
use crate::support::raw::{Raw, RawResponse};
use crate::support::site::{Site, SiteBuilder};
use crate::support::tls::Alpn;
use crate::support::wait;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn site(origin: &Origin, networks: &str) -> SiteBuilder {
    Site::before(&[origin.address()]).set("listen", &format!("proxy_protocol = [{networks:?}]"))
}

fn v2(command: u8, payload: &[u8]) -> Vec<u8> {
    let size = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, 0x11], &size, payload].concat()
}

fn v1(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 198.51.100.1 4711 443\r\n").into_bytes()
}

/// One request behind the pieces of a header, each in a packet of its own; `None` if the proxy closed.
async fn ask(site: &Site, pieces: &[&[u8]]) -> Option<RawResponse> {
    let (mut raw, _) = connect(site, pieces).await?;
    let head = "GET / HTTP/1.1\r\nHost: acme.example.test\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n";
    raw.write(head).await.response().await
}

async fn connect(site: &Site, pieces: &[&[u8]]) -> Option<(Raw, u16)> {
    let address = port::local(site.portico.https_port());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let own = stream.local_addr().unwrap().port();
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        stream.write_all(piece).await.ok()?;
    }
    let config = site.ca.trust().config(Alpn::Http1);
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let name = "acme.example.test".try_into().unwrap();
    let stream = wait::within("a handshake", connector.connect(name, stream)).await;
    stream.ok().map(|stream| (Raw::new(stream), own))
}

#[tokio::test]
async fn v40_the_client_that_a_balancer_names_is_the_client() {
    let origin = Origin::hello();
    let site = site(&origin, "127.0.0.0/8").start();
    let tcp4 = [192, 0, 2, 9, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb];
    let tlvs = [&tcp4[..], b"\x01\x00\x08http/1.1\x04\x00\x02\x00\x00"].concat();
    let mut mapped = vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    mapped.extend([0; 20]);
    let size = u16::try_from(mapped.len()).unwrap().to_be_bytes();
    let tcp6 = [SIGNATURE, &[0x21, 0x21], &size, &mapped].concat();
    let (one, two) = (v1("192.0.2.9"), v2(0x21, &tlvs));
    let half = two.len() / 2;
    for (pieces, client) in [
        (vec![&one[..]], "192.0.2.9"),
        (vec![&two[..]], "192.0.2.9"),
        // Split anywhere, and byte by byte.
        (vec![&two[..half], &two[half..]], "192.0.2.9"),
        (one.chunks(1).collect(), "192.0.2.9"),
        (vec![&tcp6[..]], "2001:db8::9"),
        (
            vec![b"PROXY TCP6 ::ffff:192.0.2.9 ::1 1 2\r\n"],
            "192.0.2.9",
        ),
        (vec![b"PROXY UNKNOWN\r\n"], "127.0.0.1"),
        (
            vec![b"PROXY UNKNOWN 192.0.2.9 192.0.2.9 1 2\r\n"],
            "127.0.0.1",
        ),
    ] {
        let before = origin.requests().len();
        assert_eq!(ask(&site, &pieces).await.unwrap().status, 200, "{client}");
        let seen = &origin.requests()[before];
        assert_eq!(seen.one("x-real-ip"), client);
        assert_eq!(
            seen.one("x-forwarded-for"),
            client,
            "not the client's own word"
        );
    }
    let local = v2(0x20, b"whatever");
    assert_eq!(ask(&site, &[&local]).await.unwrap().status, 200);
    // The plain listener, too.
    let mut raw = Raw::plain(site.portico.http_port()).await;
    let head = [
        &one[..],
        b"GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n",
    ]
    .concat();
    assert_eq!(raw.write(head).await.response().await.unwrap().status, 308);
}

#[tokio::test]
async fn v40_a_balancer_that_sends_no_header_or_a_bad_one_is_closed() {
    let origin = Origin::hello();
    let site = site(&origin, "127.0.0.0/8").start();
    let before = site
        .portico
        .metric("portico_connections_refused_total{reason=\"proxy-header\"}");
    let long = [&[4, 0xff, 0xff][..], &[0; 65_532]].concat();
    let bad: [&[u8]; 6] = [
        b"",
        b"PROXY TCP4 192.0.2.9\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        &v2(0x21, &[1, 2, 3]),
        &v2(0x21, &[&[0; 12][..], &[4, 0xff, 0xff]].concat()),
        &v2(0x21, &long),
    ];
    for header in bad {
        assert!(ask(&site, &[header]).await.is_none(), "{header:?}");
    }
    wait::until("all to be counted", || {
        let name = "portico_connections_refused_total{reason=\"proxy-header\"}";
        (site.portico.metric(name) >= before + 6.0).then_some(())
    });
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn v40_nobody_else_is_listened_to() {
    let origin = Origin::hello();
    let site = site(&origin, "192.0.2.0/24").start();
    for header in [v1("192.0.2.9"), v2(0x21, &[0; 12]), v2(0x20, b"")] {
        assert!(ask(&site, &[&header]).await.is_none(), "{header:?}");
        let mut raw = Raw::plain(site.portico.http_port()).await;
        let head = [
            &header[..],
            b"GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n",
        ]
        .concat();
        let answer = raw.write(head).await.rest().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    assert!(origin.requests().is_empty());
    assert_eq!(ask(&site, &[]).await.unwrap().status, 200);
    assert_eq!(origin.only_request().one("x-real-ip"), "127.0.0.1");
}

#[tokio::test]
async fn limits_and_lists_are_for_the_named_client() {
    let origin = Origin::hello();
    let site = site(&origin, "127.0.0.0/8")
        .set("limits", "connections_per_address = 1")
        .set("access", "deny = [\"203.0.113.0/24\"]")
        .start();
    let one = v1("192.0.2.1");
    let first = connect(&site, &[&one]).await.unwrap();
    assert!(
        connect(&site, &[&one]).await.is_none(),
        "a second of one client"
    );
    let other = connect(&site, &[&v1("192.0.2.2")]).await;
    assert!(other.is_some());
    assert!(connect(&site, &[&v1("203.0.113.7")]).await.is_none());
    drop(first);
    wait::until_async("room for the first again", async || {
        connect(&site, &[&one]).await
    })
    .await;
}

#[tokio::test]
async fn d20_a_header_that_never_comes_ends_with_the_handshakes_time() {
    let origin = Origin::hello();
    let site = site(&origin, "127.0.0.0/8")
        .set("limits", "handshake_timeout = \"2s\"")
        .start();
    let header = v1("192.0.2.9");
    for (first, later) in [
        (&b""[..], &b""[..]),
        (&header[..20], b""),
        (b"", &header[..]),
    ] {
        let address = port::local(site.portico.https_port());
        // Before the edge can begin to count.
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        if !later.is_empty() {
            // What the header takes is missing in the handshake.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            stream.write_all(later).await.unwrap();
        }
        Raw::new(stream).rest().await;
        let took = began.elapsed();
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_millis(3_400),
            "{took:?}"
        );
    }
    // By default five of the ten seconds.
    let site = self::site(&origin, "127.0.0.0/8").start();
    let began = Instant::now();
    Raw::plain(site.portico.https_port()).await.rest().await;
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(7),
        "{took:?}"
    );
}

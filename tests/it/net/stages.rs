//! The stages at which an HTTP/1.1 client can stall, in one table: each is closed at its deadline and not before.
//!
//! The table runs twice: with short limits, and with the defaults, which are what the issue of the proxy promises.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use portico::config::Limits;

use crate::support::origin::Origin;
use crate::support::port;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};

/// Deadlines are looked at four times a second, and two cores have other work too.
const LATE: Duration = Duration::from_millis(2_500);
/// The two ends do not begin to count at the same instant.
const EARLY: Duration = Duration::from_millis(50);

/// How far a client goes before it stalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    NoClientHello,
    HalfAClientHello,
    SilentAfterTls,
    HalfAHeader,
    DrippingHeader,
    BodyThatNeverComes,
    HalfAChunk,
    IdleKeepAlive,
}

use Stage::{
    BodyThatNeverComes, DrippingHeader, HalfAChunk, HalfAClientHello, HalfAHeader, IdleKeepAlive,
    NoClientHello, SilentAfterTls,
};

/// The limit that ends a stage.
type Limit = fn(&Limits) -> Duration;

/// Stage, what the client sends, and its limit.
const STAGES: [(Stage, &str, Limit); 8] = [
    (NoClientHello, "", |limits| limits.handshake_timeout),
    (
        HalfAClientHello,
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03half",
        |limits| limits.handshake_timeout,
    ),
    (SilentAfterTls, "", |limits| limits.header_timeout),
    (
        HalfAHeader,
        "GET / HTTP/1.1\r\nHost: acme.example.test\r\nX-Ha",
        |limits| limits.header_timeout,
    ),
    (
        DrippingHeader,
        "GET / HTTP/1.1\r\nHost: acme.example.test\r\nX-Drip: ",
        |limits| limits.header_timeout,
    ),
    (
        BodyThatNeverComes,
        "POST / HTTP/1.1\r\nHost: acme.example.test\r\nContent-Length: 10\r\n\r\n",
        |limits| limits.body_timeout,
    ),
    (
        HalfAChunk,
        "POST / HTTP/1.1\r\nHost: acme.example.test\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf",
        |limits| limits.body_timeout,
    ),
    (
        IdleKeepAlive,
        "GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n",
        |limits| limits.idle_timeout,
    ),
];

/// Stalls at `stage`, and tells what came back until the proxy closed, and how long it kept the client.
async fn stall(site: &Site, stage: Stage, bytes: &str) -> (String, Duration) {
    let address = port::local(site.portico.https_port());
    if matches!(stage, NoClientHello | HalfAClientHello) {
        let stream = TcpStream::connect(address).await.unwrap();
        return watch(stream, stage, bytes).await;
    }
    let config = site.ca.trust().config(Alpn::Http1);
    let stream = tls::connect(address, "acme.example.test", config).await;
    watch(stream.unwrap(), stage, bytes).await
}

async fn watch(
    stream: impl AsyncRead + AsyncWrite,
    stage: Stage,
    bytes: &str,
) -> (String, Duration) {
    let (mut read, mut write) = tokio::io::split(stream);
    write.write_all(bytes.as_bytes()).await.unwrap();
    write.flush().await.unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    let end = read.read_to_end(&mut answer);
    let drip = async {
        if stage == DrippingHeader {
            while write.write_all(b"x").await.is_ok() && write.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // A reset or a missing close_notify is an end as good as any.
        _end = end => {}
        () = drip => {}
    }
    (
        String::from_utf8_lossy(&answer).into_owned(),
        began.elapsed(),
    )
}

/// All stages at once: each has a connection of its own.
async fn all(site: &Site, limits: &Limits) {
    let clients = STAGES.map(|(stage, bytes, limit)| async move {
        let (answer, took) = stall(site, stage, bytes).await;
        let limit = limit(limits);
        assert!(
            took + EARLY >= limit && took < limit + LATE,
            "{stage:?}: closed after {took:?} with {answer:?}"
        );
        let expected = match stage {
            BodyThatNeverComes | HalfAChunk => "HTTP/1.1 408",
            IdleKeepAlive => "HTTP/1.1 200",
            _ => "",
        };
        assert!(
            answer.starts_with(expected) && answer.is_empty() == expected.is_empty(),
            "{stage:?}: {answer:?}"
        );
    });
    futures_util::future::join_all(clients).await;
}

#[tokio::test]
async fn every_stage_has_its_own_limit() {
    let origin = Origin::hello();
    // Each limit differs from the others, so that none can stand in for another.
    let site = Site::before(&[origin.address()])
        .set("limits", "handshake_timeout = \"1s\"")
        .set("limits", "header_timeout = \"2s\"")
        .set("limits", "body_timeout = \"6s\"")
        .set("limits", "idle_timeout = \"9s\"")
        .start();
    let limits = Limits {
        handshake_timeout: Duration::from_secs(1),
        header_timeout: Duration::from_secs(2),
        body_timeout: Duration::from_secs(6),
        idle_timeout: Duration::from_secs(9),
        ..Limits::default()
    };
    all(&site, &limits).await;
}

#[tokio::test]
async fn by_default_10_s_up_to_the_header_30_s_for_a_body_and_60_s_idle() {
    let limits = Limits::default();
    let seconds = STAGES.map(|(_, _, limit)| limit(&limits).as_secs());
    assert_eq!(seconds, [10, 10, 10, 10, 10, 30, 30, 60]);
    let origin = Origin::hello();
    all(&Site::before(&[origin.address()]).start(), &limits).await;
}

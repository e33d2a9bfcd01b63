//! Bodies that stop, in either direction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncWriteExt;

use super::{check, site};
use crate::support::body::{self, Body};
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};
use crate::support::{port, wait};

#[tokio::test]
async fn a_body_that_stops_gets_408() {
    let origin = Origin::hello();
    let site = site(&origin);
    for head in [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let began = Instant::now();
        raw.write(format!(
            "POST / HTTP/1.1\r\nHost: acme.example.test\r\n{head}"
        ))
        .await;
        let answer = raw.response().await.unwrap();
        check("HTTP/1.1", began);
        assert_eq!(
            (answer.status, answer.header("connection")),
            (408, Some("close"))
        );
        assert_eq!(raw.read().await, None, "closed");
    }
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let (pieces, streamed) = body::channel();
    let began = Instant::now();
    pieces.send(Ok(Frame::data("hello".into()))).await.unwrap();
    let answer = connection.request("POST", "/").body(streamed).send().await;
    check("HTTP/2", began);
    assert_eq!(answer.status.as_u16(), 408);
    let answer = connection.request("GET", "/").send().await;
    assert_eq!(answer.text(), "hello", "other streams go on");
    let seen = origin.wait_requests(4);
    assert!(
        seen[..3].iter().all(|seen| !seen.complete),
        "never whole for the app: {seen:?}"
    );
}

/// Sends a few bytes every tenth of a second for as long as anybody takes them.
async fn drip(mut write: impl tokio::io::AsyncWrite + Unpin) {
    while write.write_all(b"drip").await.is_ok() && write.flush().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn d09_a_body_below_the_least_rate_gets_408() {
    let origin = Origin::hello();
    // No pause is near `body_timeout`: only the rate can be the reason.
    let site = Site::before(&[origin.address()])
        .set("limits", "body_timeout = \"2s\"")
        .set("limits", "body_rate = \"1KiB\"")
        .start();
    let ended = |what: &str, began: Instant| {
        let took = began.elapsed();
        let longest = Duration::from_secs(8);
        assert!(
            took >= Duration::from_secs(2) && took < longest,
            "{what}: {took:?}"
        );
    };
    let config = site.ca.trust().config(Alpn::Http1);
    let address = port::local(site.portico.https_port());
    let stream = tls::connect(address, "acme.example.test", config).await;
    let (read, mut write) = tokio::io::split(stream.unwrap());
    let head = "POST / HTTP/1.1\r\nHost: acme.example.test\r\nContent-Length: 1000000\r\n\r\n";
    write.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let dripping = tokio::spawn(drip(write));
    let answer = Raw::new(tokio::io::join(read, tokio::io::sink()))
        .response()
        .await;
    ended("HTTP/1.1", began);
    assert_eq!(answer.unwrap().status, 408);
    dripping.abort();

    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let mut streamed = async |piece: &'static [u8], count: usize| {
        let (pieces, streamed) = body::channel();
        let dripping = tokio::spawn(async move {
            for _ in 0..count {
                if pieces.send(Ok(Frame::data(piece.into()))).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let began = Instant::now();
        let answer = connection.request("POST", "/").body(streamed).send().await;
        dripping.abort();
        (answer, began)
    };
    let (answer, began) = streamed(b"drip", usize::MAX).await;
    ended("HTTP/2", began);
    assert_eq!(answer.status.as_u16(), 408);
    // Twice the rate, for longer than that, on the same connection.
    let (answer, began) = streamed(&[b'x'; 256], 35).await;
    assert!(began.elapsed() > Duration::from_secs(3));
    assert_eq!(answer.text(), "hello");
    let seen = origin.wait_requests(3);
    let whole: Vec<_> = seen.iter().map(|seen| seen.complete).collect();
    assert_eq!(whole, [false, false, true]);
}

/// An endless answer; the handle is the only other one of its life.
fn endless(life: Arc<()>) -> Body {
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let frames = stream::unfold(life, move |life| {
        let piece = piece.clone();
        async move { Some((Ok(Frame::data(piece)), life)) }
    });
    BodyExt::boxed(StreamBody::new(Box::pin(frames)))
}

#[tokio::test]
async fn an_app_is_freed_from_a_client_that_does_not_read() {
    for protocol in Protocol::BOTH {
        let life = Arc::new(());
        let given = Arc::clone(&life);
        let origin = Origin::tcp(move |seen| {
            let given = Arc::clone(&given);
            async move {
                match &*seen.target {
                    "/endless" => Response::new(endless(given)),
                    _ => crate::support::origin::text(200, "hello"),
                }
            }
        });
        let site = site(&origin);
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let held = Arc::strong_count(&life);
        let began = Instant::now();
        let answer = connection
            .request("GET", "/endless")
            .try_head()
            .await
            .unwrap();
        wait::until_async("the app's answer to be dropped", async || {
            (Arc::strong_count(&life) == held).then_some(())
        })
        .await;
        check(&format!("{protocol:?}"), began);
        if protocol == Protocol::Http2 {
            let other = connection.request("GET", "/").send().await;
            assert_eq!(other.text(), "hello", "other streams go on");
        }
        let end = wait::within("the end", answer.into_body().collect()).await;
        assert!(end.is_err(), "{protocol:?}: a visible break");
    }
}

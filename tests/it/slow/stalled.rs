//! Bodies that stop, in either direction.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::{check, site};
use crate::support::body::{self, Body};
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::tls::Alpn;
use crate::support::wait;

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

//! What is turned away before it hurts: memory, requests on a connection, bodies that come too slowly.

use std::time::{Duration, Instant};

use hyper::body::Frame;
use tokio::task::JoinSet;

use crate::support::body;
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::tls::Alpn;
use crate::support::wait;

#[tokio::test]
async fn requests_get_503_while_memory_runs_short() {
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()])
        .set("limits", "memory = \"16MiB\"")
        .set("limits", "connections_per_address = 0")
        .start();
    let get = async |site: &Site| {
        site.edge
            .get(Protocol::Http1, "acme.example.test", "/")
            .await
    };
    // Connections take memory until the mark is passed.
    let mut held: Vec<Raw> = Vec::new();
    let refused = wait::until_async("memory to run short", async || {
        let mut more = JoinSet::new();
        for _ in 0..100 {
            let edge = site.edge.clone();
            more.spawn(async move { edge.raw("acme.example.test", Alpn::Http1).await });
        }
        held.extend(more.join_all().await);
        let answer = get(&site).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(refused.header("retry-after"), Some("10"));
    assert_eq!(refused.header("x-edge-reason"), Some("overloaded"));
    assert_eq!(refused.header("connection"), Some("close"));
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!(answer.status, 503);
    assert!(site.portico.stderr().contains("memory runs short"));
    // More room, and all is well, for whoever waited too.
    site.portico
        .rewrite_config(|text| text.replace("16MiB", "4GiB"));
    site.portico.sighup();
    wait::until_async("calm", async || {
        (get(&site).await.status == 200).then_some(())
    })
    .await;
    let head = "GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    let answer = held[0].write(head).await.response().await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_connection_ends_in_good_order_after_its_share_of_requests() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("limits", "requests_per_connection = 3")
        .start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    for number in 1..=3 {
        let head = "GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
        let answer = raw.write(head).await.response().await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection") == Some("close"), number == 3);
    }
    assert_eq!(raw.read().await, None);
    let mut http2 = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let mut answered = 0;
    while let Ok(answer) = http2.request("GET", "/").try_send().await {
        assert_eq!(answer.status, 200);
        answered += 1;
        assert!(answered < 10);
    }
    assert!(answered >= 3, "{answered}");
}

/// Pieces of `size` bytes every `pause`, until they are not wanted any more or the time is over.
fn dripping(size: usize, pause: Duration, during: Duration) -> body::Body {
    let (pieces, streamed) = body::channel();
    tokio::spawn(async move {
        let began = Instant::now();
        while began.elapsed() < during {
            if pieces
                .send(Ok(Frame::data(vec![b'x'; size].into())))
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    streamed
}

#[tokio::test]
async fn a_slow_but_steady_upload_succeeds_and_a_byte_now_and_then_does_not() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("limits", "body_timeout = \"2s\"")
        .start();
    let upload = |protocol, size, pause: u64| {
        let edge = site.edge.clone();
        tokio::spawn(async move {
            let mut connection = edge.connect(protocol, "acme.example.test").await;
            let pause = Duration::from_millis(pause);
            let body = dripping(size, pause, Duration::from_secs(8));
            let began = Instant::now();
            let answer = connection.request("POST", "/").body(body).send().await;
            (answer.status.as_u16(), began.elapsed())
        })
    };
    for protocol in Protocol::BOTH {
        // 100 bytes a second for four windows; a byte every 300 ms, each in time for `body_timeout` alone.
        let (steady, dripping) = (upload(protocol, 40, 400), upload(protocol, 1, 300));
        let (status, took) = dripping.await.unwrap();
        assert_eq!(status, 408, "{protocol:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(steady.await.unwrap().0, 200, "{protocol:?}");
    }
}

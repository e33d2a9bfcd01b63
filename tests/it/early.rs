//! An app that answers before it has read the request: what the client still sends is body, never the next request.

use std::time::{Duration, Instant};

use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;
use crate::support::tls::Alpn;

#[tokio::test]
async fn v02_what_follows_an_early_answer_is_never_a_request() {
    // Answers each head at once, keeps the connection open and never reads a body.
    let origin = RawOrigin::new(|connection| {
        while connection.read_head().is_some() {
            connection.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly");
        }
    });
    let site = Site::before(&[&origin.address()]).start();
    let mut client = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: globex.example.test\r\n\r\n";
    client
        .write(format!(
            "POST /upload HTTP/1.1\r\nHost: acme.example.test\r\nContent-Length: {}\r\n\r\n",
            smuggled.len() + 100
        ))
        .await;
    let answer = client.head().await.expect("the early answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Longer than it takes to park an idle connection: the time itself is what is tested.
    let parked = Instant::now() + Duration::from_millis(1500);
    tokio::time::sleep_until(parked.into()).await;
    client.write(smuggled).await;
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(2), async {
        while let Some(bytes) = client.read().await {
            rest.extend_from_slice(&bytes);
        }
    });
    let _closed_or_silent = end.await;
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(!rest.contains("HTTP/1.1"), "a second answer came: {rest}");
    let heard = origin.heard().join("\n---\n");
    assert!(!heard.contains("x-tenant: globex"), "{heard}");
}

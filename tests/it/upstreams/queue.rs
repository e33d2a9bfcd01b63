//! Caps of servers, and the queue before them.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

use super::{HOST, ask, gated, state_of, wait_state};
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::pki::Ca;
use crate::support::site::Site;
use crate::support::tls::Alpn;
use crate::support::wait;
use crate::support::websocket::{Client, EchoApp};

/// Waits for requests at the origin while the test's own requests go on.
async fn arrived(origin: &Origin, count: usize) {
    wait::until_async("requests at the origin", async || {
        (origin.requests().len() >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn upstream_requests_over_the_cap_wait_their_turn() {
    let gate = Arc::new(Semaphore::new(0));
    let origin = gated(&gate);
    // More than one worker: the cap is one for all of them.
    let site = Site::before(&[origin.address()])
        .set("upstream", "server_requests = 2")
        .set("server", "workers = 2")
        .start();
    let asked: Vec<_> = (0..8)
        .map(|round| ask(&site, Protocol::BOTH[round % 2], "POST"))
        .collect();
    wait::until_async("six requests in the queue", async || {
        (site.portico.metric("portico_upstream_queued{") > 5.5).then_some(())
    })
    .await;
    arrived(&origin, 2).await;
    assert_eq!(origin.requests().len(), 2);
    assert_eq!(state_of(&site, origin.address())["requests"], 2);
    // One after the other, so that there are never more than two of them.
    for done in 1..=8 {
        gate.add_permits(1);
        wait::until_async("the next request", async || {
            (origin.requests().len() >= (done + 2).min(8)).then_some(())
        })
        .await;
        assert!(origin.requests().len() <= done + 2);
    }
    for answer in asked {
        assert_eq!(answer.await.unwrap().text(), "through");
    }
    assert!(site.portico.metric("portico_upstream_queued_total") > 5.5);
    assert!(site.portico.metric("portico_upstream_queued{") < 0.5);
}

#[tokio::test]
async fn upstream_queue_that_is_full_or_slow_answers_503() {
    let gate = Arc::new(Semaphore::new(0));
    let origin = gated(&gate);
    let site = Site::before(&[origin.address()])
        .set("upstream", "server_requests = 1")
        .set("upstream", "queue = 1")
        .set("upstream", "queue_timeout = \"2s\"")
        .start();
    let first = ask(&site, Protocol::Http2, "GET");
    arrived(&origin, 1).await;
    let second = ask(&site, Protocol::Http2, "GET");
    wait::until_async("one request in the queue", async || {
        (site.portico.metric("portico_upstream_queued{") > 0.5).then_some(())
    })
    .await;
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, HOST, "/").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("x-edge-reason"), Some("upstream-queue-full"));
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    let second = second.await.unwrap();
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        second.header("x-edge-reason"),
        Some("upstream-queue-timeout")
    );
    gate.add_permits(1);
    assert_eq!(first.await.unwrap().text(), "through");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn upstream_clients_that_leave_the_queue_cost_nobody_a_turn() {
    let gate = Arc::new(Semaphore::new(0));
    let origin = gated(&gate);
    let site = Site::before(&[origin.address()])
        .set("upstream", "server_requests = 1")
        .set("server", "workers = 1")
        .start();
    let first = ask(&site, Protocol::Http1, "GET");
    arrived(&origin, 1).await;
    let leaving: Vec<_> = (0..5).map(|_| ask(&site, Protocol::Http2, "GET")).collect();
    let queued = async |count: f64| {
        wait::until_async("the queue", async || {
            let queued = site.portico.metric("portico_upstream_queued{");
            ((queued - count).abs() < 0.5).then_some(())
        })
        .await;
    };
    queued(5.0).await;
    let last = ask(&site, Protocol::Http1, "GET");
    queued(6.0).await;
    for leaving in leaving {
        leaving.abort();
    }
    queued(1.0).await;
    gate.add_permits(2);
    assert_eq!(first.await.unwrap().text(), "through");
    assert_eq!(last.await.unwrap().text(), "through");
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn upstream_connections_keep_to_their_cap() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("upstream", "server_connections = 1")
        .set("server", "workers = 2")
        .start();
    // Client connections meet both workers; the one connection goes from one to the other.
    let mut asked = Vec::new();
    for _ in 0..16 {
        asked.push(ask(&site, Protocol::Http1, "GET"));
    }
    for answer in asked {
        assert_eq!(answer.await.unwrap().text(), "hello");
        let open = site.portico.metric("portico_upstream_connections_open");
        assert!(open < 1.5, "{open}");
    }
}

#[tokio::test]
async fn upstream_tunnels_count_as_connections() {
    let app = EchoApp::start();
    let site = Site::before(&[&app.address()])
        .set("upstream", "server_connections = 1")
        .set("upstream", "queue_timeout = \"1s\"")
        .start();
    let mut client = Client::open(&site).await;
    assert!((site.portico.metric("portico_upstream_connections_open") - 1.0).abs() < 0.1);
    let answer = site.edge.get(Protocol::Http1, HOST, "/").await;
    assert_eq!(
        answer.header("x-edge-reason"),
        Some("upstream-queue-timeout")
    );
    let message = Message::text("still there");
    assert_eq!(client.echo(message.clone()).await, message);
    client.close().await;
    wait::until_async("the connection's end", async || {
        (site.portico.metric("portico_upstream_connections_open") < 0.5).then_some(())
    })
    .await;
    Client::open(&site).await.close().await;
}

#[tokio::test]
async fn upstream_a_server_that_is_down_gets_nothing_while_the_others_are_full() {
    let gate = Arc::new(Semaphore::new(0));
    let well = gated(&gate);
    let down = Origin::tcp(async |seen: origin::Seen| {
        let status = if seen.target == "/healthz" { 500 } else { 200 };
        origin::text(status, "down")
    });
    let site = Site::before(&[well.address(), down.address()])
        .set("upstream", "server_requests = 1")
        .set("upstream.probe", "path = \"/healthz\"")
        .set("upstream.probe", "interval = \"250ms\"")
        .set("upstream.probe", "timeout = \"5s\"")
        .set("upstream.probe", "status = \"200-299\"")
        .start();
    wait_state(&site, down.address(), "down");
    let asked = ["GET", "POST"].map(|method| ask(&site, Protocol::Http1, method));
    wait::until_async("one request in the queue", async || {
        (site.portico.metric("portico_upstream_queued{") > 0.5).then_some(())
    })
    .await;
    // Some permits are for probes.
    gate.add_permits(1000);
    for answer in asked {
        assert_eq!(answer.await.unwrap().text(), "through");
    }
}

#[tokio::test]
async fn upstream_streams_do_not_wait_behind_who_needs_a_connection() {
    let ca = Ca::named("App root");
    let trust = ca.trust();
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = Origin::tls(&ca.leaf(&["127.0.0.1"]), move |seen| {
        let held = Arc::clone(&held);
        async move {
            if seen.method == "POST" {
                held.acquire().await.unwrap().forget();
            }
            origin::text(200, "through")
        }
    });
    let site = Site::before(&[&format!("https://{}", origin.address())])
        .set("upstream.tls", &format!("ca_file = {:?}", trust.file()))
        .set("upstream", "server_connections = 1")
        .set("server", "workers = 1")
        .start();
    let first = ask(&site, Protocol::Http1, "POST");
    arrived(&origin, 1).await;
    let mut raw = site.edge.raw(HOST, Alpn::Http1).await;
    raw.write(format!(
        "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm90IHRoZSBlZGdlJ3M=\r\n\r\n"
    ))
    .await;
    wait::until_async("the WebSocket in the queue", async || {
        (site.portico.metric("portico_upstream_queued{") > 0.5).then_some(())
    })
    .await;
    for protocol in Protocol::BOTH {
        assert_eq!(site.edge.get(protocol, HOST, "/").await.text(), "through");
    }
    assert!(site.portico.metric("portico_upstream_queued{") > 0.5);
    gate.add_permits(1);
    assert_eq!(first.await.unwrap().text(), "through");
}

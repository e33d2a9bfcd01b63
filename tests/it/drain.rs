//! The end: what has begun is finished, nothing new is taken, the exit code is 0.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio_tungstenite::tungstenite::Message;

use crate::support::http::Protocol;
use crate::support::load::Load;
use crate::support::origin::{self, Origin};
use crate::support::port;
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::tls::Alpn;
use crate::support::wait;
use crate::support::websocket::{Client, EchoApp};

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_request_begun_under_load_gets_its_answer() {
    let origin = Origin::tcp(async |_| {
        tokio::time::sleep(Duration::from_millis(3)).await;
        origin::text(200, "hello")
    });
    let mut site = Site::before(&[origin.address()]).start();
    let load = Load::start(&site, 4);
    load.wait_answers(200).await;
    load.expect_end();
    site.portico.sigterm();
    let exit = block_in_place(|| site.portico.wait_exit());
    assert_eq!(exit.code(), Some(0), "{exit}");
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(site.portico.stderr().contains("draining"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_are_finished_and_new_connections_refused() {
    let origin = Origin::tcp(async |_| {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        origin::text(200, "late")
    });
    let mut site = Site::before(&[origin.address()]).start();
    let mut waiting = Vec::new();
    for protocol in Protocol::BOTH {
        for _ in 0..3 {
            let edge = site.edge.clone();
            waiting.push(tokio::spawn(async move {
                edge.get(protocol, "acme.example.test", "/").await
            }));
        }
    }
    wait::until_async("all requests under way", async || {
        (origin.requests().len() == 6).then_some(())
    })
    .await;
    site.portico.sigterm();
    site.portico.wait_log("draining");
    let address = port::local(site.portico.https_port());
    wait::until("connections to be refused", || {
        TcpStream::connect(address).is_err().then_some(())
    });
    let (ready, reasons) = site.portico.admin("/readyz");
    assert!(
        ready == 503 && reasons.contains("draining"),
        "{ready} {reasons}"
    );
    for task in waiting {
        let answer = task.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "late"));
    }
    assert_eq!(block_in_place(|| site.portico.wait_exit()).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_and_do_not_hold_up_the_end() {
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()]).start();
    let mut idle = site
        .edge
        .connect(Protocol::Http1, "acme.example.test")
        .await;
    idle.request("GET", "/").send().await;
    let mut idle2 = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    idle2.request("GET", "/").send().await;
    let mut silent = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let bare = TcpStream::connect(port::local(site.portico.https_port())).unwrap();
    let began = Instant::now();
    site.portico.sigterm();
    assert_eq!(silent.read().await, None);
    drop(bare);
    assert_eq!(block_in_place(|| site.portico.wait_exit()).code(), Some(0));
    // `limits.header_timeout` is 10 s.
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_told_in_the_middle_of_a_head_does_not_hold_up_the_end() {
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()]).start();
    let mut raw = Raw::plain(site.portico.http_port()).await;
    raw.write("GET / HT").await;
    site.portico.sigterm();
    site.portico.wait_log("draining");
    let began = Instant::now();
    // Answered by the edge itself, in the turn in which the rest comes.
    raw.write("TP/1.1\r\nHost: acme.example.test\r\n\r\n").await;
    assert_eq!(raw.response().await.unwrap().status, 308);
    assert_eq!(raw.read().await, None);
    assert_eq!(block_in_place(|| site.portico.wait_exit()).code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_kept_to_its_end() {
    let app = EchoApp::start();
    let mut site = Site::before(&[&app.address()]).start();
    let mut client = Client::open(&site).await;
    assert_eq!(
        client.echo(Message::text("before")).await,
        Message::text("before")
    );
    site.portico.sigterm();
    site.portico.wait_log("draining");
    for round in 0..5 {
        let text = Message::text(format!("during {round}"));
        assert_eq!(client.echo(text.clone()).await, text);
    }
    client.close().await;
    assert_eq!(block_in_place(|| site.portico.wait_exit()).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_does_not_end_is_cut_at_the_drain_timeout() {
    let app = EchoApp::start();
    let mut site = Site::before(&[&app.address()])
        .set("server", "drain_timeout = \"1s\"")
        .start();
    let mut client = Client::open(&site).await;
    assert_eq!(
        client.echo(Message::text("here")).await,
        Message::text("here")
    );
    let began = Instant::now();
    site.portico.sigterm();
    assert_eq!(block_in_place(|| site.portico.wait_exit()).code(), Some(0));
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(4),
        "{took:?}"
    );
    assert!(site.portico.stderr().contains("drain timeout"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_means_now() {
    let app = EchoApp::start();
    let mut site = Site::before(&[&app.address()]).start();
    let _client = Client::open(&site).await;
    site.portico.sigterm();
    site.portico.wait_log("draining");
    let began = Instant::now();
    site.portico.sigterm();
    assert_eq!(block_in_place(|| site.portico.wait_exit()).code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

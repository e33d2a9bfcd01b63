//! D07 to D09: many clients that are slow on purpose. The proxy stays small, others are served, and each is ended.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::support::attack::Watch;
use crate::support::body::Body;
use crate::support::origin::{self, Origin};
use crate::support::port;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};
use crate::support::wait;

/// Attackers at once.
const MANY: usize = 400;

fn site(origin: &Origin) -> Site {
    Site::before(&[origin.address()])
        .set("limits", "connections_per_address = 0")
        .set("limits", "header_timeout = \"2s\"")
        .set("limits", "body_timeout = \"2s\"")
        .start()
}

#[tokio::test]
async fn d07_slowloris() {
    let origin = Origin::hello();
    let site = site(&origin);
    let watch = Watch::start(&site).await;
    let mut attackers = JoinSet::new();
    let address = port::local(site.portico.https_port());
    for _ in 0..MANY {
        let config = site.ca.trust().config(Alpn::Http1);
        attackers.spawn(async move {
            let stream = tls::connect(address, "acme.example.test", config).await;
            let (mut read, mut write) = tokio::io::split(stream.unwrap());
            let drip = async {
                for byte in b"GET / HTTP/1.1\r\nHost: acme.example.test\r\nX-Slow: "
                    .iter()
                    .cycle()
                {
                    if write.write_all(&[*byte]).await.is_err() || write.flush().await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                std::future::pending::<()>().await;
            };
            let mut answer = Vec::new();
            tokio::select! {
                _end = read.read_to_end(&mut answer) => {}
                () = drip => {}
            }
            answer
        });
    }
    let mut ended = 0;
    while let Some(answer) = attackers.join_next().await {
        assert_eq!(answer.unwrap(), b"", "no answer to half a head");
        ended += 1;
    }
    assert_eq!(ended, MANY);
    watch.enough().await;
    watch.finish().await.assert_held("slowloris");
}

/// An answer without end.
fn endless() -> Body {
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let frames = stream::unfold((), move |()| {
        let piece = piece.clone();
        async move { Some((Ok(Frame::data(piece)), ())) }
    });
    BodyExt::boxed(StreamBody::new(Box::pin(frames)))
}

#[tokio::test]
async fn d08_slow_read() {
    let origin = Origin::tcp(async |seen: origin::Seen| match &*seen.target {
        "/endless" => Response::new(endless()),
        _ => origin::text(200, "hello"),
    });
    let site = Site::before(&[origin.address()])
        .set("limits", "connections_per_address = 0")
        .set("limits", "body_timeout = \"6s\"")
        .start();
    // From the start: until all buffers are full each is an ordinary download, at the speed of this machine.
    let watch = Watch::start(&site).await;
    let address = port::local(site.portico.https_port());
    let mut held = Vec::new();
    for _ in 0..50 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let config = site.ca.trust().config(Alpn::Http1);
        let stream = socket.connect(address).await.unwrap();
        let name = "acme.example.test".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let mut stream = connector.connect(name, stream).await.unwrap();
        let head = b"GET /endless HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
        stream.write_all(head).await.unwrap();
        held.push(stream);
    }
    watch.enough().await;
    // Only the second client's are left.
    wait::until_async("the attackers to be ended", async || {
        (site.portico.metric("portico_connections_open") <= 4.0).then_some(())
    })
    .await;
    watch.finish().await.assert_held("slow read");
}

#[tokio::test]
async fn d09_slow_post() {
    let origin = Origin::hello();
    let site = site(&origin);
    let watch = Watch::start(&site).await;
    let mut attackers = JoinSet::new();
    let address = port::local(site.portico.https_port());
    for _ in 0..MANY {
        let config = site.ca.trust().config(Alpn::Http1);
        attackers.spawn(async move {
            let stream = tls::connect(address, "acme.example.test", config).await;
            let (mut read, mut write) = tokio::io::split(stream.unwrap());
            let head =
                b"POST / HTTP/1.1\r\nHost: acme.example.test\r\nContent-Length: 100000\r\n\r\n";
            write.write_all(head).await.unwrap();
            let drip = async {
                while write.write_all(b"x").await.is_ok() && write.flush().await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
                std::future::pending::<()>().await;
            };
            let mut answer = Vec::new();
            tokio::select! {
                _end = read.read_to_end(&mut answer) => {}
                () = drip => {}
            }
            String::from_utf8_lossy(&answer).into_owned()
        });
    }
    for answer in attackers.join_all().await {
        // The answer may be lost to a reset, since the client goes on sending.
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
    watch.enough().await;
    watch.finish().await.assert_held("slow POST");
}

//! Nothing is gathered: memory stays flat, and whoever reads slowly slows down whoever writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::support::body::Body;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::site::Site;
use crate::support::wait;

const SIZE: u64 = 256 << 20;
const PIECE: u64 = 64 << 10;
/// Most that the proxy may grow by.
const ROOM: u64 = 16 << 10;

/// A body of [`SIZE`] in pieces; counts what has been taken.
fn huge(taken: Arc<AtomicU64>) -> Body {
    let piece = Bytes::from(vec![b'x'; usize::try_from(PIECE).unwrap()]);
    let frames = stream::unfold(0, move |sent| {
        let piece = (sent < SIZE).then(|| Ok(Frame::data(piece.clone())));
        taken.fetch_add(PIECE, Ordering::SeqCst);
        async move { piece.map(|piece| (piece, sent + PIECE)) }
    });
    BodyExt::boxed(StreamBody::new(Box::pin(frames)))
}

/// A line of `/proc/PID/status`, in KiB.
fn memory(site: &Site, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", site.portico.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_whatever_streams_through() {
    let origin = Origin::tcp(async |seen: origin::Seen| match &*seen.target {
        "/down" => Response::new(huge(Arc::default())),
        _ => origin::text(200, seen.body_len.to_string()),
    });
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        connection.request("GET", "/").send().await;
        let before = memory(&site, "VmRSS");
        let answer = connection
            .request("POST", "/up")
            .body(huge(Arc::default()))
            .send()
            .await;
        assert_eq!(answer.text(), SIZE.to_string(), "{protocol:?}");
        let mut body = connection
            .request("GET", "/down")
            .try_head()
            .await
            .unwrap()
            .into_body();
        let mut got = 0;
        while let Some(frame) = wait::within("the next piece", body.frame()).await {
            got += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert_eq!(got, SIZE, "{protocol:?}");
        let grown = memory(&site, "VmHWM").saturating_sub(before);
        assert!(
            grown < ROOM,
            "{protocol:?}: grown by {grown} KiB from {before} KiB"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_waits_for_a_client_that_does_not_read() {
    for protocol in Protocol::BOTH {
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let origin = Origin::tcp(move |_| {
            let body = huge(Arc::clone(&counter));
            async move { Response::new(body) }
        });
        let site = Site::before(&[origin.address()]).start();
        let before = memory(&site, "VmRSS");
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let mut body = connection
            .request("GET", "/")
            .try_head()
            .await
            .unwrap()
            .into_body();
        let mut seen = (0, 0);
        wait::until_async("the app to stand still", async || {
            let now = taken.load(Ordering::SeqCst);
            seen = if now == seen.0 {
                (now, seen.1 + 1)
            } else {
                (now, 0)
            };
            (seen.1 > 30).then_some(())
        })
        .await;
        let stood = taken.load(Ordering::SeqCst);
        assert!(stood < 64 << 20, "{protocol:?}: {stood} bytes for nobody");
        let grown = memory(&site, "VmHWM").saturating_sub(before);
        assert!(grown < ROOM, "{protocol:?}: grown by {grown} KiB");
        let mut got = 0;
        while let Some(frame) = wait::within("the next piece", body.frame()).await {
            got += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert_eq!(got, SIZE);
    }
}

//! What breaks off must look broken; what is answered early must be heard.

use http::StatusCode;

use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;
use crate::support::tls::Alpn;

#[tokio::test]
async fn m30_an_answer_that_breaks_off_never_ends_cleanly() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    for (answer, reset) in [
        (chunked, false),
        (chunked, true),
        (sized, false),
        (sized, true),
    ] {
        let origin = RawOrigin::new(move |connection| {
            connection.read_head();
            connection.write(answer);
            if reset {
                connection.reset();
            }
        });
        let site = Site::before(&[&origin.address()]).start();
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        raw.write("GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n")
            .await;
        if let Some(head) = raw.head().await {
            let rest = raw.rest().await;
            let whole = match head.contains("content-length: 10") {
                true => rest.len() == 10,
                false => rest.ends_with(b"0\r\n\r\n"),
            };
            assert!(
                head.starts_with("HTTP/1.1 502") || !whole,
                "{head} {rest:?}"
            );
        }
        let mut connection = site
            .edge
            .connect(Protocol::Http2, "acme.example.test")
            .await;
        if let Ok(answer) = connection.request("GET", "/").try_send().await {
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn other_streams_live_on_when_one_answer_breaks() {
    let broken = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    let site = Site::before(&[&broken.address()]).start();
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    for _ in 0..5 {
        assert!(connection.request("GET", "/").try_send().await.is_err());
    }
    let answer = connection
        .request("GET", "/")
        .host("mail.example.test")
        .send()
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn m32_an_app_that_answers_before_the_body_has_come_is_heard() {
    for closes in [false, true] {
        let origin = RawOrigin::new(move |connection| {
            connection.read_head();
            connection.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nstop");
            if !closes {
                while connection.read_more() {}
            }
        });
        let site = Site::before(&[&origin.address()]).start();
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let head =
            "POST / HTTP/1.1\r\nHost: acme.example.test\r\nContent-Length: 1000000\r\n\r\nfirst";
        let answer = raw.write(head).await.response().await.unwrap();
        assert_eq!(
            (answer.status, &answer.body[..]),
            (413, &b"stop"[..]),
            "closes: {closes}"
        );
        // What follows is still body: it must not be taken for a request.
        raw.write("GET /smuggled HTTP/1.1\r\nHost: acme.example.test\r\n\r\n")
            .await;
        raw.shutdown().await;
        let rest = String::from_utf8_lossy(&raw.rest().await).into_owned();
        assert!(!rest.contains("HTTP/1.1"), "{rest}");
        assert!(
            origin.heard().iter().all(|bytes| !bytes.starts_with("GET")),
            "{:?}",
            origin.heard()
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_its_body_leaves_nothing_behind() {
    let origin =
        Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.body_len.to_string()));
    let site = Site::before(&[origin.address()]).start();
    for head in [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        raw.write(format!(
            "POST / HTTP/1.1\r\nHost: acme.example.test\r\n{head}"
        ))
        .await;
        drop(raw);
    }
    let seen = origin.wait_requests(2);
    assert!(
        seen.iter().all(|seen| !seen.complete),
        "the app must not take it for whole: {seen:?}"
    );
    let answer = site
        .edge
        .get(Protocol::Http1, "acme.example.test", "/")
        .await;
    assert_eq!(answer.text(), "0");
}

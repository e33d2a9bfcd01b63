//! `Expect: 100-continue`: the client is told to go on only when somebody will take its body.

use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::tls::Alpn;

fn head(host: &str, expect: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nExpect: {expect}\r\n\r\n")
}

#[tokio::test]
async fn m16_go_on_is_said_when_the_app_takes_the_body() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for expect in ["100-continue", "100-Continue"] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let first = raw
            .write(head("acme.example.test", expect))
            .await
            .head()
            .await
            .unwrap();
        assert!(first.starts_with("HTTP/1.1 100 "), "{first}");
        let answer = raw.write("four").await.response().await.unwrap();
        assert_eq!(answer.status, 200);
        let seen = origin.requests().pop().unwrap();
        assert_eq!(
            (&seen.body[..], seen.all("expect").len()),
            (&b"four"[..], 0)
        );
    }
}

#[tokio::test]
async fn m16_a_request_that_is_refused_is_never_told_to_go_on() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for (host, status) in [
        ("mail.example.test", 404),
        ("acme.other.test", 421),
        ("acme..example.test", 400),
    ] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let answer = raw
            .write(head(host, "100-continue"))
            .await
            .response()
            .await
            .unwrap();
        assert_eq!(answer.status, status);
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn m16_v03_other_expectations_fail() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for expect in [
        "y 100-continue",
        "200-ok",
        "100-continue, x",
        "100-continue\r\nExpect: 100-continue",
    ] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let answer = raw
            .write(head("acme.example.test", expect))
            .await
            .response()
            .await
            .unwrap();
        assert_eq!(answer.status, 417, "{expect}");
    }
    assert!(origin.requests().is_empty());
}

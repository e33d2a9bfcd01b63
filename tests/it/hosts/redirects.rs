//! The plain listener: the way to https for hosts that are somebody's, and nothing else.

use crate::support::http::Connection;
use crate::support::origin::Origin;
use crate::support::raw::Raw;
use crate::support::site::Site;

#[tokio::test]
async fn known_hosts_are_led_to_https_and_unknown_ones_are_not() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let port = site.portico.https_port();
    for (host, status, location) in [
        (
            "acme.example.test",
            308,
            format!("https://acme.example.test:{port}/a?b=%20"),
        ),
        (
            "ACME.example.test.",
            308,
            format!("https://acme.example.test:{port}/a?b=%20"),
        ),
        (
            "example.test",
            308,
            format!("https://example.test:{port}/a?b=%20"),
        ),
        (
            "www.example.test",
            308,
            format!("https://example.test:{port}/a?b=%20"),
        ),
        ("mail.example.test", 404, String::new()),
        ("a.b.example.test", 404, String::new()),
        ("evil.test", 404, String::new()),
    ] {
        for method in ["GET", "POST", "HEAD"] {
            let mut connection = Connection::plain(site.portico.http_port(), host).await;
            let answer = connection.request(method, "/a?b=%20").send().await;
            assert_eq!(answer.status.as_u16(), status, "{method} {host}");
            assert_eq!(answer.header("location").unwrap_or_default(), location);
            assert_eq!(
                answer.header("strict-transport-security"),
                None,
                "RFC 6797 section 7.2"
            );
        }
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_public_port_of_443_is_left_out() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("listen", "public_port = 443")
        .start();
    let mut connection = Connection::plain(site.portico.http_port(), "acme.example.test").await;
    let answer = connection.request("GET", "/").send().await;
    assert_eq!(
        answer.header("location"),
        Some("https://acme.example.test/")
    );
    let mut raw = site
        .edge
        .raw("acme.example.test", crate::support::tls::Alpn::Http1)
        .await;
    let head = "GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    assert_eq!(raw.write(head).await.response().await.unwrap().status, 200);
    assert_eq!(origin.only_request().one("x-forwarded-port"), "443");
}

#[tokio::test]
async fn m43_the_plain_listener_never_serves_and_never_says_hsts() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: a.example.test\r\nHost: b.example.test\r\n\r\n",
            400,
        ),
        (
            "GET https://acme.example.test/ HTTP/1.1\r\nHost: acme.example.test\r\n\r\n",
            400,
        ),
        (
            "GET http://acme.example.test/ HTTP/1.1\r\nHost: acme.example.test\r\n\r\n",
            308,
        ),
        (
            "GET / HTTP/1.1\r\nHost: acme.example.test:8443\r\n\r\n",
            400,
        ),
        (
            "GET /ws HTTP/1.1\r\nHost: acme.example.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            308,
        ),
    ] {
        let mut raw = Raw::plain(site.portico.http_port()).await;
        let answer = raw.write(request).await.response().await.unwrap();
        assert_eq!(answer.status, status, "{request:?}");
    }
    // HTTP/2 without TLS is not offered.
    let mut raw = Raw::plain(site.portico.http_port()).await;
    raw.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let rest = String::from_utf8_lossy(&raw.rest().await).into_owned();
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 4") || rest.starts_with("HTTP/1.1 505"),
        "{rest:?}"
    );
    assert!(origin.requests().is_empty());
}

//! From the host of a request to its tenant: what reaches which app, and what never reaches one.

mod looks;
mod pages;
mod redirects;
mod tenant_file;

use http::StatusCode;

use crate::support::http::{Connection, Protocol};
use crate::support::origin::{self, Origin};
use crate::support::raw::RawResponse;
use crate::support::site::Site;
use crate::support::tls::Alpn;

/// Writes `head` (a request without body) on a connection of its own: the answer, and whether the connection stays.
async fn ask(site: &Site, head: &str) -> (RawResponse, bool) {
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let answer = raw.write(head).await.response().await.expect("an answer");
    raw.write("GET /after HTTP/1.1\r\nHost: acme.example.test\r\n\r\n")
        .await;
    let stays = raw.head().await.is_some();
    (answer, stays)
}

#[tokio::test]
async fn host_is_normalised_before_the_app_sees_it() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let port = site.portico.https_port();
    let with_port = format!("acme.example.test:{port}");
    for (host, expected) in [
        ("acme.example.test".to_owned(), "acme.example.test"),
        ("ACME.Example.TEST".to_owned(), "acme.example.test"),
        ("acme.example.test.".to_owned(), "acme.example.test"),
        ("acme.example.test:443".to_owned(), "acme.example.test"),
        (format!("AcMe.example.test.:{port}"), &with_port),
    ] {
        for protocol in Protocol::BOTH {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            let request = connection.request("GET", "/").host(&host);
            let answer = request.send().await;
            assert_eq!(answer.status, StatusCode::OK, "{host} {protocol:?}");
            let seen = origin.requests().pop().unwrap();
            assert_eq!(seen.one("host"), expected, "{protocol:?}");
            assert_eq!(seen.one("x-forwarded-host"), expected, "{protocol:?}");
            assert_eq!(seen.one("x-tenant"), "acme");
        }
    }
}

#[tokio::test]
async fn anything_but_one_host_is_refused_and_the_connection_closed() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for hosts in [
        "",
        "Host:\r\n",
        "Host: acme.example.test\r\nHost: acme.example.test\r\n",
        "Host: acme.example.test\r\nHost: globex.example.test\r\n",
        "Host: acme.example.test, globex.example.test\r\n",
        "Host: user@acme.example.test\r\n",
        "Host: acme.example.test:\r\n",
        "Host: acme.example.test:0x1bb\r\n",
        "Host: acme..example.test\r\n",
        "Host: acme.example.test..\r\n",
        "Host: -acme.example.test\r\n",
        "Host: ac me.example.test\r\n",
        "Host: acme%2eexample.test\r\n",
        "Host: acm\u{e9}.example.test\r\n",
    ] {
        let (answer, stays) = ask(&site, &format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!((answer.status, stays), (400, false), "{hosts:?}");
    }
    let (answer, stays) = ask(&site, "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, stays), (400, false), "no default tenant");
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn targets_that_could_be_read_in_two_ways_are_refused() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for (line, status) in [
        ("GET https://globex.example.test/ HTTP/1.1", 400),
        ("GET https://acme.example.test:8443/ HTTP/1.1", 400),
        ("GET http://acme.example.test/ HTTP/1.1", 400),
        ("GET ftp://acme.example.test/ HTTP/1.1", 400),
        ("GET acme.example.test HTTP/1.1", 400),
        ("GET acme.example.test:443 HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("CONNECT acme.example.test:443 HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
    ] {
        let (answer, stays) =
            ask(&site, &format!("{line}\r\nHost: acme.example.test\r\n\r\n")).await;
        assert_eq!((answer.status, stays), (status, false), "{line}");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn absolute_form_with_the_same_host_reaches_the_app_in_origin_form() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let head = "GET https://ACME.example.test:443/a//b/../c?d=%zz&e HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    let (answer, stays) = ask(&site, head).await;
    assert_eq!((answer.status, stays), (200, true));
    let seen = origin.requests().remove(0);
    assert_eq!(seen.target, "/a//b/../c?d=%zz&e", "byte for byte");
    assert_eq!(seen.one("host"), "acme.example.test");
}

#[tokio::test]
async fn options_asterisk_is_answered_by_the_edge() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let head = "OPTIONS * HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    let answer = raw.write(head).await.response().await.unwrap();
    assert_eq!(answer.status, 204);
    assert!(
        answer
            .header("allow")
            .is_some_and(|methods| methods.contains("PATCH"))
    );
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn one_http2_connection_serves_several_tenants() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    for tenant in ["acme", "globex", "initech", "acme"] {
        let host = format!("{tenant}.example.test");
        let answer = connection.request("GET", "/").host(&host).send().await;
        assert_eq!(answer.status, StatusCode::OK);
        let seen = origin.requests().pop().unwrap();
        assert_eq!((seen.one("host"), seen.one("x-tenant")), (&*host, tenant));
    }
}

#[tokio::test]
async fn authority_and_host_of_http2_must_agree() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let request = connection
        .request("GET", "/")
        .header("host", "globex.example.test");
    assert_eq!(request.send().await.status, StatusCode::BAD_REQUEST);
    let request = connection
        .request("GET", "/")
        .header("host", "ACME.example.test.");
    assert_eq!(request.send().await.status, StatusCode::OK);
    assert_eq!(origin.only_request().one("host"), "acme.example.test");
}

#[tokio::test]
async fn hosts_outside_the_certificate_are_misdirected() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        for host in [
            "acme.other.test",
            "a.b.example.test",
            "127.0.0.1",
            "[::1]",
            "test",
        ] {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            let answer = connection.request("GET", "/").host(host).send().await;
            assert_eq!(
                answer.status,
                StatusCode::MISDIRECTED_REQUEST,
                "{host} {protocol:?}"
            );
            assert_eq!(answer.header("x-edge-reason"), Some("misdirected"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn names_of_nobody_get_404_and_reach_no_app() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("tenants", "reserved = [\"@default\", \"status\"]")
        .start();
    let mut texts = Vec::new();
    for protocol in Protocol::BOTH {
        for label in ["wpad", "mail", "admin", "ns1", "status"] {
            let host = format!("{label}.example.test");
            let answer = site.edge.get(protocol, &host, "/").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{host} {protocol:?}");
            assert_eq!(answer.header("x-edge-reason"), Some("unknown-tenant"));
            let id = answer.header("x-request-id").unwrap();
            texts.push(answer.text().replace(id, "").replace(&host, ""));
        }
    }
    texts.dedup();
    assert_eq!(
        texts.len(),
        1,
        "reserved and unknown look the same: {texts:?}"
    );
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_label_with_an_underscore_reaches_no_app() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let answer = connection
        .request("GET", "/")
        .host("a_b.example.test")
        .send()
        .await;
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_port_that_is_not_the_listeners_is_refused() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        for port in [80, 8443] {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            let host = format!("acme.example.test:{port}");
            let answer = connection.request("GET", "/").host(&host).send().await;
            assert_eq!(
                answer.status,
                StatusCode::BAD_REQUEST,
                "{host} {protocol:?}"
            );
        }
    }
    assert!(origin.requests().is_empty());
}

/// The tenant that the app is told for `host`, or the status and location of the edge's own answer.
async fn outcome(site: &Site, origin: &Origin, host: &str) -> String {
    let before = origin.requests().len();
    let answer = site.edge.get(Protocol::Http1, host, "/p?q").await;
    match origin.requests().get(before) {
        Some(seen) => seen.one("x-tenant").to_owned(),
        None => format!(
            "{} {}",
            answer.status.as_u16(),
            answer.header("location").unwrap_or_default()
        ),
    }
}

#[tokio::test]
async fn apex_and_www_follow_their_rules() {
    for (apex, www, at_apex, at_www) in [
        (
            "public",
            "redirect",
            "public",
            "308 https://example.test:{port}/p?q",
        ),
        ("public", "same", "public", "public"),
        ("public", "reject", "public", "404 "),
        ("reject", "redirect", "404 ", "404 "),
    ] {
        let origin = Origin::hello();
        let site = Site::before(&[origin.address()])
            .set("tenants", &format!("apex = {apex:?}"))
            .set("tenants", &format!("www = {www:?}"))
            .start();
        let port = site.portico.https_port().to_string();
        let fill = |text: &str| text.replace("{port}", &port);
        let case = format!("{apex} {www}");
        assert_eq!(
            outcome(&site, &origin, "example.test").await,
            fill(at_apex),
            "{case}"
        );
        assert_eq!(
            outcome(&site, &origin, "www.example.test").await,
            fill(at_www),
            "{case}"
        );
    }
}

#[tokio::test]
async fn unknown_host_on_a_kept_connection_spoils_nothing() {
    let origin = Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.target));
    let site = Site::before(&[origin.address()]).start();
    let mut connection: Connection = site
        .edge
        .connect(Protocol::Http1, "acme.example.test")
        .await;
    for (host, status) in [
        ("acme.example.test", 200),
        ("mail.example.test", 404),
        ("globex.example.test", 200),
        ("acme.other.test", 421),
        ("acme.example.test", 200),
    ] {
        let answer = connection.request("GET", "/x").host(host).send().await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
    }
    assert_eq!(origin.requests().len(), 3);
}

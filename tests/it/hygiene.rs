//! Headers in both directions: what the app sees is what the edge says, and what the client sees is its business.

mod expect;
mod gunicorn;

use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::support::body::Body;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin, Seen};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;
use crate::support::tls::Alpn;

/// Names and values in order of names; what differs from run to run is replaced by its shape.
fn shape(seen: &Seen) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = seen.headers.clone();
    for (name, value) in &mut headers {
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match name.as_str() {
            "x-request-id" if value.len() == 32 && hex(value) => *value = "ID".to_owned(),
            "via" => {
                let (name, instance) = value.rsplit_once('-').unwrap();
                assert!(instance.len() == 8 && hex(instance), "{value}");
                *value = name.to_owned();
            }
            _ => {}
        }
    }
    headers.sort();
    headers
}

fn own(via: &str, port: u16) -> Vec<(String, String)> {
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    [
        ("host", "acme.example.test"),
        ("via", via),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "acme.example.test"),
        ("x-forwarded-port", &port.to_string()),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "127.0.0.1"),
        ("x-request-id", "ID"),
        ("x-tenant", "acme"),
    ]
    .map(pair)
    .to_vec()
}

#[tokio::test]
async fn the_app_sees_exactly_these_headers_of_a_plain_request() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let port = site.portico.https_port();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let head = "GET /a?b HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    raw.write(head).await.response().await.unwrap();
    site.edge
        .get(Protocol::Http2, "acme.example.test", "/a?b")
        .await;
    let head = "GET /a?b HTTP/1.0\r\nHost: acme.example.test\r\n\r\n";
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    raw.write(head).await.response().await.unwrap();

    let seen = origin.requests();
    assert_eq!(shape(&seen[0]), own("1.1 portico", port));
    assert_eq!(shape(&seen[1]), own("2 portico", port));
    assert_eq!(shape(&seen[2]), own("1.0 portico", port));
    let ids: Vec<&str> = seen.iter().map(|seen| seen.one("x-request-id")).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    assert!(
        seen.iter()
            .all(|seen| seen.version == http::Version::HTTP_11 && seen.target == "/a?b")
    );
}

#[tokio::test]
async fn a_header_name_of_the_operators_choice_is_as_safe() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("tenants", "header = \"abp.tenant_id\"")
        .start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let head = "GET / HTTP/1.1\r\nHost: acme.example.test\r\nAbp-Tenant-Id: evil\r\nabp.tenant_id: evil\r\n\
                ABP_TENANT_ID: evil\r\nX-Tenant: evil\r\n\r\n";
    raw.write(head).await.response().await.unwrap();
    let seen = origin.only_request();
    assert_eq!(seen.one("abp.tenant_id"), "acme");
    assert_eq!(seen.headers.len(), 9, "{:?}", seen.headers);
}

#[tokio::test]
async fn m08_m17_headers_of_one_connection_end_at_the_edge() {
    let origin = Origin::tcp(async |_| {
        let mut answer = origin::text(200, "hello");
        for (name, value) in [
            ("connection", "x-secret, close"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-connection", "keep-alive"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ] {
            let name = HeaderName::from_static(name);
            answer
                .headers_mut()
                .append(name, HeaderValue::from_static(value));
        }
        answer
    });
    let site = Site::before(&[origin.address()]).start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let head = "GET / HTTP/1.1\r\nHost: acme.example.test\r\nConnection: X-Hop , Upgrade\r\nConnection: TE\r\n\
                X-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 9\r\nProxy-Connection: keep-alive\r\n\
                Proxy-Authorization: Basic x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n";
    let answer = raw.write(head).await.response().await.unwrap();
    // `TE: trailers` is said anew; everything else of the hop is gone.
    let mut expected = own("1.1 portico", site.portico.https_port());
    expected.extend(
        [("connection", "TE"), ("te", "trailers")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    expected.sort();
    assert_eq!(shape(&origin.only_request()), expected);

    let answers = [answer.head.to_lowercase(), {
        let answer = site
            .edge
            .get(Protocol::Http2, "acme.example.test", "/")
            .await;
        format!("{:?}", answer.headers)
    }];
    for head in answers {
        for gone in ["x-secret", "keep-alive", "proxy-", "upgrade", "connection"] {
            assert!(!head.contains(gone), "{gone}: {head}");
        }
        assert!(head.contains("x-kept"), "{head}");
    }
}

#[tokio::test]
async fn m08_v22_connection_may_not_take_away_what_the_edge_says() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for line in [
        "X-Tenant",
        "close, x-tenant",
        "x_tenant",
        "X-Forwarded-Proto",
        "Host",
        "Cookie",
        "Content-Length",
        "a,b,c,d,e,f,g,h,i,j,k",
        "a b",
        "\"x\"",
    ] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let head = format!(
            "GET / HTTP/1.1\r\nHost: acme.example.test\r\nConnection: keep-alive\r\nConnection: {line}\r\n\r\n"
        );
        let answer = raw.write(head).await.response().await.unwrap();
        assert_eq!(answer.status, 400, "{line}");
        assert_eq!(answer.header("x-edge-reason"), Some("bad-header"));
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn m35_cookies_of_http2_are_joined_for_the_app() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let request = connection.request("GET", "/").header("cookie", "a=1");
    let request = request
        .header("x-a", "1")
        .header("cookie", "b=2; c=3")
        .header("x-a", "2");
    request.header("cookie", "d=4").send().await;
    let seen = origin.only_request();
    assert_eq!(seen.one("cookie"), "a=1; b=2; c=3; d=4");
    assert_eq!(seen.all("x-a"), ["1", "2"], "other lines stay as they are");
}

#[tokio::test]
async fn m07_m10_a_request_that_has_been_here_is_a_loop() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    site.edge
        .get(Protocol::Http1, "acme.example.test", "/")
        .await;
    let via = origin.only_request().one("via").to_owned();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let request = connection.request("GET", "/").header("via", "1.1 other");
        let answer = request
            .header("via", &format!("1.0 fred, {via}"))
            .send()
            .await;
        assert_eq!(answer.status, StatusCode::LOOP_DETECTED, "{protocol:?}");
        // Another instance of the same name is no loop.
        let request = connection
            .request("GET", "/")
            .header("via", "1.1 portico-00000000");
        assert_eq!(request.send().await.status, StatusCode::OK);
        let seen = origin.requests().pop().unwrap();
        assert_eq!(
            seen.all("via").len(),
            2,
            "appended, not replaced: {:?}",
            seen.headers
        );
    }
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed() {
    for (trusted, for_, proto, id) in [
        (
            "127.0.0.0/8",
            // What stands left of the client is its own claim.
            "198.51.100.7, 127.0.0.1",
            "http",
            "from-before",
        ),
        ("192.0.2.0/24", "127.0.0.1", "https", ""),
    ] {
        let origin = Origin::hello();
        let site = Site::before(&[origin.address()])
            .set("http", &format!("trusted_proxies = [{trusted:?}]"))
            .start();
        let mut connection = site
            .edge
            .connect(Protocol::Http1, "acme.example.test")
            .await;
        let request = connection
            .request("GET", "/")
            .header("x-forwarded-for", "192.0.2.1");
        let request = request
            .header("x-forwarded-for", "198.51.100.7")
            .header("x-tenant", "evil");
        let request = request
            .header("x-forwarded-proto", "http")
            .header("x-forwarded-host", "evil");
        request.header("x-request-id", "from-before").send().await;
        let seen = origin.only_request();
        assert_eq!(seen.one("x-forwarded-for"), for_);
        assert_eq!(seen.one("x-forwarded-proto"), proto);
        assert_eq!(seen.one("x-request-id") == id, !id.is_empty());
        assert_eq!(seen.one("x-forwarded-host"), "acme.example.test");
        assert_eq!(seen.one("x-tenant"), "acme", "never from outside");
    }
}

#[tokio::test]
async fn answers_lose_what_only_the_edge_may_know_and_get_hsts() {
    let answering = |lines: &'static [(&str, &str)]| {
        move |_: Seen| async move {
            let mut answer: Response<Body> = origin::text(200, "hello");
            for (name, value) in lines {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                answer
                    .headers_mut()
                    .append(name, HeaderValue::from_static(value));
            }
            answer
        }
    };
    let origin = Origin::tcp(answering(&[
        ("x-tenant", "acme"),
        ("x-tenant", "acme"),
        ("x-tenant-id", "7"),
        ("x_tenant_schema", "s"),
        ("alt-svc", "h3=\":443\""),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("server", "gunicorn"),
    ]));
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "acme.example.test", "/").await;
        let names: Vec<&str> = answer.headers.keys().map(HeaderName::as_str).collect();
        assert!(
            !names
                .iter()
                .any(|name| name.contains("tenant") || *name == "alt-svc"),
            "{names:?}"
        );
        assert_eq!(
            answer.header("strict-transport-security"),
            Some("max-age=31536000")
        );
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(answer.header("server"), Some("gunicorn"));
        assert!(answer.header("date").is_some());
    }
    let origin = Origin::tcp(answering(&[("strict-transport-security", "max-age=60")]));
    let site = Site::before(&[origin.address()]).start();
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=60"),
        "the app's own"
    );
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("http", "hsts = \"off\"")
        .start();
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!(answer.header("strict-transport-security"), None);
}

#[tokio::test]
async fn m13_m27_v36_an_answer_with_two_readings_is_a_502() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nBad Name: 1\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 5\r\n\r\nhello",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 2 OK\r\n\r\n",
    ] {
        let origin = RawOrigin::answering(head);
        let site = Site::before(&[&origin.address()]).start();
        for protocol in Protocol::BOTH {
            let answer = site.edge.get(protocol, "acme.example.test", "/").await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{head:?}");
        }
    }
}

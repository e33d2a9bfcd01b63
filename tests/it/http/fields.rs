//! Header fields and trailers on their way to the app.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{HOST, connect, head, hello, refused};
use crate::support::body;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;

#[tokio::test]
async fn m01_m18_unknown_fields_pass_as_they_are() {
    let (origin, site) = hello();
    let fields = [
        ("x-anything", "a  b;c=\"d\""),
        ("x.dotted", "1"),
        ("if-none-match", "W/\"x\", \"y\""),
        ("if-modified-since", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("range", "bytes=0-5,7-"),
        ("if-range", "\"x\""),
        ("authorization", "Basic dTpw"),
        ("cache-control", "no-transform"),
        ("x-empty", ""),
        ("accept-encoding", "gzip, br"),
    ];
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let mut request = connection.request("GET", "/");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        request.send().await;
        let seen = origin.requests().pop().unwrap();
        for (name, value) in fields {
            assert_eq!(seen.one(name), value, "{name} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn m02_lines_of_one_name_keep_their_order_and_are_not_merged() {
    let origin = Origin::tcp(async |_| {
        let mut answer = origin::text(200, "hello");
        for value in ["a=1; Path=/", "b=2, c", "a=3"] {
            let value = HeaderValue::from_static(value);
            answer.headers_mut().append("set-cookie", value);
        }
        answer
    });
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let request = connection
            .request("GET", "/")
            .header("x-list", "c")
            .header("accept", "a/b");
        let request = request.header("x-list", "a, d").header("x-list", "b");
        let answer = request.send().await;
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.all("x-list"), ["c", "a, d", "b"], "{protocol:?}");
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1; Path=/", "b=2, c", "a=3"], "{protocol:?}");
    }
}

#[tokio::test]
async fn m03_control_characters_in_fields_are_refused() {
    refused(&[
        (head("X: a\rb\r\n"), 400),
        (head("X: a\nX-Tenant: evil\r\n"), 400),
        (head("X: a\0b\r\n"), 400),
        (head("X\r: a\r\n"), 400),
        (head("X\0: a\r\n"), 400),
    ])
    .await;
}

#[tokio::test]
async fn v21_no_spelling_of_the_tenant_header_reaches_the_app() {
    let (origin, site) = hello();
    let names = [
        "X-Tenant",
        "x-tenant",
        "X-TENANT",
        "X_Tenant",
        "x_tenant",
        "x.tenant",
        "X~Tenant",
        "x'tenant",
        "HTTP_X_TENANT",
        "Http-X-Tenant",
        "X-Tenant-Id",
        "X_TENANT_SIGNATURE",
    ];
    let mut lines = String::new();
    for name in names {
        lines += &format!("{name}: evil\r\n{name}: evil2\r\n");
    }
    let mut raw = connect(&site).await;
    let request = format!("GET / HTTP/1.1\r\n{HOST}{lines}\r\n");
    assert_eq!(
        raw.write(request).await.response().await.unwrap().status,
        200
    );
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let mut request = connection.request("GET", "/");
    for name in names {
        request = request.header(&name.to_lowercase(), "evil");
    }
    request.send().await;
    for seen in origin.requests() {
        assert_eq!(seen.one("x-tenant"), "acme");
        let evil = seen
            .headers
            .iter()
            .find(|(_, value)| value.contains("evil"));
        assert_eq!(evil, None);
    }
    refused(&[
        (head("X-Tenant : evil\r\n"), 400),
        (head("X-Tenant\0: evil\r\n"), 400),
        (head("X-Tenant\t: evil\r\n"), 400),
    ])
    .await;
}

#[tokio::test]
async fn v22_nominated_over_two_lines_and_by_other_spellings() {
    refused(&[
        (head("Connection: close\r\nConnection: X-Tenant\r\n"), 400),
        (head("Connection: X-Forwarded-For, Host\r\n"), 400),
        (head("Connection: x_tenant\r\n"), 400),
        (head("Connection: X-Tenant\r\nX-Tenant: a\r\n"), 400),
        (head("Connection: (\r\n"), 400),
    ])
    .await;
}

#[tokio::test]
async fn m04_v23_trailers_are_held_to_the_rules_of_headers() {
    let (origin, site) = hello();
    let forbidden = [
        ("X-Tenant", "evil"),
        ("x_tenant", "evil"),
        ("X.Tenant", "evil"),
        ("X-Forwarded-For", "evil"),
        ("Host", "evil.test"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("TE", "trailers"),
        ("Authorization", "Basic evil"),
        ("Set-Cookie", "evil=1"),
        ("Cookie", "evil=1"),
        ("X-Request-Id", "evil"),
        ("Upgrade", "websocket"),
        ("Expect", "100-continue"),
        ("Forwarded", "for=evil"),
        ("Content-Type", "text/evil"),
        ("a_b", "evil"),
    ];
    let announced: Vec<&str> = forbidden.iter().map(|(name, _)| *name).collect();
    let lines: String = forbidden
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut raw = connect(&site).await;
    let request = head(&format!(
        "Transfer-Encoding: chunked\r\nTrailer: X-Sum, {}\r\n",
        announced.join(", ")
    )) + &format!("4\r\nfour\r\n0\r\nX-Sum: 7\r\n{lines}\r\n");
    assert_eq!(
        raw.write(request).await.response().await.unwrap().status,
        200
    );

    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    for (name, value) in forbidden {
        // The client's own HTTP/2 library does not send these.
        if !["Connection", "Transfer-Encoding", "Upgrade", "TE"].contains(&name) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            trailers.insert(name, HeaderValue::from_static(value));
        }
    }
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let request = connection
        .request("POST", "/")
        .header("trailer", "x-sum, x-tenant, host");
    let answer = request
        .body(body::with_trailers("four", trailers))
        .send()
        .await;
    assert_eq!(answer.status, 200);

    let seen = origin.requests();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!((&seen.body[..], seen.complete), (&b"four"[..], true));
        assert_eq!(seen.one("x-tenant"), "acme");
        let mut expected = HeaderMap::new();
        expected.insert("x-sum", HeaderValue::from_static("7"));
        assert_eq!(seen.trailers, Some(expected));
    }
}

#[tokio::test]
async fn m08_the_app_is_told_that_the_client_takes_trailers() {
    let (origin, site) = hello();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let request = connection.request("GET", "/").header("te", "trailers");
        request.send().await;
        let seen = origin.requests().pop().unwrap();
        assert_eq!(
            (seen.one("te"), seen.one("connection")),
            ("trailers", "TE"),
            "{protocol:?}"
        );
        connection.request("GET", "/").send().await;
        let seen = origin.requests().pop().unwrap();
        assert!(seen.all("te").is_empty() && seen.all("connection").is_empty());
    }
    let mut connection = site
        .edge
        .connect(Protocol::Http1, "acme.example.test")
        .await;
    let request = connection
        .request("GET", "/")
        .header("te", "gzip;q=0.5, trailers ");
    request.header("connection", "te").send().await;
    assert_eq!(
        origin.requests().pop().unwrap().one("te"),
        "trailers",
        "no coding"
    );
}

#[tokio::test]
async fn m44_forwarded_is_neither_believed_nor_passed_on() {
    let (origin, site) = hello();
    for value in [
        "for=192.0.2.1",
        "for=\"[2001:db8::1]:80\";proto=http",
        "for=_hidden, for=unknown",
        "for=\"a,b\"",
    ] {
        for protocol in Protocol::BOTH {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            connection
                .request("GET", "/")
                .header("forwarded", value)
                .send()
                .await;
            let seen = origin.requests().pop().unwrap();
            assert!(seen.all("forwarded").is_empty(), "{:?}", seen.headers);
            assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");
        }
    }
}

#[tokio::test]
async fn m08_names_that_the_app_nominates_end_at_the_edge() {
    let origin = RawOrigin::new(|connection| {
        while connection.read_head().is_some() {
            connection.write(
                "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nConnection: keep-alive, x-other\r\nX-Secret: 1\r\n\
                 X-Other: 2\r\nKeep-Alive: timeout=9\r\nX-Kept: 3\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    let site = Site::before(&[&origin.address()]).start();
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "acme.example.test", "/").await;
        assert_eq!(answer.header("x-kept"), Some("3"));
        for gone in ["x-secret", "x-other", "keep-alive"] {
            assert_eq!(answer.header(gone), None, "{gone} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn m08_a_coding_that_the_app_nominates_frames_its_answer_all_the_same() {
    let origin = RawOrigin::answering(
        "HTTP/1.1 200 OK\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    );
    let site = Site::before(&[&origin.address()]).start();
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "acme.example.test", "/").await;
        assert_eq!(answer.text(), "hello", "{protocol:?}");
        assert_eq!(answer.header("content-length"), None, "{protocol:?}");
    }
}

//! Bodies: streamed, whole or visibly broken, never mixed up with the next message.

mod broken;
mod streaming;

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::support::body;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;
use crate::support::tls::Alpn;

#[tokio::test]
async fn a_chunked_get_keeps_its_body() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: acme.example.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        );
        assert_eq!(
            raw.write(request).await.response().await.unwrap().status,
            200
        );
        let seen = origin.requests().pop().unwrap();
        assert_eq!(
            (&*seen.method, &seen.body[..]),
            (method, &b"hello world"[..])
        );
        assert_eq!(seen.one("transfer-encoding"), "chunked");
        assert!(seen.complete && seen.all("content-length").is_empty());
    }
    assert_eq!(origin.connections(), 1, "kept and used again");
}

#[tokio::test]
async fn a_length_is_kept_and_its_absence_becomes_chunks() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        connection
            .request("POST", "/")
            .body(body::full("four"))
            .send()
            .await;
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.one("content-length"), "4", "{protocol:?}");
        assert!(seen.all("transfer-encoding").is_empty());

        let (pieces, streamed) = body::channel();
        for piece in ["a", "bc"] {
            let pieces = pieces.clone();
            tokio::spawn(async move {
                pieces
                    .send(Ok(hyper::body::Frame::data(piece.into())))
                    .await
            });
        }
        drop(pieces);
        connection.request("POST", "/").body(streamed).send().await;
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.one("transfer-encoding"), "chunked", "{protocol:?}");
        assert_eq!((seen.body_len, seen.all("content-length").len()), (3, 0));

        connection.request("POST", "/").send().await;
        let seen = origin.requests().pop().unwrap();
        assert!(
            seen.body_len == 0 && seen.all("transfer-encoding").is_empty(),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn m30_answers_without_a_body_leave_the_connection_in_step() {
    let origin = RawOrigin::new(|connection| {
        while let Some(head) = connection.read_head() {
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let head_only = head.starts_with("HEAD");
            connection.write(match &*target {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n"
                    .to_owned(),
                _ if head_only => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned(),
                _ => format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}",
                    target.len()
                ),
            });
        }
    });
    // One worker, so one pool.
    let site = Site::before(&[&origin.address()])
        .set("server", "workers = 1")
        .start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        for (method, target, status, length) in [
            ("HEAD", "/head", 200, Some("5")),
            ("GET", "/204", 204, None),
            // May have the length of the 200 (RFC 9110 section 8.6); over HTTP/1.1 hyper leaves it out.
            ("GET", "/304", 304, None),
            ("HEAD", "/304", 304, None),
        ] {
            let answer = connection.request(method, target).send().await;
            assert_eq!(answer.status.as_u16(), status, "{method} {target}");
            assert!(answer.body.is_empty());
            if status != 304 {
                assert_eq!(
                    answer.header("content-length"),
                    length,
                    "{protocol:?} {target}"
                );
            }
            let next = connection.request("GET", "/next").send().await;
            assert_eq!(next.text(), "/next", "after {method} {target} {protocol:?}");
        }
    }
    assert_eq!(origin.heard().len(), 1, "one connection for all");
}

#[tokio::test]
async fn m23_m30_an_answer_without_length_ends_with_its_connection() {
    let origin = RawOrigin::answering("HTTP/1.0 200 OK\r\n\r\nto the end");
    let site = Site::before(&[&origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        for _ in 0..2 {
            let answer = connection.request("GET", "/").send().await;
            assert_eq!(answer.text(), "to the end");
        }
    }
}

#[tokio::test]
async fn m04_trailers_of_answers_pass_without_names_of_ours() {
    let origin = RawOrigin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Tenant, X-Forwarded-For\r\n\r\n\
         4\r\nfour\r\n0\r\nX-Sum: 7\r\nX-Tenant: acme\r\nX_Tenant: acme\r\nX-Forwarded-For: 10.0.0.1\r\n\
         Set-Cookie: a=1\r\nContent-Length: 9\r\n\r\n",
    );
    let site = Site::before(&[&origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let request = connection.request("GET", "/");
        let request = match protocol {
            Protocol::Http1 => request.header("te", "trailers").header("connection", "te"),
            Protocol::Http2 => request.header("te", "trailers"),
        };
        let answer = request.send().await;
        assert_eq!(answer.text(), "four");
        let mut expected = HeaderMap::new();
        expected.insert("x-sum", HeaderValue::from_static("7"));
        assert_eq!(answer.trailers, Some(expected), "{protocol:?}");
    }
    // A client that did not ask for them gets none, and a whole answer.
    let answer = site
        .edge
        .get(Protocol::Http1, "acme.example.test", "/")
        .await;
    assert_eq!((answer.text(), &answer.trailers), ("four", &None));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let origin =
        Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.body_len.to_string()));
    let site = Site::before(&[origin.address()])
        .set("limits", "body_size = \"64KiB\"")
        .start();
    let large = vec![b'x'; (64 << 10) + 1];
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let fits = body::full(vec![b'x'; 64 << 10]);
        let answer = connection.request("POST", "/").body(fits).send().await;
        assert_eq!(answer.text(), "65536", "{protocol:?}");
        let before = origin.requests().len();
        let request = connection
            .request("POST", "/")
            .body(body::full(large.clone()));
        let answer = request.send().await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{protocol:?}");
        assert_eq!(answer.header("x-edge-reason"), Some("body-too-large"));
        assert_eq!(
            origin.requests().len(),
            before,
            "known by its length: never sent to the app"
        );

        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let unknown = body::with_trailers(large.clone(), HeaderMap::new());
        let answer = connection.request("POST", "/").body(unknown).send().await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{protocol:?}");
        assert!(
            origin
                .requests()
                .iter()
                .all(|seen| !seen.complete || seen.body_len <= 64 << 10)
        );
    }
}

//! Clients and in-process origins, tried on each other.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, Version};
use time::OffsetDateTime;

use super::panic_of;
use crate::support::body;
use crate::support::http::{Connection, Edge, Protocol};
use crate::support::origin::{self, Origin};
use crate::support::pki::Ca;
use crate::support::raw::Raw;
use crate::support::raw_origin::RawOrigin;
use crate::support::tls::{self, Alpn};

#[tokio::test]
async fn origin_records_what_it_saw() {
    let origin = Origin::tcp(async |seen: origin::Seen| origin::text(201, seen.target));
    let mut connection = Connection::tcp(origin.socket(), "acme.example.test").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    let request = connection
        .request("POST", "/path?q")
        .header("x-a", "1")
        .header("x-b", "2")
        .header("x-a", "3");
    let request = request
        .header("trailer", "x-sum")
        .body(body::with_trailers("four", trailers));
    let answer = request.send().await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::CREATED, "/path?q")
    );

    let seen = origin.only_request();
    assert_eq!(seen.all("x-a"), ["1", "3"]);
    assert_eq!(seen.one("host"), "acme.example.test");
    assert_eq!(
        (seen.body_len, &seen.body[..], seen.complete),
        (4, &b"four"[..], true)
    );
    assert_eq!(seen.trailers.unwrap()["x-sum"], "7");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn origin_answers_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("origin.sock");
    let origin = Origin::unix(&path, async |_| origin::text(200, "here"));
    let answer = Connection::unix(&path, "acme.example.test")
        .await
        .request("GET", "/")
        .send()
        .await;
    assert_eq!(answer.text(), "here");
    assert_eq!(origin.address(), format!("unix:{}", path.display()));
}

#[tokio::test]
async fn a_panic_in_the_origin_fails_its_test() {
    let origin = Origin::tcp(async |_| panic!("tenant is not acme"));
    let mut connection = Connection::tcp(origin.socket(), "acme.example.test").await;
    assert!(connection.request("GET", "/").try_send().await.is_err());
    assert_eq!(
        panic_of(|| drop(origin)),
        "the origin panicked: tenant is not acme"
    );
}

#[tokio::test]
async fn raw_origin_keeps_bytes_and_answers_bytes() {
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let port = origin
        .address()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let mut raw = Raw::plain(port).await;
    let answer = raw
        .write("GET / HTTP/1.1\r\nhOsT: a\r\n\r\n")
        .await
        .response()
        .await
        .unwrap();
    assert_eq!(
        (
            answer.status,
            &answer.body[..],
            answer.header("content-length")
        ),
        (200, &b"hi"[..], Some("2"))
    );
    assert_eq!(raw.read().await, None, "the script is over");
    assert_eq!(origin.heard(), ["GET / HTTP/1.1\r\nhOsT: a\r\n\r\n"]);
}

#[tokio::test]
async fn clients_speak_both_protocols_with_the_host_they_are_given() {
    let ca = Ca::new();
    let origin = Origin::tls(&ca.leaf(&["*.example.test"]), async |_| {
        origin::text(200, "hello")
    });
    let edge = Edge::new(origin.socket().port(), ca.trust());

    for protocol in Protocol::BOTH {
        let answer = edge
            .get(protocol, "acme.example.test:8443", "/path?q")
            .await;
        assert_eq!(answer.text(), "hello", "{protocol:?}");
    }
    let seen = origin.requests();
    assert_eq!(
        (seen[0].version, seen[0].one("host")),
        (Version::HTTP_11, "acme.example.test:8443")
    );
    assert_eq!(
        (seen[1].version, seen[1].authority.as_deref()),
        (Version::HTTP_2, Some("acme.example.test:8443"))
    );
    assert!(seen.iter().all(|seen| seen.target == "/path?q"), "{seen:?}");

    let mut raw = edge.raw("acme.example.test", Alpn::Http1).await;
    let answer = raw
        .write("GET / HTTP/1.1\r\nHost: b.example.test\r\n\r\n")
        .await
        .response()
        .await
        .unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
    let curl = edge
        .curl("acme.example.test")
        .args(&["--http2", "-w", " %{http_version}"])
        .run("/");
    assert_eq!(
        (curl.code, curl.stdout.as_str()),
        (Some(0), "hello 2"),
        "{curl:?}"
    );
}

#[tokio::test]
async fn clients_refuse_what_they_do_not_trust() {
    let ca = Ca::new();
    let hour = Duration::from_secs(3_600);
    let now = OffsetDateTime::now_utc();
    let expired = ca.leaf_valid(&["acme.example.test"], now - 2 * hour, now - hour);
    for (leaf, trust, why) in [
        (
            ca.leaf(&["acme.example.test"]),
            Ca::new().trust(),
            "another authority",
        ),
        (ca.leaf(&["other.example.test"]), ca.trust(), "another name"),
        (expired, ca.trust(), "an hour too old"),
    ] {
        let origin = Origin::tls(&leaf, async |_| origin::text(200, "hello"));
        let config = trust.config(Alpn::Browser);
        let refused = tls::connect(origin.socket(), "acme.example.test", config).await;
        assert!(refused.is_err(), "{why}");
        let curl = Edge::new(origin.socket().port(), trust)
            .curl("acme.example.test")
            .run("/");
        assert_eq!(curl.code, Some(60), "{why}: {curl:?}");
    }
}

#[tokio::test]
async fn an_answer_that_leaks_a_header_of_ours_fails_the_test() {
    let ca = Ca::new();
    let origin = Origin::tls(&ca.leaf(&["acme.example.test"]), async |_| {
        let mut answer = origin::text(200, "sloppy");
        answer
            .headers_mut()
            .insert("x-tenant", HeaderValue::from_static("acme"));
        answer
    });
    let edge = Edge::new(origin.socket().port(), ca.trust());
    let test =
        tokio::spawn(async move { edge.get(Protocol::Http2, "acme.example.test", "/").await });
    assert!(test.await.unwrap_err().is_panic());
}

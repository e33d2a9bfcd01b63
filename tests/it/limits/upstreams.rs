//! App servers that fail, and what is tried again.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::port;
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;

/// Serves one request a connection and breaks off at the second.
fn forgetful() -> RawOrigin {
    RawOrigin::new(|connection| {
        connection.read_head();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        connection.read_head();
    })
}

#[tokio::test]
async fn m14_an_idempotent_request_on_a_dead_connection_is_sent_again() {
    let origin = forgetful();
    let site = Site::before(&[&origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        for method in ["GET", "PUT", "DELETE", "OPTIONS"].repeat(10) {
            let answer = connection.request(method, "/").send().await;
            assert_eq!(
                (answer.status, answer.text()),
                (StatusCode::OK, "hello"),
                "{method}"
            );
        }
    }
}

#[tokio::test]
async fn m14_a_post_is_never_sent_twice() {
    let origin = forgetful();
    let site = Site::before(&[&origin.address()])
        .set("server", "workers = 1")
        .start();
    let mut connection = site
        .edge
        .connect(Protocol::Http1, "acme.example.test")
        .await;
    connection.request("GET", "/").send().await;
    let answer = connection.request("POST", "/once").send().await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    let heard = origin.heard().concat();
    assert_eq!(heard.matches("POST /once").count(), 1, "{heard}");
}

#[tokio::test]
async fn an_app_that_closes_after_each_answer_costs_nobody_anything() {
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let site = Site::before(&[&origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        for round in 0..500 {
            let answer = connection.request("GET", "/").send().await;
            assert_eq!(answer.status, StatusCode::OK, "{protocol:?} {round}");
        }
    }
}

#[tokio::test]
async fn m21_each_failure_has_its_status() {
    let nobody = port::local(port::free()).to_string();
    let silent = RawOrigin::new(|connection| while connection.read_more() {});
    let garbage = RawOrigin::answering("220 smtp.example.test ESMTP\r\n");
    let leaving = RawOrigin::new(|connection| drop(connection.read_head()));
    let endless = RawOrigin::new(|connection| {
        connection.read_head();
        connection.write("HTTP/1.1 200 OK\r\n");
        for _ in 0..4_000 {
            connection.write(format!("X-Long: {}\r\n", "x".repeat(100)));
        }
        while connection.read_more() {}
    });
    for (server, status, reason, retry) in [
        (nobody, 503, "upstream-connect", Some("5")),
        (silent.address(), 504, "upstream-response-timeout", None),
        (garbage.address(), 502, "upstream-exchange", None),
        (leaving.address(), 502, "upstream-exchange", None),
        (endless.address(), 502, "upstream-exchange", None),
        (
            "unix:/nonexistent/app.sock".to_owned(),
            503,
            "upstream-connect",
            Some("5"),
        ),
    ] {
        let site = Site::before(&[&server])
            .set("upstream", "response_timeout = \"1s\"")
            .start();
        for protocol in Protocol::BOTH {
            let began = Instant::now();
            let answer = site.edge.get(protocol, "acme.example.test", "/").await;
            assert_eq!(answer.status.as_u16(), status, "{server} {protocol:?}");
            assert_eq!(answer.header("x-edge-reason"), Some(reason));
            assert_eq!(answer.header("retry-after"), retry);
            if status == 504 {
                let took = began.elapsed();
                assert!(
                    took >= Duration::from_secs(1) && took < Duration::from_millis(2_500),
                    "{took:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn with_one_of_two_servers_dead_no_request_fails() {
    let origin = Origin::hello();
    let dead = port::local(port::free()).to_string();
    let site = Site::before(&[&dead, origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        for round in 0..150 {
            let method = if round % 3 == 0 { "POST" } else { "GET" };
            let answer = connection.request(method, "/").send().await;
            assert_eq!(answer.status, StatusCode::OK, "{protocol:?} {round}");
        }
    }
    assert_eq!(origin.requests().len(), 300);
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let site = Site::before(&[&format!("unix:{}", socket.display())]).start();
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let _origin = Origin::unix(&socket, async |_| crate::support::origin::text(200, "back"));
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!(answer.text(), "back");
}

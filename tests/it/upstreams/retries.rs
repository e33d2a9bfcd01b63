//! M14: what is sent again, and what never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;

use super::HOST;
use crate::support::body;
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::port;
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;

/// Answers `answers` requests on each connection, and breaks off at the next.
fn forgetful(answers: usize) -> RawOrigin {
    RawOrigin::new(move |connection| {
        for _ in 0..answers {
            if connection.read_head().is_none() {
                return;
            }
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
        connection.read_head();
    })
}

#[tokio::test]
async fn m14_what_may_have_been_processed_is_never_sent_twice() {
    for protocol in Protocol::BOTH {
        // Not idempotent, or with a body that is gone, on a connection that turns out to be dead.
        for (method, data) in [("POST", ""), ("PATCH", ""), ("POST", "x"), ("PUT", "x")] {
            let origin = forgetful(1);
            let site = Site::before(&[&origin.address()])
                .set("server", "workers = 1")
                .start();
            let mut connection = site.edge.connect(protocol, HOST).await;
            connection.request("GET", "/").send().await;
            let mut ask = connection.request(method, "/once");
            if !data.is_empty() {
                ask = ask.body(body::full(data));
            }
            let answer = ask.send().await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{method} {data:?}");
            let heard = origin.heard().concat();
            assert_eq!(heard.matches("/once").count(), 1, "{heard}");
        }
        // Idempotent, but on a fresh connection: the server does this to everyone.
        let origin = forgetful(0);
        let site = Site::before(&[&origin.address()]).start();
        let answer = site.edge.get(protocol, HOST, "/once").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(origin.heard().len(), 1);
    }
}

#[tokio::test]
async fn m14_an_idempotent_request_goes_to_another_server_when_a_fresh_connection_ends() {
    let broken = forgetful(0);
    let origin = Origin::hello();
    let site = Site::before(&[&broken.address(), origin.address()])
        .set("upstream", "eject_failures = 0")
        .set("server", "workers = 1")
        .start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, HOST).await;
        for _ in 0..30 {
            assert_eq!(connection.request("GET", "/").send().await.text(), "hello");
        }
        // Half of these meet the broken server, and once only.
        let failed = broken.heard().len();
        let mut refused = 0;
        for _ in 0..30 {
            let answer = connection.request("POST", "/").send().await;
            refused += usize::from(answer.status == StatusCode::BAD_GATEWAY);
        }
        assert!(refused > 0);
        assert_eq!(broken.heard().len() - failed, refused);
    }
    let gets = broken.heard().concat().matches("GET /").count();
    assert!(gets > 0, "no request met the broken server");
}

#[tokio::test]
async fn m14_after_the_first_byte_of_an_answer_nothing_is_sent_again() {
    let origin = RawOrigin::new(|connection| {
        connection.read_head();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        connection.read_head();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel");
    });
    for protocol in Protocol::BOTH {
        let site = Site::before(&[&origin.address()])
            .set("server", "workers = 1")
            .start();
        let mut connection = site.edge.connect(protocol, HOST).await;
        connection.request("GET", "/").send().await;
        assert!(connection.request("GET", "/cut").try_send().await.is_err());
    }
    assert_eq!(origin.heard().concat().matches("/cut").count(), 2);
}

/// Answers with a head and `bytes`, of 50 announced, and breaks off.
fn cut_after(bytes: &'static str) -> RawOrigin {
    RawOrigin::new(move |connection| {
        if connection.read_head().is_some() {
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n");
            connection.write(bytes);
        }
    })
}

/// As one that is killed: gunicorn writes head and body one after the other.
#[tokio::test]
async fn m14_a_server_that_ends_between_head_and_body_has_not_answered() {
    let broken = cut_after("");
    let origin = Origin::hello();
    let site = Site::before(&[&broken.address(), origin.address()])
        .set("upstream", "eject_failures = 0")
        .set("server", "workers = 1")
        .start();
    for protocol in Protocol::BOTH {
        for _ in 0..30 {
            let answer = site.edge.get(protocol, HOST, "/").await;
            assert_eq!((answer.status, answer.text()), (StatusCode::OK, "hello"));
        }
        // What is not idempotent is handed on as it comes, and asked once.
        let met = broken.heard().len();
        let mut cut = 0;
        for _ in 0..30 {
            let mut connection = site.edge.connect(protocol, HOST).await;
            let answer = connection.request("POST", "/").try_send().await;
            cut += usize::from(answer.is_err());
        }
        assert!(cut > 0);
        assert_eq!(broken.heard().len() - met, cut);
    }
    let gets = broken.heard().concat().matches("GET /").count();
    assert!(gets > 0, "no request met the broken server");

    // Nobody is left to be asked: the client hears so, and no server is asked twice.
    let pair = [cut_after(""), cut_after("")];
    let site = Site::before(
        &pair
            .each_ref()
            .map(RawOrigin::address)
            .each_ref()
            .map(|it| &**it),
    )
    .start();
    let answer = site.edge.get(Protocol::Http2, HOST, "/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(pair.iter().all(|broken| broken.heard().len() == 1));
}

#[tokio::test]
async fn m14_bytes_that_the_client_has_seen_are_not_taken_back() {
    let broken = cut_after("half of it");
    let site = Site::before(&[&broken.address(), &cut_after("half of it").address()])
        .set("upstream", "eject_failures = 0")
        .start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, HOST).await;
        assert!(connection.request("GET", "/").try_send().await.is_err());
    }
}

#[tokio::test]
async fn m14_a_head_waits_no_longer_than_a_second_for_its_body() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let slow = RawOrigin::new(move |connection| {
        if connection.read_head().is_some() {
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
            wait.lock().unwrap().recv().unwrap();
            connection.write("hello");
        }
    });
    let other = Origin::tcp(async |_| crate::support::origin::text(200, "other"));
    let site = Site::before(&[&slow.address(), other.address()]).start();
    let mut connection = site.edge.connect(Protocol::Http1, HOST).await;
    let mut met = 0;
    while met == 0 {
        let mut answer = connection.request("GET", "/").try_head().await.unwrap();
        // The head is here before the body was written.
        met = slow.heard().len();
        if met > 0 {
            go.send(()).unwrap();
        }
        let whole = http_body_util::BodyExt::collect(answer.body_mut()).await;
        let whole = whole.unwrap().to_bytes();
        assert_eq!(&whole[..], if met > 0 { &b"hello"[..] } else { b"other" });
    }
}

#[tokio::test]
async fn m14_a_request_that_no_server_took_goes_elsewhere_whatever_its_method() {
    let origin = Origin::hello();
    let dead = port::local(port::free()).to_string();
    let site = Site::before(&[&dead, origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, HOST).await;
        for _ in 0..100 {
            let ask = connection.request("POST", "/").body(body::full("data"));
            assert_eq!(ask.send().await.text(), "hello");
        }
    }
    assert!(origin.requests().iter().all(|seen| seen.body == "data"));
    assert_eq!(origin.requests().len(), 200);
    assert!(site.portico.metric("portico_upstream_retries_total") > 0.5);
}

#[tokio::test]
async fn m14_retries_end_with_their_budget() {
    // The first connection is good for many answers; all others end at their first request.
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let origin = RawOrigin::new(move |connection| {
        let answers = if count.fetch_add(1, Ordering::SeqCst) == 0 {
            1
        } else {
            0
        };
        for _ in 0..answers {
            connection.read_head();
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
        connection.read_head();
    });
    let site = Site::before(&[&origin.address()])
        .set("server", "workers = 1")
        .set("upstream", "retry_percent = 0")
        .start();
    let mut connection = site.edge.connect(Protocol::Http1, HOST).await;
    assert_eq!(connection.request("GET", "/").send().await.text(), "hello");
    let answer = connection.request("GET", "/").send().await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "not sent again");
    let spent = "portico_upstream_retry_budget_exhausted_total";
    assert!(site.portico.metric(spent) > 0.5);
}

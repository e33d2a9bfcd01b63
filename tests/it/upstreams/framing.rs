//! M30, V02 and V34: answers that are framed badly, come early, or are not alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;

use super::HOST;
use crate::support::body;
use crate::support::http::{Answer, Protocol};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;
use crate::support::wait;

/// Answers the first request of its first connection with `first` and goes on with `number N` for each request after
/// it, on whatever connection.
fn first(first: &'static str, close: bool) -> RawOrigin {
    let count = Arc::new(AtomicUsize::new(0));
    RawOrigin::new(move |connection| {
        while connection.read_head().is_some() {
            let number = count.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                connection.write(first);
                if close {
                    return;
                }
            } else {
                connection.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnumber {number}"
                ));
            }
        }
    })
}

/// What comes of an answer, and of the next request of the same client: it must be its own answer. `connections`: how
/// many the app has seen after that.
async fn play(
    protocol: Protocol,
    method: &'static str,
    answer: &'static str,
    close: bool,
    connections: usize,
) -> Option<Answer> {
    let origin = first(answer, close);
    let site = Site::before(&[&origin.address()])
        .set("server", "workers = 1")
        .start();
    let mut connection = site.edge.connect(protocol, HOST).await;
    let got = connection.request(method, "/").try_send().await.ok();
    let mut connection = site.edge.connect(protocol, HOST).await;
    let next = connection.request("GET", "/next").send().await;
    assert_eq!(next.text(), "number 1", "after {answer:?}");
    assert_eq!(origin.heard().len(), connections, "after {answer:?}");
    got
}

#[tokio::test]
async fn m30_answers_are_framed_as_the_rfc_says_and_bad_ones_end_their_connection() {
    for protocol in Protocol::BOTH {
        // RFC 9112 §6.3: the transfer coding wins and the length is not passed on.
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let got = play(protocol, "GET", both, false, 1).await.unwrap();
        assert_eq!((got.text(), got.header("content-length")), ("hello", None));
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
        ] {
            let got = play(protocol, "GET", bad, false, 2).await.unwrap();
            assert_eq!(got.status, StatusCode::BAD_GATEWAY, "{bad:?}");
            assert_eq!(got.header("x-edge-reason"), Some("upstream-exchange"));
        }
        // Cut short: the client sees that too.
        let short = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello";
        assert!(play(protocol, "GET", short, true, 2).await.is_none());
        let short = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        assert!(play(protocol, "GET", short, true, 2).await.is_none());
        let bad = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n";
        assert!(play(protocol, "GET", bad, false, 2).await.is_none());
        // Until the end of the connection.
        let open = "HTTP/1.1 200 OK\r\n\r\nhello";
        let got = play(protocol, "GET", open, true, 2).await.unwrap();
        assert_eq!(got.text(), "hello");
        // Without a body, whatever the length says.
        for (method, answer) in [
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
            (
                "GET",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n",
            ),
        ] {
            let got = play(protocol, method, answer, false, 1).await.unwrap();
            assert!(got.body.is_empty(), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn v34_what_follows_an_answer_is_never_anybody_elses() {
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    for protocol in Protocol::BOTH {
        for (method, answer) in [
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
            (
                "GET",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            ),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ),
        ] {
            let two: &'static str = format!("{answer}{smuggled}").leak();
            let got = play(protocol, method, two, false, 2).await.unwrap();
            assert!(got.text() == "hello" || got.body.is_empty(), "{got:?}");
        }
    }
}

#[tokio::test]
async fn v34_interim_answers_come_to_an_end() {
    const MOST_INTERIM: usize = 16;
    let few = RawOrigin::new(|connection| {
        while connection.read_head().is_some() {
            connection.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(MOST_INTERIM));
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    // One too many, once with the answer right behind and once with nothing.
    let over = |then: &'static str| {
        RawOrigin::new(move |connection| {
            if connection.read_head().is_some() {
                let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(MOST_INTERIM + 1);
                connection.write(format!("{interim}{then}"));
                connection.read_head();
            }
        })
    };
    let answered = over("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let silent = over("");
    let ended = Arc::new(AtomicUsize::new(0));
    let end = Arc::clone(&ended);
    let flood = RawOrigin::new(move |connection| {
        connection.read_head();
        let many = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1_000);
        while !connection.is_gone() {
            connection.write(&many);
        }
        end.fetch_add(1, Ordering::SeqCst);
    });
    let site = Site::before(&[&few.address()]).start();
    for protocol in Protocol::BOTH {
        // Each request counts for itself, on one connection too.
        let mut connection = site.edge.connect(protocol, HOST).await;
        for _ in 0..3 {
            assert_eq!(connection.request("GET", "/").send().await.text(), "hello");
        }
    }
    for origin in [&answered, &silent, &flood] {
        // Another server stands by: what was answered in part is not asked again.
        let other = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother");
        let site = Site::before(&[&origin.address(), &other.address()])
            .set("server", "workers = 1")
            .start();
        let before = memory(&site);
        let mut refused = 0;
        while refused < 4 {
            let protocol = Protocol::BOTH[refused % 2];
            let answer = site.edge.get(protocol, HOST, "/").await;
            if answer.status == StatusCode::OK {
                assert_eq!(answer.text(), "other");
                continue;
            }
            refused += 1;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
            assert_eq!(answer.header("x-edge-reason"), Some("upstream-interim"));
            let told = answer.header("proxy-status").unwrap();
            assert!(told.ends_with("; error=http_protocol_error"), "{told}");
        }
        let grown = memory(&site).saturating_sub(before);
        assert!(grown < 16 << 10, "{grown} KiB");
    }
    wait::until("the end of each flood", || {
        (ended.load(Ordering::SeqCst) == 4).then_some(())
    });
}

/// Resident memory in KiB.
fn memory(site: &Site) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", site.portico.pid())).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn v02_a_connection_whose_request_was_not_read_is_never_used_again() {
    for protocol in Protocol::BOTH {
        // Answers at the head and leaves the body unread; what it reads next would be that body.
        let origin = RawOrigin::new(|connection| {
            if connection.read_head().is_some() {
                connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
                while connection.read_more() {}
            }
        });
        let site = Site::before(&[&origin.address()])
            .set("server", "workers = 1")
            .start();
        for round in 1..=5 {
            let (sender, data) = body::channel();
            let mut connection = site.edge.connect(protocol, HOST).await;
            let ask = connection.request("POST", "/").body(data);
            let head = ask.try_head().await.unwrap();
            assert_eq!(head.status(), StatusCode::OK);
            drop(head);
            drop(connection);
            drop(sender);
            wait::until_async("the request", async || {
                (origin.heard().len() == round).then_some(())
            })
            .await;
        }
        for bytes in origin.heard() {
            assert_eq!(bytes.matches("POST / HTTP/1.1").count(), 1, "{bytes}");
        }
    }
}

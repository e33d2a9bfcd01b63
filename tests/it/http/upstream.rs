//! Answers of apps that are broken or hostile, and connections to apps that must not be used again.

use http::StatusCode;

use super::{HOST, connect};
use crate::support::http::Protocol;
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;

/// A site of one worker (so one pool) before an app that gives this answer to each head and then goes on reading.
fn answering(answer: &'static str) -> (RawOrigin, Site) {
    let origin = RawOrigin::new(move |connection| {
        while connection.read_head().is_some() {
            connection.write(answer);
        }
    });
    let site = Site::before(&[&origin.address()])
        .set("server", "workers = 1")
        .start();
    (origin, site)
}

#[tokio::test]
async fn m32_v02_a_connection_with_an_unread_body_is_not_used_again() {
    // Answers the head and never reads the body: what follows on that connection would be read as a head.
    let (origin, site) = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for lines in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut raw = connect(&site).await;
        raw.write(format!("POST /first HTTP/1.1\r\n{HOST}{lines}\r\n\r\n"))
            .await;
        assert_eq!(raw.response().await.unwrap().status, 200);
        let answer = site
            .edge
            .get(Protocol::Http1, "globex.example.test", "/second")
            .await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    for heard in origin.heard() {
        let after = heard.split("/first").nth(1).unwrap_or_default();
        assert!(!after.contains("x-tenant: globex"), "{heard:?}");
    }
}

#[tokio::test]
async fn v34_what_follows_an_answer_is_nobodys() {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Stolen: 1\r\n\r\nevil";
    let cases: [&'static str; 5] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ];
    for first in cases {
        let answer: &'static str = Box::leak(format!("{first}{second}").into_boxed_str());
        let (_origin, site) = answering(answer);
        let status = &first[9..12];
        for protocol in Protocol::BOTH {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            for _ in 0..4 {
                let answer = connection.request("GET", "/").send().await;
                assert_eq!(answer.status.as_str(), status, "{first:?} {protocol:?}");
                assert_eq!(answer.header("x-stolen"), None);
                assert!(answer.text() == "ok" || answer.text().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn v34_a_header_of_the_app_cannot_split_the_answer() {
    for line in [
        "X: a\rSet-Cookie: evil=1",
        "X: a\0b",
        "X: a\r\n folded: b",
        "X : a",
        "X\r\n",
    ] {
        let answer: &'static str = Box::leak(
            format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 0\r\n\r\n").into_boxed_str(),
        );
        let (_origin, site) = answering(answer);
        for protocol in Protocol::BOTH {
            let answer = site.edge.get(protocol, "acme.example.test", "/").await;
            assert_eq!(
                answer.status,
                StatusCode::BAD_GATEWAY,
                "{line:?} {protocol:?}"
            );
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
}

/// The edge cannot pass interim answers on (a deviation, told in the README); it takes them and goes on.
#[tokio::test]
async fn m19_interim_answers_of_the_app_end_at_the_edge() {
    let (_origin, site) = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    for version in ["1.1", "1.0"] {
        let mut raw = connect(&site).await;
        raw.write(format!("GET / HTTP/{version}\r\n{HOST}\r\n"))
            .await;
        let answer = raw.response().await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    }
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"));
}

#[tokio::test]
async fn m05_an_answer_has_one_date() {
    let date = "Sat, 29 Oct 1994 19:43:31 GMT";
    let answer: &'static str = Box::leak(
        format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n").into_boxed_str(),
    );
    let (_origin, site) = answering(answer);
    let (_other, without) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "acme.example.test", "/").await;
        assert_eq!(answer.header("date"), Some(date), "the app's own");
        for host in ["acme.example.test", "mail.example.test"] {
            let answer = without.edge.get(protocol, host, "/").await;
            let date = answer.header("date").expect("a date of the edge's");
            assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
        }
    }
}

#[tokio::test]
async fn m30_an_answer_with_length_and_coding_is_framed_by_its_coding() {
    let (origin, site) = answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n",
    );
    for protocol in Protocol::BOTH {
        for _ in 0..2 {
            let answer = site.edge.get(protocol, "acme.example.test", "/").await;
            if answer.status == StatusCode::OK {
                assert_eq!(
                    (answer.text(), answer.header("content-length")),
                    ("four", None)
                );
            } else {
                assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
            }
        }
    }
    drop(origin);
}

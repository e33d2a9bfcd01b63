//! Bodies in chunks.

use super::{AFTER, connect, head, hello};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;

/// Chunked bodies that some server somewhere reads differently.
const BAD: &[&str] = &[
    "0x1\r\na\r\n0\r\n\r\n",
    "+1\r\na\r\n0\r\n\r\n",
    "-1\r\na\r\n0\r\n\r\n",
    " 1\r\na\r\n0\r\n\r\n",
    "1 \r\na\r\n0\r\n\r\n",
    "1 ;a\r\na\r\n0\r\n\r\n",
    "1\t\r\na\r\n0\r\n\r\n",
    "\r\n1\r\na\r\n0\r\n\r\n",
    ";a=b\r\na\r\n0\r\n\r\n",
    "1;a=\"\r\n\"\r\na\r\n0\r\n\r\n",
    "1;\n\r\na\r\n0\r\n\r\n",
    "1;a\rb\r\na\r\n0\r\n\r\n",
    "1;\0\r\na\r\n0\r\n\r\n",
    "1\na\r\n0\r\n\r\n",
    "1\r\na\n0\r\n\r\n",
    "1\r\nab0\r\n\r\n",
    "1\r\na0\r\n\r\n",
    "1\r\na\r\r\n0\r\n\r\n",
    "10000000000000001\r\na\r\n0\r\n\r\n",
    "00000000000000001\r\na\r\n0\r\n\r\n",
    "1.0\r\na\r\n0\r\n\r\n",
    "1e\r\n",
    "1_0\r\na\r\n0\r\n\r\n",
    "0\n\r\n",
    "0\r\n\n",
    "0\r\n X: y\r\n\r\n",
    "0\r\nX : y\r\n\r\n",
    "0\r\nX: y\nZ: w\r\n\r\n",
    "0\r\nX: \0\r\n\r\n",
    "0\r\nX\r\n\r\n",
    "0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
];

#[tokio::test]
async fn m31_v28_a_bad_chunk_is_never_a_whole_request() {
    let origin = RawOrigin::new(|connection| while connection.read_more() {});
    let site = Site::before(&[&origin.address()]).start();
    for body in BAD {
        let mut raw = connect(&site).await;
        raw.write(head("Transfer-Encoding: chunked\r\n") + "3\r\nabc\r\n" + body + AFTER)
            .await;
        if *body == "1e\r\n" {
            // Not malformed, but cut short: the rest of the connection is data.
            raw.shutdown().await;
        }
        match raw.response().await {
            Some(answer) => assert_eq!(answer.status, 400, "{body:?} {}", answer.head),
            None => assert_eq!(*body, "1e\r\n"),
        }
        assert!(
            raw.rest().await.is_empty(),
            "{body:?}: the connection is closed"
        );
    }
    for heard in origin.heard() {
        assert!(!heard.ends_with("0\r\n\r\n"), "a whole request: {heard:?}");
        assert!(!heard.contains("/smuggled"), "{heard:?}");
    }
}

#[tokio::test]
async fn m31_chunks_are_made_anew_and_extensions_stay_behind() {
    let (origin, site) = hello();
    let mut raw = connect(&site).await;
    let body = "5;a=1;b=\"x y\";c\r\nhello\r\n01\r\n!\r\nA;\r\n0123456789\r\n000;end\r\n\r\n";
    for in_pieces in [false, true] {
        let request = head("Transfer-Encoding: chunked\r\n") + body;
        let size = if in_pieces { 1 } else { request.len() };
        for piece in request.as_bytes().chunks(size) {
            raw.write(piece).await;
        }
        assert_eq!(raw.response().await.unwrap().status, 200);
        let seen = origin.requests().pop().unwrap();
        assert_eq!(&seen.body[..], b"hello!0123456789");
    }
}

#[tokio::test]
async fn m31_extensions_have_a_bound() {
    let origin = RawOrigin::new(|connection| while connection.read_more() {});
    let site = Site::before(&[&origin.address()]).start();
    for body in [
        format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(20_000)),
        format!("{}0\r\n\r\n", "1;xxxxxxx\r\na\r\n".repeat(1_000)),
        format!("0\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
        format!("0\r\n{}\r\n", "X: y\r\n".repeat(200)),
    ] {
        let mut raw = connect(&site).await;
        raw.write(head("Transfer-Encoding: chunked\r\n") + &body)
            .await;
        assert_eq!(raw.response().await.unwrap().status, 400);
    }
    assert!(
        origin
            .heard()
            .iter()
            .all(|heard| !heard.ends_with("0\r\n\r\n"))
    );
}

//! Where a message ends: lengths, codings, line ends.

use super::{AFTER, HOST, connect, head, hello, refused, send};
use crate::support::raw::Raw;

#[tokio::test]
async fn m29_v01_a_length_beside_a_coding_is_refused() {
    let (length, coding) = ("Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n");
    let smuggled = "0\r\n\r\nX";
    refused(&[
        (head(&format!("{length}{coding}")) + smuggled, 400),
        (head(&format!("{coding}{length}")) + smuggled, 400),
        (
            head(&format!("Content-Length: 0\r\n{coding}")) + smuggled,
            400,
        ),
        (
            head(&format!("{coding}X: y\r\ncontent-LENGTH: 6\r\n")) + smuggled,
            400,
        ),
        (
            head(&format!("Transfer-Encoding: gzip\r\n{length}")) + smuggled,
            400,
        ),
        (
            head(&format!("{length}Transfer-Encoding : chunked\r\n")) + smuggled,
            400,
        ),
        (
            head(&format!("{length}Transfer-Encoding\n: chunked\r\n")) + smuggled,
            400,
        ),
        (head(&format!("{length}\r{coding}")) + smuggled, 400),
    ])
    .await;
}

#[tokio::test]
async fn m28_v04_a_coding_is_chunked_once_and_alone() {
    let coding = |value: &str| head(&format!("Transfer-Encoding: {value}\r\n")) + "0\r\n\r\n";
    refused(&[
        (coding("xchunked"), 501),
        (coding("cow"), 501),
        (coding("gzip, chunked"), 501),
        (coding("cow, chunked"), 501),
        (coding("identity"), 501),
        (coding("chunked, identity"), 400),
        (coding("chunked, chunked"), 400),
        (coding("chunked,"), 400),
        (coding(", chunked"), 400),
        (coding(""), 400),
        (coding("\"chunked\""), 400),
        (coding("\x0bchunked"), 400),
        (coding("chunked\0"), 400),
        (coding("\r\n chunked"), 400),
        (coding("chunked\r\nTransfer-Encoding: chunked"), 400),
        (coding("identity\r\nTransfer-Encoding: chunked"), 400),
        (coding("chunked\nX: y"), 400),
        (head("Transfer-Encoding : chunked\r\n"), 400),
        (head("Transfer-Encoding\t: chunked\r\n"), 400),
        (head(" Transfer-Encoding: chunked\r\n"), 400),
    ])
    .await;
    // Two spellings of exactly `chunked` do pass, and the app is told the one of ours.
    let (origin, site) = hello();
    for value in ["Chunked", "chunked \t"] {
        let request = coding(value);
        let (answer, _) = send(&site, request.as_bytes(), false).await;
        assert_eq!(answer.status, 200, "{value:?}");
    }
    let seen = origin.wait_requests(4);
    let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
    assert_eq!(posts.len(), 2);
    for seen in posts {
        assert!(seen.one("transfer-encoding") == "chunked" && seen.body_len == 0);
    }
}

#[tokio::test]
async fn m23_v04_http_1_0_has_no_codings() {
    let old = |rest: &str| format!("POST / HTTP/1.0\r\n{HOST}{rest}");
    refused(&[
        (old("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (
            old("Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (old("Transfer-Encoding: identity\r\n\r\n"), 400),
    ])
    .await;
}

#[tokio::test]
async fn m13_v36_a_length_is_one_number() {
    let length = |value: &str| head(&format!("Content-Length: {value}\r\n")) + "12345";
    refused(
        &[
            "+5",
            "-1",
            "",
            "5 5",
            "5,5",
            "5, 5",
            "0x5",
            "5.0",
            "5;",
            "\"5\"",
            "five",
            "18446744073709551616",
            "18446744073709551621",
            "99999999999999999999999999999999",
            "5\r\nContent-Length: 5",
            "5\r\nContent-Length: 6",
            "0\r\nContent-Length: 5",
            "5\r\ncontent-length: 5",
            "\u{665}",
        ]
        .map(|value| (length(value), 400)),
    )
    .await;
    let (origin, site) = hello();
    for value in ["5", "0005", "5 ", "\t5"] {
        let (answer, _) = send(&site, length(value).as_bytes(), false).await;
        assert_eq!(answer.status, 200, "{value:?}");
    }
    let seen = origin.wait_requests(8);
    for seen in seen.iter().filter(|seen| seen.method == "POST") {
        assert_eq!(
            (seen.one("content-length"), &seen.body[..]),
            ("5", &b"12345"[..])
        );
    }
}

#[tokio::test]
async fn m22_v27_lines_end_with_cr_lf_and_nothing_else() {
    let start = "GET / HTTP/1.1\r\n";
    refused(&[
        (
            "GET / HTTP/1.1\nHost: acme.example.test\n\n".to_owned(),
            400,
        ),
        (format!("GET / HTTP/1.1\n{HOST}\r\n"), 400),
        (format!("{start}Host: acme.example.test\n\r\n"), 400),
        (format!("{start}{HOST}X: y\n\r\n"), 400),
        (format!("{start}{HOST}\n"), 400),
        (format!("{start}{HOST}X: y\r\r\n\r\n"), 400),
        (format!("{start}{HOST}X: y\rZ: w\r\n\r\n"), 400),
        (format!("{start}{HOST}X: y\r\n\r\r\n"), 400),
        (format!("\r\n\r\n{start}{HOST}\r\n"), 400),
        (format!("\n{start}{HOST}\r\n"), 400),
        (format!("\r{start}{HOST}\r\n"), 400),
        (format!(" {start}{HOST}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n {HOST}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n\t{HOST}\r\n"), 400),
    ])
    .await;
    // One empty line before a request is forgiven (RFC 9112 section 2.2).
    let (origin, site) = hello();
    // With no LF at all there is no end of a line to wait for.
    let mut raw = connect(&site).await;
    let began = std::time::Instant::now();
    let head = "POST / HTTP/1.1\rHost: acme.example.test\rContent-Length: 0\r\r";
    assert_eq!(raw.write(head).await.response().await.unwrap().status, 400);
    let took = began.elapsed();
    assert!(
        took < std::time::Duration::from_secs(5),
        "not at its deadline: {took:?}"
    );
    let (answer, rest) = send(&site, format!("\r\n{start}{HOST}\r\n").as_bytes(), true).await;
    assert_eq!(answer.status, 200);
    assert!(rest.starts_with(b"HTTP/1.1 200"), "the connection stays");
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn m27_v26_folded_lines_and_space_around_names_are_refused() {
    refused(&[
        (head("X: a\r\n b\r\n"), 400),
        (head("X: a\r\n\tb\r\n"), 400),
        (head("X: a\r\n \r\n"), 400),
        (head(" X: a\r\n"), 400),
        (head("X : a\r\n"), 400),
        (head("X\t: a\r\n"), 400),
        (head("X a: b\r\n"), 400),
        (head(": b\r\n"), 400),
        (head("no colon\r\n"), 400),
        (
            format!("GET / HTTP/1.1\r\nHost : acme.example.test\r\n{HOST}\r\n"),
            400,
        ),
    ])
    .await;
}

#[tokio::test]
async fn v30_only_http_1_0_and_1_1_are_spoken() {
    let version = |version: &str| format!("GET /{version}\r\n{HOST}\r\n");
    refused(&[
        (version(""), 400),
        (version(" HTTP/0.9"), 400),
        (version(" HTTP/1.2"), 400),
        (version(" HTTP/2.0"), 400),
        (version(" HTTP/3"), 400),
        (version(" HTTP/1.1.1"), 400),
        (version(" HTTP/01.1"), 400),
        (version(" http/1.1"), 400),
        (version(" HTTP/1.1 "), 400),
        (version("  HTTP/1.1"), 400),
        (version(" x HTTP/1.1"), 400),
        ("GET /\r\n".to_owned(), 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400),
    ])
    .await;
    let (origin, site) = hello();
    let mut plain = Raw::plain(site.portico.http_port()).await;
    plain.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = plain.response().await.expect("an answer");
    assert_eq!(answer.status, 400, "no HTTP/2 without TLS");
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn v39_answers_stay_in_order_when_a_later_request_is_refused() {
    let (origin, site) = hello();
    let good = AFTER.repeat(5);
    let mut raw = connect(&site).await;
    let bad = head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n");
    raw.write(format!("{good}{bad}{good}")).await;
    for number in 0..5 {
        assert_eq!(raw.response().await.unwrap().status, 200, "{number}");
    }
    assert_eq!(raw.response().await.unwrap().status, 400);
    assert!(raw.rest().await.is_empty());
    assert_eq!(origin.requests().len(), 5);
}

#[tokio::test]
async fn m24_heads_and_targets_have_a_size() {
    let long = |size: usize| "a".repeat(size);
    refused(&[
        (
            format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", long(8 << 10)),
            414,
        ),
        (
            format!("GET /?{} HTTP/1.1\r\n{HOST}\r\n", long(33 << 10)),
            414,
        ),
        (head(&format!("X: {}\r\n", long(33 << 10))), 431),
        (head(&format!("{}: x\r\n", long(33 << 10))), 431),
        (head(&"X: y\r\n".repeat(100)), 431),
        (head(&"X: y\r\n".repeat(8000)), 431),
        (format!("{} / HTTP/1.1\r\n{HOST}\r\n", long(33)), 400),
    ])
    .await;
    let (_origin, site) = hello();
    let target = long((8 << 10) - 1);
    let fits = format!(
        "GET /{target} HTTP/1.1\r\n{HOST}X: {}\r\n\r\n",
        long(20 << 10)
    );
    let (answer, _) = send(&site, fits.as_bytes(), false).await;
    assert_eq!(answer.status, 200);
}

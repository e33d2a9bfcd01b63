//! Messages that two servers might cut in different places, made from a seed (design: vectors V01-V36).
//!
//! Each carries another request inside; whoever frames the outer one wrongly reads that as a request of its own, for a
//! path that no honest request has.

use crate::spoof::generate::Random;
use crate::support::site::DOMAIN;

/// The path of what must never be read as a request.
const INNER: &str = "/smuggled";

/// A message with a trick in it, for `path` on the host of `tenant`.
pub(super) fn message(random: &mut Random, tenant: &str, path: &str) -> Vec<u8> {
    let host = format!("{tenant}.{DOMAIN}");
    let inner = format!("GET {INNER} HTTP/1.1\r\nHost: {host}\r\nX-Tenant: evil\r\nX-Ignore: ");
    let length = inner.len();
    match random.below(6) {
        0 => length_and_coding(random, &host, path, &inner),
        1 => coding(random, &host, path, &inner),
        2 => lengths(random, &host, path, &inner),
        3 => chunks(random, &host, path, &inner),
        4 => lines(random, &host, path, &inner),
        _ => shapes(random, &host, path, &inner, length),
    }
}

fn post(host: &str, path: &str, lines: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n{body}").into_bytes()
}

/// `Content-Length` beside `Transfer-Encoding`, in both orders and spellings.
fn length_and_coding(random: &mut Random, host: &str, path: &str, inner: &str) -> Vec<u8> {
    let lengths = [0, 1, 4, 5, inner.len(), inner.len() + 5, 10_000_000];
    let length = format!("Content-Length: {}\r\n", random.pick(&lengths));
    let coding = *random.pick(&[
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: CHUNKED\r\n",
        "Transfer-Encoding:chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ]);
    let head = if random.one_in(2) {
        length + coding
    } else {
        coding.to_owned() + &length
    };
    let body = *random.pick(&["0\r\n\r\n", "1\r\nZ\r\n0\r\n\r\n", ""]);
    post(host, path, &head, &format!("{body}{inner}"))
}

/// Transfer codings that some server takes for `chunked` and another does not.
fn coding(random: &mut Random, host: &str, path: &str, inner: &str) -> Vec<u8> {
    let line = *random.pick(&[
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chun\r\n ked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\n\rTransfer-Encoding: chunked",
        "TE: chunked",
        "Content-Encoding: chunked",
    ]);
    let length = match random.below(3) {
        0 => "Content-Length: 5\r\n",
        1 => "Content-Length: 0\r\n",
        _ => "",
    };
    let head = format!("{length}{line}\r\n");
    post(host, path, &head, &format!("0\r\n\r\n{inner}"))
}

/// Lengths that can be read as several numbers.
fn lengths(random: &mut Random, host: &str, path: &str, inner: &str) -> Vec<u8> {
    let length = inner.len();
    let value = match random.below(16) {
        0 => format!("+{length}"),
        1 => format!("-{length}"),
        2 => format!("0x{length:x}"),
        3 => format!("{length}, {length}"),
        4 => format!("{length}, 0"),
        5 => format!("0, {length}"),
        6 => format!("{length} 0"),
        7 => format!("{length}\u{b}"),
        8 => format!("{length}.0"),
        9 => format!("{length}e0"),
        10 => format!("\"{length}\""),
        11 => format!("99999999999999999999999{length}"),
        12 => format!("0\r\nContent-Length: {length}"),
        13 => format!("{length}\r\nContent-Length: 0"),
        14 => format!("0\r\nContent_Length: {length}"),
        _ => String::new(),
    };
    let name = *random.pick(&[
        "Content-Length: ",
        "content-length:",
        "Content-Length : ",
        "Content-Length:\r\n ",
    ]);
    post(host, path, &format!("{name}{value}\r\n"), inner)
}

/// Chunked bodies with sizes, extensions and ends that are not quite right.
fn chunks(random: &mut Random, host: &str, path: &str, inner: &str) -> Vec<u8> {
    let size = inner.len();
    let body = match random.below(20) {
        0 => format!("0x{size:x}\r\n{inner}\r\n0\r\n\r\n"),
        1 => format!("+{size:x}\r\n{inner}\r\n0\r\n\r\n"),
        2 => format!("-1\r\n{inner}\r\n0\r\n\r\n"),
        3 => format!(" {size:x}\r\n{inner}\r\n0\r\n\r\n"),
        4 => format!("{size:x} \r\n{inner}\r\n0\r\n\r\n"),
        5 => format!("{size:x};a=\"\r\n\"\r\n{inner}\r\n0\r\n\r\n"),
        6 => format!("{size:x};a\n{inner}\r\n0\r\n\r\n"),
        7 => format!("{size:x}\n{inner}\r\n0\r\n\r\n"),
        8 => format!("{size:x}\r\n{inner}\n0\r\n\r\n"),
        9 => format!("{size:x}\r\n{inner}0\r\n\r\n"),
        10 => format!("1\r\nZ\r\n0\n\r\n{inner}"),
        11 => format!("0\r\n{inner}"),
        12 => format!("0\n\n{inner}"),
        13 => format!("0;x\r\n\r\n{inner}"),
        14 => format!("00000000000000000000\r\n\r\n{inner}"),
        15 => format!("fffffffffffffffff\r\n{inner}"),
        16 => format!("ffffffffffffffff\r\n{inner}"),
        17 => format!("1\r\nZZ\r\n0\r\n\r\n{inner}"),
        18 => format!("0\r\nContent-Length: {size}\r\nHost: evil\r\nX-Tenant: evil\r\n\r\n{inner}"),
        _ => format!("\r\n{size:x}\r\n{inner}\r\n0\r\n\r\n"),
    };
    post(host, path, "Transfer-Encoding: chunked\r\n", &body)
}

/// Line ends, blanks and control characters where they do not belong.
fn lines(random: &mut Random, host: &str, path: &str, inner: &str) -> Vec<u8> {
    let text = match random.below(16) {
        0 => format!("GET {path} HTTP/1.1\nHost: {host}\n\n{inner}"),
        1 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\n{inner}"),
        2 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX: a\r\r\n\r\n{inner}"),
        3 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX: a\rb\r\n\r\n{inner}"),
        4 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n{inner}"),
        5 => format!("GET {path} HTTP/1.1\r\n Host: {host}\r\n\r\n{inner}"),
        6 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n X-Tenant: evil\r\n\r\n{inner}"),
        7 => format!("GET {path} HTTP/1.1\r\nHost : {host}\r\n\r\n{inner}"),
        8 => format!("GET  {path} HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}"),
        9 => format!("GET {path}  HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}"),
        10 => format!("GET\t{path}\tHTTP/1.1\r\nHost: {host}\r\n\r\n{inner}"),
        11 => format!("GET {path} HTTP/1.1\u{b}\r\nHost: {host}\r\n\r\n{inner}"),
        12 => format!("\r\n\r\n\r\nGET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}"),
        13 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n: empty\r\n\r\n{inner}"),
        14 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nno colon\r\n\r\n{inner}"),
        _ => format!("GET {path}\r\nHost: {host}\r\n\r\n{inner}"),
    };
    text.into_bytes()
}

/// Targets, versions, expectations and upgrades that change what follows.
fn shapes(random: &mut Random, host: &str, path: &str, inner: &str, length: usize) -> Vec<u8> {
    let text = match random.below(20) {
        0 => format!("GET https://evil.example.test{path} HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}"),
        1 => format!("GET {path}#a HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}"),
        2 => {
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: evil.example.test\r\n\r\n{inner}")
        }
        3 => format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n{inner}"
        ),
        4 => format!("GET {path} HTTP/1.2\r\nHost: {host}\r\n\r\n{inner}"),
        5 => format!("GET {path} HTTP/2.0\r\nHost: {host}\r\n\r\n{inner}"),
        6 => format!("GET {path} HTTP/1.1 \r\nHost: {host}\r\n\r\n{inner}"),
        7 => format!(
            "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        8 => format!("TRACE {path} HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}"),
        9 => format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        10 => format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        11 => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        12 => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nExpect: y 100-continue\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        13 => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        14 => format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        15 => format!(
            "HEAD {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        16 => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Content-Length\r\nContent-Length: {length}\r\n\r\n{inner}"
        ),
        17 => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{inner}\r\n0\r\n\r\n"
        ),
        18 => format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{inner}"),
        _ => {
            format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{inner}")
        }
    };
    text.into_bytes()
}

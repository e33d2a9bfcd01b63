//! The tap by itself: what goes through, what is refused, and that it does not matter in how many pieces bytes come.

use proptest::prelude::*;

use super::*;

const MOST: usize = 32 << 10;

/// Feeds `bytes` in pieces of the given sizes (over and over): what goes through, and how it ends.
fn run(bytes: &[u8], pieces: &[usize]) -> (Vec<u8>, Next) {
    let mut tap = Tap::new(MOST);
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let mut sizes = pieces.iter().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        rest = after;
        held.extend_from_slice(piece);
        let (size, next) = tap.feed(&held);
        passed.extend(held.drain(..size));
        if next != Next::More {
            return (passed, next);
        }
    }
    (passed, Next::More)
}

/// How a request with these lines after its request line and `Host` ends.
fn verdict(rest: &str) -> String {
    outcome(&format!("GET / HTTP/1.1\r\nHost: a.x\r\n{rest}"))
}

fn outcome(bytes: &str) -> String {
    let (passed, next) = run(bytes.as_bytes(), &[bytes.len()]);
    match next {
        Next::More if passed.len() == bytes.len() => "passed".to_owned(),
        Next::More => format!("held {}", bytes.len() - passed.len()),
        Next::Refused(refusal, _) => format!("{refusal:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn whole_messages_pass_one_after_another() {
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a.x\r\n\r\n",
        "\r\nGET / HTTP/1.0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a.x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
        "POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0A\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 7\r\nY:\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "GET https://a.x/b?c HTTP/1.1\r\nHost: a.x\r\nX: \u{e9}\t!\r\n\r\n",
    ] {
        assert_eq!(outcome(bytes), "passed", "{bytes:?}");
    }
}

#[test]
fn a_head_goes_on_only_when_it_is_whole() {
    assert_eq!(outcome("GET / HTTP/1.1\r\nHost: a.x\r\n"), "held 27");
    assert_eq!(outcome("\r"), "held 1");
    // But for a CR that no LF follows: it is refused at once.
    assert_eq!(outcome("\rG"), "Control");
    assert_eq!(outcome("GET / HTTP/1.1\rHost: a.x\r"), "Control");
    assert_eq!(outcome("GET / HTTP/1.1\r\nHost: a.x\r\r"), "Control");
    assert_eq!(outcome("GET / HTTP/1.1\r\nHost: a.x\r"), "held 26");
    assert_eq!(
        outcome("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGE"),
        "held 2"
    );
}

#[test]
fn heads_with_two_readings_are_refused() {
    for (rest, expected) in [
        ("X: 1\n\r\n", "LineEnd"),
        ("X: 1\r\n\n", "LineEnd"),
        ("X: 1\rY: 2\r\n\r\n", "Control"),
        ("X: 1\r\r\n\r\n", "Control"),
        ("X: a\0b\r\n\r\n", "Control"),
        ("X\0: a\r\n\r\n", "Control"),
        ("X: a\x7f\r\n\r\n", "Control"),
        ("X: 1\r\n folded\r\n\r\n", "Folded"),
        ("X : 1\r\n\r\n", "SpaceBeforeColon"),
        ("X\t: 1\r\n\r\n", "SpaceBeforeColon"),
        (": 1\r\n\r\n", "Name"),
        ("X\r\n\r\n", "Name"),
        ("B\u{fc}: 1\r\n\r\n", "Name"),
        ("Content-Length: 1\r\ncontent-length: 1\r\n\r\n", "Lengths"),
        ("Content-Length: +1\r\n\r\n", "Length"),
        ("Content-Length: 1, 1\r\n\r\n", "Length"),
        ("Content-Length:\r\n\r\n", "Length"),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "LengthAndCoding",
        ),
        (
            "Transfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\n",
            "LengthAndCoding",
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Codings",
        ),
        ("Transfer-Encoding: chunked, chunked\r\n\r\n", "Coding"),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n", "UnknownCoding"),
        ("Transfer-Encoding : chunked\r\n\r\n", "SpaceBeforeColon"),
        ("Transfer-Encoding: \x0bchunked\r\n\r\n", "Control"),
    ] {
        assert_eq!(verdict(rest), expected, "{rest:?}");
    }
    for (bytes, expected) in [
        (
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "CodingInOld",
        ),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", "EmptyLines"),
        ("\nGET / HTTP/1.1\r\n\r\n", "LineEnd"),
        (" GET / HTTP/1.1\r\n\r\n", "RequestLine"),
        ("GET  / HTTP/1.1\r\n\r\n", "RequestLine"),
        ("GET / a HTTP/1.1\r\n\r\n", "RequestLine"),
        ("GET /  HTTP/1.1\r\n\r\n", "RequestLine"),
        ("GET /\r\n", "RequestLine"),
        ("GET\t/ HTTP/1.1\r\n\r\n", "RequestLine"),
        ("GET / HTTP/1.1 \r\n\r\n", "RequestLine"),
        ("GET / HTTP/1.2\r\n\r\n", "Version"),
        ("GET / http/1.1\r\n\r\n", "RequestLine"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Version"),
        ("GET /#a HTTP/1.1\r\n\r\n", "Fragment"),
        ("GET /\u{e9} HTTP/1.1\r\n\r\n", "Target"),
        ("GET /a<b HTTP/1.1\r\n\r\n", "Target"),
        ("GET /\0 HTTP/1.1\r\n\r\n", "Control"),
        ("G(T / HTTP/1.1\r\n\r\n", "RequestLine"),
        ("GET [ HTTP/1.1\r\n\r\n", "Target"),
    ] {
        assert_eq!(outcome(bytes), expected, "{bytes:?}");
    }
    assert_eq!(
        outcome(&format!("{} / HTTP/1.1\r\n", "A".repeat(33))),
        "Method"
    );
}

#[test]
fn sizes_have_bounds() {
    let target = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(8192));
    assert_eq!(outcome(&target), "TargetTooLong");
    assert_eq!(
        outcome(&format!("GET /{}", "a".repeat(MOST))),
        "TargetTooLong"
    );
    assert_eq!(verdict(&format!("X: {}", "a".repeat(MOST))), "TooLarge");
    assert_eq!(verdict(&format!("{}\r\n", "X: 1\r\n".repeat(99))), "passed");
    assert_eq!(
        verdict(&format!("{}\r\n", "X: 1\r\n".repeat(100))),
        "TooMany"
    );
    let head = |size: usize| {
        let start = "GET / HTTP/1.1\r\nX: ";
        format!("{start}{}\r\n\r\n", "a".repeat(size - start.len() - 4))
    };
    assert_eq!(outcome(&head(MOST)), "passed");
    assert_eq!(outcome(&head(MOST + 1)), "TooLarge");
}

#[test]
fn chunks_that_could_be_read_in_two_ways_break_the_body() {
    let chunked = |body: &str| {
        outcome(&format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ))
    };
    for body in [
        "0x1\r\n",
        "+1\r\n",
        "-1\r\n",
        " 1\r\n",
        "1 \r\n",
        "1 ;a\r\n",
        "\r\n",
        ";a\r\n",
        "1\n",
        "1;a\n",
        "1;\u{e9}\r\n",
        "1;a=\"\r\n",
        "1;\"a\"b\"\r\n",
        "1;a\rb\r\n",
        "1;\0\r\n",
        "00000000000000001\r\n",
        "g\r\n",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\r\r\n",
        "0\r\n\n",
        "0\r\n X: 1\r\n",
        "0\r\nX : 1\r\n",
        "0\r\nX\r\n",
        "0\r\nX: a\nY: b\r\n",
        "0\r\nX: \0\r\n",
        "0\r\n: 1\r\n",
    ] {
        assert_eq!(chunked(body), "Broken", "{body:?}");
    }
    assert_eq!(chunked("FFFFFFFFFFFFFFFF\r\nx"), "passed");
    assert_eq!(chunked(&format!("1;{}\r\n", "a".repeat(5000))), "Broken");
    assert_eq!(
        chunked(&format!("0\r\nX: {}\r\n", "a".repeat(9000))),
        "Broken"
    );
    assert_eq!(
        chunked(&format!("0\r\n{}", "X: 1\r\n".repeat(101))),
        "Broken"
    );
}

#[test]
fn after_a_request_for_a_websocket_nothing_goes_on() {
    let ask = "GET /c HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let (passed, next) = run(format!("{ask}GET / HTTP/1.1\r\n\r\n").as_bytes(), &[1000]);
    assert_eq!((passed, next), (ask.as_bytes().to_vec(), Next::Waits));
    for other in [
        ask.replace("GET", "POST"),
        ask.replace("1.1", "1.0"),
        ask.replace("WebSocket", "h2c"),
        ask.replace(", Upgrade", ""),
        ask.replace("\r\n\r\n", "\r\nUpgrade: websocket\r\n\r\n"),
        ask.replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
    ] {
        assert_eq!(outcome(&other), "passed", "{other}");
    }
}

#[test]
fn a_stand_in_has_the_request_line_if_that_was_good() {
    let stand_in = |bytes: &str| {
        let Next::Refused(_, stand_in) = run(bytes.as_bytes(), &[7]).1 else {
            return String::new();
        };
        String::from_utf8(stand_in).unwrap()
    };
    let rest = "\r\nhost: invalid\r\nconnection: close\r\n\r\n";
    assert_eq!(
        stand_in("\r\nPUT /a?b HTTP/1.0\r\nX\r\n"),
        format!("PUT /a?b HTTP/1.0{rest}")
    );
    assert_eq!(
        stand_in("PUT /#b HTTP/1.0\r\nX\r\n"),
        format!("- * HTTP/1.1{rest}")
    );
}

/// Pieces that messages, good and bad, are made of.
const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "Host: a.x\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Upgrade: websocket\r\n",
    "Connection: upgrade\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    ":",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\nX: 1\r\n\r\n",
    "hello",
    "#",
    "X: y\r\n",
    "\0",
    "1;x\r\n",
    "\u{e9}",
];

fn message() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        20 => proptest::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        bytes in message(),
        pieces in proptest::collection::vec(1..40_usize, 1..8),
    ) {
        let whole = run(&bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(&run(&bytes, &[1]), &whole);
        prop_assert_eq!(&run(&bytes, &pieces), &whole);
    }

    #[test]
    fn what_goes_through_is_a_beginning_of_what_came(bytes in message()) {
        let (passed, _) = run(&bytes, &[usize::MAX]);
        prop_assert!(bytes.starts_with(&passed));
    }
}

//! Streams and messages (RFC 9113 sections 5.1, 5.3 and 8): the cases `http2/5.1`, `http2/5.3` and `http2/8`.

use super::{Await, Case, Expect, case};
use crate::support::framer::hpack::Block;
use crate::support::framer::{Frames, HOST, code, flag, kind, post, priority, request, setting};

const PROTOCOL: Expect = Expect::Connection(&[code::PROTOCOL_ERROR]);
const MALFORMED: Expect = Expect::Stream(1, &[code::PROTOCOL_ERROR]);
const CLOSED: Expect = Expect::Stream(1, &[code::STREAM_CLOSED]);
/// A CONTINUATION out of place is an error of the connection, whatever became of the stream.
const CLOSED_OR_PROTOCOL: Expect = Expect::Connection(&[code::STREAM_CLOSED, code::PROTOCOL_ERROR]);

pub(super) fn cases() -> Vec<Case> {
    [states(), identifiers(), malformed(), bodies()].concat()
}

fn states() -> Vec<Case> {
    let f = Frames::new;
    let data = |frames: Frames| frames.data(1, flag::END_STREAM, b"test");
    let continued =
        |frames: Frames| frames.continuation(1, flag::END_HEADERS, &Block::of(&[("x-a", "b")]).0);
    let reset = || f().post(1).reset(1, code::CANCEL);
    let over =
        |id, what, frames, expect| case(id, what, f().get(1), expect).then(Await::End(1), frames);
    vec![
        case("http2/5.1/1", "idle: DATA", data(f()), PROTOCOL),
        case(
            "http2/5.1/2",
            "idle: RST_STREAM",
            f().reset(1, code::CANCEL),
            PROTOCOL,
        ),
        case(
            "http2/5.1/3",
            "idle: WINDOW_UPDATE",
            f().window(1, 100),
            PROTOCOL,
        ),
        case(
            "http2/5.1/4",
            "idle: CONTINUATION",
            continued(f()),
            PROTOCOL,
        ),
        case("http2/5.1/5", "half-closed: DATA", data(f().get(1)), CLOSED),
        case(
            "http2/5.1/6",
            "half-closed: HEADERS",
            f().get(1).get(1),
            CLOSED,
        ),
        case(
            "http2/5.1/7",
            "half-closed: CONTINUATION",
            continued(f().get(1)),
            CLOSED_OR_PROTOCOL,
        ),
        case("http2/5.1/8", "reset: DATA", data(reset()), CLOSED),
        case("http2/5.1/9", "reset: HEADERS", reset().get(1), CLOSED),
        case(
            "http2/5.1/10",
            "reset: CONTINUATION",
            continued(reset()),
            CLOSED_OR_PROTOCOL,
        ),
        over("http2/5.1/11", "closed: DATA", data(f()), CLOSED),
        over(
            "http2/5.1/12",
            "closed: HEADERS",
            f().get(1),
            Expect::Connection(&[code::STREAM_CLOSED]),
        ),
        over(
            "http2/5.1/13",
            "closed: CONTINUATION",
            continued(f()),
            CLOSED_OR_PROTOCOL,
        ),
    ]
}

fn identifiers() -> Vec<Case> {
    let f = Frames::new;
    let no_window = f().settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let many = (0..=100).fold(no_window, |frames, number| frames.get(2 * number + 1));
    let on_itself = [priority(false, 1, 255), request().0].concat();
    vec![
        case("http2/5.1.1/1", "an even stream", f().get(2), PROTOCOL),
        case(
            "http2/5.1.1/2",
            "a stream lower than the last",
            f().get(5).get(3),
            PROTOCOL,
        ),
        case(
            "http2/5.1.2/1",
            "more streams than SETTINGS_MAX_CONCURRENT_STREAMS",
            many,
            Expect::Stream(201, &[code::PROTOCOL_ERROR, code::REFUSED_STREAM]),
        ),
        case(
            "http2/5.3.1/1",
            "HEADERS that depend on themselves",
            f().frame(kind::HEADERS, flag::WHOLE | flag::PRIORITY, 1, &on_itself),
            MALFORMED,
        ),
        case(
            "http2/5.3.1/2",
            "PRIORITY that depends on itself",
            f().priority(1, false, 1, 255),
            MALFORMED,
        ),
        case(
            "http2/8.2/1",
            "PUSH_PROMISE",
            f().frame(
                kind::PUSH_PROMISE,
                flag::END_HEADERS,
                1,
                &[&[0, 0, 0, 3][..], &request().0].concat(),
            ),
            PROTOCOL,
        ),
    ]
}

fn malformed() -> Vec<Case> {
    let with = |name: &str, value: &str| request().field(name, value);
    let without = |missing: &str| {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/"),
        ];
        Block::of(
            &fields
                .into_iter()
                .filter(|(name, _)| *name != missing)
                .collect::<Vec<_>>(),
        )
    };
    let regular_first = Block::of(&[("x-test", "ok")]).raw(&request().0);
    let blocks = [
        (
            "http2/8.1.2/1",
            "a name in upper case",
            with("X-TEST", "ok"),
        ),
        (
            "http2/8.1.2.1/1",
            "an unknown pseudo-header",
            with(":test", "ok"),
        ),
        (
            "http2/8.1.2.1/2",
            "a pseudo-header of answers",
            with(":status", "200"),
        ),
        (
            "http2/8.1.2.1/4",
            "a pseudo-header after a regular one",
            regular_first,
        ),
        (
            "http2/8.1.2.2/1",
            "`connection`",
            with("connection", "keep-alive"),
        ),
        (
            "http2/8.1.2.2/2",
            "`te` beyond trailers",
            with("trailers", "test").field("te", "trailers, deflate"),
        ),
        (
            "http2/8.1.2.3/1",
            "an empty :path",
            without(":path").field(":path", ""),
        ),
        ("http2/8.1.2.3/2", "no :method", without(":method")),
        ("http2/8.1.2.3/3", "no :scheme", without(":scheme")),
        ("http2/8.1.2.3/4", "no :path", without(":path")),
        ("http2/8.1.2.3/5", ":method twice", with(":method", "GET")),
        ("http2/8.1.2.3/6", ":scheme twice", with(":scheme", "https")),
        ("http2/8.1.2.3/7", ":path twice", with(":path", "/")),
    ];
    let made = blocks.into_iter().map(|(id, what, block)| {
        case(
            id,
            what,
            Frames::new().headers(1, flag::WHOLE, &block),
            MALFORMED,
        )
    });
    made.collect()
}

fn bodies() -> Vec<Case> {
    let f = Frames::new;
    let posted = || f().post(1).data(1, 0, b"test");
    let sized = || f().headers(1, flag::END_HEADERS, &post().field("content-length", "1"));
    let trailers = Block::of(&[("x-test", "ok")]);
    let pseudo = Block::of(&[(":method", "200")]);
    vec![
        case(
            "http2/8.1/1",
            "trailers that do not end",
            posted().headers(1, flag::END_HEADERS, &trailers),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.1/3",
            "a pseudo-header in trailers",
            posted().headers(1, flag::WHOLE, &pseudo),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.6/1",
            "content-length is not that of DATA",
            sized().data(1, flag::END_STREAM, b"test"),
            MALFORMED,
        ),
        case(
            "http2/8.1.2.6/2",
            "content-length is not that of all DATA",
            sized()
                .data(1, 0, b"test")
                .data(1, flag::END_STREAM, b"test"),
            MALFORMED,
        ),
    ]
}

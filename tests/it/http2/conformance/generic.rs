//! What every server must take: the cases `generic/1` to `generic/5`.

use super::{Await, Case, Expect, case};
use crate::support::framer::hpack::{Block, Keep};
use crate::support::framer::{
    Frames, HOST, PREFACE, asking, code, flag, kind, post, priority, request, setting,
};

const PING: [u8; 8] = *b"generic!";

pub(super) fn cases() -> Vec<Case> {
    [connection(), bodies(), streams(), exchanges(), hpack()].concat()
}

fn connection() -> Vec<Case> {
    let f = Frames::new;
    let ping = Expect::Ping(PING);
    vec![
        case(
            "generic/1/1",
            "preface",
            f().raw(PREFACE).settings(&[]),
            Expect::FirstSettings,
        )
        .unopened(),
        case(
            "generic/3.5/1",
            "SETTINGS",
            f().settings(&[(setting::MAX_CONCURRENT_STREAMS, 100)]),
            Expect::SettingsAck,
        ),
        case("generic/3.7/1", "PING", f().ping(PING), ping),
        case(
            "generic/3.8/1",
            "GOAWAY",
            f().goaway(code::NO_ERROR).ping(PING),
            Expect::PingOrClose(PING),
        ),
        case(
            "generic/3.9/1",
            "WINDOW_UPDATE of the connection",
            f().window(0, 1).ping(PING),
            ping,
        ),
        case(
            "generic/3.9/2",
            "WINDOW_UPDATE of a stream",
            f().get(1).window(1, 1),
            Expect::Headers(1),
        ),
    ]
}

fn streams() -> Vec<Case> {
    let f = Frames::new;
    let no_window = f().settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let answered =
        |frames| case("", "", f().get(1), Expect::Ping(PING)).then(Await::End(1), frames);
    vec![
        case(
            "generic/2/1",
            "PRIORITY on an idle stream",
            f().priority(1, false, 0, 255).ping(PING),
            Expect::Ping(PING),
        ),
        case(
            "generic/2/2",
            "WINDOW_UPDATE on a half-closed stream",
            no_window.clone().get(1).window(1, 1),
            Expect::Data(1),
        ),
        case(
            "generic/2/3",
            "PRIORITY on a half-closed stream",
            no_window.get(1).priority(1, false, 0, 255).window(1, 1),
            Expect::Data(1),
        ),
        case(
            "generic/2/4",
            "RST_STREAM on a half-closed stream",
            f().get(1).reset(1, code::CANCEL).ping(PING),
            Expect::PingOrClose(PING),
        ),
        answered(f().priority(1, false, 0, 255).ping(PING))
            .named("generic/2/5", "PRIORITY on a closed stream"),
        case(
            "generic/3.3/1",
            "PRIORITY, weight 1",
            f().priority(1, false, 0, 0).get(1),
            Expect::Headers(1),
        ),
        case(
            "generic/3.3/2",
            "PRIORITY, weight 256",
            f().priority(1, false, 0, 255).get(1),
            Expect::Headers(1),
        ),
        case(
            "generic/3.3/3",
            "PRIORITY with a dependency",
            f().priority(3, false, 1, 255).get(1),
            Expect::Headers(1),
        ),
        case(
            "generic/3.3/4",
            "PRIORITY, exclusive",
            f().priority(3, true, 1, 255).get(1),
            Expect::Headers(1),
        ),
        case(
            "generic/3.3/5",
            "PRIORITY on an idle stream, then HEADERS on a lower one",
            f().priority(5, false, 0, 255).get(3),
            Expect::Headers(3),
        ),
        case(
            "generic/3.4/1",
            "RST_STREAM",
            f().post(1).reset(1, code::CANCEL).ping(PING),
            Expect::PingOrClose(PING),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let f = Frames::new;
    let block = request().0;
    let begun = f().frame(kind::HEADERS, flag::END_STREAM, 1, &block[..5]);
    let padded = [&[3][..], &block, &[0; 3]].concat();
    let with_priority = [priority(false, 0, 255), block.clone()].concat();
    vec![
        case(
            "generic/3.1/1",
            "DATA",
            f().post(1).data(1, flag::END_STREAM, b"test"),
            Expect::Headers(1),
        ),
        case(
            "generic/3.1/2",
            "DATA twice",
            f().post(1)
                .data(1, 0, b"test")
                .data(1, flag::END_STREAM, b"test"),
            Expect::Headers(1),
        ),
        case(
            "generic/3.1/3",
            "DATA with padding",
            f().post(1)
                .data(1, flag::END_STREAM | flag::PADDED, b"\x05test\0\0\0\0\0"),
            Expect::Headers(1),
        ),
        case("generic/3.2/1", "HEADERS", f().get(1), Expect::Headers(1)),
        case(
            "generic/3.2/2",
            "HEADERS with padding",
            f().frame(kind::HEADERS, flag::WHOLE | flag::PADDED, 1, &padded),
            Expect::Headers(1),
        ),
        case(
            "generic/3.2/3",
            "HEADERS with a priority",
            f().frame(
                kind::HEADERS,
                flag::WHOLE | flag::PRIORITY,
                1,
                &with_priority,
            ),
            Expect::Headers(1),
        ),
        case(
            "generic/3.10/1",
            "CONTINUATION",
            begun
                .clone()
                .continuation(1, flag::END_HEADERS, &block[5..]),
            Expect::Headers(1),
        ),
        case(
            "generic/3.10/2",
            "CONTINUATION twice",
            begun.continuation(1, 0, &block[5..10]).continuation(
                1,
                flag::END_HEADERS,
                &block[10..],
            ),
            Expect::Headers(1),
        ),
    ]
}

fn exchanges() -> Vec<Case> {
    let f = Frames::new;
    let trailers = Block::of(&[("x-test", "ok")]);
    vec![
        case("generic/4/1", "GET", f().get(1), Expect::Headers(1)),
        case(
            "generic/4/2",
            "HEAD",
            f().headers(1, flag::WHOLE, &asking("HEAD", "/")),
            Expect::Headers(1),
        ),
        case(
            "generic/4/3",
            "POST",
            f().post(1).data(1, flag::END_STREAM, b"test"),
            Expect::Headers(1),
        ),
        case(
            "generic/4/4",
            "POST with trailers",
            f().headers(1, flag::END_HEADERS, &post().field("trailer", "x-test"))
                .data(1, 0, b"test")
                .headers(1, flag::WHOLE, &trailers),
            Expect::Headers(1),
        ),
    ]
}

fn hpack() -> Vec<Case> {
    // Authority as the only literal: the other pseudo-headers stand in the static table.
    let base = || {
        Block::default()
            .indexed(2)
            .indexed(7)
            .indexed(4)
            .field(":authority", HOST)
    };
    let mut cases = vec![base().indexed(16)];
    let keeps = [Keep::Incremental, Keep::Without, Keep::Never];
    for keep in keeps {
        for huffman in [false, true] {
            // 58 is `user-agent`.
            cases.push(base().literal(keep, 58, b"portico", huffman));
        }
        for huffman in [false, true] {
            cases.push(base().named(keep, b"x-test", b"portico", huffman));
        }
    }
    cases.push(Block::default().size_update(128).raw(&base().0));
    cases.push(
        Block::default()
            .size_update(128)
            .size_update(4096)
            .raw(&base().0),
    );
    let made = cases.into_iter().zip(NAMES);
    made.map(|(block, (id, what))| {
        case(
            id,
            what,
            Frames::new().headers(1, flag::WHOLE, &block),
            Expect::Headers(1),
        )
    })
    .collect()
}

const NAMES: [(&str, &str); 15] = [
    ("generic/5/1", "indexed field"),
    ("generic/5/2", "literal, indexed, name of the table"),
    (
        "generic/5/3",
        "literal, indexed, name of the table, Huffman",
    ),
    ("generic/5/4", "literal, indexed, new name"),
    ("generic/5/5", "literal, indexed, new name, Huffman"),
    ("generic/5/6", "literal, not indexed, name of the table"),
    (
        "generic/5/7",
        "literal, not indexed, name of the table, Huffman",
    ),
    ("generic/5/8", "literal, not indexed, new name"),
    ("generic/5/9", "literal, not indexed, new name, Huffman"),
    ("generic/5/10", "literal, never indexed, name of the table"),
    (
        "generic/5/11",
        "literal, never indexed, name of the table, Huffman",
    ),
    ("generic/5/12", "literal, never indexed, new name"),
    ("generic/5/13", "literal, never indexed, new name, Huffman"),
    ("generic/5/14", "size update"),
    ("generic/5/15", "two size updates"),
];

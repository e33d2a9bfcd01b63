//! Frames (RFC 9113 sections 3 to 7): the cases `http2/3.5`, `http2/4`, `http2/5.4`, `http2/5.5`, `http2/6`, `http2/7`.

use super::{Await, Case, Expect, case};
use crate::support::framer::hpack::Block;
use crate::support::framer::{Frames, PREFACE, code, flag, kind, post, priority, request, setting};

const PING: [u8; 8] = *b"frames!!";
const PROTOCOL: Expect = Expect::Connection(&[code::PROTOCOL_ERROR]);
const FLOW: Expect = Expect::Connection(&[code::FLOW_CONTROL_ERROR]);
const SIZE: Expect = Expect::Connection(&[code::FRAME_SIZE_ERROR]);
/// As large as the windows of flow control get.
const MOST: u32 = (1 << 31) - 1;

pub(super) fn cases() -> Vec<Case> {
    [
        format(),
        blocks(),
        small(),
        settings(),
        windows(),
        continuations(),
    ]
    .concat()
}

/// The head of a request in a frame that does not end it.
fn open_block(flags: u8) -> Frames {
    Frames::new().headers(1, flags, &request())
}

/// A block that may follow it.
fn more() -> Vec<u8> {
    Block::of(&[("x-dummy", "dummy")]).0
}

fn format() -> Vec<Case> {
    let f = Frames::new;
    let post = f().post(1);
    let long = [post_with_long_fields(), vec![0; 1]].concat();
    vec![
        case(
            "http2/3.5/1",
            "preface",
            f().raw(PREFACE).settings(&[]),
            Expect::FirstSettings,
        )
        .unopened(),
        case(
            "http2/3.5/2",
            "no preface",
            f().raw(b"INVALID CONNECTION PREFACE\r\n\r\n"),
            PROTOCOL,
        )
        .unopened(),
        case(
            "http2/4.1/1",
            "unknown type",
            f().frame(0x16, 0, 0, &[0; 8]).ping(PING),
            Expect::Ping(PING),
        ),
        case(
            "http2/4.1/2",
            "unknown flags",
            f().frame(kind::PING, 0x16, 0, &PING),
            Expect::Ping(PING),
        ),
        case(
            "http2/4.1/3",
            "the reserved bit",
            f().frame(kind::PING, 0x16, 1 << 31, &PING),
            Expect::Ping(PING),
        ),
        case(
            "http2/4.2/1",
            "DATA of 2^14 octets",
            post.clone().data(1, flag::END_STREAM, &vec![b'x'; 1 << 14]),
            Expect::Headers(1),
        ),
        case(
            "http2/4.2/2",
            "DATA beyond SETTINGS_MAX_FRAME_SIZE",
            post.data(1, flag::END_STREAM, &vec![b'x'; (1 << 14) + 1]),
            Expect::Stream(1, &[code::FRAME_SIZE_ERROR]),
        ),
        case(
            "http2/4.2/3",
            "HEADERS beyond SETTINGS_MAX_FRAME_SIZE",
            f().frame(kind::HEADERS, flag::WHOLE, 1, &long),
            SIZE,
        ),
        case(
            "http2/5.4.1/1",
            "a connection error closes",
            f().frame(kind::PING, 0, 3, &PING),
            Expect::Closed,
        ),
        case(
            "http2/5.4.1/2",
            "a connection error is told first",
            f().frame(kind::PING, 0, 3, &PING),
            Expect::GoAway(code::PROTOCOL_ERROR),
        ),
        case(
            "http2/5.5/1",
            "unknown extension",
            f().frame(0x16, 0, 0, &[0; 8]).ping(PING),
            Expect::Ping(PING),
        ),
        case(
            "http2/5.5/2",
            "unknown extension within a header block",
            open_block(flag::END_STREAM).frame(0x16, 0, 0, &[0; 8]),
            PROTOCOL,
        ),
        case(
            "http2/7/1",
            "GOAWAY with an unknown code",
            f().goaway(0xff).ping(PING),
            Expect::PingOrClose(PING),
        ),
        case(
            "http2/7/2",
            "RST_STREAM with an unknown code",
            f().post(1).reset(1, 0xff).ping(PING),
            Expect::PingOrClose(PING),
        ),
    ]
}

/// A legal block of 2^14 octets.
fn post_with_long_fields() -> Vec<u8> {
    let mut block = request();
    while (1 << 14) - block.0.len() > 4000 {
        block = block.field("x-dummy", "x".repeat(3000));
    }
    // Name and its length, value and its length in three octets, and the first octet.
    let rest = (1 << 14) - block.0.len() - "x-dummy".len() - 5;
    let block = block.field("x-dummy", "x".repeat(rest)).0;
    assert_eq!(block.len(), 1 << 14);
    block
}

fn blocks() -> Vec<Case> {
    let other = |frames: Frames| frames.get(3).continuation(1, flag::END_HEADERS, &more());
    let between = |frames: Frames| {
        frames
            .priority(1, false, 0, 255)
            .continuation(1, flag::END_HEADERS, &more())
    };
    let padding = [
        &[u8::try_from(request().0.len() + 2).unwrap()][..],
        &request().0,
    ]
    .concat();
    let f = Frames::new;
    vec![
        case(
            "http2/4.3/1",
            "a block that breaks off",
            f().frame(kind::HEADERS, flag::WHOLE, 1, b"\x40"),
            Expect::Connection(&[code::COMPRESSION_ERROR]),
        ),
        case(
            "http2/4.3/2",
            "PRIORITY within a block",
            between(open_block(0)),
            PROTOCOL,
        ),
        case(
            "http2/4.3/3",
            "HEADERS of another stream within a block",
            other(open_block(0)),
            PROTOCOL,
        ),
        case(
            "http2/6.2/1",
            "PRIORITY after HEADERS without END_HEADERS",
            between(open_block(0)),
            PROTOCOL,
        ),
        case(
            "http2/6.2/2",
            "HEADERS of another stream after them",
            other(open_block(0)),
            PROTOCOL,
        ),
        case("http2/6.2/3", "HEADERS on stream 0", f().get(0), PROTOCOL),
        case(
            "http2/6.2/4",
            "HEADERS with too much padding",
            f().frame(kind::HEADERS, flag::WHOLE | flag::PADDED, 1, &padding),
            Expect::Stream(1, &[code::PROTOCOL_ERROR]),
        ),
    ]
}

fn small() -> Vec<Case> {
    let f = Frames::new;
    let get = || f().get(1);
    vec![
        case(
            "http2/6.1/1",
            "DATA on stream 0",
            f().data(0, flag::END_STREAM, b"test"),
            PROTOCOL,
        ),
        case(
            "http2/6.1/2",
            "DATA on a stream that is not open",
            get().data(1, flag::END_STREAM, b"test"),
            Expect::Stream(1, &[code::STREAM_CLOSED]),
        ),
        case(
            "http2/6.1/3",
            "DATA with too much padding",
            f().post(1)
                .data(1, flag::END_STREAM | flag::PADDED, b"\x06Test"),
            PROTOCOL,
        ),
        case(
            "http2/6.3/1",
            "PRIORITY on stream 0",
            f().priority(0, false, 0, 255),
            PROTOCOL,
        ),
        case(
            "http2/6.3/2",
            "PRIORITY of 4 octets",
            get().frame(kind::PRIORITY, 0, 1, &priority(false, 1, 0)[..4]),
            Expect::Stream(1, &[code::FRAME_SIZE_ERROR]),
        ),
        case(
            "http2/6.4/1",
            "RST_STREAM on stream 0",
            f().reset(0, code::CANCEL),
            PROTOCOL,
        ),
        case(
            "http2/6.4/2",
            "RST_STREAM on an idle stream",
            f().reset(1, code::CANCEL),
            PROTOCOL,
        ),
        case(
            "http2/6.4/3",
            "RST_STREAM of 3 octets",
            get().frame(kind::RST_STREAM, 0, 1, &[0; 3]),
            Expect::Stream(1, &[code::FRAME_SIZE_ERROR]),
        ),
        case("http2/6.7/1", "PING", f().ping(PING), Expect::Ping(PING)),
        case(
            "http2/6.7/2",
            "PING with ACK",
            f().frame(kind::PING, flag::ACK, 0, b"unwanted").ping(PING),
            Expect::OnlyPing(PING),
        ),
        case(
            "http2/6.7/3",
            "PING on a stream",
            f().frame(kind::PING, 0, 1, &PING),
            PROTOCOL,
        ),
        case(
            "http2/6.7/4",
            "PING of 6 octets",
            f().frame(kind::PING, 0, 0, &PING[..6]),
            SIZE,
        ),
        case(
            "http2/6.8/1",
            "GOAWAY on a stream",
            f().frame(kind::GOAWAY, 0, 1, &[0; 8]),
            PROTOCOL,
        ),
    ]
}

fn settings() -> Vec<Case> {
    let f = Frames::new;
    let raw = |flags, stream, payload: &[u8]| f().frame(kind::SETTINGS, flags, stream, payload);
    let set = |id, value| f().settings(&[(id, value)]);
    vec![
        case(
            "http2/6.5/1",
            "SETTINGS with ACK and a payload",
            raw(flag::ACK, 0, &[0]),
            SIZE,
        ),
        case(
            "http2/6.5/2",
            "SETTINGS on a stream",
            raw(0, 1, &[0, 3, 0, 0, 0, 100]),
            PROTOCOL,
        ),
        case(
            "http2/6.5/3",
            "SETTINGS of 3 octets",
            raw(0, 0, &[0, 3, 0]),
            SIZE,
        ),
        case(
            "http2/6.5.2/1",
            "ENABLE_PUSH neither 0 nor 1",
            set(setting::ENABLE_PUSH, 2),
            PROTOCOL,
        ),
        case(
            "http2/6.5.2/2",
            "INITIAL_WINDOW_SIZE too large",
            set(setting::INITIAL_WINDOW_SIZE, MOST + 1),
            FLOW,
        ),
        case(
            "http2/6.5.2/3",
            "MAX_FRAME_SIZE too small",
            set(setting::MAX_FRAME_SIZE, (1 << 14) - 1),
            PROTOCOL,
        ),
        case(
            "http2/6.5.2/4",
            "MAX_FRAME_SIZE too large",
            set(setting::MAX_FRAME_SIZE, 1 << 24),
            PROTOCOL,
        ),
        case(
            "http2/6.5.2/5",
            "an unknown setting",
            set(0xff, 1).ping(PING),
            Expect::Ping(PING),
        ),
        case(
            "http2/6.5.3/1",
            "a setting twice: the last counts",
            f().settings(&[
                (setting::INITIAL_WINDOW_SIZE, 100),
                (setting::INITIAL_WINDOW_SIZE, 1),
            ]),
            Expect::Data(1),
        )
        .then(Await::SettingsAck, f().get(1)),
        case(
            "http2/6.5.3/2",
            "SETTINGS are acknowledged",
            set(setting::ENABLE_PUSH, 0),
            Expect::SettingsAck,
        ),
    ]
}

fn windows() -> Vec<Case> {
    let f = Frames::new;
    let window = |size| f().settings(&[(setting::INITIAL_WINDOW_SIZE, size)]);
    vec![
        case(
            "http2/6.9/1",
            "WINDOW_UPDATE of 0",
            f().window(0, 0),
            PROTOCOL,
        ),
        case(
            "http2/6.9/2",
            "WINDOW_UPDATE of 0 on a stream",
            f().post(1).window(1, 0),
            Expect::Stream(1, &[code::PROTOCOL_ERROR]),
        ),
        case(
            "http2/6.9/3",
            "WINDOW_UPDATE of 3 octets",
            f().frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1]),
            SIZE,
        ),
        case("http2/6.9.1/1", "a window of 1", window(1), Expect::Data(1))
            .then(Await::SettingsAck, f().get(1)),
        case(
            "http2/6.9.1/2",
            "a window of more than 2^31-1",
            f().window(0, MOST).window(0, MOST),
            Expect::GoAway(code::FLOW_CONTROL_ERROR),
        ),
        case(
            "http2/6.9.1/3",
            "the same on a stream",
            f().post(1).window(1, MOST).window(1, MOST),
            Expect::Reset(1, code::FLOW_CONTROL_ERROR),
        ),
        case(
            "http2/6.9.2/1",
            "a window that opens after HEADERS",
            window(0),
            Expect::Data(1),
        )
        .then(Await::SettingsAck, f().get(1).raw(&window(1).0)),
        case(
            "http2/6.9.2/2",
            "a negative window",
            window(3),
            Expect::Data(1),
        )
        .then(Await::SettingsAck, f().get(1))
        .then(Await::Data, window(2))
        .then(Await::SettingsAck, f().window(1, 2)),
        case(
            "http2/6.9.2/3",
            "an initial window that is too large",
            window(MOST + 1),
            FLOW,
        ),
    ]
}

fn continuations() -> Vec<Case> {
    let open = || open_block(flag::END_STREAM);
    let posted = || Frames::new().headers(1, flag::END_HEADERS, &post());
    let last = flag::END_HEADERS;
    vec![
        case(
            "http2/6.10/1",
            "CONTINUATION twice",
            open()
                .continuation(1, 0, &more())
                .continuation(1, last, &more()),
            Expect::Headers(1),
        ),
        case(
            "http2/6.10/2",
            "DATA within a block",
            open()
                .continuation(1, 0, &more())
                .data(1, flag::END_STREAM, b"test"),
            PROTOCOL,
        ),
        case(
            "http2/6.10/3",
            "CONTINUATION on stream 0",
            open().continuation(0, last, &more()),
            PROTOCOL,
        ),
        case(
            "http2/6.10/4",
            "CONTINUATION after END_HEADERS",
            posted().continuation(1, last, &more()),
            PROTOCOL,
        ),
        case(
            "http2/6.10/5",
            "CONTINUATION after one with END_HEADERS",
            open()
                .continuation(1, last, &more())
                .continuation(1, last, &more()),
            PROTOCOL,
        ),
        case(
            "http2/6.10/6",
            "CONTINUATION after DATA",
            posted().data(1, 0, b"test").continuation(1, last, &more()),
            PROTOCOL,
        ),
    ]
}

//! D01, D02, D03 and D05: frames and requests that only keep the edge busy.

use super::strike::{Attack, Round};
use super::victim::Victim;
use crate::support::framer::hpack::Block;
use crate::support::framer::{Framer, Frames, code, flag, kind, post, priority, request};

/// Every connection was ended, after no more rounds than `most`, and some were told why with one of `codes`.
async fn must_end(victim: &Victim, attack: Attack, most: usize, codes: &[u32]) {
    let name = attack.name;
    let outcome = victim.suffer(attack).await;
    for strike in &outcome.strikes {
        assert!(strike.closed, "{name}: {strike:?}");
        assert!(strike.rounds <= most, "{name}: {strike:?}");
        assert!(
            strike.goaway.is_none_or(|code| codes.contains(&code)),
            "{name}: {strike:?}"
        );
    }
    let told = outcome
        .strikes
        .iter()
        .filter(|strike| strike.goaway.is_some());
    assert!(told.count() > 0, "{name}: nobody was told why");
    if codes == [code::ENHANCE_YOUR_CALM] {
        assert!(outcome.ended >= 1.0, "{name}: not counted");
    }
}

/// What may still lie in the buffers of both sockets when a connection ends, in rounds.
const ON_THE_WAY: usize = 100_000;

/// The stream of round `number`.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

#[tokio::test]
async fn d01_rapid_reset() {
    let victim = Victim::new().await;
    let attack = Attack::flood("D01 rapid reset", Frames::new(), |number| {
        let stream = stream(number);
        Frames::new().get(stream).reset(stream, code::CANCEL)
    });
    must_end(&victim, attack, ON_THE_WAY, &[code::ENHANCE_YOUR_CALM]).await;

    // One at a time: the edge has begun each request when it is taken back.
    let mut framer = Framer::open(&victim.site.edge).await;
    let mut taken_back = 0;
    while taken_back < 1_000 {
        framer.write(Frames::new().get(stream(taken_back))).await;
        if !framer.round_trip().await {
            break;
        }
        framer
            .write(Frames::new().reset(stream(taken_back), code::CANCEL))
            .await;
        taken_back += 1;
    }
    assert!(
        (100..1_000).contains(&taken_back),
        "ended after {taken_back}"
    );
}

#[tokio::test]
async fn d01_a_browser_that_leaves_a_page_is_no_attacker() {
    let victim = Victim::new().await;
    let mut framer = Framer::open(&victim.site.edge).await;
    let mut next = 1;
    for _page in 0..2 {
        let all: Vec<u32> = (0..90).map(|number| next + 2 * number).collect();
        let asked = all
            .iter()
            .fold(Frames::new(), |frames, &stream| frames.get(stream));
        framer.write(asked).await;
        assert!(framer.round_trip().await);
        let left = all.iter().fold(Frames::new(), |frames, &stream| {
            frames.reset(stream, code::CANCEL)
        });
        framer.write(left).await;
        assert!(framer.round_trip().await, "sent away");
        next += 180;
    }
    framer.write(Frames::new().get(next)).await;
    assert!(framer.round_trip().await, "still served");
}

#[tokio::test]
async fn d02_made_you_reset() {
    let victim = Victim::new().await;
    let primitives: [(&'static str, Round); 6] = [
        ("D02 WINDOW_UPDATE of 0", |n| {
            Frames::new().post(stream(n)).window(stream(n), 0)
        }),
        ("D02 WINDOW_UPDATE beyond the window", |n| {
            Frames::new()
                .post(stream(n))
                .window(stream(n), (1 << 31) - 1)
        }),
        ("D02 PRIORITY of 4 octets", |n| {
            Frames::new().post(stream(n)).frame(
                kind::PRIORITY,
                0,
                stream(n),
                &priority(false, 1, 0)[..4],
            )
        }),
        ("D02 a stream that depends on itself", |n| {
            let payload = [priority(false, stream(n), 0), post().0].concat();
            let flags = flag::END_HEADERS | flag::PRIORITY;
            Frames::new().frame(kind::HEADERS, flags, stream(n), &payload)
        }),
        ("D02 DATA after the end", |n| {
            Frames::new().get(stream(n)).data(stream(n), 0, b"more")
        }),
        ("D02 HEADERS after the end", |n| {
            Frames::new().get(stream(n)).get(stream(n))
        }),
    ];
    for (name, primitive) in primitives {
        let attack = Attack::flood(name, Frames::new(), primitive);
        must_end(
            &victim,
            attack,
            ON_THE_WAY,
            &[
                code::ENHANCE_YOUR_CALM,
                code::FRAME_SIZE_ERROR,
                code::PROTOCOL_ERROR,
                code::STREAM_CLOSED,
            ],
        )
        .await;
    }
    // No more than the limit of a connection ever reaches the app.
    let mut framer = Framer::open(&victim.site.edge).await;
    let before = victim.origin.requests().len();
    let mut made = 0;
    while made < 1_000 {
        let (stream, block) = (stream(made), post().field("content-length", "1"));
        framer
            .write(
                Frames::new()
                    .headers(stream, flag::END_HEADERS, &block)
                    .data(stream, 1, b"longer"),
            )
            .await;
        if !framer.round_trip().await {
            break;
        }
        made += 1;
    }
    assert!((30..200).contains(&made), "ended after {made}");
    assert!(victim.origin.requests().len() - before <= 200);
}

#[tokio::test]
async fn d03_continuation_flood() {
    let victim = Victim::new().await;
    let opening = Frames::new().headers(1, flag::END_STREAM, &request());
    for (name, round) in [
        (
            "D03 empty CONTINUATION",
            (|_| Frames::new().continuation(1, 0, b"")) as Round,
        ),
        ("D03 CONTINUATION with fields", |_| {
            Frames::new().continuation(1, 0, &Block::of(&[("x-filler", &"x".repeat(8_000))]).0)
        }),
        ("D03 CONTINUATION with a field that never ends", |_| {
            Frames::new().continuation(1, 0, &[b'x'; 8_000])
        }),
    ] {
        let mut attack = Attack::flood(name, opening.clone(), round);
        if name.ends_with("ends") {
            // A literal whose value is said to be of two megabytes.
            let endless = request().raw(b"\x00\x01x\x7f\x81\xff\x7f");
            attack.opening = Frames::new()
                .settings(&[])
                .headers(1, flag::END_STREAM, &endless);
        }
        let codes = [
            code::ENHANCE_YOUR_CALM,
            code::COMPRESSION_ERROR,
            code::PROTOCOL_ERROR,
        ];
        must_end(&victim, attack, ON_THE_WAY, &codes).await;
    }
}

#[tokio::test]
async fn d05_frames_of_no_use() {
    let victim = Victim::new().await;
    let get = Frames::new().post(1);
    let floods: [(&'static str, Round); 10] = [
        ("D05 SETTINGS", |_| Frames::new().settings(&[(4, 65_535)])),
        ("D05 empty SETTINGS", |_| Frames::new().settings(&[])),
        ("D05 PING", |_| Frames::new().ping(*b"floods!!")),
        ("D05 PRIORITY", |n| {
            Frames::new().priority(stream(n), false, 0, 1)
        }),
        ("D05 WINDOW_UPDATE", |_| Frames::new().window(0, 1)),
        ("D05 WINDOW_UPDATE of a stream", |_| {
            Frames::new().window(1, 1)
        }),
        ("D05 empty DATA", |_| Frames::new().data(1, 0, b"")),
        ("D05 DATA of padding", |_| {
            Frames::new().data(1, flag::PADDED, &[0])
        }),
        ("D05 unknown frames", |_| {
            Frames::new().frame(0xbe, 0, 0, b"")
        }),
        ("D05 RST_STREAM of a stream that is over", |_| {
            Frames::new().reset(1, code::CANCEL)
        }),
    ];
    for (name, flood) in floods {
        let attack = Attack::flood(name, get.clone(), flood);
        must_end(&victim, attack, ON_THE_WAY, &[code::ENHANCE_YOUR_CALM]).await;
    }
    let attack = Attack::flood("D05 headers without a name", Frames::new(), |n| {
        Frames::new().headers(stream(n), flag::WHOLE, &request().field("", ""))
    });
    must_end(
        &victim,
        attack,
        ON_THE_WAY,
        &[code::ENHANCE_YOUR_CALM, code::PROTOCOL_ERROR],
    )
    .await;
}

//! D04, D06, D08, D09, D12 and D15: little to send, much to keep.

use std::time::Duration;

use super::strike::Attack;
use super::victim::{Outcome, STRIKERS, Victim};
use crate::support::framer::hpack::{Block, Keep};
use crate::support::framer::{
    Answer, End, Framer, Frames, asking, code, flag, post, request, setting,
};
use crate::support::site::SiteBuilder;

/// A block that puts a field of 3.9 KiB into the table and names it `times` times, in one byte each.
fn bomb(times: usize) -> Block {
    let block = request().named(Keep::Incremental, b"x-bomb", &[b'b'; 3_900], false);
    (0..times).fold(block, |block, _| block.indexed(62))
}

/// The same reference again on streams that come later.
fn again(path: &str, times: usize) -> Block {
    (0..times).fold(asking("GET", path), |block, _| block.indexed(62))
}

/// The proxy ended every connection.
fn must_be_closed(outcome: &Outcome) {
    let open = outcome.strikes.iter().find(|strike| !strike.closed);
    assert!(open.is_none(), "{open:?}");
}

/// Waits that fit a test: a stream and a connection without a stream are given up after a second or two.
fn short(site: SiteBuilder) -> SiteBuilder {
    site.set("limits", "body_timeout = \"1s\"")
        .set("limits", "idle_timeout = \"2s\"")
}

#[tokio::test]
async fn d04_references_kept_by_a_closed_window() {
    let victim = Victim::with("/large", short).await;
    // As much as a head may be, on every stream, and answers that nobody takes.
    let attack = Attack {
        name: "D04 HTTP/2 bomb",
        opening: Frames::new()
            .settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])
            .headers(1, flag::WHOLE, &bomb(6)),
        round: |number| Frames::new().headers(2 * number + 3, flag::WHOLE, &again("/large", 7)),
        rounds: 99,
        pause: Duration::ZERO,
        reads: true,
    };
    let outcome = victim.suffer(attack).await;
    // Each stream is reset after its second, and the connection is then like any other that is idle.
    must_be_closed(&outcome);
    assert!(outcome.strikes.iter().all(|strike| strike.rounds == 99));
    assert!(
        outcome
            .strikes
            .iter()
            .all(|strike| strike.received < 64 << 10)
    );
}

#[tokio::test]
async fn d06_a_head_that_unfolds_to_more_than_is_allowed() {
    let victim = Victim::new().await;
    for (times, answered) in [(5, true), (20, false), (12_000, false)] {
        let mut framer = Framer::open(&victim.site.edge).await;
        let answer = framer.ask(1, &bomb(times)).await;
        match answer.status() {
            200 => assert!(answered, "{times}: {answer:?}"),
            431 | 0 => assert!(!answered, "{times}: {answer:?}"),
            status => panic!("{times}: {status}"),
        }
    }
    let seen = victim.origin.requests();
    assert!(seen.iter().all(|seen| seen.all("x-bomb").len() <= 8));
    let attack = Attack::flood("D06 HPACK bomb", Frames::new(), |number| {
        let block = if number == 0 {
            bomb(10_000)
        } else {
            again("/", 14_000)
        };
        Frames::new().headers(2 * number + 1, flag::WHOLE, &block)
    });
    let outcome = victim.suffer(attack).await;
    assert!(
        outcome.strikes.iter().all(|strike| strike.closed),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn d08_answers_that_nobody_takes() {
    let victim = Victim::with("/large", short).await;
    let attack = Attack {
        name: "D08 no window",
        opening: Frames::new().settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]),
        round: |number| {
            Frames::new().headers(2 * number + 1, flag::WHOLE, &asking("GET", "/large"))
        },
        rounds: 100,
        pause: Duration::ZERO,
        reads: true,
    };
    must_be_closed(&victim.suffer(attack).await);
    // Windows are open, but the socket is not read.
    let attack = Attack {
        name: "D08 slow read",
        opening: Frames::new()
            .settings(&[(setting::INITIAL_WINDOW_SIZE, (1 << 31) - 1)])
            .window(0, (1 << 31) - 1 - 65_535),
        round: |number| {
            Frames::new().headers(2 * number + 1, flag::WHOLE, &asking("GET", "/large"))
        },
        rounds: 100,
        pause: Duration::ZERO,
        reads: false,
    };
    must_be_closed(&victim.suffer(attack).await);

    let mut framer = Framer::connect(&victim.site.edge).await;
    framer.begin(&[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
    let began = std::time::Instant::now();
    let answer = framer.ask(1, &asking("GET", "/large")).await;
    assert_eq!(
        (answer.status(), answer.end),
        (200, End::Reset(code::CANCEL))
    );
    assert!(
        (1_000..3_000).contains(&began.elapsed().as_millis()),
        "{:?}",
        began.elapsed()
    );
    // A byte now and then is no progress either: a piece is.
    framer
        .write(Frames::new().headers(3, flag::WHOLE, &asking("GET", "/large")))
        .await;
    let began = std::time::Instant::now();
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(3) {
        framer.write(Frames::new().window(3, 1)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        sent += 1;
    }
    let answer = framer.answer(3).await;
    assert_eq!(answer.end, End::Reset(code::CANCEL));
    assert!(answer.body.len() <= sent);
}

#[tokio::test]
async fn d09_a_body_that_drips() {
    let victim = Victim::with("/large", short).await;
    let attack = Attack {
        name: "D09 slow POST",
        opening: (0..100).fold(Frames::new().settings(&[]), |frames, number| {
            let block = post().field("content-length", "1000000");
            frames.headers(2 * number + 1, flag::END_HEADERS, &block)
        }),
        round: |number| Frames::new().data(2 * (number % 100) + 1, 0, b"d"),
        rounds: 300,
        pause: Duration::from_millis(40),
        reads: true,
    };
    // Each stream gets a byte every four seconds, and one second to send it in.
    let before = victim.origin.requests().len();
    let outcome = victim.suffer(attack).await;
    assert!(outcome.strikes.len() >= STRIKERS);
    let seen = victim.origin.requests();
    let posts = seen[before..].iter().filter(|seen| seen.method == "POST");
    assert!(posts.clone().count() > 0);
    assert!(
        posts
            .into_iter()
            .all(|seen| !seen.complete && seen.body_len < 3)
    );
}

#[tokio::test]
async fn d12_memory_of_a_connection() {
    let victim = Victim::new().await;
    let open = async |count: usize| {
        let mut all = Vec::new();
        for _ in 0..count {
            let mut framer = Framer::open(&victim.site.edge).await;
            assert_eq!(framer.ask(1, &request()).await.status(), 200);
            all.push(framer);
        }
        all
    };
    drop(open(50).await);
    let before = victim.memory();
    let held = open(200).await;
    let each = victim.memory().saturating_sub(before) / 200;
    eprintln!("an idle connection: {} bytes", each);
    assert!(each < 100 << 10, "{each} bytes");
    drop(held);
}

/// A POST on stream 1 with these trailers.
async fn post_with(victim: &Victim, trailers: &Block) -> Answer {
    let mut framer = Framer::open(&victim.site.edge).await;
    let mut frames = Frames::new()
        .headers(1, flag::END_HEADERS, &post())
        .data(1, 0, b"body");
    let mut pieces = trailers.0.chunks(16_000).peekable();
    let first = pieces.next().unwrap();
    let last = |more: bool| if more { 0 } else { flag::END_HEADERS };
    let flags = flag::END_STREAM | last(pieces.peek().is_some());
    frames = frames.frame(1, flags, 1, first);
    while let Some(piece) = pieces.next() {
        frames = frames.continuation(1, last(pieces.peek().is_some()), piece);
    }
    framer.write(frames).await;
    framer.answer(1).await
}

#[tokio::test]
async fn d15_trailers() {
    let victim = Victim::new().await;
    for (trailers, taken) in [
        (Block::of(&[("x-sum", "1")]), true),
        (Block::of(&[("x-large", &"x".repeat(15_000))]), true),
        (
            (0..2_000).fold(Block::default(), |block, number| {
                block.field(format!("x-{number}"), "v")
            }),
            false,
        ),
        (
            (0..700).fold(Block::of(&[("x-a", &"a".repeat(3_000))]), |block, _| {
                block.field("x-b", "b".repeat(30))
            }),
            false,
        ),
    ] {
        let answer = post_with(&victim, &trailers).await;
        assert_eq!(
            answer.status(),
            if taken { 200 } else { 400 },
            "{} bytes: {}",
            trailers.0.len(),
            answer.verdict()
        );
    }
    let seen = victim.origin.requests();
    assert!(
        seen.iter()
            .filter(|seen| seen.method == "POST" && seen.complete)
            .count()
            == 2
    );
}

#[tokio::test]
async fn d15_a_field_of_trailers_that_is_larger_than_a_head() {
    let victim = Victim::new().await;
    let sum = || Block::of(&[("x-sum", "1")]);
    let large = vec![b'a'; 40_000];
    for trailers in [
        sum().field("x-large", &large),
        // What comes behind it is left out as well, and the rest looks whole.
        Block::default()
            .field("x-large", &large)
            .field("x-sum", "1"),
        Block::default().named(Keep::Without, b"x-large", &large, true),
        Block::default().named(Keep::Incremental, &large, b"1", true),
        sum().field("x-large", vec![b'a'; 90_000]),
    ] {
        let answer = post_with(&victim, &trailers).await;
        let calm = End::Closed(Some(code::ENHANCE_YOUR_CALM));
        assert_eq!(answer.end, calm, "{}", answer.verdict());
    }
    let seen = victim.origin.requests();
    let posts = seen.iter().filter(|seen| seen.method == "POST");
    assert!(posts.clone().all(|seen| !seen.complete), "{seen:?}");
}

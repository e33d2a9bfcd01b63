//! Clients of HTTP/2 that stop at each stage: closed at the deadline of the stage, not before.

use std::time::{Duration, Instant};

use crate::support::framer::{End, Framer, Frames, PREFACE, code, flag, post, request};
use crate::support::origin::Origin;
use crate::support::site::Site;

/// The limits of the site, each another one.
const HEADER: Duration = Duration::from_secs(1);
const BODY: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(3);
/// What a client that is told to go has, while its last answer may still be on its way.
const SETTLING: Duration = Duration::from_secs(5);
/// Deadlines fire late by a tick or two, never early.
const LATE: Duration = Duration::from_millis(1_200);

fn site(origin: &Origin) -> Site {
    Site::before(&[origin.address()])
        .set("limits", "header_timeout = \"1s\"")
        .set("limits", "body_timeout = \"2s\"")
        .set("limits", "idle_timeout = \"3s\"")
        .start()
}

fn check(what: &str, began: Instant, limit: Duration) {
    let took = began.elapsed();
    assert!(
        took >= limit && took < limit + LATE,
        "{what}: after {took:?}"
    );
}

#[tokio::test]
async fn each_stage_before_the_end_of_a_head_has_the_limit_of_a_head() {
    let origin = Origin::hello();
    let site = site(&origin);
    let settings = Frames::new().raw(PREFACE).settings(&[]).settings_ack();
    let half = &request().0[..10];
    for (what, frames) in [
        ("nothing", Frames::new()),
        ("half a preface", Frames::new().raw(&PREFACE[..12])),
        ("the preface without settings", Frames::new().raw(PREFACE)),
        ("preface and settings", settings.clone()),
        (
            "half a head of a frame",
            settings.clone().raw(&[0, 0, 8, 1]),
        ),
        (
            "half a HEADERS",
            settings
                .clone()
                .raw(&[0, 0, 80, 1, 5, 0, 0, 0, 1])
                .raw(half),
        ),
        (
            "HEADERS without END_HEADERS",
            settings.clone().headers(1, flag::END_STREAM, &request()),
        ),
        (
            "CONTINUATION without END_HEADERS",
            settings
                .headers(1, flag::END_STREAM, &request())
                .continuation(1, 0, &[]),
        ),
    ] {
        let mut framer = Framer::connect(&site.edge).await;
        let began = Instant::now();
        framer.write(frames).await;
        framer.end().await;
        check(what, began, HEADER);
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_head_that_stops_on_a_connection_in_use() {
    let origin = Origin::hello();
    let site = site(&origin);
    for busy in [false, true] {
        let mut framer = Framer::open(&site.edge).await;
        assert_eq!(framer.ask(1, &request()).await.status(), 200);
        if busy {
            framer.write(Frames::new().post(3)).await;
        }
        let began = Instant::now();
        framer
            .write(Frames::new().headers(5, flag::END_STREAM, &request()))
            .await;
        framer.end().await;
        check(
            if busy {
                "beside a request"
            } else {
                "after a request"
            },
            began,
            HEADER,
        );
    }
}

#[tokio::test]
async fn a_body_that_stops() {
    let origin = Origin::hello();
    let site = site(&origin);
    for (what, body) in [
        ("no DATA", Frames::new()),
        ("DATA without END_STREAM", Frames::new().data(1, 0, b"half")),
        (
            "half a DATA",
            Frames::new().raw(&[0, 0, 8, 0, 1, 0, 0, 0, 1, b'h']),
        ),
    ] {
        let mut framer = Framer::open(&site.edge).await;
        let began = Instant::now();
        let block = post().field("content-length", "8");
        framer
            .write(
                Frames::new()
                    .headers(1, flag::END_HEADERS, &block)
                    .raw(&body.0),
            )
            .await;
        let answer = framer.answer(1).await;
        check(what, began, BODY);
        assert_eq!(answer.status(), 408, "{what}");
        assert!(
            matches!(answer.end, End::Whole | End::Reset(code::NO_ERROR)),
            "{what}: {answer:?}"
        );
    }
    let seen = origin.wait_requests(3);
    assert!(seen.iter().all(|seen| !seen.complete));
}

#[tokio::test]
async fn a_connection_without_a_request_is_idle_whatever_else_it_sends() {
    let origin = Origin::hello();
    let site = site(&origin);
    let mut framer = Framer::open(&site.edge).await;
    assert_eq!(framer.ask(1, &request()).await.status(), 200);
    let began = Instant::now();
    while framer.round_trip().await {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(
            began.elapsed() < IDLE + SETTLING + LATE * 2,
            "kept open by PING"
        );
    }
    // GOAWAY, and some seconds to say that it was heard, as the answer is not old.
    check("idle", began, IDLE + SETTLING);
}

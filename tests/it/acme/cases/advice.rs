//! The CA's advice when to renew (RFC 9773), good and bad, and orders that name what they replace.

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::lab::{DAY, DONE, HOUR, Lab, Run};
use crate::support::fault_proxy::{Answer, Fault, Kind};

const MINUTE: i64 = 60;

/// A window from so many to so many seconds from now on.
fn window(start: i64, end: i64) -> String {
    let at = |seconds| {
        let at = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        at.format(&Rfc3339).unwrap()
    };
    json!({ "suggestedWindow": { "start": at(start), "end": at(end) } }).to_string()
}

fn advice(body: &str) -> Answer {
    Answer::new(200, "application/json", body.to_owned()).header("retry-after", "21600")
}

#[test]
fn case_21_absurd_advice_never_harms_and_is_asked_for_again_in_six_hours() {
    let good = window(60 * DAY, 62 * DAY);
    let far = "{\"suggestedWindow\":{\"start\":\"9999-12-31T23:59:57Z\",\"end\":\"9999-12-31T23:59:59Z\"}}";
    // What is answered, and when it may be asked for again.
    let cases: [(&str, Answer, i64); 10] = [
        ("end before start", advice(&window(2 * DAY, DAY)), 6 * HOUR),
        (
            "one second",
            advice(&window(60 * DAY, 60 * DAY + 1)),
            6 * HOUR,
        ),
        ("year 9999", advice(far), 6 * HOUR),
        ("404", Answer::problem(404, "malformed", "no"), 6 * HOUR),
        (
            "500",
            Answer::problem(500, "serverInternal", "no"),
            5 * MINUTE,
        ),
        ("a page", Answer::html(200), 6 * HOUR),
        (
            "no Retry-After",
            Answer::new(200, "application/json", good.clone()),
            6 * HOUR,
        ),
        ("a week", advice(&good).header("retry-after", "604800"), DAY),
        (
            "negative",
            advice(&good).header("retry-after", "-7"),
            6 * HOUR,
        ),
        ("none", advice(&good).header("retry-after", "0"), MINUTE),
    ];
    for (what, answer, pause) in cases {
        let lab = Lab::start().any_time();
        lab.proxy.on(Kind::RenewalInfo, Fault::Answer(answer));
        lab.renew().ends(DONE);
        assert_eq!(lab.proxy.count(Kind::RenewalInfo), 1, "{what}");
        lab.at(pause - MINUTE / 2);
        lab.renew().ends(DONE);
        assert_eq!(lab.proxy.count(Kind::RenewalInfo), 1, "{what}: too early");
        lab.at(pause + MINUTE / 2);
        lab.renew().ends(DONE);
        assert_eq!(lab.proxy.count(Kind::RenewalInfo), 2, "{what}: too late");
        // Pebble's certificate lasts 90 days: whatever was said, the last sixth is not touched.
        lab.at(75 * DAY + HOUR);
        lab.renew().ends(DONE);
        assert_eq!(lab.generations().len(), 2, "{what}");
        assert_eq!(lab.proxy.granted(Kind::NewOrder), 2, "{what}");
    }
}

#[test]
fn case_21_a_window_in_the_past_means_within_five_minutes() {
    let lab = Lab::start().any_time();
    lab.proxy.times(
        1,
        Kind::RenewalInfo,
        Fault::Answer(advice(&window(-2 * HOUR, -HOUR))),
    );
    lab.renew().ends(DONE);
    let said = |run: &Run| {
        let at = run
            .stdout
            .split_once("not due before ")
            .map(|(_, at)| at.trim());
        at.map(str::to_owned)
    };
    // The same second at each look, so that it is drawn once and not over and over.
    let looks = [lab.renew().ends(DONE), lab.renew().ends(DONE)];
    if let (Some(one), Some(two)) = (said(&looks[0]), said(&looks[1])) {
        assert_eq!(one, two); // else it was drawn within a second or two
    }
    lab.at(5 * MINUTE + 5);
    lab.renew().ends(DONE);
    assert_eq!(lab.generations().len(), 2);
}

#[test]
fn case_22_already_replaced_costs_one_more_order_at_most() {
    for fault in [
        Fault::Answer(Answer::problem(409, "alreadyReplaced", "it is")),
        Fault::Answer(Answer::problem(
            400,
            "malformed",
            "the certificate belongs to a different account",
        )),
        Fault::change(|answer| {
            let mut order = answer.json();
            order.as_object_mut().unwrap().remove("replaces");
            answer.with_body(order.to_string())
        }),
    ] {
        let lab = Lab::start();
        lab.renew().ends(DONE);
        lab.proxy.forget();
        lab.proxy.times(1, Kind::NewOrder, fault.clone());
        lab.force().ends(DONE);
        let orders = lab.proxy.calls_of(Kind::NewOrder);
        assert!(
            orders[0].payload["replaces"].is_string(),
            "{fault:?}: {orders:?}"
        );
        assert!(orders.len() <= 2, "{fault:?}: {orders:?}");
        if let Some(second) = orders.get(1) {
            assert!(second.payload["replaces"].is_null(), "{fault:?}");
        }
        assert_eq!(lab.generations().len(), 2);
        lab.pair();
    }
}

//! The CA says no for now: what it says is kept, over restarts, and for what it is about only.

use super::lab::{DAY, DOMAIN, DONE, FAILED, HOUR, Lab};
use crate::support::fault_proxy::{Fault, Kind};
use crate::support::knot::Knot;
use crate::support::pebble::Pebble;

const OTHER: &str = "other.test";
const MINUTE: i64 = 60;

#[test]
fn case_13_new_order_429_survives_restart() {
    let lab = Lab::with(&[DOMAIN, OTHER], |pebble| pebble).any_time();
    // The first order is that of the first domain.
    lab.proxy
        .times(1, Kind::NewOrder, Fault::rate_limited("3600"));
    lab.renew().ends(FAILED);
    let orders = lab.proxy.calls_of(Kind::NewOrder);
    assert_eq!(orders.len(), 2, "the second domain has its turn");
    assert!(orders[0].payload.to_string().contains(DOMAIN));
    assert!(orders[1].payload.to_string().contains(OTHER));
    assert!(lab.status(OTHER)["serial"].is_string(), "and is issued");
    assert!(lab.status(DOMAIN)["serial"].is_null());

    lab.at(3600 - 30);
    lab.renew();
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 2, "an hour is an hour");
    let status = lab.status(DOMAIN).to_string();
    assert!(status.contains("too many certificates"), "{status}");
    lab.portico(&["cert", "renew", "--force", "--domain", DOMAIN]);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 2, "also for an operator");

    lab.at(3600 + 30);
    lab.renew().ends(DONE);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 3);
    lab.pair();
}

#[test]
fn case_12_the_ca_never_sees_the_record_for_a_day() {
    let knot = Knot::start(&[DOMAIN]);
    // The CA asks a server that has no record; we ask, and write to, the one that has it.
    let blind = Knot::start(&[DOMAIN]);
    let pebble = Pebble::asking(blind.address()).start();
    let lab = Lab::of(&[DOMAIN], knot, pebble).any_time();
    let mut tries: Vec<i64> = Vec::new();
    let mut offered = 0;
    // The timer of the renewal unit, for a day.
    for now in (0..=DAY).step_by(15 * 60) {
        lab.at(now);
        lab.renew();
        let all = lab.proxy.posts(Kind::Challenge);
        if all > offered {
            assert!(all - offered <= 2, "each name once");
            tries.push(now);
        }
        offered = all;
    }
    // 15 min, 1, 4 and 12 hours between them, each up to a fifth longer and rounded up to the timer's next turn.
    let pauses: Vec<i64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let steps = [15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR];
    assert_eq!(pauses.len(), steps.len(), "{tries:?}");
    for (pause, step) in pauses.iter().zip(steps) {
        let most = step * 6 / 5 + 15 * MINUTE;
        assert!((step - MINUTE..=most).contains(pause), "{tries:?}");
    }
    for &start in &tries {
        let names = tries
            .iter()
            .filter(|&&at| (start..start + HOUR).contains(&at));
        assert!(2 * names.count() <= 4, "failed names in an hour: {tries:?}");
    }
    assert_eq!(lab.left_in_dns(), [""; 0]);
    let status = lab.status(DOMAIN)["next"].to_string();
    assert!(status.contains("next try at"), "{status}");
}

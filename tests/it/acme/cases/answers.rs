//! The CA answers, but not what was asked for; or it does not answer.

use std::time::Duration;

use super::lab::{DOMAIN, DONE, FAILED, HOUR, Lab, WAITING, faketime, run};
use crate::support::fault_proxy::{Answer, Fault, Kind};

/// Bad nonces in a row that a request must survive; another kind of failure would be on record after it.
const NONCE_RETRIES: usize = 8;
/// So many times in a run, with rests between them that take so long in all, and the shortest so long.
const NONCE_BURSTS: usize = 6;
const NONCE_RESTS: Duration = Duration::from_secs(16);
const SHORTEST_REST: Duration = Duration::from_millis(990);

/// What a request may hold back at most, in the program's own time.
const TOTAL: Duration = Duration::from_secs(30);

const SIGNED: &[Kind] = &[
    Kind::NewAccount,
    Kind::Account,
    Kind::NewOrder,
    Kind::Authorization,
    Kind::Challenge,
    Kind::Order,
    Kind::Finalize,
    Kind::Certificate,
];

#[test]
fn case_01_bad_nonce_eight_times_before_each_good_answer() {
    let lab = Lab::start();
    for &kind in SIGNED {
        lab.proxy.each(NONCE_RETRIES, kind, Fault::bad_nonce());
    }
    lab.renew().ends(DONE);
    lab.pair();
    for &kind in SIGNED {
        let (asked, granted) = (lab.proxy.posts(kind), lab.proxy.granted(kind));
        assert_eq!(asked, granted * (NONCE_RETRIES + 1), "{kind:?}");
    }
    assert_eq!(lab.proxy.granted(Kind::NewOrder), 1);
    let state = std::fs::read_to_string(lab.lineage(DOMAIN).join("state.json")).unwrap();
    assert!(!state.contains("\"detail\""), "no failure noted: {state}");
}

#[test]
fn case_01_a_nonce_that_is_always_bad_ends_the_run_and_not_in_a_storm() {
    let lab = Lab::start();
    lab.proxy.on(Kind::NewOrder, Fault::bad_nonce());
    lab.renew().ends(FAILED);
    let asked = lab.proxy.posts(Kind::NewOrder);
    assert_eq!(asked, NONCE_BURSTS * (NONCE_RETRIES + 1));
    let orders = lab.proxy.calls_of(Kind::NewOrder);
    let took = orders[asked - 1].at - orders[0].at;
    assert!(took >= NONCE_RESTS, "{took:?}");
    lab.renew().ends(WAITING);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), asked);
}

#[test]
fn case_01_pebble_rejects_four_of_five_nonces() {
    let lab = Lab::with(&[DOMAIN], |pebble| pebble.nonce_reject(80));
    lab.renew().ends(DONE);
    lab.pair();
    assert_eq!(lab.proxy.granted(Kind::NewOrder), 1);
    assert_eq!(lab.left_in_dns(), [""; 0]);
    let state = std::fs::read_to_string(lab.lineage(DOMAIN).join("state.json")).unwrap();
    assert!(!state.contains("\"detail\""), "no failure noted: {state}");
    let posts = lab.proxy.calls();
    let posts = posts.iter().filter(|call| call.method == "POST");
    let (mut at_once, mut last, mut rejected) = (0, None, 0);
    for call in posts {
        let rested = last.is_some_and(|last| call.at - last >= SHORTEST_REST);
        if rested {
            at_once = 0;
        }
        if call.answered == Some(400) {
            at_once += 1;
            rejected += 1;
            assert!(at_once <= NONCE_RETRIES + 1, "{:?}", call.kind);
        } else {
            at_once = 0;
        }
        last = Some(call.at);
    }
    assert!(rejected > NONCE_RETRIES, "Pebble rejects: {rejected}");
}

#[test]
fn case_02_authorizations_reused_always_and_never() {
    let mut lab = Lab::with(&[DOMAIN], |pebble| pebble.authz_reuse(100));
    lab.renew().ends(DONE);
    let offered = lab.proxy.posts(Kind::Challenge);
    // A hook that always fails shows that none is called.
    lab.provider("provider = \"exec\"\ncommand = [\"/bin/false\"]");
    lab.force().ends(DONE);
    assert_eq!(lab.proxy.posts(Kind::Challenge), offered, "none is offered");
    assert_eq!(lab.generations().len(), 2);
    lab.pair();

    let lab = Lab::with(&[DOMAIN], |pebble| pebble.authz_reuse(0));
    for run in 1..=2 {
        lab.force().ends(DONE);
        assert_eq!(lab.proxy.posts(Kind::Challenge), 2 * run, "both each time");
    }
    assert_eq!(lab.left_in_dns(), [""; 0]);
}

#[test]
fn case_14_503_page_with_a_date_then_broken_json_then_ten_megabytes() {
    let lab = Lab::start().any_time();
    let date = {
        let at = time::OffsetDateTime::now_utc() + time::Duration::hours(2);
        crate::support::fault_proxy::http_date(at)
    };
    lab.proxy.times(
        1,
        Kind::NewOrder,
        Fault::Answer(Answer::html(503).header("retry-after", &date)),
    );
    lab.renew().ends(FAILED);
    lab.at(2 * HOUR - 60);
    lab.renew().ends(WAITING);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 1, "two hours are kept");

    lab.at(2 * HOUR + 60);
    let broken = Answer::new(500, "application/json", "{\"type\": \"urn:ie");
    lab.proxy.times(1, Kind::NewOrder, Fault::Answer(broken));
    lab.renew().ends(FAILED).says("the CA cannot be used");

    lab.at(3 * HOUR);
    let endless = Answer::new(200, "application/json", vec![b' '; 10 << 20]);
    lab.proxy.times(1, Kind::NewOrder, Fault::Answer(endless));
    lab.renew()
        .ends(FAILED)
        .says("the CA cannot be used")
        .says("larger than 256 KiB");

    lab.at(4 * HOUR);
    lab.renew().ends(DONE);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 4, "one for each run");
    lab.pair();
}

#[test]
fn case_15_connection_reset_after_finalize() {
    let lab = Lab::start().any_time();
    lab.proxy.on(Kind::Finalize, Fault::ResetAfter);
    let first = lab.renew();
    assert!(
        matches!(first.code, Some(DONE | FAILED)),
        "{}",
        first.text()
    );
    lab.at(HOUR);
    lab.renew().ends(DONE);
    assert_eq!(lab.proxy.granted(Kind::Finalize), 1, "one certificate");
    assert_eq!(lab.proxy.granted(Kind::NewOrder), 1, "of one order");
    assert_eq!(lab.generations().len(), 1);
    lab.pair();
    assert_eq!(lab.left_in_dns(), [""; 0]);
}

#[test]
fn case_15_silence_and_one_byte_a_second() {
    let lab = Lab::start().any_time();
    // The program's clock runs ten times as fast, its timers too: its half minute is three seconds of ours.
    let hurried = || {
        let mut command = lab.command(&["cert", "renew", "--force"]);
        let fast = faketime("+0s x10").into_iter();
        command.envs(fast.filter(|(name, _)| !name.ends_with("MONOTONIC")));
        run(command)
    };
    for (kind, fault) in [
        (Kind::NewOrder, Fault::Hang),
        (Kind::Directory, Fault::Hang),
        (Kind::Directory, Fault::Drip),
    ] {
        lab.proxy.heal();
        lab.proxy.on(kind, fault.clone());
        let run = hurried().ends(FAILED).says("the CA cannot be used");
        let own = run.took * 10;
        assert!(
            own > TOTAL - TOTAL / 10 && own < TOTAL * 2,
            "{kind:?} {fault:?}: {own:?}"
        );
    }
    lab.proxy.heal();
    lab.force().ends(DONE);
    lab.pair();
    assert_eq!(lab.left_in_dns(), [""; 0]);
}

//! Records that do not show, or do not go: the order and the ledger wait for them.

use portico::cert::store::file::FileStore;
use portico::cert::store::{Debt, Store};
use portico::clock::UnixTime;
use portico::host::Host;
use serde_json::json;

use super::lab::{DOMAIN, DONE, FAILED, HOUR, Hook, Lab, WAITING};
use crate::support::dns_front::{Front, Mood};
use crate::support::fault_proxy::{Answer, Fault, Kind};
use crate::support::knot::Knot;
use crate::support::port;

const MINUTE: i64 = 60;

fn debts(lab: &Lab) -> Vec<Debt> {
    let store = FileStore::new(&lab.state());
    store.debts(&Host::parse(DOMAIN).unwrap()).unwrap()
}

fn pending_order(lab: &Lab) -> Option<String> {
    let store = FileStore::new(&lab.state());
    let pending = store.pending(&Host::parse(DOMAIN).unwrap()).unwrap();
    pending?.order.url
}

fn publish(lab: &Lab, value: &str) {
    let line = format!("add _acme-challenge.{DOMAIN}. 60 TXT {value}");
    assert!(lab.knot.update(DOMAIN, &[&line]).status.success());
}

#[test]
fn case_11_api_says_ok_and_the_record_comes_two_runs_later() {
    let mut lab = Lab::start();
    lab.hook(Hook::PublishesNothing);
    lab.reconfigure("\"5s\"", "\"1s\"");
    lab.renew().ends(FAILED).says("2 of 2 values missing");
    let order = pending_order(&lab).expect("an order that waits");
    let values = lab.hook_calls("present");
    assert_eq!(values.len(), 2);

    lab.at(5 * MINUTE);
    lab.renew().ends(FAILED).says("2 of 2 values missing");
    assert_eq!(pending_order(&lab).as_deref(), Some(order.as_str()));
    assert_eq!(lab.hook_calls("present"), values, "published once");
    assert_eq!(lab.hook_calls("cleanup"), [""; 0], "and not taken away");
    assert_eq!(debts(&lab).len(), 2);

    for value in &values {
        publish(&lab, value);
    }
    lab.at(20 * MINUTE);
    lab.renew().ends(DONE);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 1, "one order");
    assert_eq!(lab.proxy.granted(Kind::Challenge), 2, "when they are there");
    assert_eq!(lab.hook_calls("present"), values);
    assert_eq!(lab.left_in_dns(), [""; 0]);
    assert_eq!((debts(&lab).len(), pending_order(&lab)), (0, None));
    lab.pair();
}

#[test]
fn case_11_the_records_of_an_order_that_ends_are_cleaned() {
    let expired = || {
        Fault::change(|answer| {
            let mut authorization = answer.json();
            authorization["status"] = json!("expired");
            answer.with_body(authorization.to_string())
        })
    };
    let invalid = || {
        Fault::change(|answer| {
            let mut order = answer.json();
            order["status"] = json!("invalid");
            answer.with_body(order.to_string())
        })
    };
    let gone = || Fault::Answer(Answer::problem(404, "malformed", "no such order"));
    for (what, kind, fault, orders) in [
        ("the order is invalid", Kind::Order, invalid(), 2),
        ("the order is gone", Kind::Order, gone(), 2),
        (
            "an authorization expired",
            Kind::Authorization,
            expired(),
            1,
        ),
    ] {
        let mut lab = Lab::start().any_time();
        // A second server that never hears of the records.
        let deaf = Knot::start(&[DOMAIN]);
        let known = format!("nameservers = [\"{}\"", lab.knot.address());
        lab.reconfigure(&known, &format!("{known}, \"{}\"", deaf.address()));
        lab.reconfigure("\"5s\"", "\"1s\"");
        lab.renew().ends(FAILED).says(&deaf.address().to_string());
        let before = lab.left_in_dns();
        assert_eq!(before.len(), 2, "{what}: they wait");

        lab.at(5 * MINUTE);
        lab.proxy.times(1, kind, fault);
        lab.renew().ends(FAILED);
        let after = lab.left_in_dns();
        assert!(
            after.iter().all(|value| !before.contains(value)),
            "{what}: {after:?} after {before:?}"
        );
        assert_eq!(
            after.len(),
            2 * (orders - 1),
            "{what}: those of a new order"
        );
        assert_eq!(lab.proxy.posts(Kind::NewOrder), orders, "{what}");
        assert_eq!(lab.proxy.posts(Kind::Challenge), 0, "{what}");
        assert_eq!(debts(&lab).len(), after.len(), "{what}");
    }
}

#[test]
fn a_rehearsal_leaves_no_record_to_wait() {
    let mut lab = Lab::start();
    lab.hook(Hook::PublishesNothing);
    lab.reconfigure("\"5s\"", "\"1s\"");
    let run = lab.portico(&["cert", "renew", "--dry-run"]);
    run.ends(FAILED).says("2 of 2 values missing");
    assert_eq!(lab.hook_calls("cleanup").len(), 2);
    let store = FileStore::new(&lab.state().join("dry-run"));
    assert_eq!(store.debts(&Host::parse(DOMAIN).unwrap()).unwrap(), []);
}

#[test]
fn the_responder_answers_anew_in_each_run_that_waits() {
    let mut lab = Lab::with(&[DOMAIN], |pebble| pebble.always_valid());
    let own = port::local(port::free());
    let late = Front::start(port::local(port::free()), own, Mood::Late);
    let known = format!("nameservers = [\"{}\"]", lab.knot.address());
    let both = format!("nameservers = [\"{own}\", \"{}\"]", late.address());
    lab.reconfigure(&known, &both);
    lab.reconfigure("\"5s\"", "\"2s\"");
    lab.provider(&format!("provider = \"responder\"\nlisten = [\"{own}\"]"));
    lab.renew().ends(FAILED).says(&late.address().to_string());
    assert_eq!(debts(&lab).len(), 2, "the order waits");
    late.set(Mood::Good);
    lab.at(5 * MINUTE);
    lab.renew().ends(DONE);
    assert_eq!(debts(&lab), []);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 1);
}

#[test]
fn a_person_is_reminded_and_not_told_to_remove_what_is_gone() {
    let mut lab = Lab::start();
    lab.reconfigure("\"5s\"", "\"1s\"");
    lab.provider("provider = \"manual\"");
    let mut values = Vec::new();
    for time in [0, 5 * MINUTE] {
        lab.at(time);
        let run = lab.renew().ends(FAILED).says("Add this record");
        assert!(!run.stdout.contains("You may remove"), "{}", run.stdout);
        let value = |line: &str| {
            Some(
                line.split_once("IN TXT \"")?
                    .1
                    .trim_end_matches('"')
                    .to_owned(),
            )
        };
        let mut shown: Vec<String> = run.stdout.lines().filter_map(value).collect();
        shown.sort();
        assert_eq!(shown.len(), 2);
        assert!(values.is_empty() || values == shown, "the same again");
        values = shown;
    }
    for value in &values {
        publish(&lab, value);
    }
    lab.at(20 * MINUTE);
    lab.renew().ends(DONE).says("You may remove");
    assert_eq!(debts(&lab).len(), 2, "nobody has");
    lab.renew().ends(DONE).says("You may remove");
    for value in &values {
        let line = format!("del _acme-challenge.{DOMAIN}. TXT {value}");
        assert!(lab.knot.update(DOMAIN, &[&line]).status.success());
    }
    let run = lab.renew().ends(DONE);
    assert!(!run.stdout.contains("You may remove"), "{}", run.stdout);
    assert_eq!(debts(&lab), []);
}

#[test]
fn records_of_a_domain_that_was_taken_out_are_removed() {
    const OTHER: &str = "other.test";
    let mut lab = Lab::with(&[DOMAIN, OTHER], |pebble| pebble).any_time();
    let deaf = Knot::start(&[DOMAIN, OTHER]);
    let known = format!("nameservers = [\"{}\"", lab.knot.address());
    lab.reconfigure(&known, &format!("{known}, \"{}\"", deaf.address()));
    lab.reconfigure("\"5s\"", "\"1s\"");
    lab.portico(&["cert", "reconcile"]).ends(FAILED);
    let record = format!("_acme-challenge.{OTHER}");
    assert_eq!(lab.knot.txt(&record).len(), 2);
    lab.reconfigure(&format!(", \"{OTHER}\"]"), "]");
    lab.portico(&["cert", "reconcile"])
        .says("other.test: removed _acme-challenge.other.test TXT");
    assert_eq!(lab.knot.txt(&record), [""; 0]);
    assert_eq!(lab.left_in_dns().len(), 2, "those still wait");
}

#[test]
fn a_hook_that_says_removed_and_removes_nothing_keeps_the_debt() {
    let mut lab = Lab::start();
    lab.hook(Hook::RemovesNothing);
    publish(&lab, "foreign");
    lab.renew().ends(DONE).says("still has it");
    assert_eq!(debts(&lab).len(), 2, "nobody says that they are gone");
    let status = lab.status(DOMAIN).to_string();
    assert!(status.contains("2 TXT records of ours"), "{status}");

    lab.renew().ends(DONE).says("still has it");
    assert_eq!(lab.hook_calls("cleanup").len(), 4, "each run tries again");
    assert_eq!(debts(&lab).len(), 2);

    lab.hook(Hook::Honest);
    lab.renew().ends(DONE);
    assert_eq!(debts(&lab), []);
    assert_eq!(lab.left_in_dns(), ["foreign"], "not ours");
    let status = lab.status(DOMAIN).to_string();
    assert!(!status.contains("TXT records"), "{status}");
}

#[test]
fn values_of_a_forgotten_order_are_swept_while_the_ca_wants_to_be_left_alone() {
    let lab = Lab::start().any_time();
    lab.proxy
        .times(1, Kind::NewOrder, Fault::rate_limited("86400"));
    lab.renew().ends(FAILED);
    let store = FileStore::new(&lab.state());
    for (value, age) in [("old", HOUR + MINUTE), ("young", MINUTE)] {
        publish(&lab, value);
        let debt = Debt {
            domain: DOMAIN.to_owned(),
            zone: DOMAIN.to_owned(),
            fqdn: format!("_acme-challenge.{DOMAIN}"),
            value: value.to_owned(),
            order: Some("https://ca.test/order/forgotten".to_owned()),
            since: Some(UnixTime(UnixTime::now().0 - age)),
            ..Debt::default()
        };
        store.owe(&Host::parse(DOMAIN).unwrap(), &debt).unwrap();
    }
    publish(&lab, "foreign");
    let asked = lab.proxy.calls().len();
    lab.renew().ends(WAITING);
    assert_eq!(lab.left_in_dns(), ["foreign", "young"]);
    assert_eq!(lab.hook_calls("cleanup"), ["old"]);
    lab.at(2 * HOUR);
    lab.renew().ends(WAITING);
    assert_eq!(lab.left_in_dns(), ["foreign"]);
    assert_eq!(debts(&lab), []);
    assert_eq!(lab.proxy.calls().len(), asked, "without the CA");
}

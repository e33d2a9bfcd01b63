//! Runs that die while the account or its key is half made: the next one goes on with the same account.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use super::{account, account_file, accounts_at_the_ca, saved};
use crate::acme::cases::lab::{BLOCKED, DONE, FAILED, Lab, run};
use crate::support::fault_proxy::{Fault, Kind};
use crate::support::wait;
use portico::acme::failpoint;

/// A run that ends at `place` as by `kill -9`.
#[track_caller]
fn die(lab: &Lab, verb: &[&str], place: &str) {
    let mut command = lab.command(verb);
    command.env("PORTICO_FAILPOINT", place);
    let died = run(command);
    let aborted = Some(Signal::ABORT.as_raw());
    assert_eq!(
        died.signal,
        aborted,
        "no run comes by {place}: {}",
        died.text()
    );
}

const ROLLOVER: &[&str] = &["account", "rollover"];
const END: &[&str] = &["account", "deactivate", "--yes"];

#[test]
fn a_rollover_killed_at_every_place_leaves_the_account_to_whoever_comes_next() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let first = account(&lab);
    let places = [
        failpoint::ROLLOVER_KEY_WRITTEN,
        failpoint::ROLLOVER_ACCEPTED,
        failpoint::ROLLOVER_NOTED,
    ];
    for place in places {
        // A renewal, the same verb again, and a revocation are next in turn.
        for next in [&["cert", "renew", "--force"][..], ROLLOVER] {
            let before = account(&lab);
            die(&lab, ROLLOVER, place);
            let two_keys = place != failpoint::ROLLOVER_NOTED;
            assert_eq!(saved(&lab).get("next").is_some(), two_keys, "{place}");
            lab.portico(next).ends(DONE);
            assert!(saved(&lab).get("next").is_none(), "{place}: settled");
            let after = account(&lab);
            assert_eq!(after["url"], first["url"], "{place}");
            let kept = after["thumbprint"] == before["thumbprint"];
            let never_heard = place == failpoint::ROLLOVER_KEY_WRITTEN && next != ROLLOVER;
            assert_eq!(kept, never_heard, "{place}, then {next:?}");
        }
    }
    die(&lab, ROLLOVER, failpoint::ROLLOVER_ACCEPTED);
    let serial = lab.serial().unwrap();
    let revoked = lab.portico(&["cert", "revoke", "--serial", &serial, "--now"]);
    revoked.ends(DONE).says("is revoked\n");
    assert!(saved(&lab).get("next").is_none());
    assert_eq!(accounts_at_the_ca(&lab), 1);
}

#[test]
fn a_rollover_whose_answer_is_lost_on_the_way_is_asked_after() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let before = account(&lab);
    lab.proxy.times(1, Kind::KeyChange, Fault::ResetAfter);
    lab.portico(ROLLOVER).ends(DONE);
    let taken = account(&lab);
    assert_ne!(taken["thumbprint"], before["thumbprint"], "the CA took it");
    lab.proxy.times(1, Kind::KeyChange, Fault::Reset);
    lab.portico(ROLLOVER)
        .ends(FAILED)
        .says("the CA cannot be used");
    assert_eq!(account(&lab), taken, "the CA never heard of it");
    // Neither the change nor the question gets through: the next run asks.
    lab.proxy.times(1, Kind::KeyChange, Fault::ResetAfter);
    lab.proxy.times(1, Kind::NewAccount, Fault::Reset);
    lab.portico(ROLLOVER).ends(FAILED);
    assert!(saved(&lab).get("next").is_some());
    lab.force().ends(DONE);
    assert_ne!(account(&lab)["thumbprint"], taken["thumbprint"]);
    assert_eq!(account(&lab)["url"], before["url"]);
    assert_eq!(accounts_at_the_ca(&lab), 1);
}

#[test]
fn a_bound_account_that_was_killed_while_it_was_made_is_bound_once() {
    let secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    for place in [
        failpoint::ACCOUNT_KEY_WRITTEN,
        failpoint::ACCOUNT_REGISTERED,
    ] {
        let mut lab = Lab::with(&["example.test"], |pebble| {
            pebble
                .config("externalAccountBindingRequired", json!(true))
                .config("externalAccountMACKeys", json!({ "kid-1": secret }))
        });
        lab.renew().ends(BLOCKED).says("[acme.eab]");
        let file = lab.config_file().with_file_name("eab.ini");
        std::fs::write(&file, format!("eab_hmac_key = {secret}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, mode).unwrap();
        let binding = format!(
            "[acme.eab]\nkid = \"kid-1\"\nkey_file = \"{}\"\n[acme.dns]\n",
            file.display()
        );
        lab.reconfigure("[acme.dns]\n", &binding);
        // The key of the refused try is there already; a run that makes one is what dies at the first place.
        std::fs::remove_file(account_file(&lab)).unwrap();
        die(&lab, &["cert", "renew", "--force"], place);
        let key = saved(&lab)["key"].clone();
        assert!(saved(&lab)["url"].is_null(), "{place}");
        lab.force().ends(DONE);
        assert_eq!(saved(&lab)["key"], key, "{place}: the same key");
        let bound = lab.pebble.log().matches("newAccount Binding").count();
        assert_eq!(bound, 1, "{place}");
        assert_eq!(accounts_at_the_ca(&lab), 1, "{place}");
        assert_eq!(account(&lab)["contact"], "ops@example.test");
    }
}

#[test]
fn an_account_whose_end_was_not_noted_can_be_ended_again() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let ended = account(&lab);
    die(&lab, END, failpoint::ACCOUNT_ENDED);
    assert_eq!(account(&lab), ended);
    lab.force().ends(BLOCKED).says("deactivated").says("hint:");
    lab.portico(END).ends(DONE);
    assert!(account(&lab).is_null());
    lab.force().ends(DONE);
    assert_ne!(account(&lab)["url"], ended["url"]);
    assert_eq!(accounts_at_the_ca(&lab), 2);
}

#[test]
fn no_key_changes_under_a_renewal_that_signs_with_it() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let before = account(&lab);
    lab.proxy.times(1, Kind::NewOrder, Fault::Hang);
    let mut renewal = lab.command(&["cert", "renew", "--force"]);
    renewal.stdout(Stdio::null()).stderr(Stdio::null());
    let asked = lab.proxy.posts(Kind::NewOrder);
    let mut renewal = renewal.spawn().unwrap();
    wait::until("the renewal asks the CA", || {
        (lab.proxy.posts(Kind::NewOrder) > asked).then_some(())
    });
    for verb in [ROLLOVER, END] {
        let busy = lab.portico(verb).ends(FAILED);
        busy.says("a renewal of `example.test` is running")
            .says("hint:");
    }
    assert_eq!(account(&lab), before);
    renewal.kill().unwrap();
    renewal.wait().unwrap();
    lab.portico(ROLLOVER).ends(DONE);
    assert_ne!(account(&lab)["thumbprint"], before["thumbprint"]);
    lab.force().ends(DONE);
}

#[test]
fn every_place_of_the_account_is_in_a_test_above() {
    let tested = [
        failpoint::ROLLOVER_KEY_WRITTEN,
        failpoint::ROLLOVER_ACCEPTED,
        failpoint::ROLLOVER_NOTED,
        failpoint::ACCOUNT_ENDED,
    ];
    assert_eq!(failpoint::ACCOUNT, tested);
}

//! This machine's clock is wrong, or the CA has forgotten or refuses us.

use serde_json::json;

use super::lab::{BLOCKED, DAY, DOMAIN, DONE, HOUR, Lab};
use crate::support::fault_proxy::{Answer, Fault, Kind};

#[test]
fn case_20_a_clock_two_hours_off_is_noticed_and_decided_by_the_ca() {
    for ahead in [-2 * HOUR, 2 * HOUR] {
        let lab = Lab::start().any_time();
        lab.clock(ahead);
        // There is no certificate, by whatever clock: it is due.
        let run = lab.renew().ends(DONE);
        assert!(run.stderr.contains("clock"), "{ahead}: {}", run.stderr);
        let state = std::fs::read_to_string(lab.lineage(DOMAIN).join("state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let skew = state["content"]["clock"]["seconds"].as_i64().unwrap();
        assert!((skew - ahead).abs() < 60, "{ahead}: {skew}");
        lab.pair();
    }
}

#[test]
fn case_20_a_clock_sixty_days_ahead_renews_nothing() {
    let lab = Lab::start().any_time();
    lab.renew().ends(DONE);
    lab.clock(61 * DAY);
    let run = lab.renew();
    assert_ne!(run.code, Some(DONE), "{}", run.text());
    assert!(run.text().contains("clock"), "{}", run.text());
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 1, "the CA's clock counts");
    // The CA's clock says so too: then it is due.
    lab.at(61 * DAY);
    lab.force().ends(DONE);
    assert_eq!(lab.proxy.posts(Kind::NewOrder), 2);
}

#[test]
fn case_24_pebble_restarted_and_the_account_gone() {
    let mut lab = Lab::start();
    lab.renew().ends(DONE);
    let key = account_key(&lab);
    lab.restart_pebble();
    lab.proxy.forget();
    lab.force().ends(DONE);
    assert_eq!(lab.proxy.granted(Kind::NewAccount), 1, "once");
    assert_eq!(account_key(&lab), key, "with the same key");
    assert_eq!(lab.generations().len(), 2);

    // The CA never knows it, whatever we do: no loop.
    let gone = Answer::problem(400, "accountDoesNotExist", "no such account");
    lab.proxy.forget();
    lab.proxy.on(Kind::NewOrder, Fault::Answer(gone));
    lab.force().ends(BLOCKED);
    assert!(lab.proxy.posts(Kind::NewOrder) <= 2);
    assert!(lab.proxy.posts(Kind::NewAccount) <= 1);
}

fn account_key(lab: &Lab) -> String {
    let folder = lab.state().join("acme/accounts");
    let account = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let text = std::fs::read_to_string(account.path().join("account.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&text).unwrap();
    saved["key"].as_str().unwrap().to_owned()
}

#[test]
fn case_24_external_account_required_profile_unknown_and_caa_forbids() {
    let required = |pebble: crate::support::pebble::PebbleBuilder| {
        pebble
            .config("externalAccountBindingRequired", json!(true))
            .config(
                "externalAccountMACKeys",
                json!({ "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" }),
            )
    };
    let external = Lab::with(&[DOMAIN], required);
    external.renew().ends(BLOCKED).says("external account");
    assert_eq!(external.proxy.posts(Kind::NewOrder), 0);

    let mut profile = Lab::start();
    profile.reconfigure("[acme]\n", "[acme]\nprofile = \"platinum\"\n");
    profile.renew().ends(BLOCKED).says("platinum");

    let caa = Lab::start();
    let words = "CAA record for example.test prevents issuance";
    caa.proxy.on(
        Kind::Finalize,
        Fault::Answer(Answer::problem(403, "caa", words)),
    );
    caa.renew().ends(BLOCKED).says(words).says("hint: ");

    for lab in [external, profile, caa] {
        let asked = lab.proxy.calls().len();
        for _ in 0..3 {
            lab.renew().ends(BLOCKED);
        }
        assert_eq!(lab.proxy.calls().len(), asked, "no loop");
        assert_eq!(lab.left_in_dns(), [""; 0]);
    }
}

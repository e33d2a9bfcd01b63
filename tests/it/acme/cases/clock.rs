//! This machine's clock is wrong, or the CA has forgotten or refuses us.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::lab::{BLOCKED, DAY, DOMAIN, DONE, HOUR, Lab, faketime, run};
use crate::support::dns_front::Mood;
use crate::support::fault_proxy::{Answer, Fault, Kind};
use crate::support::wait;

#[test]
fn case_20_a_clock_two_hours_off_is_noticed_and_decided_by_the_ca() {
    for ahead in [-2 * HOUR, 2 * HOUR] {
        let lab = Lab::start().any_time();
        lab.clock(ahead);
        // There is no certificate, by whatever clock: it is due.
        let run = lab.renew().ends(DONE);
        assert!(run.stderr.contains("clock"), "{ahead}: {}", run.stderr);
        let state = fs::read_to_string(lab.lineage(DOMAIN).join("state.json")).unwrap();
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
fn case_20_a_clock_set_in_the_middle_of_a_run() {
    for jump in [-2 * HOUR, 61 * DAY, 100 * DAY] {
        let mut lab = Lab::start().any_time();
        let late = lab.second_server(Mood::Late);
        lab.reconfigure("\"5s\"", "\"30s\"");
        let clock = lab.state().with_file_name("clock");
        fs::write(&clock, "+0s").unwrap();
        let env = faketime("").into_iter();
        let mut command = lab.command(&["cert", "renew"]);
        command
            .envs(env.filter(|(name, _)| *name != "FAKETIME"))
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1");
        let run = std::thread::scope(|scope| {
            let running = scope.spawn(|| run(command));
            wait::until("the run waits for DNS", || (late.asked() > 2).then_some(()));
            fs::write(&clock, format!("{jump:+}s")).unwrap();
            let before = late.asked();
            wait::until("it still waits", || {
                (late.asked() > before + 2 || running.is_finished()).then_some(())
            });
            assert!(!running.is_finished(), "{jump}: no wait ends by the clock");
            late.set(Mood::Good);
            running.join().unwrap()
        });
        let run = run.ends(DONE);
        assert!(run.took < Duration::from_secs(60), "{jump}: {:?}", run.took);
        lab.pair();
        assert_eq!(lab.generations().len(), 1, "{jump}");
        assert_eq!(lab.left_in_dns(), [""; 0], "{jump}");
        // The clock is right again: nothing is due, nothing waits.
        lab.renew().ends(DONE).says("not due");
        assert_eq!(lab.proxy.posts(Kind::NewOrder), 1, "{jump}");
        assert!(lab.status(DOMAIN)["failure"].is_null(), "{jump}");
    }
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
    let account = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let text = fs::read_to_string(account.path().join("account.json")).unwrap();
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

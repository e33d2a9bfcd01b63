//! `acme.on_event` and the look whether a new certificate is served.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use portico::acme::deploy::{self, Deployed};
use portico::cert::bundle::Bundle;
use portico::config::Config;
use portico::host::Host;
use serde_json::Value;

use super::{Desk, NAMES, TIMER, aged, stdout};
use crate::support::origin::{Origin, text};
use crate::support::pki::{Ca, Leaf};
use crate::support::port;

/// A hook that keeps each event in a line of `events`.
fn hook(folder: &Path, tail: &str) -> String {
    let script = folder.join("hook");
    let lines = format!("#!/bin/sh\ncat >> {}/events\n{tail}", folder.display());
    fs::write(&script, lines).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    format!("on_event = [\"{}\"]", script.display())
}

fn events(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("events")).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("an event in each line"))
        .collect()
}

fn kinds(folder: &Path) -> Vec<String> {
    let all = events(folder);
    all.iter()
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .collect()
}

/// A site that serves this leaf, as a proxy that did not take the new one.
fn serving(leaf: &Leaf) -> Origin {
    Origin::tls(leaf, |_| async { text(200, "hello") })
}

fn probing(origin: &Origin, extra: &str) -> Desk {
    let probe = format!("deploy_probe = \"{}\"\n{extra}", origin.socket());
    Desk::new(&TIMER.replace("deploy_probe = \"off\"", &probe))
}

#[tokio::test]
async fn the_listener_must_show_the_new_leaf_for_the_apex_and_for_any_name() {
    let ca = Ca::new();
    let (old, new) = (ca.leaf(&NAMES), ca.leaf(&NAMES));
    let origin = serving(&old);
    let config = |origin: &Origin| {
        let mut config = Config::for_domains(vec![Host::parse("example.test").unwrap()]);
        config.acme.deploy_probe = portico::config::DeployProbe::Address(origin.socket());
        config
    };
    let bundle = |leaf: &Leaf| Bundle::parse(leaf.chain.as_bytes(), leaf.key.as_bytes()).unwrap();
    let domain = Host::parse("example.test").unwrap();
    let second = Duration::from_secs(1);
    let mut out = Vec::new();
    let served = deploy::confirm(&config(&origin), &domain, &bundle(&old), second, &mut out).await;
    assert!(matches!(served, Deployed::Served { .. }), "{served:?}");
    let start = Instant::now();
    let failed = deploy::confirm(&config(&origin), &domain, &bundle(&new), second, &mut out).await;
    assert!(start.elapsed() >= second);
    let Deployed::Failed { detail } = failed else {
        panic!("{failed:?}")
    };
    let serial = bundle(&old).serial().to_owned();
    assert!(
        detail.contains(&serial) && detail.contains("`example.test`"),
        "{detail}"
    );

    // Nobody there at all: at our own listeners that is a proxy that is not running, elsewhere it is a failure.
    let mut own = config(&origin);
    own.acme.deploy_probe = portico::config::DeployProbe::Listener;
    own.listen.https = vec![port::local(port::free())];
    let nobody = deploy::confirm(&own, &domain, &bundle(&new), second, &mut out).await;
    assert_eq!(nobody, Deployed::Nobody);
    own.acme.deploy_probe = portico::config::DeployProbe::Address(own.listen.https[0]);
    let failed = deploy::confirm(&own, &domain, &bundle(&new), second, &mut out).await;
    assert!(matches!(failed, Deployed::Failed { .. }), "{failed:?}");
}

#[test]
fn a_certificate_that_is_not_served_fails_loudly_each_time_until_it_is() {
    let ca = Ca::new();
    let (old, new) = (ca.leaf(&NAMES), ca.leaf(&NAMES));
    let origin = serving(&old);
    let folder = tempfile::tempdir().unwrap();
    let desk = probing(&origin, &hook(folder.path(), ""));
    desk.import(&new);
    // As if an earlier run had waited its whole minute in vain, so that this one need not.
    let notices = desk.path().join("state/certs/example.test/notices.json");
    let seen = r#"{"deploy":{"generation":1,"serial":"","at":0,"failed":"not served"}}"#;
    fs::write(&notices, seen).unwrap();
    for _ in 0..2 {
        let output = desk.cert(&["reconcile"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = stdout(&output);
        assert!(
            said.contains("DEPLOY FAILED") && said.contains("hint: "),
            "{said}"
        );
        assert!(
            said.contains("not due before"),
            "it is not issued again: {said}"
        );
    }
    let line = desk.done(&["status"]);
    assert!(
        line.contains("WARNING: the newest certificate is not served"),
        "{line}"
    );
    assert_eq!(desk.cert(&["check"]).status.code(), Some(1));

    // Its own minute is over, and the site serves the new one at last.
    drop(origin);
    let origin = serving(&new);
    let config = fs::read_to_string(&desk.file).unwrap();
    let config = config
        .lines()
        .map(|line| match line.starts_with("deploy_probe") {
            true => format!("deploy_probe = \"{}\"", origin.socket()),
            false => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(&desk.file, config).unwrap();
    let said = desk.done(&["reconcile"]);
    assert!(said.contains("is served"), "{said}");
    assert_eq!(kinds(folder.path()), ["recovered"]);
    assert_eq!(desk.cert(&["check"]).status.code(), Some(0));
}

#[test]
fn a_failure_and_its_end_are_told_with_cause_and_next_step() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens at this CA's address, so a forced renewal fails at once.
    let dead = port::local(port::free());
    let config = TIMER
        .replace("127.0.0.1:1/dir", &format!("{dead}/dir"))
        .replace(
            "deploy_probe = \"off\"",
            &format!("deploy_probe = \"off\"\n{}", hook(folder.path(), "")),
        );
    let desk = Desk::new(&config);
    let failed = desk.cert(&["reconcile"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let held = desk.cert(&["reconcile"]);
    assert_eq!(held.status.code(), Some(75), "{held:?}");
    assert_eq!(
        kinds(folder.path()),
        ["failed", "expiring"],
        "held back is no event"
    );
    let event = &events(folder.path())[0];
    assert_eq!(event["lineage"], "example.test");
    assert_eq!(event["class"], "transport");
    assert_eq!(event["level"], "critical");
    assert!(
        event["detail"]
            .as_str()
            .unwrap()
            .contains("the CA cannot be used"),
        "{event}"
    );
    assert!(
        event["next"].as_str().unwrap().contains("next try at"),
        "{event}"
    );

    let expiring = &events(folder.path())[1];
    assert_eq!(expiring["detail"], "there is no certificate");
    assert!(expiring["serial"].is_null() && expiring["class"].is_null());

    desk.import(&aged(&Ca::new(), 100));
    desk.done(&["reconcile"]);
    let told = kinds(folder.path());
    assert_eq!(told[2..], ["recovered"], "{told:?}");
    let recovered = &events(folder.path())[2];
    assert_eq!(recovered["level"], "fine");
    assert!(
        recovered["serial"].is_string() && recovered["detail"] == "what failed works again",
        "{recovered}"
    );
    let next = recovered["next"].as_str().unwrap();
    assert!(next.starts_with("renewal at "), "{recovered}");
}

#[test]
fn a_hook_that_hangs_is_killed_and_one_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let with = |hook: &str| {
        TIMER.replace(
            "deploy_probe = \"off\"",
            &format!("deploy_probe = \"off\"\n{hook}"),
        )
    };
    let desk = Desk::new(&with(&hook(folder.path(), "exec sleep 300\n")));
    desk.import(&aged(&Ca::new(), 800));
    let start = Instant::now();
    let output = desk.cert(&["renew", "--force"]);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        super::stderr(&output).contains("took longer than 10 s"),
        "{output:?}"
    );

    let desk = Desk::new(&with(&hook(folder.path(), "echo no good >&2; exit 3\n")));
    desk.import(&aged(&Ca::new(), 800));
    let output = desk.cert(&["renew", "--force"]);
    assert!(
        super::stderr(&output).contains("the event hook failed: no good"),
        "{output:?}"
    );
    let all = events(folder.path());
    let expiring = all.iter().rfind(|event| event["event"] == "expiring");
    let expiring = expiring.expect("told before it failed");
    assert_eq!(expiring["level"], "warning");
    let detail = expiring["detail"].as_str().unwrap();
    // The second in which it was made may be over.
    let parts = ["20.0", "19.9"].map(|left| format!("{left}% of its lifetime is left"));
    assert!(parts.contains(&detail.to_owned()), "{expiring}");
    let left = expiring["seconds_left"].as_i64().unwrap();
    assert!((left - 20 * 86_400).abs() < 300, "{expiring}");
}

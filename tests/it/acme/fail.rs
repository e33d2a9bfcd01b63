//! What goes wrong on the way, and what is left behind.

use std::fs;

use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::cli::cert::Verdict;
use portico::config::DnsProvider;
use tempfile::tempdir;

use super::issue::{DUE, FORCE, RECORD, config, host, requests, rfc2136, run, serial};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;

#[tokio::test]
async fn a_wrong_tsig_secret_blocks_until_it_is_changed() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempdir().unwrap();
    let wrong = "d3Jvbmctc2VjcmV0LXdyb25nLXNlY3JldC13cm9uZyE=";
    let config = config(
        state.path(),
        &pebble,
        rfc2136(&state, knot.address(), wrong),
        knot.address(),
    );
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Blocked);
    assert!(
        text.contains("BADSIG") && text.contains("hint: the secret of the key `acme-key."),
        "{text}"
    );
    assert!(!text.contains(wrong));

    let before = requests(&pebble);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Blocked);
    assert!(text.contains("waiting until"), "{text}");
    assert_eq!(requests(&pebble), before, "the CA is left alone");

    rfc2136(&state, knot.address(), KEY_SECRET);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(
        pebble.log().matches("Added order").count(),
        1,
        "the first order was taken up again"
    );
    assert_eq!(knot.txt(RECORD), [""; 0]);
}

#[tokio::test]
async fn a_record_that_never_appears_is_never_offered_to_the_ca() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempdir().unwrap();
    let provider = DnsProvider::Exec {
        command: vec!["/bin/true".to_owned()],
    };
    let mut config = config(state.path(), &pebble, provider, knot.address());
    config.acme.dns.as_mut().unwrap().propagation_timeout = std::time::Duration::from_secs(1);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Failed);
    assert!(text.contains("2 of 2 values missing"), "{text}");
    assert!(
        !pebble.log().contains("Pulled a task"),
        "no validation was asked for"
    );
    let store = FileStore::new(state.path());
    let kept = store.pending(&host("example.test")).unwrap().unwrap();

    config.acme.dns.as_mut().unwrap().provider = rfc2136(&state, knot.address(), KEY_SECRET);
    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(
        pebble.log().matches("Added order").count(),
        1,
        "the order was taken up again"
    );
    let key = state.path().join("certs/example.test/current/privkey.pem");
    assert_eq!(
        fs::read_to_string(key).unwrap(),
        *kept.key,
        "with the key made for it"
    );
    assert!(store.pending(&host("example.test")).unwrap().is_none());

    // A run that died between storing the certificate and forgetting the order: it is not issued a second time.
    let issued = serial(&config);
    store.put_pending(&host("example.test"), &kept).unwrap();
    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_ne!(serial(&config), issued);
}

#[tokio::test]
async fn a_failed_validation_leaves_no_record_and_waits() {
    let knot = Knot::start(&["example.test"]);
    let other = Knot::start(&["example.test"]);
    // The CA asks a server that has no record, we ask the one that has it.
    let pebble = Pebble::asking(other.address()).start();
    let state = tempdir().unwrap();
    let config = config(
        state.path(),
        &pebble,
        rfc2136(&state, knot.address(), KEY_SECRET),
        knot.address(),
    );
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Failed);
    assert!(
        text.contains("could not validate") && text.contains("example.test"),
        "{text}"
    );
    assert_eq!(knot.txt(RECORD), [""; 0]);
    let (verdict, _) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Waiting);
    assert_eq!(pebble.log().matches("Added order").count(), 1);
}

#[tokio::test]
async fn a_ca_that_lost_its_memory_gets_the_same_account_key_again() {
    let knot = Knot::start(&["example.test"]);
    let first = Pebble::asking(knot.address()).start();
    let state = tempdir().unwrap();
    let config = config(
        state.path(),
        &first,
        rfc2136(&state, knot.address(), KEY_SECRET),
        knot.address(),
    );
    assert_eq!(run(&config, DUE).await.0, Verdict::Fine);
    let before = serial(&config);
    let first = first.restart();
    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_ne!(serial(&config), before);
    assert!(first.log().contains("There are now 1 accounts"));
}

#[tokio::test]
async fn records_of_a_run_that_died_are_removed_even_when_nothing_is_due() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempdir().unwrap();
    let config = config(
        state.path(),
        &pebble,
        rfc2136(&state, knot.address(), KEY_SECRET),
        knot.address(),
    );
    assert_eq!(run(&config, DUE).await.0, Verdict::Fine);
    assert!(
        knot.update("example.test", &[&format!("add {RECORD}. 60 TXT stale")])
            .status
            .success()
    );
    assert!(
        knot.update("example.test", &[&format!("add {RECORD}. 60 TXT foreign")])
            .status
            .success()
    );
    let debt = portico::cert::store::Debt {
        domain: "example.test".to_owned(),
        zone: "example.test".to_owned(),
        fqdn: RECORD.to_owned(),
        value: "stale".to_owned(),
        ..Default::default()
    };
    let store = FileStore::new(state.path());
    store.owe(&host("example.test"), &debt).unwrap();
    assert_eq!(run(&config, DUE).await.0, Verdict::Fine);
    assert_eq!(knot.txt(RECORD), ["foreign"]);
    assert!(store.debts(&host("example.test")).unwrap().is_empty());
}

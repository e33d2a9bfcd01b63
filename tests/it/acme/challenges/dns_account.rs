//! dns-account-01: as dns-01, below a label of the account's own.

use portico::cli::cert::Verdict;
use portico::config::{Challenge, DnsProvider};

use crate::acme::issue::{FORCE, RECORD, config, rfc2136, run, serial};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;

#[tokio::test]
async fn issues_below_the_label_of_the_account_and_leaves_others_alone() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, knot.address(), KEY_SECRET);
    let mut config = config(state.path(), &pebble, provider, knot.address());
    config.acme.challenge = Challenge::DnsAccount01;
    // Another client of the same domain, whose record would be in the way of dns-01 clients that replace the set.
    let update = knot.update("example.test", &[&format!("add {RECORD}. 60 TXT other")]);
    assert!(update.status.success());

    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    let first = serial(&config);
    assert_eq!(knot.txt(RECORD), ["other"]);

    // The hook is told the record's name: below the account's label, twice, and gone afterwards.
    let calls = state.path().join("calls");
    let script = format!("echo \"$1 $2\" >> {}; exit 1", calls.display());
    config.acme.dns.as_mut().unwrap().provider = DnsProvider::Exec {
        command: vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            script,
            "hook".to_owned(),
        ],
    };
    let (verdict, text) = run(&config, FORCE).await;
    assert_ne!(verdict, Verdict::Fine, "{text}");
    assert_eq!(serial(&config), first);
    let calls = std::fs::read_to_string(calls).unwrap();
    let (verb, name) = calls.lines().next().unwrap().split_once(' ').unwrap();
    let (label, rest) = name.split_once('.').unwrap();
    // As lego calls its hooks: with the dot at the end.
    let rest = rest.strip_suffix('.').unwrap();
    assert_eq!((verb, rest), ("present", RECORD));
    let digits = label.strip_prefix('_').unwrap();
    assert_eq!(digits.len(), 16);
    assert!(
        digits
            .bytes()
            .all(|digit| matches!(digit, b'a'..=b'z' | b'2'..=b'7'))
    );
    assert_eq!(
        knot.txt(name.trim_end_matches('.')),
        [""; 0],
        "nothing of the first order is left"
    );
}

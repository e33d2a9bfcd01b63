//! `cert plan`: what would go wrong is said before an order does.

use std::fs;

use serde_json::Value;

use super::{Desk, stderr, stdout};
use crate::main_line::{config, credentials};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;

const RECORD: &str = "_acme-challenge.example.test";

/// Exit code, and grade and words of each thing.
fn plan(desk: &Desk) -> (Option<i32>, Vec<(String, String, String)>) {
    let output = desk.cert(&["plan", "--json"]);
    let all: Value = serde_json::from_str(&stdout(&output))
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    eprintln!("{all:#}{}", stderr(&output));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = all[0]["findings"].as_array().unwrap();
    let findings = findings
        .iter()
        .map(|one| {
            (
                text(&one["what"]),
                text(&one["grade"]),
                text(&one["detail"]),
            )
        })
        .collect();
    (output.status.code(), findings)
}

fn of<'a>(findings: &'a [(String, String, String)], what: &str) -> (&'a str, &'a str) {
    let found = findings.iter().find(|(name, ..)| name == what);
    let (_, grade, detail) = found.unwrap_or_else(|| panic!("no {what}: {findings:?}"));
    (grade, detail)
}

#[test]
fn everything_is_tried_without_an_order_and_nothing_stays() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address())
        .config("CAAIdentities", serde_json::json!(["pebble.test"]))
        .start();
    let desk = Desk::new(&config(&pebble, &knot, "http://127.0.0.1:4"));
    credentials(&desk.path().join("dns.ini"), knot.address());
    let (code, findings) = plan(&desk);
    assert_eq!(code, Some(0), "{findings:?}");
    for what in [
        "state",
        "budget",
        "ca",
        "clock",
        "delegation",
        "record",
        "clean-up",
    ] {
        assert_eq!(of(&findings, what).0, "good", "{what}: {findings:?}");
    }
    assert!(knot.txt(RECORD).is_empty());
    assert!(!pebble.log().contains("Added order"), "no order");
    assert!(!pebble.log().contains("There are now"), "no account");
    let left = desk
        .path()
        .join("state/certs/example.test/txt-ledger.jsonl");
    assert!(!left.exists(), "the ledger is empty");

    // A secret that the server refuses: said, with what to do, and nothing is left.
    let ini = desk.path().join("dns.ini");
    let wrong = "d3Jvbmctc2VjcmV0LXdyb25nLXNlY3JldC13cm9uZyE=";
    fs::write(
        &ini,
        fs::read_to_string(&ini).unwrap().replace(KEY_SECRET, wrong),
    )
    .unwrap();
    let (code, findings) = plan(&desk);
    assert_eq!(code, Some(2));
    let (grade, detail) = of(&findings, "record");
    assert!(
        grade == "bad" && detail.contains("BADSIG") && detail.contains("hint: "),
        "{detail}"
    );
}

#[test]
fn a_ca_that_is_not_there_or_lacks_the_profile_is_told() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let text = config(&pebble, &knot, "http://127.0.0.1:4");
    let desk = Desk::new(&text.replace("[acme]\n", "[acme]\nprofile = \"no-such\"\n"));
    credentials(&desk.path().join("dns.ini"), knot.address());
    let (code, findings) = plan(&desk);
    assert_eq!(code, Some(2));
    let (grade, detail) = of(&findings, "ca");
    assert!(
        grade == "bad" && detail.contains("`no-such`") && detail.contains("default"),
        "{detail}"
    );

    let nobody = "https://127.0.0.1:1/dir";
    let file = fs::read_to_string(&desk.file).unwrap();
    fs::write(&desk.file, file.replace(&pebble.directory_url(), nobody)).unwrap();
    let (code, findings) = plan(&desk);
    assert_eq!(code, Some(2));
    let (grade, detail) = of(&findings, "ca");
    assert!(grade == "bad" && detail.contains(nobody), "{detail}");
}

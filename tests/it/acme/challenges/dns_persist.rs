//! dns-persist-01 by the built program: no DNS credential at all, one record, and certificates from then on.

use std::fs;
use std::path::{Path, PathBuf};

use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::host::Host;

use super::words;
use crate::support::knot::Knot;
use crate::support::pebble::Pebble;
use crate::support::portico::portico_cmd;

const RECORD: &str = "_validation-persist.example.test";

struct Site {
    folder: tempfile::TempDir,
    knot: Knot,
    pebble: Pebble,
}

impl Site {
    fn new() -> Self {
        Self::with(Knot::start(&["example.test"]), "")
    }

    /// `more`: other authoritative servers, as further elements of the list.
    fn with(knot: Knot, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pebble = Pebble::asking(knot.address()).start();
        let text = format!(
            r#"domains = ["example.test"]
state_dir = "{}/state"
upstream.servers = ["http://127.0.0.1:9"]
[acme]
directory = "{}"
ca_file = "{}"
challenge = "dns-persist-01"
[acme.dns]
nameservers = ["{}"{more}]
"#,
            folder.path().display(),
            pebble.directory_url(),
            pebble.ca_file().display(),
            knot.address(),
        );
        fs::write(folder.path().join("portico.toml"), text).unwrap();
        Self {
            folder,
            knot,
            pebble,
        }
    }

    /// The exit code and all words.
    fn cert(&self, verb: &[&str]) -> (Option<i32>, String) {
        let file = self
            .folder
            .path()
            .join("portico.toml")
            .display()
            .to_string();
        let done = portico_cmd(&[&["cert"], verb, &["--config", &file]].concat());
        (done.status.code(), words(&done))
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn serial(&self) -> String {
        let host = Host::parse("example.test").unwrap();
        let stored = FileStore::new(&self.state()).load(&host).unwrap().unwrap();
        stored.bundle.serial().to_owned()
    }

    fn looked(&self) -> usize {
        self.pebble.log().matches("Pulled a task").count()
    }

    fn update(&self, line: &str) {
        let done = self.knot.update("example.test", &[line]);
        assert!(done.status.success(), "{done:?}");
    }
}

/// The value of the zone-file line that was printed.
fn value(text: &str) -> String {
    let line = text.lines().find(|line| line.contains(" IN TXT ")).unwrap();
    let (name, value) = line.trim().split_once(" 3600 IN TXT ").unwrap();
    assert_eq!(name, format!("{RECORD}."));
    value.trim_matches('"').to_owned()
}

#[test]
fn one_record_then_issue_and_renewals_without_any_dns_change() {
    let site = Site::new();
    let (code, text) = site.cert(&["persist-record"]);
    assert_eq!(code, Some(0), "{text}");
    let record = value(&text);
    assert!(
        record.starts_with("pebble.letsencrypt.org; accounturi=https://127.0.0.1:"),
        "{record}"
    );
    assert!(record.ends_with("; policy=wildcard"), "{record}");
    let (_, again) = site.cert(&["persist-record"]);
    assert_eq!(value(&again), record, "the account is made once");

    // Nothing published: said, and the CA is not asked to look.
    let (code, text) = site.cert(&["persist-record", "--check"]);
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains("does not show it: no such record"), "{text}");
    let (code, text) = site.cert(&["issue"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no such record"), "{text}");
    assert!(
        text.contains("hint: `portico cert persist-record`"),
        "{text}"
    );
    assert_eq!(site.looked(), 0);

    // A record that does not allow wildcards is seen to be wrong before the CA sees it.
    let narrow = record.replace("; policy=wildcard", "");
    site.update(&format!("add {RECORD}. 60 TXT \"{narrow}\""));
    let (code, text) = site.cert(&["renew", "--force"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("does not allow wildcards"), "{text}");
    assert_eq!(site.looked(), 0);

    site.update(&format!("add {RECORD}. 60 TXT \"{record}\""));
    let (code, text) = site.cert(&["persist-record", "--check"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("shows it"), "{text}");
    let before = site.knot.txt(RECORD);
    let (code, text) = site.cert(&["renew", "--force"]);
    assert_eq!(code, Some(0), "{text}");
    let first = site.serial();
    assert!(site.looked() >= 2, "apex and wildcard were validated");
    let (code, text) = site.cert(&["renew", "--force"]);
    assert_eq!(code, Some(0), "{text}");
    assert_ne!(site.serial(), first);
    assert_eq!(site.knot.txt(RECORD), before, "no DNS change");
    assert_eq!(site.knot.txt("_acme-challenge.example.test"), [""; 0]);
    assert!(no_ledger(&site.state()));
}

#[test]
fn a_record_that_has_ended_is_not_offered() {
    let site = Site::new();
    let (code, text) = site.cert(&["persist-record", "--days", "30"]);
    assert_eq!(code, Some(0), "{text}");
    let record = value(&text);
    let (rest, end) = record.split_once("; persistUntil=").unwrap();
    let seconds: u64 = end.parse().unwrap();
    assert!(seconds > 1_700_000_000, "{end}");
    site.update(&format!(
        "add {RECORD}. 60 TXT \"{rest}; persistUntil=1700000000\""
    ));
    let (code, text) = site.cert(&["issue"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("it ended at 2023-11-14T22:13:20Z"), "{text}");
    assert_eq!(site.looked(), 0);
    site.update(&format!("add {RECORD}. 60 TXT \"{record}\""));
    let (code, text) = site.cert(&["renew", "--force"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_server_that_lacks_the_record_is_named_and_holds_the_order_back() {
    let lagging = Knot::start(&["example.test"]);
    let more = format!(", \"{}\"", lagging.address());
    let site = Site::with(Knot::start(&["example.test"]), &more);
    let (_, text) = site.cert(&["persist-record"]);
    let line = format!("add {RECORD}. 60 TXT \"{}\"", value(&text));
    site.update(&line);
    let (code, text) = site.cert(&["persist-record", "--check"]);
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains("shows it"), "{text}");
    let lacks = format!("({}) does not show it: no such record", lagging.address());
    assert!(text.contains(&lacks), "{text}");
    let (code, text) = site.cert(&["issue"]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(site.looked(), 0);
    assert!(lagging.update("example.test", &[&line]).status.success());
    let (code, text) = site.cert(&["renew", "--force"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_plan_looks_for_the_standing_record_and_makes_no_account() {
    let site = Site::new();
    let (code, text) = site.cert(&["plan"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains(
            "BAD record: there is no account yet that `_validation-persist.example.test`"
        ) && text.contains("hint: `portico cert persist-record`"),
        "{text}"
    );
    assert!(!site.pebble.log().contains("There are now"), "no account");
    let (_, text) = site.cert(&["persist-record"]);
    let record = value(&text);
    let (code, text) = site.cert(&["plan"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("not authorize our account everywhere"),
        "{text}"
    );
    let narrow = record.replace("; policy=wildcard", "");
    site.update(&format!("add {RECORD}. 60 TXT \"{narrow}\""));
    let (code, text) = site.cert(&["plan"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("does not allow wildcards"), "{text}");

    site.update(&format!("add {RECORD}. 60 TXT \"{record}\""));
    let (code, text) = site.cert(&["plan"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("ok  record: every authoritative server shows"),
        "{text}"
    );
    assert!(text.contains("ok  servers: "), "{text}");
    assert!(!text.contains("clean-up"), "nothing is published: {text}");
    assert_eq!(site.looked(), 0);
    assert!(no_ledger(&site.state()));
}

fn no_ledger(state: &Path) -> bool {
    !state.join("certs/example.test/txt-ledger.jsonl").exists()
}

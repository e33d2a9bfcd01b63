//! `portico dns test` and `portico dns cleanup`, as processes.

use std::fs;

use portico::cert::store::file::FileStore;
use portico::cert::store::{Debt, Store};

use super::super::issue::{RECORD, host, requests, rfc2136};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;
use crate::support::portico::portico_cmd;

#[test]
fn tries_dns_without_the_ca_and_cleans_up_what_is_left() {
    let knot = Knot::start(&["example.test"]);
    let other = Knot::start(&["example.test"]); // never hears of anything
    let pebble = Pebble::asking(knot.address()).start();
    let folder = tempfile::tempdir().unwrap();
    rfc2136(&folder, knot.address(), KEY_SECRET);
    let file = folder.path().join("portico.toml");
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let write = |nameservers: &str| {
        let text = format!(
            "domains = [\"example.test\"]\nstate_dir = \"state\"\nupstream.servers = [\"http://127.0.0.1:9\"]\n\
             [acme]\ndirectory = \"{}\"\n[acme.dns]\nprovider = \"rfc2136\"\ncredentials = \"rfc2136.ini\"\n\
             propagation_timeout = \"2s\"\nnameservers = [{nameservers}]\n",
            pebble.directory_url(),
        );
        fs::write(&file, text).unwrap();
    };
    let path = file.display().to_string();
    let dns = |args: &[&str]| {
        let ran = portico_cmd(&[&["dns"], args, &["--config", &path]].concat());
        let text =
            String::from_utf8_lossy(&[&ran.stdout[..], &ran.stderr[..]].concat()).into_owned();
        (ran.status.code(), text)
    };
    assert!(
        knot.update("example.test", &[&format!("add {RECORD}. 60 TXT foreign")])
            .status
            .success()
    );

    write(&format!("\"{}\"", knot.address()));
    let (code, text) = dns(&["test", "--domain", "example.test"]);
    assert_eq!(code, Some(0), "{text}");
    let place = format!("record `{RECORD}` in zone `example.test`, by rfc2136");
    assert!(
        text.contains(&place) && text.contains(&format!("({}): has it", knot.address())),
        "{text}"
    );
    assert!(
        text.contains("visible everywhere after") && text.contains("example.test: removed"),
        "{text}"
    );
    assert_eq!(knot.txt(RECORD), ["foreign"]);

    write(&format!("\"{}\", \"{}\"", knot.address(), other.address()));
    let (code, text) = dns(&["test"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains(&format!("({}): 1 of 1 values missing", other.address())),
        "{text}"
    );
    assert_eq!(knot.txt(RECORD), ["foreign"], "removed all the same");
    assert_eq!(dns(&["test", "--domain", "other.test"]).0, Some(2));

    let store = FileStore::new(&state);
    let debt = Debt {
        domain: "example.test".to_owned(),
        zone: "example.test".to_owned(),
        fqdn: RECORD.to_owned(),
        value: "left-behind".to_owned(),
        ..Debt::default()
    };
    store.owe(&host("example.test"), &debt).unwrap();
    assert!(
        knot.update(
            "example.test",
            &[&format!("add {RECORD}. 60 TXT left-behind")]
        )
        .status
        .success()
    );
    let (code, text) = dns(&["cleanup", "--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(&format!("would remove {RECORD} TXT left-behind")),
        "{text}"
    );
    assert_eq!(knot.txt(RECORD).len(), 2);
    let (code, text) = dns(&["cleanup"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(&format!("removed {RECORD} TXT left-behind")),
        "{text}"
    );
    assert_eq!(knot.txt(RECORD), ["foreign"]);
    assert!(dns(&["cleanup"]).1.contains("nothing of ours is left"));
    assert_eq!(requests(&pebble), 0, "no CA was asked for anything");
}

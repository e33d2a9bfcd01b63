//! Name servers that say no, and records that never come.

use std::fs;
use std::time::Duration;

use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::cli::cert::Verdict;
use portico::config::DnsProvider;

use super::super::issue::{DUE, FORCE, RECORD, host, requests, rfc2136, run};
use super::{Authority, BRANDS, Brand, Lab, challenge_posts, new_orders, zone, zones};
use crate::support::knot::{KEY_NAME, KEY_SECRET, Knot, POOR_KEY_NAME};
use crate::support::pebble::Pebble;
use crate::support::program;
use crate::support::unbound::Unbound;

const WRONG_SECRET: &str = "d3Jvbmctc2VjcmV0LXdyb25nLXNlY3JldC13cm9uZyE=";

/// Runs against `server` with a key name and a secret; the message of a blocked run, which later runs leave at that.
async fn refused(lab: Lab, server: &Authority, key: &str, secret: &str) -> String {
    let resolver = Unbound::start(&[("example.test", server.address())]);
    let pebble = Pebble::asking(server.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, server.address(), secret);
    let file = state.path().join("rfc2136.ini");
    let text = fs::read_to_string(&file).unwrap();
    let line = format!("dns_rfc2136_name = {KEY_NAME}\n");
    assert!(text.contains(&line));
    fs::write(
        &file,
        text.replace(&line, &format!("dns_rfc2136_name = {key}\n")),
    )
    .unwrap();
    let config = lab.config(&state, &pebble, provider, &resolver);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Blocked, "{text}");
    assert_eq!(challenge_posts(&pebble), 0);
    let (orders, before) = (new_orders(&pebble), requests(&pebble));
    for _ in 0..2 {
        let (verdict, later) = run(&config, DUE).await;
        assert_eq!(verdict, Verdict::Blocked, "{later}");
    }
    assert_eq!(requests(&pebble), before, "the CA is left alone");
    assert_eq!(new_orders(&pebble), orders);
    assert!(!text.contains(secret), "{text}");
    text
}

#[tokio::test]
async fn case_09_tsig_wrong_key() {
    for brand in BRANDS {
        let lab = Lab::new();
        let server = Authority::start(brand, lab.at(1), &zones(&[zone("example.test", &[1], "")]));
        let text = refused(lab, &server, "no-such-key", KEY_SECRET).await;
        assert!(
            text.contains("NOTAUTH BADKEY") && text.contains("does not know the key `no-such-key"),
            "{brand:?}: {text}"
        );
    }
}

#[tokio::test]
async fn case_09_tsig_wrong_secret() {
    for brand in BRANDS {
        let lab = Lab::new();
        let server = Authority::start(brand, lab.at(1), &zones(&[zone("example.test", &[1], "")]));
        let text = refused(lab, &server, KEY_NAME, WRONG_SECRET).await;
        assert!(text.contains("NOTAUTH BADSIG"), "{brand:?}: {text}");
    }
}

#[tokio::test]
async fn case_09_tsig_clock_ten_minutes_off() {
    let lab = Lab::new();
    let library = program::faketime().display().to_string();
    let env = [("LD_PRELOAD", library.as_str()), ("FAKETIME", "+10m")];
    let all = [zone("example.test", &[1], "")];
    let server = Authority::Knot(Knot::with_env(lab.at(1), &zones(&all), &env));
    let text = refused(lab, &server, KEY_NAME, KEY_SECRET).await;
    assert!(
        text.contains("NOTAUTH BADTIME") && text.contains("clock"),
        "{text}"
    );
}

#[tokio::test]
async fn case_09_tsig_refused_by_policy() {
    for brand in BRANDS {
        let lab = Lab::new();
        let server = Authority::start(brand, lab.at(1), &zones(&[zone("example.test", &[1], "")]));
        let text = refused(lab, &server, POOR_KEY_NAME, KEY_SECRET).await;
        let code = match brand {
            Brand::Knot => "NOTAUTH",
            Brand::Bind => "REFUSED",
        };
        assert!(text.contains(code), "{brand:?}: {text}");
        assert!(text.contains("hint: "), "{brand:?}: {text}");
        assert_eq!(server.txt(RECORD), [""; 0]);
    }
}

#[tokio::test]
async fn case_11_record_never_appears() {
    for brand in BRANDS {
        let lab = Lab::new();
        let server = Authority::start(brand, lab.at(1), &zones(&[zone("example.test", &[1], "")]));
        let resolver = Unbound::start(&[("example.test", server.address())]);
        let pebble = Pebble::asking(server.address()).start();
        let state = tempfile::tempdir().unwrap();
        // It says ok and does nothing.
        let provider = DnsProvider::Exec {
            command: vec!["/bin/true".to_owned()],
        };
        let mut config = lab.config(&state, &pebble, provider, &resolver);
        config.acme.dns.as_mut().unwrap().propagation_timeout = Duration::from_secs(3);
        let start = std::time::Instant::now();
        let (verdict, text) = run(&config, DUE).await;
        assert_eq!(verdict, Verdict::Failed, "{brand:?}");
        assert!(text.contains("2 of 2 values missing"), "{text}");
        assert!(
            (3..15).contains(&start.elapsed().as_secs()),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(challenge_posts(&pebble), 0);
        let store = FileStore::new(state.path());
        let kept = store.pending(&host("example.test")).unwrap().unwrap();
        let (verdict, _) = run(&config, DUE).await;
        assert_eq!(verdict, Verdict::Waiting, "its time has not come");
        assert_eq!(new_orders(&pebble), 1);

        config.acme.dns.as_mut().unwrap().provider = rfc2136(&state, server.address(), KEY_SECRET);
        let (verdict, text) = run(&config, FORCE).await;
        assert_eq!(verdict, Verdict::Fine, "{brand:?}: {text}");
        assert_eq!(new_orders(&pebble), 1, "the order was taken up again");
        let key = state.path().join("certs/example.test/current/privkey.pem");
        assert_eq!(fs::read_to_string(key).unwrap(), *kept.key, "with its key");
        assert_eq!(server.txt(RECORD), [""; 0]);
    }
}

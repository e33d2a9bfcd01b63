//! Web services that keep records for us: lego's `httpreq` and acme-dns, each a stand-in that feeds a real name server.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use portico::cli::cert::Verdict;
use portico::config::{CredentialSource, DnsProvider};
use serde_json::json;

use super::super::issue::{DUE, FORCE, RECORD, config, run};
use super::{challenge_posts, new_orders};
use crate::support::knot::Knot;
use crate::support::pebble::Pebble;
use crate::support::web_service::{Call, Reply, WebService};

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Refused before anything is done.
    TooMany,
    /// Done, and then an error.
    BrokenAfter,
    /// Done, and then no answer.
    SilentAfter,
}

fn secret_file(folder: &Path, name: &str, text: &str) -> CredentialSource {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    CredentialSource::File(file)
}

fn set(knot: &Knot, verb: &str, name: &str, value: &str) {
    let ttl = if verb == "add" { "30" } else { "" };
    let line = format!("{verb} {name} {ttl} TXT {value}");
    assert!(
        knot.update("example.test", &[&line]).status.success(),
        "{line}"
    );
}

/// Lego's service in its default mode, which spoils the first calls of `present` as told.
fn httpreq(knot: &Arc<Knot>, faults: &[Fault]) -> WebService {
    let (knot, faults) = (
        Arc::clone(knot),
        Mutex::new(faults.iter().copied().collect::<VecDeque<_>>()),
    );
    WebService::plain(move |call: &Call| {
        let body = call.json();
        let (name, value) = (
            body["fqdn"].as_str().unwrap(),
            body["value"].as_str().unwrap(),
        );
        if call.path == "/dns/cleanup" {
            set(&knot, "del", name, value);
            return Reply::Status(200, String::new());
        }
        assert_eq!(call.path, "/dns/present");
        let fault = faults.lock().unwrap().pop_front();
        if fault == Some(Fault::TooMany) {
            return Reply::Status(429, "{}".to_owned());
        }
        set(&knot, "add", name, value);
        match fault {
            Some(Fault::BrokenAfter) => Reply::Status(500, "{}".to_owned()),
            Some(Fault::SilentAfter) => Reply::Silence,
            _ => Reply::Status(200, String::new()),
        }
    })
}

fn httpreq_credentials(folder: &Path, service: &WebService, more: &str) -> DnsProvider {
    let text = format!(
        "httpreq_endpoint = http://{}/dns\n{more}",
        service.address()
    );
    DnsProvider::HttpReq {
        credentials: secret_file(folder, "httpreq.ini", &text),
    }
}

#[tokio::test]
async fn issues_through_a_service_written_for_lego() {
    let knot = Arc::new(Knot::start(&["example.test"]));
    let service = httpreq(&knot, &[]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let keys = "httpreq_username = edge\nhttpreq_password = open sesame\n";
    let provider = httpreq_credentials(state.path(), &service, keys);
    let config = config(state.path(), &pebble, provider, knot.address());
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(knot.txt(RECORD), [""; 0]);
    let calls = service.calls();
    let expected = format!("Basic {}", BASE64_STANDARD.encode("edge:open sesame"));
    assert_eq!(calls.len(), 4);
    for call in calls {
        assert_eq!(call.method, "POST");
        assert_eq!(call.header("authorization"), expected);
        assert_eq!(
            call.json()["fqdn"],
            format!("{RECORD}."),
            "with its dot, as lego"
        );
    }
}

#[tokio::test]
async fn tells_a_raw_service_token_and_key_authorization() {
    let knot = Arc::new(Knot::start(&["example.test"]));
    let feed = Arc::clone(&knot);
    let service = WebService::plain(move |call: &Call| {
        let body = call.json();
        assert_eq!(body["domain"], "example.test");
        let authorization = body["keyAuth"].as_str().unwrap();
        let token = body["token"].as_str().unwrap();
        assert!(authorization.starts_with(&format!("{token}.")));
        // RFC 8555 section 8.4: what the record holds is the hash of it.
        let value = BASE64_URL_SAFE_NO_PAD.encode(sha256(authorization.as_bytes()));
        let verb = if call.path == "/dns/present" {
            "add"
        } else {
            "del"
        };
        set(&feed, verb, &format!("{RECORD}."), &value);
        Reply::Status(204, String::new())
    });
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = httpreq_credentials(state.path(), &service, "httpreq_mode = RAW\n");
    let config = config(state.path(), &pebble, provider, knot.address());
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(knot.txt(RECORD), [""; 0]);
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let suite = provider
        .cipher_suites
        .iter()
        .find_map(|suite| match suite {
            rustls::SupportedCipherSuite::Tls13(suite)
                if suite.common.hash_provider.output_len() == 32 =>
            {
                Some(suite)
            }
            _ => None,
        })
        .unwrap();
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

#[tokio::test]
async fn case_10_service_fails_after_it_has_worked() {
    let knot = Arc::new(Knot::start(&["example.test"]));
    let service = httpreq(
        &knot,
        &[Fault::TooMany, Fault::BrokenAfter, Fault::SilentAfter],
    );
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = httpreq_credentials(state.path(), &service, "");
    let config = config(state.path(), &pebble, provider, knot.address());
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(knot.txt(RECORD), [""; 0]);
    assert_eq!(challenge_posts(&pebble), 2);
}

#[tokio::test]
async fn case_10_service_fails_each_time() {
    let knot = Arc::new(Knot::start(&["example.test"]));
    let service = httpreq(&knot, &[Fault::BrokenAfter; 100]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = httpreq_credentials(state.path(), &service, "");
    let config = config(state.path(), &pebble, provider, knot.address());
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Failed);
    assert!(
        text.contains("cannot change DNS: httpreq: present of") && text.contains("500"),
        "{text}"
    );
    assert_eq!(challenge_posts(&pebble), 0);
    assert_eq!(
        knot.txt(RECORD),
        [""; 0],
        "what it had made all the same is removed"
    );
    let calls = service.calls().len();
    let (verdict, _) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Waiting);
    assert_eq!(
        service.calls().len(),
        calls,
        "the service is left alone as well"
    );
    assert_eq!(new_orders(&pebble), 1);
}

/// The acme-dns protocol: two values for each name, of which the older one goes.
fn acme_dns(knot: &Arc<Knot>) -> WebService {
    let (knot, values) = (Arc::clone(knot), Mutex::new(VecDeque::new()));
    WebService::plain(move |call: &Call| {
        assert_eq!(
            (call.method.as_str(), call.path.as_str()),
            ("POST", "/update")
        );
        if call.header("x-api-user") != "user-1" || call.header("x-api-key") != "key-1" {
            return Reply::Status(401, json!({ "error": "forbidden" }).to_string());
        }
        let body = call.json();
        assert_eq!(body["subdomain"], "d420");
        let value = body["txt"].as_str().unwrap().to_owned();
        assert_eq!(value.len(), 43, "it takes nothing else");
        let mut values = values.lock().unwrap();
        set(&knot, "add", "d420.example.test.", &value);
        values.push_back(value.clone());
        if values.len() > 2
            && let Some(old) = values.pop_front()
        {
            set(&knot, "del", "d420.example.test.", &old);
        }
        Reply::Status(200, json!({ "txt": value }).to_string())
    })
}

#[tokio::test]
async fn issues_through_acme_dns_and_says_which_record_is_missing() {
    let zone = "$ORIGIN example.test.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 900 86400 60\n@ NS ns1\nns1 A 127.0.0.1\n";
    let pointed = format!("{zone}_acme-challenge CNAME d420\n");
    let at = || crate::support::port::local(crate::support::port::free());
    let knot = Arc::new(Knot::at(at(), &[("example.test", pointed)]));
    let service = acme_dns(&knot);
    // Pebble does not follow a CNAME by itself; the authority does within its zone.
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let account = |key: &str| {
        json!({ "example.test": {
            "username": "user-1", "password": key, "fulldomain": "d420.example.test",
            "subdomain": "d420", "allowfrom": []
        } })
        .to_string()
    };
    let provider = |key: &str| DnsProvider::AcmeDns {
        credentials: secret_file(state.path(), "acmedns.json", &account(key)),
        endpoint: Some(format!("http://{}", service.address())),
    };
    let mut config = config(state.path(), &pebble, provider("wrong-key"), knot.address());
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Blocked);
    assert!(
        text.contains("does not take the account of `example.test` (401"),
        "{text}"
    );
    assert!(!text.contains("wrong-key"));
    config.acme.dns.as_mut().unwrap().provider = provider("key-1");
    for order in [DUE, FORCE] {
        let (verdict, text) = run(&config, order).await;
        assert_eq!(verdict, Verdict::Fine, "{text}");
    }
    assert_eq!(knot.txt("d420.example.test").len(), 2, "as its servers do");

    let plain = Knot::at(at(), &[("example.test", zone.to_owned())]);
    config.acme.dns.as_mut().unwrap().nameservers = vec![plain.address()];
    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Blocked);
    assert!(
        text.contains(
            "hint: add the record `_acme-challenge.example.test. CNAME d420.example.test.`"
        ),
        "{text}"
    );
}

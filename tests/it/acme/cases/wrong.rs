//! The CA issues something else than was asked for: it never gets into service. And what it revokes is replaced.

use std::sync::Arc;

use portico::cert::bundle::Bundle;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::lab::{BLOCKED, DOMAIN, DONE, FAILED, HOUR, Lab, WAITING};
use crate::support::fault_proxy::{Answer, Fault, Kind};
use crate::support::http::Protocol;
use crate::support::pki::Ca;

const WILDCARD: &str = "*.example.test";
const BLOCK: &str = "-----END CERTIFICATE-----\n";

/// What becomes of Pebble's chain.
type Spoil = Box<dyn Fn(&str) -> String + Send + Sync>;

/// The certificates of a chain.
fn blocks(chain: &str) -> Vec<String> {
    let blocks = chain.split_inclusive(BLOCK).map(str::to_owned);
    blocks.filter(|block| block.contains("BEGIN")).collect()
}

/// A chain of another CA for the same key.
fn other_ca(name: &'static str, names: &'static [&'static str], days: [i64; 2]) -> Spoil {
    let ca = Arc::new(Ca::named(name));
    let now = OffsetDateTime::now_utc();
    let [from, to] = days.map(|days| now + Duration::days(days));
    Box::new(move |chain| ca.for_key_of(chain, names, from, to))
}

#[test]
fn case_25_wrong_certificates_are_never_installed() {
    let names: &[&str] = &[DOMAIN, WILDCARD];
    let cases: [(&str, Spoil); 8] = [
        (
            "wrong names",
            other_ca("Other CA", &["example.org", "*.example.org"], [-1, 90]),
        ),
        (
            "one name too few",
            other_ca("Other CA", &[DOMAIN], [-1, 90]),
        ),
        ("expired", other_ca("Other CA", names, [-90, -1])),
        ("not valid yet", other_ca("Other CA", names, [1, 90])),
        (
            "staging",
            other_ca("(STAGING) Pretend Pear X1", names, [-1, 90]),
        ),
        (
            "another key",
            Box::new(|_| Ca::new().leaf(&[DOMAIN, WILDCARD]).chain),
        ),
        (
            "unordered",
            Box::new(|chain| {
                let mut blocks = blocks(chain);
                blocks.reverse();
                blocks.concat()
            }),
        ),
        ("no issuer", Box::new(|chain| blocks(chain)[0].clone())),
    ];
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let serial = lab.serial();
    let mut installed = Vec::new();
    for (what, spoil) in cases {
        lab.proxy.heal();
        let spoil = Fault::change(move |answer| {
            let chain = String::from_utf8(answer.body.to_vec()).expect("PEM");
            answer.with_body(spoil(&chain))
        });
        lab.proxy.on(Kind::Certificate, spoil);
        let run = lab.force();
        if run.code == Some(DONE) || lab.serial() != serial {
            installed.push(what);
            break;
        }
        // A staging CA is a mistake of the operator, all else the CA's.
        run.ends(if what == "staging" { BLOCKED } else { FAILED });
        lab.pair();
        assert_eq!(lab.generations().len(), 1, "{what}");
    }
    assert!(installed.is_empty(), "installed: {installed:?}");
    lab.proxy.heal();
    lab.renew();
    lab.force().ends(DONE);
    assert_ne!(lab.serial(), serial);
    lab.pair();
}

#[test]
fn case_25_a_good_certificate_of_another_root_passes_the_same_way() {
    // The control of the test above: the way of making chains is not what is refused.
    let lab = Lab::start();
    let good = other_ca("Other CA", &[DOMAIN, WILDCARD], [-1, 90]);
    let good = Fault::change(move |answer: Answer| {
        let chain = String::from_utf8(answer.body.to_vec()).expect("PEM");
        answer.with_body(good(&chain))
    });
    lab.proxy.on(Kind::Certificate, good);
    lab.renew().ends(DONE);
    assert!(lab.pair().issuer().contains("Other CA"));
}

#[test]
fn case_25_a_leaf_alone_is_taken_only_from_a_root_that_the_operator_named() {
    let mut lab = Lab::start();
    let ca = Arc::new(Ca::named("Private root"));
    let direct = Arc::clone(&ca);
    let names: &[&str] = &[DOMAIN, WILDCARD];
    let spoil = Fault::change(move |answer| {
        let chain = String::from_utf8(answer.body.to_vec()).expect("PEM");
        let now = OffsetDateTime::now_utc();
        let [from, to] = [-1, 90].map(|days| now + Duration::days(days));
        let chain = direct.for_key_of(&chain, names, from, to);
        answer.with_body(blocks(&chain)[0].clone())
    });
    lab.proxy.on(Kind::Certificate, spoil);
    lab.renew()
        .ends(FAILED)
        .says("name that root in `acme.ca_file`");
    assert_eq!(lab.serial(), None);

    let before = lab.proxy.ca_file().display().to_string();
    let both = lab.config_file().with_file_name("roots.pem");
    let roots = std::fs::read_to_string(&before).unwrap() + &ca.pem();
    std::fs::write(&both, roots).unwrap();
    lab.reconfigure(&before, &both.display().to_string());
    lab.force().ends(DONE);
    assert!(lab.pair().issuer().contains("Private root"));
}

#[tokio::test]
async fn case_23_revoked_certificate_is_replaced_at_the_next_question_with_another_key() {
    let lab = Lab::start().any_time();
    lab.renew().ends(DONE);
    let old = lab.pair();
    let key = std::fs::read(lab.lineage(DOMAIN).join("current/privkey.pem")).unwrap();
    // What Pebble says of a certificate that it has revoked: a window in the past.
    let advice = json!({
        "suggestedWindow": { "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:30:00Z" },
        "explanationURL": "https://ca.test/incident-1",
    });
    let chain = std::fs::read_to_string(lab.lineage(DOMAIN).join("current/fullchain.pem")).unwrap();
    let body = json!({ "Certificate": blocks(&chain)[0], "ARIResponse": advice.to_string() });
    let management = lab.pebble.management();
    let mut line = management.connect(Protocol::Http1, "127.0.0.1").await;
    let answer = line
        .request("POST", "/set-renewal-info/")
        .header("user-agent", "tests")
        .body(crate::support::body::full(body.to_string()))
        .send()
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    lab.at(HOUR);
    lab.renew().ends(DONE).says("not due");
    lab.at(6 * HOUR + 60);
    lab.renew().ends(DONE);
    lab.at(6 * HOUR + 6 * 60);
    lab.renew().ends(DONE);
    let text = lab.status(DOMAIN).to_string();
    assert_eq!(lab.generations().len(), 2, "within five minutes: {text}");
    let new = lab.pair();
    assert_ne!(new.serial(), old.serial());
    assert!(!new.has_key(&key), "a new key");
    assert_eq!(lab.generations().len(), 2);
    assert!(Bundle::parse(chain.as_bytes(), &key).is_ok());
    lab.renew().ends(DONE).says("not due");
    assert_ne!(lab.renew().code, Some(WAITING));
}

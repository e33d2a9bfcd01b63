//! Revocation by the certificate's key, and what follows when somebody else has revoked.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{account, accounts_at_the_ca};
use crate::acme::cases::lab::{BLOCKED, DOMAIN, DONE, HOUR, Lab, run};
use crate::support::http::Protocol;
use crate::support::program;

/// What the CA says of a certificate: its status, and the reason it was revoked for.
async fn at_the_ca(lab: &Lab, serial: &str) -> (String, Value) {
    let path = format!("/cert-status-by-serial/{serial}");
    let management = lab.pebble.management();
    let answer = management.get(Protocol::Http1, "127.0.0.1", &path).await;
    let status: Value = serde_json::from_str(answer.text()).unwrap();
    let word = status["Status"].as_str().unwrap().to_owned();
    (word, status["Reason"].clone())
}

async fn is_revoked(lab: &Lab, serial: &str) -> bool {
    at_the_ca(lab, serial).await.0 == "Revoked"
}

#[tokio::test]
async fn the_certificates_key_revokes_without_an_account() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let first = lab.pair().serial().to_owned();
    lab.force().ends(DONE);
    let second = lab.pair().serial().to_owned();
    lab.force().ends(DONE);
    let third = lab.pair().serial().to_owned();
    let revoke = |serial: &str, more: &[&str]| {
        let mut verb = vec!["cert", "revoke", "--serial", serial, "--reason"];
        verb.push("superseded");
        verb.extend_from_slice(more);
        lab.portico(&verb)
    };
    fs::remove_dir_all(lab.state().join("acme/accounts")).unwrap();
    revoke(&first, &["--cert-key"])
        .ends(DONE)
        .says("is revoked, on the word of its own key");
    // Not asked for, but the account is gone.
    revoke(&second, &[])
        .ends(DONE)
        .says("is revoked, on the word of its own key");
    // Revoked already.
    revoke(&second, &["--cert-key"]).ends(DONE);
    assert!(account(&lab).is_null(), "no account was made for it");
    assert_eq!(accounts_at_the_ca(&lab), 1);
    for serial in [&first, &second] {
        assert!(is_revoked(&lab, serial).await);
    }
    assert!(!is_revoked(&lab, &third).await, "the one in service is not");
}

#[tokio::test]
async fn an_import_is_revoked_by_its_key_only() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let folder = lab.config_file().with_file_name("export");
    let at = |name: &str| folder.join(name).display().to_string();
    lab.portico(&["cert", "export", "--out", &folder.display().to_string()])
        .ends(DONE);
    let serial = lab.pair().serial().to_owned();
    fs::remove_dir_all(lab.state()).unwrap();
    let (chain, key) = (at("fullchain.pem"), at("privkey.pem"));
    lab.portico(&["cert", "import", "--cert", &chain, "--key", &key])
        .ends(DONE);
    let revoke = ["cert", "revoke", "--current", "--now"];
    lab.portico(&revoke).ends(BLOCKED).says("`--cert-key`");
    assert!(!is_revoked(&lab, &serial).await);
    // Revoked, and replaced by the account that is made now.
    lab.portico(&[&revoke[..], &["--cert-key"]].concat())
        .ends(DONE)
        .says("on the word of its own key");
    assert!(is_revoked(&lab, &serial).await);
    assert_ne!(lab.pair().serial(), serial);
}

#[tokio::test]
async fn an_rsa_certificate_is_revoked_by_its_key() {
    let lab = Lab::start();
    let folder = lab.config_file().with_file_name("certbot");
    let mut command = certbot(&lab, &folder);
    command
        .args(["certonly", "-n", "--agree-tos", "-m", "ops@example.test"])
        .args(["--key-type", "rsa", "--dns-rfc2136"])
        .arg("--dns-rfc2136-credentials")
        .arg(lab.config_file().with_file_name("rfc2136.ini"))
        .args(["--dns-rfc2136-propagation-seconds", "1", "-d", DOMAIN])
        .args(["-d", &format!("*.{DOMAIN}")]);
    run(command).ends(0);
    let live = folder.join("live").join(DOMAIN);
    let at = |name: &str| live.join(name).display().to_string();
    let (chain, key) = (at("fullchain.pem"), at("privkey.pem"));
    lab.portico(&["cert", "import", "--cert", &chain, "--key", &key])
        .ends(DONE);
    let serial = lab.pair().serial().to_owned();
    lab.portico(&["cert", "compromise", "--cert-key"])
        .ends(DONE)
        .says("on the word of its own key");
    let (status, reason) = at_the_ca(&lab, &serial).await;
    assert_eq!(status, "Revoked");
    assert_eq!(reason, 1, "keyCompromise");
    assert_ne!(lab.pair().serial(), serial);
}

fn certbot(lab: &Lab, folder: &Path) -> Command {
    let at = folder.display().to_string();
    let mut command = Command::new(program::system("certbot"));
    command
        .args(["--server", &lab.proxy.directory_url()])
        .args(["--config-dir", &at, "--work-dir", &at, "--logs-dir", &at])
        .env("REQUESTS_CA_BUNDLE", lab.proxy.ca_file());
    command
}

/// Somebody who has the key, or the CA itself, revokes; nobody tells us.
#[tokio::test]
async fn case_23_revoked_by_somebody_else_is_noticed_at_the_next_question_and_replaced_with_another_key()
 {
    let lab = Lab::start().any_time();
    lab.renew().ends(DONE);
    let old = lab.pair();
    let current = lab.lineage(DOMAIN).join("current");
    let key = fs::read(current.join("privkey.pem")).unwrap();
    let mut command = certbot(&lab, &lab.config_file().with_file_name("certbot"));
    command
        .args(["revoke", "-n", "--no-delete-after-revoke"])
        .args(["--reason", "keycompromise", "--cert-path"])
        .arg(current.join("fullchain.pem"))
        .arg("--key-path")
        .arg(current.join("privkey.pem"));
    run(command).ends(0);
    let revoked = at_the_ca(&lab, old.serial()).await;
    assert_eq!(revoked, ("Revoked".to_owned(), 1.into()));

    // Pebble wants six hours between two questions. What it says of a revoked certificate is a window that is over.
    lab.at(5 * HOUR);
    lab.renew().ends(DONE).says("not due");
    assert_eq!(lab.pair().serial(), old.serial());
    // It is due within five minutes of hearing that, at a moment of its own.
    lab.at(6 * HOUR + 60);
    lab.renew().ends(DONE).says("the CA advises when to renew");
    lab.at(6 * HOUR + 60 + 5 * 60);
    lab.renew().ends(DONE);
    let new = lab.pair();
    assert_ne!(new.serial(), old.serial());
    assert!(!new.has_key(&key), "a new key");
    assert!(!is_revoked(&lab, new.serial()).await);
    lab.renew().ends(DONE).says("not due");
}

//! Rollback, revocation, a compromised key, and the account, with a proxy that serves meanwhile.

use std::fs;

use serde_json::Value;

use super::{stderr, stdout};
use crate::main_line::{config, credentials};
use crate::support::http::Protocol;
use crate::support::knot::Knot;
use crate::support::pebble::Pebble;
use crate::support::portico::{Portico, fill, portico_cmd};
use crate::support::wait;

struct Site {
    knot: Knot,
    pebble: Pebble,
    portico: Portico,
}

impl Site {
    fn start() -> Self {
        let knot = Knot::start(&["example.test"]);
        let pebble = Pebble::asking(knot.address()).start();
        let builder = Portico::with(&config(&pebble, &knot, "http://127.0.0.1:4"));
        credentials(&builder.folder().join("dns.ini"), knot.address());
        let portico = builder.start_unready();
        Self {
            knot,
            pebble,
            portico,
        }
    }

    fn run(&self, verb: &[&str]) -> std::process::Output {
        let file = self.portico.config_file().display().to_string();
        let mut args = verb.to_vec();
        args.extend_from_slice(&["--config", &file]);
        let output = portico_cmd(&args);
        eprintln!("{verb:?}: {}{}", stdout(&output), stderr(&output));
        output
    }

    fn done(&self, verb: &[&str]) -> String {
        let output = self.run(verb);
        assert!(output.status.success(), "{verb:?}: {output:?}");
        stdout(&output)
    }

    /// Serial number and generation in service, as the proxy says.
    fn served(&self) -> (String, u64) {
        let status: Value = serde_json::from_str(&self.portico.admin("/status").1).unwrap();
        let first = &status["certificates"][0];
        (
            first["serial"].as_str().unwrap().to_owned(),
            first["generation"].as_u64().unwrap(),
        )
    }

    async fn status_at_the_ca(&self, serial: &str) -> String {
        let path = format!("/cert-status-by-serial/{serial}");
        let answer = self
            .pebble
            .management()
            .get(Protocol::Http1, "127.0.0.1", &path)
            .await;
        let status: Value = serde_json::from_str(answer.text()).unwrap();
        status["Status"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_is_replaced_first_and_a_compromised_key_never_comes_back() {
    let site = Site::start();
    let issued = site.done(&["cert", "issue"]);
    assert!(
        issued.contains("is served"),
        "the deploy probe saw it: {issued}"
    );
    let (first, _) = site.served();
    site.done(&["cert", "renew", "--force"]);
    let (second, generation) = site.served();
    assert_eq!(generation, 2);

    let back = site.done(&["cert", "rollback"]);
    assert!(
        back.contains("back to generation 1") && back.contains("is served"),
        "{back}"
    );
    assert_eq!(site.served(), (first.clone(), 1));
    let there = site.done(&["cert", "rollback", "--to", "2"]);
    assert!(there.contains("back to generation 2"), "{there}");
    assert_eq!(site.served().0, second);
    assert_eq!(
        site.run(&["cert", "rollback", "--to", "77"]).status.code(),
        Some(1)
    );

    // An old one that is not in service: only revoked.
    let old = site.done(&[
        "cert",
        "revoke",
        "--serial",
        &first.to_uppercase(),
        "--reason",
        "superseded",
    ]);
    assert!(
        old.contains("is revoked") && !old.contains("replacing"),
        "{old}"
    );
    assert_eq!(site.status_at_the_ca(&first).await, "Revoked");
    assert_eq!(site.served().0, second);

    // The current one: a new one is served before the old one ends.
    let current = site.done(&["cert", "compromise"]);
    let (third, generation) = site.served();
    assert_ne!(third, second);
    let order = ["replacing it first", "is served", "is revoked"].map(|part| current.find(part));
    assert!(
        order.iter().all(Option::is_some) && order.is_sorted(),
        "{current}"
    );
    assert_eq!(site.status_at_the_ca(&second).await, "Revoked");
    assert_eq!(site.status_at_the_ca(&third).await, "Valid");
    let key = |number: u64| {
        let folder = site.portico.folder().join("state/certs/example.test/gen");
        let generation = fs::read_dir(folder).unwrap().flatten().find(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{number:06}-"))
        });
        fs::read_to_string(generation.unwrap().path().join("privkey.pem")).unwrap()
    };
    assert_ne!(key(2), key(generation));
    let back = site.run(&["cert", "rollback", "--to", "2"]);
    assert_ne!(
        back.status.code(),
        Some(0),
        "a compromised key never comes back: {back:?}"
    );
    assert_eq!(site.served().0, third);

    assert_eq!(
        site.run(&["cert", "revoke", "--serial", "abc123"])
            .status
            .code(),
        Some(2)
    );
    let records = site.knot.txt("_acme-challenge.example.test");
    assert!(records.is_empty(), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_stops_when_the_replacement_fails() {
    let site = Site::start();
    site.done(&["cert", "issue"]);
    wait::until("it is in service", || (site.served().1 == 1).then_some(()));
    let (serial, _) = site.served();
    // Nothing can be published: the replacement cannot be had.
    let ini = site.portico.folder().join("dns.ini");
    let right = fs::read_to_string(&ini).unwrap();
    fs::write(
        &ini,
        right.replace("dns_rfc2136_name = ", "dns_rfc2136_name = not-"),
    )
    .unwrap();
    let output = site.run(&["cert", "revoke", "--current", "--reason", "superseded"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stdout(&output).contains("is NOT revoked"), "{output:?}");
    assert_eq!(site.status_at_the_ca(&serial).await, "Valid");

    fs::write(&ini, right).unwrap();
    let now = site.done(&["cert", "revoke", "--current", "--now"]);
    assert!(now.find("is revoked") < now.find("is served"), "{now}");
    assert_eq!(site.status_at_the_ca(&serial).await, "Revoked");
    assert_ne!(site.served().0, serial);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_is_shown_moved_given_a_new_key_and_ended() {
    let site = Site::start();
    assert!(site.done(&["account", "show"]).contains("no account yet"));
    site.done(&["cert", "issue"]);
    let account = || -> Value {
        let all: Value = serde_json::from_str(&site.done(&["account", "show", "--json"])).unwrap();
        all[0].clone()
    };
    let before = account();
    assert_eq!(before["contact"], "ops@example.test");

    site.done(&["account", "rollover"]);
    let after = account();
    assert_eq!(before["url"], after["url"]);
    assert_ne!(before["thumbprint"], after["thumbprint"]);
    site.done(&["cert", "renew", "--force"]);

    // Into another state directory, as on a new machine.
    let accounts = site.portico.folder().join("state/acme/accounts");
    let folder = fs::read_dir(&accounts)
        .unwrap()
        .flatten()
        .next()
        .unwrap()
        .path();
    let saved: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("account.json")).unwrap()).unwrap();
    let key = saved["key"]
        .as_str()
        .unwrap()
        .replace('-', "+")
        .replace('_', "/");
    let padding = "=".repeat((4 - key.len() % 4) % 4);
    let elsewhere = tempfile::tempdir().unwrap();
    let pem = elsewhere.path().join("key.pem");
    fs::write(
        &pem,
        format!("-----BEGIN PRIVATE KEY-----\n{key}{padding}\n-----END PRIVATE KEY-----\n"),
    )
    .unwrap();
    let file = elsewhere.path().join("portico.toml");
    fs::write(
        &file,
        fill(
            &config(&site.pebble, &site.knot, "http://127.0.0.1:4"),
            elsewhere.path(),
        ),
    )
    .unwrap();
    let [pem, file] = [pem, file].map(|path| path.display().to_string());
    let moved = portico_cmd(&["account", "import", "--key", &pem, "--config", &file]);
    assert!(moved.status.success(), "{moved:?}");
    assert!(
        stdout(&moved).contains(after["url"].as_str().unwrap()),
        "{moved:?}"
    );

    assert_eq!(
        site.run(&["account", "deactivate"]).status.code(),
        Some(2),
        "not unasked"
    );
    site.done(&["account", "deactivate", "--yes"]);
    assert!(site.done(&["account", "show"]).contains("no account yet"));
    site.done(&["cert", "renew", "--force"]);
    assert_ne!(
        account()["url"],
        after["url"],
        "renewals go on with another one"
    );
}

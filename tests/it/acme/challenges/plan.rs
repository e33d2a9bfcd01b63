//! `cert plan` for each kind of challenge beside dns-01: what an order would meet is told without one.

use portico::acme::plan::{Finding, Grade, Ports, plan};
use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::config::{Challenge, Config};
use portico::host::Host;

use super::{NAME, Rig};
use crate::acme::issue::{self, DUE, rfc2136, run};
use crate::support::knot::{KEY_SECRET, Knot, zone_text};
use crate::support::origin::{Origin, text};
use crate::support::pebble::Pebble;
use crate::support::port;
use crate::support::portico::Portico;

async fn planned(config: &Config, name: &str, ports: Ports) -> Vec<Finding> {
    let store = FileStore::new(&config.state_dir);
    let mut out = Vec::new();
    let host = Host::parse(name).unwrap();
    let found = plan(config, &store, &host, ports, &mut out).await;
    for finding in &found {
        eprintln!("{finding:?}");
    }
    found
}

/// Grades and words of one thing.
fn of<'a>(found: &'a [Finding], what: &str) -> Vec<(Grade, &'a str)> {
    let found = found.iter().filter(|finding| finding.what == what);
    found
        .map(|finding| (finding.grade, finding.detail.as_str()))
        .collect()
}

fn worst(found: &[Finding]) -> Option<Grade> {
    found.iter().map(|finding| finding.grade).max()
}

fn config(portico: &Portico) -> Config {
    Config::load(portico.config_file()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_proxy_are_tried_at_its_listeners_and_at_the_names_addresses() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let rig = Rig::new(challenge);
        let mut portico = rig.portico().start_unready();
        let config = config(&portico);
        let ports = Ports {
            http: rig.http.port(),
            tls: rig.https.port(),
        };
        let found = planned(&config, NAME, ports).await;
        assert_eq!(worst(&found), Some(Grade::Good), "{challenge}: {found:?}");
        for what in ["address", "proxy", "port"] {
            assert_eq!(of(&found, what).len(), 2, "{what}: one for each name");
        }
        assert!(
            of(&found, "address")[1]
                .1
                .contains("`www.customer.test` is at 127.0.0.1")
        );
        assert!(of(&found, "record").is_empty(), "no TXT record is tried");
        let store = FileStore::new(&config.state_dir);
        assert!(store.answers().unwrap().is_empty(), "taken back");
        assert!(!rig.pebble.log().contains("Added order"));

        // Somebody else at the port that the CA comes to, and nobody.
        let other = Origin::tcp(async |_| text(200, "hello"));
        let theirs = other.socket().port();
        let ports = Ports {
            http: theirs,
            tls: theirs,
        };
        let found = planned(&config, NAME, ports).await;
        let [(Grade::Bad, words), _] = of(&found, "port")[..] else {
            panic!("{challenge}: {found:?}");
        };
        assert!(
            words.contains("does not get this proxy's answer"),
            "{words}"
        );
        let nobody = port::free();
        let ports = Ports {
            http: nobody,
            tls: nobody,
        };
        let found = planned(&config, NAME, ports).await;
        let [(Grade::Doubtful, words), _] = of(&found, "port")[..] else {
            panic!("{challenge}: {found:?}");
        };
        assert!(words.contains("cannot be reached from here"), "{words}");

        // No proxy, so nobody would answer.
        portico.sigterm();
        portico.wait_exit();
        let found = planned(&config, NAME, Ports::default()).await;
        let [(Grade::Bad, words)] = of(&found, "proxy")[..] else {
            panic!("{challenge}: {found:?}");
        };
        assert!(words.contains("hint: the proxy must run"), "{words}");
        assert!(store.answers().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_address_and_caa_records_for_another_kind_are_told() {
    let lines = "@ CAA 0 issue \"pebble.letsencrypt.org; validationmethods=dns-01,tls-alpn-01\"\n";
    let customer = zone_text("customer.test").replace("* A 127.0.0.1\n", lines);
    let zones = [
        ("example.test", zone_text("example.test")),
        ("customer.test", customer),
    ];
    let knot = || Knot::at(port::local(port::free()), &zones);
    let rig = Rig::with("http-01", knot());
    let portico = rig.portico().start_unready();
    let ports = Ports {
        http: rig.http.port(),
        tls: rig.https.port(),
    };
    let found = planned(&config(&portico), NAME, ports).await;
    let caa = of(&found, "caa");
    assert_eq!(caa.len(), 2);
    for (grade, words) in caa {
        assert_eq!(grade, Grade::Bad);
        assert!(
            words.contains("at `customer.test.` forbid the CA http-01")
                && words.contains("`issue`: it allows `dns-01,tls-alpn-01`, not http-01"),
            "{words}"
        );
    }
    let [(Grade::Good, _), (Grade::Bad, words)] = of(&found, "address")[..] else {
        panic!("{found:?}");
    };
    assert!(
        words.contains("`www.customer.test` has no address"),
        "{words}"
    );

    let rig = Rig::with("tls-alpn-01", knot());
    let portico = rig.portico().start_unready();
    let found = planned(&config(&portico), NAME, Ports::default()).await;
    assert!(
        of(&found, "caa")
            .iter()
            .all(|(grade, _)| *grade == Grade::Good),
        "{found:?}"
    );
}

#[tokio::test]
async fn the_record_of_dns_account_01_is_tried_below_the_accounts_label() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, knot.address(), KEY_SECRET);
    let mut config = issue::config(state.path(), &pebble, provider, knot.address());
    config.acme.challenge = Challenge::DnsAccount01;
    let label = |found: &[Finding]| {
        let (grade, words) = of(found, "delegation")[0];
        assert_eq!(grade, Grade::Good);
        let (label, rest) = words.strip_prefix('`').unwrap().split_once('.').unwrap();
        assert!(
            rest.starts_with("_acme-challenge.example.test` is not delegated"),
            "{words}"
        );
        assert_eq!(label.len(), 17, "{words}");
        label.to_owned()
    };
    // Without an account its label is not known, and that is said.
    let before = planned(&config, "example.test", Ports::default()).await;
    assert_eq!(of(&before, "account")[0].0, Grade::Doubtful);
    assert_eq!(of(&before, "record")[0].0, Grade::Good, "{before:?}");
    let made_up = label(&before);

    run(&config, DUE).await;
    let found = planned(&config, "example.test", Ports::default()).await;
    assert_eq!(worst(&found), Some(Grade::Good), "{found:?}");
    assert_ne!(label(&found), made_up);
    let store = FileStore::new(&config.state_dir);
    let debts = store.debts(&Host::parse("example.test").unwrap()).unwrap();
    assert_eq!(debts, [], "nothing is left");
}

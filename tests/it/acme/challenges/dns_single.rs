//! dns-01 for single names of several domains: each name has a record of its own.

use portico::acme::Trigger;
use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::cli::cert::{Order, Verdict};
use portico::config::{Certificate, Challenge};

use crate::acme::issue::{config, host, rfc2136, run};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;

#[tokio::test]
async fn one_certificate_for_names_of_two_zones() {
    let knot = Knot::start(&["example.test", "customer.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, knot.address(), KEY_SECRET);
    let mut config = config(state.path(), &pebble, provider, knot.address());
    let names = ["www.customer.test", "a.b.example.test"];
    config.certificates = vec![Certificate {
        names: names.map(host).to_vec(),
        challenge: Challenge::Dns01,
    }];
    let lineage = host("www.customer.test");
    let order = Order {
        domain: Some(&lineage),
        trigger: Trigger::Due,
    };
    let (verdict, text) = run(&config, order).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    let stored = FileStore::new(state.path()).load(&lineage).unwrap();
    let stored = stored.expect("a certificate").bundle;
    let mut has: Vec<String> = stored.names().iter().map(ToString::to_string).collect();
    has.sort();
    assert_eq!(has, ["a.b.example.test", "www.customer.test"]);
    for name in names {
        assert_eq!(
            knot.txt(&format!("_acme-challenge.{name}")),
            [""; 0],
            "{name}"
        );
    }
}

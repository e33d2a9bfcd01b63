//! `cert plan` where the name servers of a zone do not say the same: two brands, and the zone above.

use std::time::Duration;

use portico::acme::plan::{Finding, Grade, Ports, plan};
use portico::cert::store::file::FileStore;
use portico::config::Config;

use super::super::issue::{RECORD, host, rfc2136};
use super::{Authority, BRANDS, Lab, zone, zones};
use crate::support::bind::Bind;
use crate::support::dns_front::{Front, Mood};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;
use crate::support::unbound::Unbound;

/// The zone above, and whom it delegates `example.test` to: `ns1` at the first of these addresses, and so on.
fn above(lab: Lab, servers: &[u8]) -> Knot {
    let mut lines = String::new();
    for (index, last) in servers.iter().enumerate() {
        let name = format!("ns{}.example", index + 1);
        lines += &format!("example NS {name}\n{name} A 127.0.0.{last}\n");
    }
    let (name, text) = zone("test", &[4], &lines);
    let text = text.replace("* A 127.0.0.1\n", "");
    Knot::at(lab.at(4), &zones(&[(name, text)]))
}

async fn planned(config: &Config) -> Vec<Finding> {
    let store = FileStore::new(&config.state_dir);
    let mut out = Vec::new();
    let domain = host("example.test");
    let found = plan(config, &store, &domain, Ports::default(), &mut out).await;
    for finding in &found {
        eprintln!("{finding:?}");
    }
    found
}

/// The words of what was found of the servers, with their grades.
fn of_servers(found: &[Finding]) -> Vec<(Grade, &str)> {
    let servers = found.iter().filter(|finding| finding.what == "servers");
    servers
        .map(|finding| (finding.grade, finding.detail.as_str()))
        .collect()
}

#[tokio::test]
async fn servers_that_agree_are_told_in_one_line_and_the_record_is_tried() {
    for brand in BRANDS {
        let lab = Lab::new();
        let all = [zone("example.test", &[1, 3], "")];
        let server = Authority::start(brand, lab.at(1), &zones(&all));
        let _second = Front::start(lab.at(3), server.address(), Mood::Good);
        let parent = above(lab, &[1, 3]);
        let resolver = Unbound::start(&[
            ("example.test", server.address()),
            ("test", parent.address()),
        ]);
        let pebble = Pebble::asking(server.address()).start();
        let state = tempfile::tempdir().unwrap();
        let provider = rfc2136(&state, server.address(), KEY_SECRET);
        let config = lab.config(&state, &pebble, provider, &resolver);
        let found = planned(&config).await;
        let [(Grade::Good, words)] = of_servers(&found)[..] else {
            panic!("{brand:?}: {found:?}");
        };
        assert!(
            words.contains("ns1.example.test, ns2.example.test; serial 1"),
            "{words}"
        );
        assert!(words.contains("`test` delegates to the same"), "{words}");
        let worst = found.iter().map(|finding| finding.grade).max();
        assert_eq!(worst, Some(Grade::Good), "{brand:?}: {found:?}");
        assert_eq!(server.txt(RECORD), [""; 0]);
    }
}

/// BIND at 127.0.0.1 and knot at 127.0.0.2, each with a copy of its own; what is found of them.
async fn between(
    of_bind: (String, String),
    of_knot: (String, String),
    parent: &[u8],
) -> Vec<Finding> {
    let lab = Lab::new();
    let bind = Bind::at(lab.at(1), &zones(&[of_bind]));
    let _knot = Knot::at(lab.at(2), &zones(&[of_knot]));
    // Knows nothing of the zone.
    let _lame = Knot::at(lab.at(5), &zones(&[zone("other.test", &[5], "")]));
    let parent = above(lab, parent);
    let resolver = Unbound::start(&[("example.test", bind.address()), ("test", parent.address())]);
    let pebble = Pebble::asking(bind.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, bind.address(), KEY_SECRET);
    let mut config = lab.config(&state, &pebble, provider, &resolver);
    // Nothing is transferred from one to the other, so the record is never everywhere.
    config.acme.dns.as_mut().unwrap().propagation_timeout = Duration::from_secs(1);
    planned(&config).await
}

#[tokio::test]
async fn a_server_behind_the_others_is_named_with_both_serial_numbers() {
    let (name, text) = zone("example.test", &[1, 2], "");
    let newer = text.replace("hostmaster 1 ", "hostmaster 7 ");
    let found = between((name.clone(), text), (name, newer), &[1, 2]).await;
    let [(Grade::Doubtful, words)] = of_servers(&found)[..] else {
        panic!("{found:?}");
    };
    assert!(
        words.contains("`example.test` is 7, at ns2.example.test (127.0.0.2:")
            && words.contains("ns1.example.test (127.0.0.1:")
            && words.contains(") has 1\nhint: look at the zone transfers"),
        "{words}"
    );
    let record = found.iter().find(|finding| finding.what == "record");
    let record = record.expect("the record was tried");
    assert!(
        record.grade == Grade::Bad && record.detail.contains("ns2.example.test"),
        "{record:?}"
    );
}

#[tokio::test]
async fn a_server_with_other_ns_records_is_named_with_what_it_says() {
    let odd = zone("example.test", &[1, 2, 2], "");
    let found = between(zone("example.test", &[1, 2], ""), odd, &[1, 2]).await;
    let [(Grade::Doubtful, words)] = of_servers(&found)[..] else {
        panic!("{found:?}");
    };
    assert!(
        words.contains("ns2.example.test (127.0.0.2:")
            && words.contains(
                "are ns1.example.test, ns2.example.test, ns3.example.test; elsewhere they are ns1.example.test, \
                 ns2.example.test\nhint: "
            ),
        "{words}"
    );
}

#[tokio::test]
async fn a_delegation_to_a_server_that_does_not_know_the_zone_is_bad() {
    let same = || zone("example.test", &[1, 2], "");
    let found = between(same(), same(), &[1, 2, 5]).await;
    let [(Grade::Bad, lame), (Grade::Doubtful, more)] = of_servers(&found)[..] else {
        panic!("{found:?}");
    };
    assert!(
        lame.contains("ns3.example.test (127.0.0.5:")
            && lame.contains("does not answer for `example.test`"),
        "{lame}"
    );
    assert!(
        more.contains(
            "`test` delegates `example.test` to `ns3.example.test`, which the NS records"
        ),
        "{more}"
    );
    // The other way round: a server of the zone that the world above does not know.
    let found = between(same(), same(), &[1]).await;
    let [(Grade::Doubtful, words)] = of_servers(&found)[..] else {
        panic!("{found:?}");
    };
    assert!(
        words.contains("name `ns2.example.test`, to which `test` does not delegate it"),
        "{words}"
    );
}

//! Several name servers, and resolvers that know better.

use std::time::Duration;

use portico::cli::cert::Verdict;

use super::super::issue::{DUE, FORCE, RECORD, rfc2136, run};
use super::{Authority, BRANDS, Lab, background, challenge_posts, zone, zones};
use crate::support::dns_front::{Front, Mood};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;
use crate::support::unbound::Unbound;
use crate::support::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_04_one_server_late_one_failing_one_address_unreachable() {
    for brand in BRANDS {
        let lab = Lab::new();
        // The AAAA record leads nowhere; the server answers at its other address.
        let all = [zone("example.test", &[1, 3, 4], "ns1 AAAA 2001:db8::53\n")];
        let server = Authority::start(brand, lab.at(1), &zones(&all));
        let late = Front::start(lab.at(3), server.address(), Mood::Late);
        let failing = Front::start(lab.at(4), server.address(), Mood::Failing);
        let resolver = Unbound::start(&[("example.test", server.address())]);
        let pebble = Pebble::asking(server.address()).start();
        let state = tempfile::tempdir().unwrap();
        let provider = rfc2136(&state, server.address(), KEY_SECRET);
        let config = lab.config(&state, &pebble, provider, &resolver);

        let running = background(config);
        wait::until_async("three rounds", async || {
            (failing.asked() >= 4).then_some(())
        })
        .await;
        assert_eq!(server.txt(RECORD).len(), 2, "they are published");
        assert_eq!(challenge_posts(&pebble), 0, "{brand:?}");
        failing.set(Mood::Good);
        let before = late.asked();
        wait::until_async("two rounds more", async || {
            (late.asked() >= before + 2).then_some(())
        })
        .await;
        assert_eq!(challenge_posts(&pebble), 0, "{brand:?}: one is late still");
        late.set(Mood::Good);
        let (verdict, text) = running.await.unwrap();
        assert_eq!(verdict, Verdict::Fine, "{brand:?}: {text}");
        assert_eq!(server.txt(RECORD), [""; 0]);
    }
}

#[tokio::test]
async fn case_04_a_dead_server_blocks_unless_it_is_allowed() {
    let lab = Lab::new();
    let all = [zone("example.test", &[2, 3], "")]; // nobody is at 127.0.0.3
    let server = Knot::at(lab.at(2), &zones(&all));
    let resolver = Unbound::start(&[("example.test", server.address())]);
    let pebble = Pebble::asking(server.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, server.address(), KEY_SECRET);
    let mut config = lab.config(&state, &pebble, provider, &resolver);
    let dns = config.acme.dns.as_mut().unwrap();
    dns.propagation_timeout = Duration::from_secs(2);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Failed);
    assert!(text.contains("ns2.example.test (127.0.0.3:"), "{text}");
    assert!(!text.contains("ns1.example.test"), "{text}");
    assert!(text.contains("hint: `allow_dead_ns = true`"), "{text}");
    assert_eq!(challenge_posts(&pebble), 0);

    config.acme.dns.as_mut().unwrap().allow_dead_ns = true;
    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
}

#[tokio::test]
async fn case_05_recursor_with_a_negative_cache() {
    for brand in BRANDS {
        let lab = Lab::new();
        let all = [zone("example.test", &[1], "")];
        let server = Authority::start(brand, lab.at(1), &zones(&all));
        // The resolver of this machine is the CA's as well: what it remembers counts.
        let resolver = Unbound::start(&[("example.test", server.address())]);
        let pebble = Pebble::asking(resolver.address()).start();
        let state = tempfile::tempdir().unwrap();
        let provider = rfc2136(&state, server.address(), KEY_SECRET);
        let config = lab.config(&state, &pebble, provider, &resolver);
        let (verdict, text) = run(&config, DUE).await;
        assert_eq!(verdict, Verdict::Fine, "{brand:?}: {text}");

        // The control: somebody asks the resolver for the record before it is there, as other clients do.
        let poisoned = Unbound::start(&[("example.test", server.address())]);
        let pebble = Pebble::asking(poisoned.address()).start();
        let state = tempfile::tempdir().unwrap();
        let provider = rfc2136(&state, server.address(), KEY_SECRET);
        let config = lab.config(&state, &pebble, provider, &poisoned);
        assert_eq!(poisoned.txt(RECORD), [""; 0]);
        let (verdict, text) = run(&config, DUE).await;
        assert_eq!(verdict, Verdict::Failed, "{brand:?}");
        assert!(text.contains("could not validate"), "{brand:?}: {text}");
    }
}

#[tokio::test]
async fn a_check_resolver_that_remembers_the_absence_holds_the_order_back() {
    let lab = Lab::new();
    let server = Knot::at(lab.at(1), &zones(&[zone("example.test", &[1], "")]));
    let resolver = Unbound::start(&[("example.test", server.address())]);
    let poisoned = Unbound::start(&[("example.test", server.address())]);
    assert_eq!(poisoned.txt(RECORD), [""; 0]);
    let pebble = Pebble::asking(server.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, server.address(), KEY_SECRET);
    let mut config = lab.config(&state, &pebble, provider, &resolver);
    let dns = config.acme.dns.as_mut().unwrap();
    dns.propagation_timeout = Duration::from_secs(4);
    dns.check_resolvers = vec![poisoned.address()];
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Failed);
    assert!(
        text.contains(&format!("({}): 2 of 2", poisoned.address())),
        "{text}"
    );
    assert!(!text.contains("ns1.example.test"), "{text}");
    assert!(
        text.contains("hint: every authoritative server has it"),
        "{text}"
    );
    assert_eq!(challenge_posts(&pebble), 0);
    assert_eq!(server.txt(RECORD).len(), 2, "they wait");

    // Nobody asked this one before all servers had the records, so it has nothing to remember.
    config.acme.dns.as_mut().unwrap().check_resolvers = vec![resolver.address()];
    let (verdict, text) = run(&config, FORCE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(resolver.txt(RECORD).len(), 2, "it was asked");
    assert_eq!(server.txt(RECORD), [""; 0]);
}

#[tokio::test]
async fn case_06_split_horizon_with_a_stale_record() {
    let lab = Lab::new();
    let all = [zone("example.test", &[2], "")];
    let server = Knot::at(lab.at(2), &zones(&all));
    let inside = format!(
        "  local-zone: \"{RECORD}.\" static\n  local-data: '{RECORD}. 300 IN TXT \"stale\"'\n"
    );
    let resolver = Unbound::with(&[("example.test", server.address())], &inside);
    assert_eq!(resolver.txt(RECORD), ["stale"]);
    let pebble = Pebble::asking(server.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, server.address(), KEY_SECRET);
    let config = lab.config(&state, &pebble, provider, &resolver);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
}

#[tokio::test]
async fn case_06_split_horizon_that_hides_the_name_servers() {
    let lab = Lab::new();
    let outer = [zone("example.test", &[2], "")];
    let above = [zone(
        "test",
        &[3],
        "example NS ns1.example\nns1.example A 127.0.0.2\n",
    )];
    let inner = [zone("example.test", &[4], "")];
    let server = Knot::at(lab.at(2), &zones(&outer));
    let parent = Knot::at(lab.at(3), &zones(&above));
    let internal = Knot::at(lab.at(4), &zones(&inner));
    let view = "  local-zone: \"example.test.\" static\n\
                \x20 local-data: \"example.test. 60 IN SOA ns.inside.example.test. x. 1 60 60 60 60\"\n\
                \x20 local-data: \"example.test. 60 IN NS ns.inside.example.test.\"\n\
                \x20 local-data: \"ns.inside.example.test. 60 IN A 127.0.0.4\"\n";
    let resolver = Unbound::with(&[("test", parent.address())], view);
    let pebble = Pebble::asking(server.address()).start();
    let state = tempfile::tempdir().unwrap();
    let provider = rfc2136(&state, server.address(), KEY_SECRET);
    let mut config = lab.config(&state, &pebble, provider, &resolver);
    config.acme.dns.as_mut().unwrap().propagation_timeout = Duration::from_secs(2);
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Failed);
    assert!(
        text.contains("`example.test` is served by ns.inside.example.test")
            && text.contains("`test` delegates it to ns1.example.test"),
        "{text}"
    );
    assert!(
        text.contains("hint: this machine sees an internal view"),
        "{text}"
    );
    assert_eq!(challenge_posts(&pebble), 0);
    assert_eq!(internal.txt(RECORD), [""; 0]);
    assert_eq!(server.txt(RECORD).len(), 2, "they wait where they are");
}

//! The name of the challenge leads elsewhere.

use std::fmt::Write as _;

use portico::cli::cert::Verdict;

use super::super::issue::{DUE, RECORD, rfc2136, run};
use super::{Authority, BRANDS, Brand, Lab, challenge_posts, new_orders, zone, zones};
use crate::support::knot::{KEY_SECRET, Knot};
use crate::support::pebble::Pebble;
use crate::support::unbound::Unbound;

/// `example.test` at one server, which our key may not change, and `auth.test` at another, which it may; the zone `test`
/// above both. The CNAMEs `lines` stand in `example.test`.
struct Delegated {
    lab: Lab,
    target: Authority,
    resolver: Unbound,
    pebble: Pebble,
    _others: [Knot; 2],
}

impl Delegated {
    fn new(brand: Brand, lines: &str) -> Self {
        let lab = Lab::new();
        let first = [zone("example.test", &[2], lines)];
        let second = [zone("auth.test", &[1], "")];
        let above = [zone(
            "test",
            &[4],
            "example NS ns1.example\nns1.example A 127.0.0.2\nauth NS ns1.auth\nns1.auth A 127.0.0.1\n",
        )];
        // Without `*`, so that a name that is not there does not exist.
        let above = above.map(|(name, text)| (name, text.replace("* A 127.0.0.1\n", "")));
        let others = [
            Knot::at(lab.at(2), &zones(&first)),
            Knot::at(lab.at(4), &zones(&above)),
        ];
        let target = Authority::start(brand, lab.at(1), &zones(&second));
        let resolver = Unbound::start(&[
            ("example.test", lab.at(2)),
            ("auth.test", lab.at(1)),
            ("test", lab.at(4)),
        ]);
        let pebble = Pebble::asking(resolver.address()).start();
        Self {
            lab,
            target,
            resolver,
            pebble,
            _others: others,
        }
    }

    /// Runs once, then once more; the second run must leave the CA alone if the first was blocked.
    async fn runs(&self) -> (Verdict, String) {
        let state = tempfile::tempdir().unwrap();
        let provider = rfc2136(&state, self.target.address(), KEY_SECRET);
        let config = self
            .lab
            .config(&state, &self.pebble, provider, &self.resolver);
        let (verdict, text) = run(&config, DUE).await;
        if verdict == Verdict::Blocked {
            let orders = new_orders(&self.pebble);
            let (again, text) = run(&config, DUE).await;
            assert_eq!(again, Verdict::Blocked, "{text}");
            assert_eq!(
                new_orders(&self.pebble),
                orders,
                "no order while it is blocked"
            );
        }
        (verdict, text)
    }
}

/// `hops` CNAMEs from the challenge to `x.auth.test`.
pub(in crate::acme) fn chain(hops: usize) -> String {
    let mut lines = String::new();
    let mut name = "_acme-challenge".to_owned();
    for hop in 1..=hops {
        let next = if hop == hops {
            "x.auth.test.".to_owned()
        } else {
            format!("hop{hop}")
        };
        let _ = writeln!(lines, "{name} CNAME {next}");
        name = next;
    }
    lines
}

#[tokio::test]
async fn case_07_cname_chain_into_another_provider() {
    for (brand, hops) in BRANDS
        .into_iter()
        .flat_map(|brand| [(brand, 1), (brand, 3)])
    {
        let lab = Delegated::new(brand, &chain(hops));
        let (verdict, text) = lab.runs().await;
        assert_eq!(verdict, Verdict::Fine, "{brand:?}, {hops} hops: {text}");
        assert_eq!(lab.target.txt("x.auth.test"), [""; 0]);
        assert_eq!(challenge_posts(&lab.pebble), 2);
    }
}

#[tokio::test]
async fn case_07_cname_chain_of_eight_is_the_longest() {
    let lab = Delegated::new(Brand::Knot, &chain(8));
    let (verdict, text) = lab.runs().await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
}

#[tokio::test]
async fn case_07_cname_chain_too_long() {
    let lab = Delegated::new(Brand::Knot, &chain(9));
    let (verdict, text) = lab.runs().await;
    assert_eq!(verdict, Verdict::Blocked, "{text}");
    assert!(
        text.contains("in a circle or over too many names"),
        "{text}"
    );
    assert_eq!(challenge_posts(&lab.pebble), 0);
}

#[tokio::test]
async fn case_07_cname_loop() {
    let lab = Delegated::new(
        Brand::Knot,
        "_acme-challenge CNAME here\nhere CNAME there\nthere CNAME _acme-challenge\n",
    );
    let (verdict, text) = lab.runs().await;
    assert_eq!(verdict, Verdict::Blocked, "{text}");
    assert!(text.contains("in a circle"), "{text}");
    assert_eq!(challenge_posts(&lab.pebble), 0);
}

#[tokio::test]
async fn case_07_cname_dangling() {
    for brand in BRANDS {
        let lab = Delegated::new(brand, "_acme-challenge CNAME x.gone.test.\n");
        let (verdict, text) = lab.runs().await;
        assert_eq!(verdict, Verdict::Blocked, "{brand:?}: {text}");
        assert!(text.contains("x.gone.test"), "{text}");
        assert_eq!(challenge_posts(&lab.pebble), 0);
    }
}

#[tokio::test]
async fn case_08_challenge_name_is_a_zone_of_its_own() {
    for brand in BRANDS {
        let lab = Lab::new();
        let parent = [zone(
            "example.test",
            &[2],
            "_acme-challenge NS child\nchild A 127.0.0.1\n",
        )];
        let child = [zone(RECORD, &[1], "")];
        let above = Knot::at(lab.at(2), &zones(&parent));
        let below = Authority::start(brand, lab.at(1), &zones(&child));
        let resolver =
            Unbound::start(&[("example.test", above.address()), (RECORD, below.address())]);
        let pebble = Pebble::asking(resolver.address()).start();
        let state = tempfile::tempdir().unwrap();
        // Our key is good at the child's server only if the update names the child zone.
        let provider = rfc2136(&state, below.address(), KEY_SECRET);
        let config = lab.config(&state, &pebble, provider, &resolver);
        let (verdict, text) = run(&config, DUE).await;
        assert_eq!(verdict, Verdict::Fine, "{brand:?}: {text}");
        assert_eq!(below.txt(RECORD), [""; 0]);
    }
}

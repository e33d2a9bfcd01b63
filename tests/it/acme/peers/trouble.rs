//! Cases 1, 3, 4, 7 and 13: what each program does when nonces, name servers or the CA's limits stand in its way.

use std::cell::Cell as Shared;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::dns::delegation::chain;
use super::super::dns::{Authority, Brand, zone, zones};
use super::super::issue::RECORD;
use super::Cell;
use super::net::{DOMAIN, Net, at};
use super::program::Program;
use crate::support::dns_front::{Front, Mood};
use crate::support::fault_proxy::{Fault, FaultProxy, Kind};
use crate::support::knot::Knot;
use crate::support::pebble::Pebble;
use crate::support::unbound::Unbound;

/// First issues with Pebble's nonces at 80 % bad.
const TRIES: usize = 5;

/// How long a name server of case 4 answers SERVFAIL.
const FAILING: Duration = Duration::from_secs(10);

/// 1: of `TRIES` first issues with 80 % bad nonces, how many went well.
pub(super) fn nonces(who: Program) -> Cell {
    let runs: Vec<_> = (0..TRIES)
        .map(|_| who.run(&Net::start(Brand::Knot, |pebble| pebble.nonce_reject(80))))
        .collect();
    let good = runs.iter().filter(|run| run.good()).count();
    let times = || runs.iter().map(|run| run.took.as_secs_f64());
    let (least, most) = (
        times().fold(f64::INFINITY, f64::min),
        times().fold(0.0, f64::max),
    );
    Cell {
        text: format!("{good} of {TRIES} issued, {least:.1} to {most:.1} s each"),
        good: good == TRIES,
    }
}

pub(super) fn foreign_at_knot(who: Program) -> Cell {
    foreign(who, Brand::Knot)
}

pub(super) fn foreign_at_bind(who: Program) -> Cell {
    foreign(who, Brand::Bind)
}

/// 3: apex and wildcard at one name beside a foreign value.
fn foreign(who: Program, brand: Brand) -> Cell {
    let net = Net::start(brand, |pebble| pebble);
    let line = format!("add {RECORD}. 60 TXT foreign");
    let added = net.authority.update(DOMAIN, &[&line]);
    assert!(added.status.success(), "{added:?}");
    let is_own = |value: &String| value != "foreign";
    let mut together = 0;
    let end = who.start(&net).watch(|| {
        together = together.max(net.txt().iter().filter(|value| is_own(value)).count());
    });
    let left = net.txt();
    let kept = left.contains(&"foreign".to_owned());
    let own = left.iter().filter(|value| is_own(value)).count();
    Cell {
        text: format!(
            "{}, {}, foreign value {}, {own} own values left",
            end.word(),
            if together > 1 {
                "both values at once"
            } else {
                "one value after the other"
            },
            if kept { "kept" } else { "deleted" },
        ),
        good: end.good() && together == 2 && kept && own == 0,
    }
}

pub(super) fn late_a_little(who: Program) -> Cell {
    late(who, Brand::Knot, Duration::from_secs(20))
}

pub(super) fn late_a_lot(who: Program) -> Cell {
    late(who, Brand::Bind, Duration::from_secs(90))
}

/// 4: three name servers. The first has an AAAA record that leads nowhere, the second shows the record only `lag` after
/// the first, and that one the CA asks; the third answers SERVFAIL for ten seconds. All programs with their defaults.
fn late(who: Program, brand: Brand, lag: Duration) -> Cell {
    let all = [zone(DOMAIN, &[1, 3, 4], "ns1 AAAA 2001:db8::53\n")];
    let authority = Authority::start(brand, at(1), &zones(&all));
    let late = Front::start(at(3), at(1), Mood::Late);
    let failing = Front::start(at(4), at(1), Mood::Failing);
    let pebble = Pebble::asking(at(3)).start();
    let mut net = Net::of(authority, pebble, &[(DOMAIN, at(1))]);
    net.pause = "60";
    let there: Shared<Option<Instant>> = Shared::new(None);
    let mut all_show_it = None;
    let end = who.start(&net).watch(|| {
        let Some(since) = there.get() else {
            there.set((!net.txt().is_empty()).then(Instant::now));
            return;
        };
        if since.elapsed() >= FAILING {
            failing.set(Mood::Good);
        }
        if all_show_it.is_none() && since.elapsed() >= lag {
            late.set(Mood::Good);
            all_show_it = Some(Instant::now());
        }
    });
    let since = there.get().expect("a record was published");
    let offered = offered(&net.proxy);
    let early = offered
        .first()
        .is_some_and(|at| all_show_it.is_none_or(|shown| *at < shown));
    let mut text = format!(
        "{} after {:.0} s, {} of 2 challenges offered",
        end.word(),
        end.took.as_secs_f64(),
        offered.len()
    );
    if let Some(first) = offered.first() {
        text.push_str(&format!(
            ", the first {:.0} s after the record, {} the laggard had it",
            first.duration_since(since).as_secs_f64(),
            if early { "BEFORE" } else { "after" },
        ));
    }
    Cell {
        text,
        good: end.good() && !early,
    }
}

/// When the CA was told for the first time to look at each challenge, in order.
fn offered(proxy: &FaultProxy) -> Vec<Instant> {
    let mut calls = proxy.calls_of(Kind::Challenge);
    let mut seen = Vec::new();
    calls.retain(|call| {
        let new = call.payload == json!({}) && !seen.contains(&call.path);
        seen.push(call.path.clone());
        new
    });
    calls.iter().map(|call| call.at).collect()
}

pub(super) fn one_hop(who: Program) -> Cell {
    delegated(who, Brand::Knot, &chain(1), true)
}

pub(super) fn three_hops(who: Program) -> Cell {
    delegated(who, Brand::Bind, &chain(3), true)
}

pub(super) fn in_a_circle(who: Program) -> Cell {
    delegated(
        who,
        Brand::Knot,
        "_acme-challenge CNAME here\nhere CNAME there\nthere CNAME _acme-challenge\n",
        false,
    )
}

pub(super) fn dangling(who: Program) -> Cell {
    delegated(
        who,
        Brand::Bind,
        "_acme-challenge CNAME x.gone.test.\n",
        false,
    )
}

/// 7: CNAMEs lead from the challenge into a zone of another server, the only one that takes our updates. `possible`: can
/// the CA be satisfied at all?
fn delegated(who: Program, brand: Brand, cnames: &str, possible: bool) -> Cell {
    let first = [zone(DOMAIN, &[2], cnames)];
    let second = [zone("auth.test", &[1], "")];
    let (_, above) = zone(
        "test",
        &[4],
        "example NS ns1.example\nns1.example A 127.0.0.2\nauth NS ns1.auth\nns1.auth A 127.0.0.1\n",
    );
    // Without `*`, so that a name that is not there does not exist.
    let above = above.replace("* A 127.0.0.1\n", "");
    let _own = Knot::at(at(2), &zones(&first));
    let _above = Knot::at(at(4), &[("test", above)]);
    let target = Authority::start(brand, at(1), &zones(&second));
    let stubs = [(DOMAIN, at(2)), ("auth.test", at(1)), ("test", at(4))];
    // A resolver of the CA's own, which remembers nothing: caches are the matter of another case.
    let elsewhere = Unbound::with(&stubs, "  cache-max-ttl: 0\n");
    let pebble = Pebble::asking(elsewhere.address()).start();
    let net = Net::of(target, pebble, &stubs);
    let end = who.run(&net);
    let offered = net.proxy.posts(Kind::Challenge);
    let text = if end.good() {
        "issued".to_owned()
    } else {
        format!(
            "{} after {:.0} s, {offered} challenges offered",
            end.word(),
            end.took.as_secs_f64()
        )
    };
    let good = if possible { end.good() } else { offered == 0 };
    Cell { text, good }
}

/// 13: newOrder is limited for an hour; the program is run again at once.
pub(super) fn limited(who: Program) -> Cell {
    let net = Net::start(Brand::Knot, |pebble| pebble);
    net.proxy.on(Kind::NewOrder, Fault::rate_limited("3600"));
    let one = who.run(&net);
    let first = net.proxy.posts(Kind::NewOrder);
    let two = who.run(&net);
    let again = net.proxy.posts(Kind::NewOrder) - first;
    let words = "too many certificates";
    let log = std::fs::read_to_string(net.file("certbot/letsencrypt.log")).unwrap_or_default();
    let reason = if one.text.contains(words) && two.text.contains(words) {
        "named"
    } else if log.contains(words) {
        "named in its log file only"
    } else {
        "NOT named"
    };
    Cell {
        text: format!(
            "{first} newOrder in the first run, {again} in the next; the reason is {reason}"
        ),
        good: (first, again) == (1, 0),
    }
}

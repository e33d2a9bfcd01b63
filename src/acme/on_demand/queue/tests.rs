//! The order of the queue and its budgets.

use proptest::prelude::*;

use super::*;
use crate::cert::on_demand::register::{Spent, Trouble};
use crate::config::OnDemand;

const NOW: UnixTime = UnixTime(1_000_000_000);

fn budgets() -> Budgets {
    Budgets::new(&OnDemand {
        orders_per_hour: 10,
        tenant_orders_per_day: 3,
        domain_orders_per_week: 4,
        ..OnDemand::default()
    })
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn new(tenant: &str, since: i64) -> Entry {
    Entry {
        tenant: tenant.to_owned(),
        since: UnixTime(since),
        ..Entry::default()
    }
}

/// Ninety days, of which so many are left; due at thirty.
fn stored(left: i64) -> Entry {
    let not_after = UnixTime(NOW.0 + left * DAY);
    Entry {
        generation: 1,
        not_before: UnixTime(not_after.0 - 90 * DAY),
        not_after,
        renew_at: UnixTime(not_after.0 - 30 * DAY),
        ..Entry::default()
    }
}

fn failed(entry: Entry, ago: i64) -> Entry {
    Entry {
        next: UnixTime(NOW.0 - ago),
        trouble: Some(Trouble::after(None, true, "no record")),
        ..entry
    }
}

fn content(entries: &[(&str, Entry)], orders: &[Spent]) -> Content {
    let mut content = Content::default();
    for (name, entry) in entries {
        content.entries.insert(host(name), entry.clone());
    }
    content.orders.extend(orders.iter().cloned());
    content
}

fn order(name: &str, tenant: &str, ago: i64, new: bool) -> Spent {
    Spent {
        at: UnixTime(NOW.0 - ago),
        host: name.to_owned(),
        tenant: tenant.to_owned(),
        new,
    }
}

fn run(content: &Content) -> String {
    match next(content, &budgets(), true, NOW) {
        Next::Run(host, task) => format!("{host} {task:?}"),
        Next::Rest(wake) => format!("rest {:?}", wake.map(|wake| wake.seconds_since(NOW))),
    }
}

#[test]
fn urgent_before_new_before_renewal_before_looks_and_askers_first() {
    let asked = Entry {
        asked: true,
        ..new("t", 9)
    };
    let mut all = vec![
        ("a.test", stored(60)),
        ("b.test", stored(20)),
        ("c.test", stored(10)),
        ("d.test", new("t", 5)),
        ("e.test", new("t", 3)),
        ("f.test", asked),
    ];
    for expected in [
        "c.test Urgent",
        "f.test New",
        "e.test New",
        "d.test New",
        "b.test Renewal",
        "a.test Look",
    ] {
        assert_eq!(run(&content(&all, &[])), expected);
        all.retain(|(name, _)| !expected.starts_with(name));
    }
    assert_eq!(run(&content(&all, &[])), "rest None");
}

#[test]
fn new_names_that_fail_again_and_again_keep_no_renewal_from_its_turn() {
    // They cost time and no order: no budget bounds them.
    let dead: Vec<String> = (0..500).map(|number| format!("a{number}.test")).collect();
    let mut all = vec![
        ("b.test", stored(20)),
        ("c.test", stored(10)),
        ("d.test", stored(60)),
        ("e.test", failed(new("t", 1), 50)),
    ];
    for name in &dead {
        let asked = Entry {
            asked: true,
            ..new("t", 0)
        };
        all.push((name, failed(asked, 40)));
    }
    for (expected, orders) in [
        ("c.test Urgent", 3),
        ("b.test Renewal", 2),
        ("d.test Look", 1),
        ("e.test New", 1),
    ] {
        let content = content(&all, &[]);
        assert_eq!(run(&content), expected);
        let ledger = Ledger::of(&content, &budgets(), NOW);
        let told = wait(&content, &ledger, &host("a0.test"), NOW);
        assert_eq!(told, Some(Wait::Turn(orders)), "{expected}");
        all.retain(|(name, _)| !expected.starts_with(name));
    }
    assert_eq!(run(&content(&all, &[])), "a0.test New");
}

#[test]
fn what_has_lapsed_and_fails_on_keeps_nobody_from_his_turn() {
    let mut all = vec![
        ("a.test", failed(stored(-3), 90)),
        ("b.test", failed(new("t", 1), 80)),
        ("c.test", new("t", 2)),
        ("d.test", stored(10)),
        ("e.test", failed(stored(9), 70)),
        // A machine that was off: it may be had at once.
        ("f.test", stored(-1)),
    ];
    for expected in [
        "f.test Urgent",
        "e.test Urgent",
        "d.test Urgent",
        "c.test New",
        "a.test Urgent",
        "b.test New",
    ] {
        assert_eq!(run(&content(&all, &[])), expected);
        all.retain(|(name, _)| !expected.starts_with(name));
    }
}

#[test]
fn what_failed_waits_and_holds_up_nobody() {
    let failed = Entry {
        next: UnixTime(NOW.0 + 900),
        ..new("t", 1)
    };
    let mut all = vec![("a.test", failed), ("b.test", new("t", 2))];
    assert_eq!(run(&content(&all, &[])), "b.test New");
    all.pop();
    assert_eq!(run(&content(&all, &[])), "rest Some(900)");
    // A clock that was set back by a year.
    all.first_mut().unwrap().1.next = UnixTime(NOW.0 + 365 * DAY);
    assert_eq!(run(&content(&all, &[])), "a.test New");
}

#[test]
fn a_fifth_of_the_hour_is_kept_for_renewals() {
    let mut orders: Vec<Spent> = (0..8)
        .map(|number| order(&format!("x{number}.test"), &format!("t{number}"), 60, true))
        .collect();
    let all = [("a.test", new("t", 1)), ("b.test", stored(20))];
    assert_eq!(run(&content(&all, &orders)), "b.test Renewal");
    orders.push(order("y.test", "t", 30, false));
    assert_eq!(run(&content(&all, &orders)), "b.test Renewal");
    orders.push(order("z.test", "t", 10, false));
    // Nothing has failed: it goes on when the first of them is an hour old.
    assert_eq!(run(&content(&all, &orders)), "rest Some(3540)");
    for order in &mut orders {
        order.at = UnixTime(NOW.0 - HOUR);
    }
    assert_eq!(run(&content(&all, &orders)), "a.test New");
}

#[test]
fn a_tenant_or_a_domain_that_has_had_enough_waits_alone() {
    let tenant: Vec<Spent> = (0..3)
        .map(|number| order(&format!("x{number}.test"), "t", 2 * HOUR, true))
        .collect();
    let all = [("a.test", new("t", 1)), ("b.test", new("u", 2))];
    assert_eq!(run(&content(&all, &tenant)), "b.test New");
    let domain: Vec<Spent> = (0..4)
        .map(|number| order(&format!("x{number}.shop.co.uk"), "v", 3 * DAY, true))
        .collect();
    let all = [
        ("www.shop.co.uk", new("t", 1)),
        ("www.other.co.uk", new("u", 2)),
    ];
    assert_eq!(run(&content(&all, &domain)), "www.other.co.uk New");
    // A renewal is not held back by either.
    let renewal = [(
        "www.shop.co.uk",
        Entry {
            tenant: "t".to_owned(),
            ..stored(20)
        },
    )];
    assert_eq!(run(&content(&renewal, &domain)), "www.shop.co.uk Renewal");
    assert_eq!(run(&content(&renewal, &tenant)), "www.shop.co.uk Renewal");
}

#[test]
fn what_a_name_waits_for_is_told_with_the_end_of_it() {
    let of = |content: &Content, name: &str| {
        let ledger = Ledger::of(content, &budgets(), NOW);
        match wait(content, &ledger, &host(name), NOW) {
            None => "nothing".to_owned(),
            Some(Wait::Turn(before)) => format!("turn {before}"),
            Some(Wait::Budget(budget, until)) => {
                format!("{} {}", budget.key(), until.seconds_since(NOW))
            }
        }
    };
    let later = Entry {
        next: UnixTime(NOW.0 + 60),
        ..new("u", 1)
    };
    let all = [
        ("a.test", new("t", 1)),
        ("b.test", new("u", 2)),
        ("c.test", stored(20)),
        ("d.test", stored(60)),
        ("e.test", later),
    ];
    let free = content(&all, &[]);
    for (name, expected) in [
        ("a.test", "turn 0"),
        ("b.test", "turn 1"),
        ("c.test", "turn 2"),
        ("d.test", "nothing"),
        ("e.test", "nothing"),
        ("z.test", "nothing"),
    ] {
        assert_eq!(of(&free, name), expected, "{name}");
    }
    // Four of this tenant's, of which two may be forgotten before one more fits; who is held back is before nobody.
    let spent: Vec<Spent> = (0..4)
        .map(|number| order(&format!("x{number}.test"), "t", HOUR * (5 - number), true))
        .collect();
    let tenant = content(&all, &spent);
    let expected = format!("on_demand.tenant_orders_per_day {}", DAY - 4 * HOUR);
    assert_eq!(of(&tenant, "a.test"), expected);
    assert_eq!(of(&tenant, "b.test"), "turn 0");
    let spent: Vec<Spent> = (0..4)
        .map(|number| order(&format!("x{number}.b.test"), "v", 2 * DAY, true))
        .collect();
    let domain = content(&all, &spent);
    let expected = format!("on_demand.domain_orders_per_week {}", 5 * DAY);
    assert_eq!(of(&domain, "b.test"), expected);
    assert_eq!(of(&domain, "c.test"), "turn 1");
    let spent: Vec<Spent> = (0..10)
        .map(|number| order(&format!("x{number}.test"), "v", 60 + number, number < 8))
        .collect();
    let hour = content(&all, &spent);
    assert_eq!(of(&hour, "c.test"), "on_demand.orders_per_hour 3531");
    let (first, _) = spent.split_at(8);
    let new_only = content(&all, first);
    assert_eq!(of(&new_only, "a.test"), "on_demand.orders_per_hour 3533");
    assert_eq!(of(&new_only, "c.test"), "turn 0");
}

#[test]
fn without_a_row_nothing_is_ordered_and_renewals_end_after_a_while() {
    let gone = |entry: Entry, days: i64| Entry {
        gone: Some(UnixTime(NOW.0 - days * DAY)),
        ..entry
    };
    let name = "a.test";
    let of = |entry: Entry| run(&content(&[(name, entry)], &[]));
    assert_eq!(of(gone(new("t", 1), 0)), "rest None");
    assert_eq!(of(gone(stored(20), 29)), "a.test Renewal");
    assert_eq!(of(gone(stored(20), 30)), "rest None");
    let keep = budgets().keep_gone;
    assert!(!is_over(&gone(stored(20), 30), keep, NOW), "still served");
    assert!(!is_over(&stored(-1), keep, NOW), "it has its row");
    assert!(is_over(&gone(stored(0), 30), keep, NOW));
    assert!(is_over(&gone(new("t", 1), 30), keep, NOW));
}

#[test]
fn registered_domains_are_guessed() {
    for (name, expected) in [
        ("test", "test"),
        ("a.test", "a.test"),
        ("www.customer.com", "customer.com"),
        ("a.b.customer.com", "customer.com"),
        ("www.customer.co.uk", "customer.co.uk"),
        ("customer.co.uk", "customer.co.uk"),
        ("co.uk", "co.uk"),
        ("www.customer.de", "customer.de"),
        ("a.b.shop.com.au", "shop.com.au"),
    ] {
        assert_eq!(registered(name), expected, "{name}");
    }
}

proptest! {
    /// Whoever does what is said, at whatever times, never makes more orders in an hour than allowed.
    #[test]
    fn never_more_than_the_hour_allows(pauses in prop::collection::vec(0i64..900, 1..80)) {
        let mut content = Content::default();
        for number in 0..80 {
            let name = host(&format!("h{number}.t{number}.test"));
            content.entries.insert(name, new(&number.to_string(), number));
        }
        let budgets = Budgets { domain: 1000, ..budgets() };
        let mut now = NOW;
        let mut times = Vec::new();
        for pause in pauses {
            now = UnixTime(now.0 + pause);
            while let Next::Run(host, _) = next(&content, &budgets, true, now) {
                let spent = Spent { at: now, ..order(host.as_str(), host.as_str(), 0, true) };
                content.entries.insert(host, Entry { next: UnixTime(now.0 + 5 * DAY), ..Entry::default() });
                content.orders.push_back(spent);
                times.push(now.0);
            }
        }
        for &start in &times {
            let inside = times.iter().filter(|&&at| at >= start && at < start + HOUR);
            prop_assert!(inside.count() <= budgets.hour_new);
        }
    }
}

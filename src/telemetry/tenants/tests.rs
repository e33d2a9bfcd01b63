//! Sums are exact, the file survives, and memory is bounded.
#![expect(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise and writes its own files"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::top::Top;
use super::usage::{self, Usage};
use super::*;

fn sums(rows: &[(&str, u64)]) -> Sums {
    let rows = rows.iter().map(|(tenant, requests)| {
        let tally = Tally {
            requests: *requests,
            ..Tally::default()
        };
        (Arc::from(*tenant), tally)
    });
    rows.collect()
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn shown(top: &Top) -> BTreeMap<String, u64> {
    let rows = top.rows().into_iter();
    rows.map(|(tenant, sum)| (tenant.to_string(), sum.requests))
        .collect()
}

#[test]
fn the_busiest_have_series_and_no_series_goes_back() {
    let mut top = Top::new(2);
    top.add(&sums(&[("a", 5), ("b", 5), ("other", 1)]));
    top.add(&sums(&[("c", 9)]));
    top.turn();
    let before = shown(&top);
    assert_eq!(before.len(), 3);
    assert_eq!(
        before["other"], 10,
        "c came too late and is not twice as busy"
    );
    top.add(&sums(&[("c", 2), ("a", 1)]));
    top.turn();
    let after = shown(&top);
    assert_eq!((after["c"], after["other"]), (0, 12), "{after:?}");
    assert!(after.contains_key("a") && !after.contains_key("b"));
    assert!(Top::new(0).rows().is_empty());
}

#[test]
fn random_tenants_neither_fill_memory_nor_stay_in_the_way() {
    let mut top = Top::new(50);
    for round in 0..200 {
        let names: Vec<String> = (0..500).map(|at| format!("r{round}-{at}")).collect();
        let mut rows: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        rows.push(("real", 40));
        top.add(&sums(&rows));
        top.turn();
        assert!(top.watched() <= 2 * (1024 + 400) && top.rows().len() <= 51);
    }
    assert!(shown(&top)["real"] > 7000);
}

#[test]
fn intervals_add_up_and_a_torn_end_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.jsonl");
    let mut first = Usage::new(usage::open(&path).unwrap(), "one".to_owned());
    assert!(usage::open(&path).is_err(), "one process at a time");
    first.add(&sums(&[("a", 2), ("q\"uote", 1)]));
    first.add(&sums(&[("a", 3)]));
    first.flush().unwrap();
    first.flush().unwrap();
    first.add(&sums(&[("a", 4)]));
    first.flush().unwrap();
    drop(first);
    let whole = lines(&path);
    let seqs: Vec<_> = whole
        .iter()
        .map(|line| line["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, [1, 2, 3]);
    let of_a = whole.iter().filter(|line| line["tenant"] == "a");
    assert_eq!(
        of_a.map(|line| line["requests"].as_u64().unwrap())
            .sum::<u64>(),
        9
    );
    assert!(whole.iter().any(|line| line["tenant"] == "q\"uote"));
    for torn in [
        "{",
        "{\"seq\":4,\"instance\":\"on",
        &format!("{{\"seq\":4,\"x\":\"{}", "y".repeat(9000)),
    ] {
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{good}{torn}")).unwrap();
        drop(usage::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), good, "{torn:.30}");
    }
    // Not ours: it is left to whoever wrote it, on a line of its own.
    fs::write(&path, "notes without an end").unwrap();
    drop(usage::open(&path).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "notes without an end\n");
}

#[test]
fn a_disk_that_is_full_loses_nothing_and_leaves_no_torn_line() {
    let full = fs::OpenOptions::new()
        .append(true)
        .open("/dev/full")
        .unwrap();
    let mut usage = Usage::new(full, "one".to_owned());
    usage.add(&sums(&[("a", 2)]));
    assert!(usage.flush().is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.jsonl");
    usage.switch(usage::open(&path).unwrap());
    usage.add(&sums(&[("a", 3)]));
    usage.flush().unwrap();
    let whole = lines(&path);
    assert_eq!(
        (whole.len(), &whole[0]["requests"]),
        (1, &serde_json::json!(5))
    );
    assert_eq!(whole[0]["seq"], 1);
}

#[test]
fn workers_hand_over_and_the_end_writes_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.jsonl");
    let collector = Collector::start(Setting {
        top: 10,
        file: Some(path.clone()),
        interval: Duration::from_secs(3600),
        instance: "one".to_owned(),
    });
    let collector = collector.unwrap();
    let tenants: Vec<Arc<str>> = (0..40_000).map(|at| Arc::from(format!("t{at}"))).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut writer = collector.writer();
            scope.spawn(|| {
                for tenant in &tenants {
                    writer.note(tenant, Tally::of(200, 1, 10));
                }
                writer.note(&Arc::from("t0"), Tally::of(503, 0, 0));
                drop(writer);
            });
        }
    });
    let before = collector.lost();
    assert!(collector.close(Duration::from_secs(30)));
    let mut requests = 0;
    let mut errors = 0;
    for line in lines(&path) {
        requests += line["requests"].as_u64().unwrap();
        errors += line["errors"].as_u64().unwrap();
    }
    assert_eq!((requests + before, errors), (80_002, 2));
}

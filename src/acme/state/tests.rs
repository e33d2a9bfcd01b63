//! Damage, counting, and what is forgotten.

use super::*;
use crate::cert::store::file::FileStore;

#[test]
#[expect(clippy::disallowed_methods, reason = "damage is done on purpose")]
fn a_damaged_state_gives_way_to_the_one_before_and_then_to_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path());
    let lineage = Host::parse("example.test").unwrap();
    assert_eq!(State::load(&store, &lineage).unwrap(), State::default());

    let journal = Journal::open(&store, &lineage).unwrap();
    journal
        .change(|state| state.remember_replaced("first"))
        .unwrap();
    journal
        .change(|state| state.remember_replaced("second"))
        .unwrap();
    let read = || State::load(&store, &lineage).unwrap().replaced;
    assert_eq!(read(), ["first", "second"]);

    let path = store.lineage(&lineage).join("state.json");
    for bad in [&b""[..], b"{\"sha256\":\"", &[0; 512]] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(read(), ["first"]);
    }
    std::fs::write(path.with_extension("json.prev"), b"{}").unwrap();
    assert_eq!(State::load(&store, &lineage).unwrap(), State::default());
}

#[test]
fn failures_are_counted_by_class_and_ca_until_a_success() {
    let mut state = State::default();
    for class in [Class::Transport, Class::Limited, Class::Transport] {
        state.fail(Failure {
            class,
            at: UnixTime(7),
            ..Failure::default()
        });
    }
    assert_eq!(state.consecutive_failures, 3);
    assert_eq!(state.failing_since, Some(UnixTime(7)));
    let counts: Vec<_> = state.totals.iter().map(|t| (t.class, t.count)).collect();
    assert_eq!(counts, [(Class::Transport, 2), (Class::Limited, 1)]);
    state.succeed(UnixTime(9));
    assert_eq!((state.consecutive_failures, state.failing_since), (0, None));
    assert_eq!(state.failure, None);
    assert_eq!(state.totals.len(), 2, "counters only grow");
}

#[test]
fn waits_are_counted_below_each_bound() {
    let mut waits = Waits::default();
    for milliseconds in [300, 4_200, 400_000, 9_000_000] {
        waits.note(std::time::Duration::from_millis(milliseconds));
    }
    assert_eq!(waits.buckets, [1, 2, 2, 2, 2, 2, 2, 3]);
    assert_eq!((waits.count, waits.seconds), (4, 9406));
}

#[test]
fn remembers_only_so_many_replaced_certificates() {
    let mut state = State::default();
    for number in 0..20 {
        state.remember_replaced(&number.to_string());
    }
    state.remember_replaced("15");
    assert_eq!(
        state.replaced,
        ["12", "13", "14", "16", "17", "18", "19", "15"]
    );
}

//! What a crash, a careless person or a bad disk leaves behind.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::{TempDir, tempdir};
use zeroize::Zeroizing;

use super::*;
use crate::cert::bundle;
use crate::cert::lineage::Lineage;
use crate::cert::local_ca::LocalCa;
use crate::cert::store::Meta;
use crate::clock::UnixTime;
use crate::config::Challenge;

fn lineage(domain: &Host) -> Lineage {
    Lineage::base(domain, Challenge::Dns01)
}

fn domain() -> Host {
    Host::parse("example.test").unwrap()
}

fn lab() -> (TempDir, FileStore) {
    let folder = tempdir().unwrap();
    let store = FileStore::new(folder.path());
    (folder, store)
}

/// A new pair each time.
fn pair() -> NewGeneration {
    let folder = tempdir().unwrap();
    let ca = LocalCa::open(folder.path(), UnixTime::now()).unwrap();
    let leaf = ca
        .leaf(&bundle::names_of(&domain()), UnixTime::now())
        .unwrap();
    NewGeneration {
        fullchain: leaf.fullchain + ca.certificate(),
        key: leaf.key,
        meta: Meta::default(),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keeps_generations_with_modes_for_the_proxys_group() {
    let (_folder, store) = lab();
    assert!(store.load(&domain()).unwrap().is_none());
    let before = store.fingerprint();
    let new = pair();
    let stored = store.put(&domain(), &new).unwrap();
    assert_eq!(stored.generation, 1);
    assert_ne!(store.fingerprint(), before);
    assert_eq!(store.fingerprint(), store.fingerprint());
    let current = store.lineage(&domain()).join("current");
    assert_eq!(mode(&current.join("privkey.pem")), 0o640);
    assert_eq!(mode(&store.lineage(&domain())), 0o750);
    assert_eq!(mode(&current), 0o750);
    assert_eq!(
        fs::read_to_string(current.join("fullchain.pem")).unwrap(),
        new.fullchain
    );
    let chain = fs::read_to_string(current.join("chain.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN").count(), 1);
    assert!(new.fullchain.ends_with(&chain));
}

#[test]
fn keeps_five_and_never_reuses_a_number() {
    let (_folder, store) = lab();
    for number in 1..=7 {
        assert_eq!(store.put(&domain(), &pair()).unwrap().generation, number);
    }
    let kept = generation::all(&store.lineage(&domain())).unwrap();
    assert_eq!(
        kept.iter()
            .map(|generation| generation.number)
            .collect::<Vec<_>>(),
        [3, 4, 5, 6, 7]
    );
    fs::remove_dir_all(&kept.last().unwrap().path).unwrap();
    assert_eq!(store.put(&domain(), &pair()).unwrap().generation, 8);
}

#[test]
fn keeps_an_older_one_while_it_is_served_and_not_over() {
    let (_folder, store) = lab();
    let kept = |store: &FileStore| -> Vec<u64> {
        let all = generation::all(&store.lineage(&domain())).unwrap();
        all.iter().map(|generation| generation.number).collect()
    };
    store.put(&domain(), &pair()).unwrap();
    let (first, second) = (store.hold(&domain(), 1), store.hold(&domain(), 1));
    assert!(
        first.is_some() && second.is_some(),
        "two proxies may serve it"
    );
    assert!(store.hold(&domain(), 2).is_none(), "there is none");
    for _ in 2..=8 {
        store.put(&domain(), &pair()).unwrap();
    }
    assert_eq!(kept(&store), [1, 4, 5, 6, 7, 8]);
    drop(first);
    store.put(&domain(), &pair()).unwrap();
    assert_eq!(kept(&store), [1, 5, 6, 7, 8, 9], "one serves it still");
    drop(second);
    store.put(&domain(), &pair()).unwrap();
    assert_eq!(kept(&store), [6, 7, 8, 9, 10]);

    // One that is over is worth nothing, whoever serves it.
    let (_folder, store) = lab();
    let long_ago = UnixTime(UnixTime::now().0 - 10 * 365 * 86_400);
    let folder = tempdir().unwrap();
    let ca = LocalCa::open(folder.path(), long_ago).unwrap();
    let leaf = ca.leaf(&bundle::names_of(&domain()), long_ago).unwrap();
    let over = NewGeneration {
        fullchain: leaf.fullchain + ca.certificate(),
        key: leaf.key,
        meta: Meta::default(),
    };
    let stored = store.put(&domain(), &over).unwrap();
    assert!(stored.bundle.not_after() < UnixTime::now());
    let held = store.hold(&domain(), 1);
    assert!(held.is_some());
    for _ in 2..=6 {
        store.put(&domain(), &pair()).unwrap();
    }
    assert_eq!(kept(&store), [2, 3, 4, 5, 6]);
}

#[test]
fn a_lock_is_seen_by_those_who_may_not_take_it() {
    let (_folder, store) = lab();
    assert!(!store.is_locked(&domain()));
    let lock = store.lock(&domain()).unwrap();
    assert!(lock.is_some());
    assert!(store.is_locked(&domain()) && store.is_locked(&domain()));
    assert!(store.lock(&domain()).unwrap().is_none());
    drop(lock);
    assert!(!store.is_locked(&domain()));
    assert!(store.lock(&domain()).unwrap().is_some());
    let path = store.lineage(&domain());
    assert_eq!(mode(&path.join("lock")), 0o600);
    assert_eq!(mode(&path.join("lease")), 0o644);
    // Somebody who can read it and holds on to it keeps no engine out.
    let file = File::open(path.join("lease")).unwrap();
    file.lock().unwrap();
    assert!(store.lock(&domain()).unwrap().is_some());
}

#[test]
fn a_pair_that_does_not_fit_never_becomes_current() {
    let (_folder, store) = lab();
    store.put(&domain(), &pair()).unwrap();
    let wrong = NewGeneration {
        key: pair().key,
        ..pair()
    };
    assert!(matches!(
        store.put(&domain(), &wrong),
        Err(StoreError::Bad { .. })
    ));
    assert_eq!(store.load(&domain()).unwrap().unwrap().generation, 1);
    assert_eq!(generation::all(&store.lineage(&domain())).unwrap().len(), 1);
}

#[test]
fn falls_back_to_the_newest_good_generation() {
    let (_folder, store) = lab();
    for _ in 0..3 {
        store.put(&domain(), &pair()).unwrap();
    }
    let path = store.lineage(&domain());
    // A link that leads nowhere.
    disk::switch_link(&path.join("current"), Path::new("gen/000009-ffffffff")).unwrap();
    assert_eq!(store.load(&domain()).unwrap().unwrap().generation, 3);
    // The newest is cut in the middle, and the link points at it.
    let newest = generation::all(&path).unwrap().pop().unwrap().path;
    disk::switch_link(&path.join("current"), &newest).unwrap();
    disk::write(&newest.join("fullchain.pem"), b"-----BEGIN CERTIF", 0o644).unwrap();
    assert_eq!(store.load(&domain()).unwrap().unwrap().generation, 2);
    // No link at all.
    fs::remove_file(path.join("current")).unwrap();
    assert_eq!(store.load(&domain()).unwrap().unwrap().generation, 2);
    // A directory in place of the link, as some backups restore it.
    fs::create_dir(path.join("current")).unwrap();
    disk::write(&path.join("current/fullchain.pem"), b"", 0o644).unwrap();
    assert_eq!(store.load(&domain()).unwrap().unwrap().generation, 2);
    assert_eq!(store.put(&domain(), &pair()).unwrap().generation, 4);
    assert_eq!(store.load(&domain()).unwrap().unwrap().generation, 4);
    // Nothing good is an error, not "there is none".
    for generation in generation::all(&path).unwrap() {
        fs::remove_file(generation.path.join("privkey.pem")).unwrap();
    }
    assert!(store.load(&domain()).is_err());
}

#[test]
fn what_a_crash_left_half_written_is_not_seen_and_swept() {
    let (_folder, store) = lab();
    store.put(&domain(), &pair()).unwrap();
    let all = store.lineage(&domain()).join("gen");
    let half = all.join(".000002-deadbeef.new");
    fs::create_dir(&half).unwrap();
    symlink(
        "gen/000002-deadbeef",
        store.lineage(&domain()).join(".current.1.new"),
    )
    .unwrap();
    assert_eq!(store.load(&domain()).unwrap().unwrap().generation, 1);
    assert_eq!(store.put(&domain(), &pair()).unwrap().generation, 2);
    assert!(!half.exists());
}

#[test]
fn tightens_a_key_that_others_may_read() {
    let (_folder, store) = lab();
    store.put(&domain(), &pair()).unwrap();
    let key = store.lineage(&domain()).join("current/privkey.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    store.load(&domain()).unwrap().unwrap();
    assert_eq!(mode(&key), 0o640);
}

#[test]
fn only_one_engine_works_on_a_lineage() {
    let (_folder, store) = lab();
    let other = Host::parse("other.test").unwrap();
    let lock = store.lock(&domain()).unwrap();
    assert!(lock.is_some());
    assert!(store.lock(&domain()).unwrap().is_none());
    assert!(store.lock(&other).unwrap().is_some());
    drop(lock);
    assert!(store.lock(&domain()).unwrap().is_some());
}

#[test]
fn an_order_in_progress_survives_and_a_half_written_one_is_none() {
    let (_folder, store) = lab();
    let order = PendingOrder {
        directory: "https://ca/dir".to_owned(),
        account: "https://ca/1".to_owned(),
        profile: None,
        names: vec!["example.test".to_owned()],
        created: UnixTime(5),
        url: None,
    };
    let pending = Pending {
        key: Zeroizing::new("key".to_owned()),
        csr: vec![1, 2],
        order,
    };
    store.put_pending(&domain(), &pending).unwrap();
    let folder = store.lineage(&domain()).join("pending");
    assert_eq!(
        (mode(&folder), mode(&folder.join("key.pem"))),
        (0o700, 0o600)
    );
    let read = store.pending(&domain()).unwrap().unwrap();
    assert_eq!(
        (read.order, read.key.as_str(), read.csr),
        (pending.order, "key", vec![1, 2])
    );
    disk::write(&folder.join("order.json"), b"{\"directory\": \"ht", 0o600).unwrap();
    assert!(store.pending(&domain()).unwrap().is_none());
    store.clear_pending(&domain()).unwrap();
    assert!(!folder.join("key.pem").exists());
}

#[test]
fn the_ledger_ignores_a_torn_line_and_goes_on_after_it() {
    let (_folder, store) = lab();
    let debt = |value: &str| Debt {
        domain: "example.test".to_owned(),
        zone: "example.test".to_owned(),
        fqdn: "_acme-challenge.example.test".to_owned(),
        value: value.to_owned(),
        ..Debt::default()
    };
    store.owe(&domain(), &debt("1")).unwrap();
    store.owe(&domain(), &debt("1")).unwrap();
    let path = store.ledger(&domain());
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"owe\":{\"dom");
    disk::write(&path, &torn, 0o600).unwrap();
    store.owe(&domain(), &debt("2")).unwrap();
    assert_eq!(store.debts(&domain()).unwrap(), [debt("1"), debt("2")]);
    let published = Debt {
        published: Some(7),
        ..debt("2")
    };
    store.owe(&domain(), &published).unwrap();
    assert_eq!(
        store.debts(&domain()).unwrap(),
        [debt("1"), published],
        "one entry, with what is known last"
    );
    store.paid(&domain(), &debt("1")).unwrap();
    assert_eq!(store.debts(&domain()).unwrap().len(), 1);
    store.paid(&domain(), &debt("2")).unwrap();
    assert!(!path.exists());
}

#[test]
fn the_probe_leaves_nothing_and_names_what_does_not_work() {
    let (folder, store) = lab();
    store.probe().unwrap();
    assert_eq!(
        fs::read_dir(folder.path().join("certs")).unwrap().count(),
        0
    );
    let blocked = FileStore::new(&folder.path().join("file"));
    disk::write(&folder.path().join("file"), b"", 0o600).unwrap();
    let error = blocked.probe().unwrap_err().to_string();
    assert!(error.starts_with("cannot make `"), "{error}");
}

#[test]
fn imports_for_every_domain_that_is_covered() {
    let (_folder, store) = lab();
    let new = pair();
    let other = Host::parse("other.test").unwrap();
    let now = UnixTime::now();
    let import = |domains: &[Host], now| {
        let lineages: Vec<Lineage> = domains.iter().map(lineage).collect();
        crate::cert::store::import(&store, &lineages, &new.fullchain, &new.key, now)
    };
    let stored = import(&[other.clone(), domain()], now).unwrap();
    assert_eq!(
        stored
            .iter()
            .map(|(domain, _)| domain.as_str())
            .collect::<Vec<_>>(),
        ["example.test"]
    );
    assert!(matches!(import(&[other], now), Err(StoreError::Foreign(_))));
    assert!(matches!(
        import(&[domain()], UnixTime(now.0 + 100 * 86400)),
        Err(StoreError::Bad { .. })
    ));
}

#[test]
fn goes_back_to_an_earlier_certificate_but_never_to_one_whose_key_is_known() {
    let (_folder, store) = lab();
    let domain = domain();
    for _ in 0..3 {
        store.put(&domain, &pair()).unwrap();
    }
    let current = || store.load(&domain).unwrap().unwrap();
    assert_eq!(store.rollback(&domain, None).unwrap().generation, 2);
    assert_eq!(current().generation, 2);
    assert_eq!(store.rollback(&domain, Some(3)).unwrap().generation, 3);
    assert_eq!(current().generation, 3);

    store.compromise(&domain, 2).unwrap();
    assert_eq!(store.rollback(&domain, None).unwrap().generation, 1);
    let refused = store.rollback(&domain, Some(2)).unwrap_err().to_string();
    assert!(
        refused.contains("no generation 2") && refused.contains("hint:"),
        "{refused}"
    );
    assert!(
        store.rollback(&domain, None).is_err(),
        "nothing below the first"
    );
    assert_eq!(current().generation, 1, "a refusal changes nothing");

    // The one in service stays until there is another, and is never fallen back to.
    store.compromise(&domain, 1).unwrap();
    assert!(current().compromised);
    assert_eq!(store.put(&domain, &pair()).unwrap().generation, 4);
    let four = store.lineage(&domain).join("current/fullchain.pem");
    fs::remove_file(four).unwrap();
    assert_eq!(current().generation, 3);
    assert!(store.compromise(&domain, 77).is_err());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damage is done on purpose")]
fn a_file_that_was_altered_is_not_served() {
    let (_folder, store) = lab();
    let domain = domain();
    store.put(&domain, &pair()).unwrap();
    store.put(&domain, &pair()).unwrap();
    let current = store.lineage(&domain).join("current");
    // Still a good pair, but not the one that was stored: only the checksum can tell.
    let chain = current.join("fullchain.pem");
    let text = fs::read_to_string(&chain).unwrap();
    fs::write(&chain, format!("{text}\n")).unwrap();
    assert_eq!(store.load(&domain).unwrap().unwrap().generation, 1);
    fs::write(&chain, text).unwrap();
    assert_eq!(store.load(&domain).unwrap().unwrap().generation, 2);
    // A generation of an older version has no manifest.
    fs::remove_file(current.join("MANIFEST")).unwrap();
    assert_eq!(store.load(&domain).unwrap().unwrap().generation, 2);
}

#[test]
fn the_heartbeat_and_the_limits_are_shared_by_all() {
    let (_folder, store) = lab();
    assert_eq!(store.heartbeat().unwrap(), None);
    store.beat(UnixTime(1234)).unwrap();
    assert_eq!(store.heartbeat().unwrap(), Some(UnixTime(1234)));
    assert_eq!(store.limits().unwrap(), Sealed::Missing);
    let change = || {
        store.change_limits(&mut |found| match found {
            Sealed::Good(text) => [text, b"1".to_vec()].concat(),
            Sealed::Missing | Sealed::Previous(_) | Sealed::Damaged => b"1".to_vec(),
        })
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| change().unwrap());
        }
    });
    assert_eq!(store.limits().unwrap(), Sealed::Good(b"11111111".to_vec()));
}

//! Many certificates on disk, few in memory, and no directory that has a say.

use std::time::Duration;

use portico::cert::on_demand::register::{Entry, Register};
use portico::cert::store::file::FileStore;
use portico::cert::store::{Meta, NewGeneration, Store};
use portico::clock::UnixTime;
use portico::host::Host;

use super::Rig;
use crate::support::pki::Ca;
use crate::support::tls::Trust;
use crate::support::wait;

const MANY: usize = 200;

fn name(number: usize) -> String {
    format!("d{number}.customer.test")
}

/// Stores a certificate for a name, as the engine does.
fn store(rig: &Rig, ca: &Ca, register: &mut Register, name: &str) -> u64 {
    let host = Host::parse(name).unwrap();
    let leaf = ca.leaf(&[name]);
    let new = NewGeneration {
        fullchain: leaf.chain,
        key: leaf.key.into(),
        meta: Meta::default(),
    };
    let domains = FileStore::domains(&rig.state());
    let stored = domains.put(&host, &new).unwrap();
    let entry = Entry {
        tenant: "acme".to_owned(),
        generation: stored.generation,
        not_before: stored.bundle.not_before(),
        not_after: stored.bundle.not_after(),
        renew_at: UnixTime::now().plus(Duration::from_secs(60 * 86400)),
        next: UnixTime::now().plus(Duration::from_secs(86400)),
        ..Entry::default()
    };
    register.put(&host, entry).unwrap();
    stored.generation
}

/// The serial number of what is served for a name.
async fn serial(rig: &Rig, trust: &Trust, name: &str) -> String {
    use crate::support::tls::{self, Alpn};
    use x509_parser::prelude::{FromDer, X509Certificate};
    let mut config = trust.config(Alpn::Http1);
    config.resumption = rustls::client::Resumption::disabled();
    let stream = tls::connect(rig.https, name, config).await.unwrap();
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    leaf.raw_serial_as_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_certificates_are_served_from_disk_within_a_bound_whatever_the_directory_says() {
    let rig = Rig::new("timer", "cache = 16");
    let ca = Ca::new();
    let mut register = Register::open(&rig.state()).unwrap().unwrap();
    for number in 0..MANY {
        store(&rig, &ca, &mut register, &name(number));
    }
    // No row names any of them.
    let portico = rig.portico();
    let trust = ca.trust();
    for number in 0..MANY {
        let served = rig.shake(&name(number), &trust).await;
        served.unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    let metric = |name: &str| portico.metric(&format!("portico_domains_{name} ")) as usize;
    assert_eq!(metric("loaded"), 16);
    assert_eq!(metric("loads_total"), MANY);
    assert_eq!(metric("evicted_total"), MANY - 16);
    // In memory: not read again. At once by many: read once.
    rig.shake(&name(MANY - 1), &trust).await.unwrap();
    assert_eq!(metric("loads_total"), MANY);
    let first = name(0);
    let crowd = (0..8).map(|_| rig.shake(&first, &trust));
    for shaken in futures_util::future::join_all(crowd).await {
        shaken.unwrap();
    }
    assert_eq!(metric("loads_total"), MANY + 1);

    // A new generation takes the place of the one in memory without a restart.
    let before = serial(&rig, &trust, &first).await;
    assert_eq!(store(&rig, &ca, &mut register, &first), 2);
    wait::until_async("the new one is served", async || {
        (serial(&rig, &trust, &first).await != before).then_some(())
    })
    .await;

    // One that is damaged on the disk is refused, named, and harms nobody else.
    let broken = name(3);
    let key = rig
        .state()
        .join(format!("domains/{broken}/current/privkey.pem"));
    std::fs::write(key, "no key").unwrap();
    assert!(rig.shake(&broken, &trust).await.is_err());
    assert_eq!(metric("load_failures_total"), 1);
    rig.shake(&name(4), &trust).await.unwrap();
    assert!(!rig.wanted(&broken).exists(), "nobody orders another one");
    assert_eq!(rig.orders(), 0);
}

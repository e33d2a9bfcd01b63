//! What a hundred thousand custom domains cost: to know their names, to read a certificate, to have all of them in memory.
//! `cargo bench --bench domains [COUNT]`. Takes some 3 GiB below the folder for temporary files, which goes at the end.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program that prints its figures"
)]

use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use portico::cert::on_demand::follower::{Change, Follower};
use portico::cert::on_demand::{Ends, OnDemand};
use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::host::Host;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// As many as `on_demand.cache` unless set.
const CACHE: usize = 10_000;

/// Resident memory of this process, in MiB.
fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

fn host(number: usize) -> Host {
    Host::parse(&format!("www.customer-{number}.example.net")).unwrap()
}

/// Stores and registers a P-256 certificate with its issuer for each name, without waiting for the disk.
fn make(state: &Path, count: usize) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::create_dir_all(state.join("engine")).unwrap();
    let register = std::fs::File::create(state.join("engine/domains.jsonl")).unwrap();
    let mut register = std::io::BufWriter::new(register);
    for number in 0..count {
        let host = host(number);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_string()]).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let folder = state.join("domains").join(host.as_str());
        let generation = folder.join("gen/000001-00000000");
        std::fs::create_dir_all(&generation).unwrap();
        std::fs::write(generation.join("fullchain.pem"), leaf.pem() + &issuer.pem()).unwrap();
        let private = generation.join("privkey.pem");
        std::fs::write(&private, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("gen/000001-00000000", folder.join("current")).unwrap();
        writeln!(
            register,
            "{{\"entry\":[\"{host}\",{{\"tenant\":\"tenant-{number}\",\"since\":1795219200,\"generation\":1,\
             \"not_before\":1795219200,\"not_after\":1802995200,\"renew_at\":1800403200,\"next\":1800403200}}]}}"
        )
        .unwrap();
    }
    register.flush().unwrap();
}

/// Knows all names and has as many certificates in memory as allowed; prints what that costs.
fn measure(state: &Path, count: usize, cache: usize) {
    let before = memory();
    let began = Instant::now();
    let (on_demand, ends) = OnDemand::new(cache);
    let Ends {
        loader,
        wishes: _wishes,
    } = ends;
    let mut follower = Follower::new(state);
    follower
        .look(&mut |change| {
            if let Change::Is(host, known) = change {
                on_demand.shelf().note(&host, known);
            }
        })
        .unwrap();
    assert_eq!(on_demand.shelf().len(), count);
    let knowing = began.elapsed();
    let known = memory() - before;
    println!("{count} names known in {knowing:.2?}, {known:.0} MiB");

    let store = FileStore::domains(state);
    let thread = std::thread::spawn(move || {
        loader.run(|host| {
            let stored = store.load(host).map_err(|error| error.to_string())?;
            let stored = stored.ok_or("none")?;
            Ok(stored.bundle.into_served(host.as_str(), stored.generation))
        });
    });
    let on_demand = Arc::new(on_demand);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        for number in 0..count {
            assert!(on_demand.load(&host(number)).await, "{number}");
        }
    });
    let each = began.elapsed().as_secs_f64() * 1e6 / count as f64;
    let counts = on_demand.shelf().counts();
    let all = memory() - before;
    println!(
        "each read once in {each:.0} us; {} in memory: {all:.0} MiB in all, {:.1} KiB each",
        counts.loaded,
        (all - known) * 1024.0 / counts.loaded as f64
    );
    let hosts: Vec<Host> = (count - 1000..count).map(host).collect();
    let began = Instant::now();
    let looks = 2_000_000;
    for step in 0..looks {
        black_box(on_demand.find(hosts.get(step % hosts.len()).unwrap()));
    }
    let each = began.elapsed().as_secs_f64() * 1e9 / f64::from(looks as u32);
    println!("a handshake's look at those in memory: {each:.0} ns");
    drop(on_demand);
    thread.join().unwrap();
}

fn main() {
    let count = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let count: usize = count.unwrap_or(100_000).max(2000);
    let state = tempfile::tempdir().unwrap();
    let began = Instant::now();
    make(state.path(), count);
    println!("{count} certificates made in {:.0?}", began.elapsed());
    println!("-- as configured: {CACHE} in memory");
    measure(state.path(), count, CACHE.min(count));
    println!("-- all in memory");
    measure(state.path(), count, count);
}

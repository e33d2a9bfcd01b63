//! What a million tenants cost: time to read them, memory, look-ups. `cargo bench --bench tenants [COUNT]`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program that prints its figures"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use portico::host::Host;
use portico::tenant::directory::file::FileDirectory;
use portico::tenant::directory::table::Table;
use portico::tenant::directory::{Answer, Directory};
use portico::tenant::id::{State, Tenant, TenantId};

/// Look-ups of each kind.
const LOOKUPS: usize = 2_000_000;

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

/// A name as people choose them: 6 to 17 characters.
fn name(number: usize) -> String {
    let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let letters: String = format!("tenantname{mixed}")
        .chars()
        .take(3 + number % 8)
        .collect();
    format!("{letters}-{number}")
}

/// The same numbers in an order that no cache foresees.
fn scattered(step: usize, count: usize) -> usize {
    usize::try_from((step as u64).wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20).unwrap() % count
}

/// Nanoseconds for one call, over all look-ups.
fn nanoseconds(hosts: &[Host], mut look: impl FnMut(&Host)) -> f64 {
    let began = Instant::now();
    for step in 0..LOOKUPS {
        look(hosts.get(step % hosts.len()).unwrap());
    }
    began.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64
}

fn main() {
    let count = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let count: usize = count.unwrap_or(1_000_000);
    let base = Host::parse("example.com").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.csv");
    let mut text = String::from("id,host,state\n");
    for number in 0..count {
        writeln!(text, "{},{}.example.com,active", number + 1, name(number)).unwrap();
    }
    std::fs::write(&file, &text).unwrap();
    drop(text);

    let before = memory();
    let began = Instant::now();
    let directory = FileDirectory::load(&file, std::slice::from_ref(&base)).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{count} tenants from CSV in {seconds:.2} s, {:.0} MiB more memory",
        memory() - before
    );

    let mut table = Table::new(std::slice::from_ref(&base));
    for number in 0..count {
        let id = TenantId::new(&format!("{}", number + 1)).unwrap();
        let place = table.add_tenant(&Tenant::new(id, State::Active)).unwrap();
        let host = Host::parse(&format!("{}.example.com", name(number))).unwrap();
        table.add_host(&host, place).unwrap();
    }
    table.finish();
    println!(
        "the table alone: {:.1} bytes for each",
        table.bytes() as f64 / count as f64
    );

    // Made beforehand and few, so that the table and not the names is what misses the cache.
    let known: Vec<Host> = (0..50_000)
        .map(|step| Host::parse(&format!("{}.example.com", name(scattered(step, count)))).unwrap())
        .collect();
    let unknown: Vec<Host> = (0..50_000)
        .map(|step| Host::parse(&format!("x{step}-nobody.example.com")).unwrap())
        .collect();
    println!(
        "look-up, known:   {:.0} ns",
        nanoseconds(&known, |host| {
            assert!(black_box(table.contains(host)));
        })
    );
    println!(
        "look-up, unknown: {:.0} ns",
        nanoseconds(&unknown, |host| {
            assert!(!table.contains(host));
        })
    );
    println!(
        "with its tenant made: {:.0} ns",
        nanoseconds(&known, |host| {
            assert!(matches!(
                black_box(directory.by_host(host)),
                Answer::Tenant(_)
            ));
        })
    );
}

//! Certificates of seconds, renewed for minutes by the timer's command while clients keep asking.
//!
//! Every client checks the chain and its dates, so one certificate that lapses, or one swap that drops a handshake,
//! fails the run. The long form is `tests/soak/renewals`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::acme::cases::lab::{DOMAIN, DONE, Lab};
use crate::main_line::Load;
use crate::support::fault_proxy::{Fault, Kind};
use crate::support::origin::Origin;
use crate::support::portico::Portico;

/// Between two runs of the timer's command.
const TURN: Duration = Duration::from_secs(1);
/// Five generations of four small files, and what the engine notes.
const STATE_LIMIT: u64 = 256 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_second_certificates_renew_under_load() {
    soak(Duration::from_secs(30), Duration::from_secs(55), 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "ten minutes: run by tests/soak/renewals"]
async fn two_minute_certificates_renew_under_load_for_ten_minutes() {
    soak(Duration::from_secs(120), Duration::from_secs(600), 8).await;
}

/// Certificates of this `lifetime` for so `long`: at least so many renewals must come of it.
async fn soak(lifetime: Duration, long: Duration, least: usize) {
    let lab = Lab::with(&[DOMAIN], |pebble| pebble.profile("short", lifetime));
    // Pebble's advice is a window of two days, whatever the lifetime: without it the fractions of the lifetime rule.
    lab.proxy.on(
        Kind::Directory,
        Fault::change(|answer| {
            let mut directory = answer.json();
            directory.as_object_mut().unwrap().remove("renewalInfo");
            answer.with_body(directory.to_string())
        }),
    );
    lab.renew().ends(DONE);
    let origin = Origin::hello();
    let config = fs::read_to_string(lab.config_file()).unwrap();
    let config = config.replace(
        "http://127.0.0.1:9",
        &format!("http://{}", origin.address()),
    );
    fs::write(lab.config_file(), &config).unwrap();
    let portico = Portico::start(&config);
    let edge = portico.edge(&lab.pebble.root().await);

    let load = Load::start(&edge);
    let began = Instant::now();
    let mut served = BTreeSet::from([serial(&portico)]);
    let mut runs = 0;
    while began.elapsed() < long {
        let run = tokio::task::block_in_place(|| lab.renew());
        assert_eq!(run.code, Some(DONE), "{}", run.text());
        runs += 1;
        served.insert(serial(&portico));
        tokio::time::sleep(TURN).await;
    }
    load.after(100).await;
    let (answered, failed) = load.stop().await;

    let renewals = served.len() - 1;
    let orders = lab.proxy.granted(Kind::NewOrder);
    let kept = lab.generations().len();
    let size = size(&lab.state());
    eprintln!(
        "soak: {:.0} s, certificates of {lifetime:?}: {renewals} renewals served, {orders} orders, {runs} runs, \
         {answered} requests, {} failed, {kept} generations kept, state {} KiB",
        began.elapsed().as_secs_f64(),
        failed.len(),
        size >> 10,
    );
    assert_eq!(failed, Vec::<String>::new(), "of {answered}");
    assert!(renewals >= least, "{renewals} renewals");
    assert_eq!(orders, renewals + 1, "one order for each certificate");
    assert_eq!(lab.left_in_dns(), [""; 0]);
    assert!(kept <= 5, "{kept} generations");
    assert!(size < STATE_LIMIT, "{size} bytes of state");
    lab.pair();
}

/// The serial number of the certificate that the proxy says it serves.
fn serial(portico: &Portico) -> String {
    let status: serde_json::Value = serde_json::from_str(&portico.admin("/status").1).unwrap();
    let serial = status["certificates"][0]["serial"].as_str();
    serial.expect("a certificate in service").to_owned()
}

/// Bytes of all files below.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => size(&entry.path()),
                kind if kind.is_file() => entry.metadata().unwrap().len(),
                _ => 0,
            }
        })
        .sum()
}

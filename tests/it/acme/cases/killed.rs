//! The program dies at each place where it has just written or asked something; the next run goes on from there.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use portico::acme::failpoint;
use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::host::Host;
use rustix::process::Signal;

use super::lab::{DOMAIN, DONE, Lab, run};
use crate::support::fault_proxy::{Fault, Kind};
use crate::support::wait;

/// The issue asks for so many.
const PLACES: usize = 14;

/// Where the first run of all is the only one to come by.
const FIRST_RUN_ONLY: &[&str] = &[
    failpoint::ACCOUNT_KEY_WRITTEN,
    failpoint::ACCOUNT_REGISTERED,
];

#[test]
fn case_16_killed_at_every_place_of_a_first_issue() {
    assert!(failpoint::ALL.len() >= PLACES, "{:?}", failpoint::ALL);
    for place in failpoint::ALL {
        let lab = Lab::start();
        die(&lab, place);
        lab.renew().ends(DONE);
        sound(&lab, place);
        assert_eq!(lab.generations().len(), 1, "{place}: one certificate");
        assert!(lab.proxy.granted(Kind::Finalize) <= 1, "{place}");
    }
}

#[test]
fn case_16_killed_at_every_place_of_a_renewal() {
    let lab = Lab::start();
    lab.renew().ends(DONE);
    let places = failpoint::ALL
        .iter()
        .filter(|place| !FIRST_RUN_ONLY.contains(place));
    for place in places {
        let before = lab.pair().serial().to_owned();
        let generation = lab.generations().last().cloned();
        lab.proxy.forget();
        die(&lab, place);
        lab.pair();
        // The operator looks, and asks again if the run had not come far enough.
        if lab.pair().serial() == before {
            lab.force().ends(DONE);
        } else {
            lab.renew().ends(DONE);
        }
        sound(&lab, place);
        assert_ne!(lab.pair().serial(), before, "{place}");
        // Stored twice is fine; issued twice is not. The name ends with the serial number.
        let newer: BTreeSet<String> = lab
            .generations()
            .into_iter()
            .filter(|name| Some(name) > generation.as_ref())
            .filter_map(|name| Some(name.split_once('-')?.1.to_owned()))
            .collect();
        assert_eq!(newer.len(), 1, "{place}: {newer:?}");
        assert!(lab.proxy.granted(Kind::Finalize) <= 1, "{place}");
    }
}

/// A run that ends at `place` as by `kill -9`.
#[track_caller]
fn die(lab: &Lab, place: &str) {
    let mut command = lab.command(&["cert", "renew", "--force"]);
    command.env("PORTICO_FAILPOINT", place);
    let died = run(command);
    assert_eq!(
        died.signal,
        Some(Signal::ABORT.as_raw()),
        "no run comes by {place}: {}",
        died.text()
    );
}

#[track_caller]
fn sound(lab: &Lab, place: &str) {
    lab.pair();
    assert_eq!(lab.left_in_dns(), [""; 0], "{place}");
    let orders = lab.proxy.granted(Kind::NewOrder);
    assert!((1..=2).contains(&orders), "{place}: {orders} orders");
    let pending = FileStore::new(&lab.state()).pending(&Host::parse(DOMAIN).unwrap());
    assert!(pending.unwrap().is_none(), "{place}: an order is left over");
    let state = std::fs::read_dir(lab.lineage(DOMAIN)).unwrap();
    let aside: Vec<_> = state
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().ends_with(".new"))
        .collect();
    assert!(aside.is_empty(), "{place}: {aside:?}");
}

#[test]
fn case_16_killed_by_another_while_the_ca_is_silent() {
    let lab = Lab::start();
    for kind in [Kind::NewOrder, Kind::Challenge, Kind::Finalize] {
        lab.proxy.on(kind, Fault::Hang);
        let mut child = lab
            .command(&["cert", "renew", "--force"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let asked = lab.proxy.posts(kind);
        wait::until("the program asks the CA", || {
            (lab.proxy.posts(kind) > asked).then_some(())
        });
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        lab.proxy.heal();
    }
    lab.force().ends(DONE);
    sound(&lab, "kill -9");
    assert_eq!(lab.proxy.granted(Kind::Finalize), 1);
    assert_eq!(lab.proxy.granted(Kind::NewOrder), 1);
}

//! What an operator sees of a run while it lasts.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Stdio};

use super::lab::{DOMAIN, DONE, Lab};
use crate::support::dns_front::Mood;
use crate::support::wait;

/// A run whose standard error goes to a file.
struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Running {
    fn start(lab: &Lab, args: &[&str]) -> Self {
        let log = lab.state().with_file_name("log");
        let file = fs::File::create(&log).unwrap();
        let mut command = lab.command(args);
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until a line of the log has all these words.
    fn says(&self, words: &[&str]) {
        wait::until(&format!("{words:?} in the log"), || {
            let log = self.log();
            let found = log
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)));
            found.then_some(())
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn names_the_server_that_lags_with_what_it_lacks_and_for_how_long() {
    for verb in ["issue", "renew", "reconcile"] {
        let mut lab = Lab::start();
        let late = lab.second_server(Mood::Late);
        lab.reconfigure("\"5s\"", "\"30s\"");
        let mut run = Running::start(&lab, &["cert", verb]);
        wait::until("both values are published", || {
            (lab.left_in_dns().len() == 2).then_some(())
        });
        let values = lab.left_in_dns();
        run.says(&[
            "waiting for DNS",
            "waited_s=",
            "limit_s=30",
            &format!("({}): 2 of 2 values missing", late.address()),
            &values[0],
            &values[1],
        ]);
        let line = run.log();
        let line = line.lines().find(|line| line.contains("waiting for DNS"));
        let good = format!("({}):", lab.knot.address());
        assert!(!line.unwrap().contains(&good), "{verb}: it lacks nothing");
        late.set(Mood::Good);
        assert_eq!(run.child.wait().unwrap().code(), Some(DONE), "{verb}");
    }
}

#[test]
fn status_shows_how_far_a_run_is_until_the_certificate_is_served() {
    let mut lab = Lab::start();
    let late = lab.second_server(Mood::Late);
    lab.reconfigure("\"5s\"", "\"30s\"");
    // Somebody listens and never says a word, so the new certificate is looked for in vain.
    let silent = TcpListener::bind(lab.https()).unwrap();
    let phase = |wanted: &str| {
        wait::until(wanted, || {
            (lab.status(DOMAIN)["phase"] == wanted).then_some(())
        });
    };
    let run = Running::start(&lab, &["cert", "renew"]);
    phase("propagating");
    let line = lab.portico(&["cert", "status"]).ends(DONE);
    assert!(
        line.stdout.contains("; propagating since "),
        "{}",
        line.stdout
    );
    late.set(Mood::Good);
    phase("deploying");
    assert!(lab.status(DOMAIN)["phase_since"].is_string());
    assert_eq!(lab.generations().len(), 1, "it is stored");
    let (_, asked_by) = silent.accept().unwrap();
    assert!(asked_by.ip().is_loopback(), "the listener is asked");
    drop(run);
    drop(silent);
    assert_eq!(lab.status(DOMAIN)["phase"], "deploying", "killed there");

    let run = lab.renew().ends(DONE).says("no proxy listens here");
    assert!(run.text().contains("an earlier run ended before its time"));
    assert_eq!(lab.status(DOMAIN)["phase"], "idle");
    assert!(lab.status(DOMAIN)["phase_since"].is_null());
}

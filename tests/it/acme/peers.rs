//! lego and certbot of Debian, and our own program, through the same trouble: what `tests/ACME.md` says of them was
//! seen here. It judges us only: the others do what they do.

use std::fs;
use std::process::{Child, Command, Stdio};

use super::cases::lab::{DOMAIN, Lab, Run, run};
use crate::support::fault_proxy::{Fault, Kind};
use crate::support::knot::{KEY_NAME, KEY_SECRET, Knot, zone_text};
use crate::support::pebble::{Pebble, PebbleBuilder};
use crate::support::wait;
use crate::support::{port, program};

const WILDCARD: &str = "*.example.test";
const RECORD: &str = "_acme-challenge.example.test";
/// Runs with Pebble's nonces at 80 % bad.
const TRIES: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Portico,
    Lego,
    Certbot,
}

impl Program {
    const ALL: [Self; 3] = [Self::Portico, Self::Lego, Self::Certbot];

    /// Asks for a certificate of the apex and the wildcard through the proxy with faults.
    fn command(self, lab: &Lab) -> Command {
        let folder = lab.config_file().with_file_name("");
        let url = lab.proxy.directory_url();
        let at = |name: &str| folder.join(name).display().to_string();
        match self {
            Self::Portico => lab.command(&["cert", "renew"]),
            Self::Lego => {
                let server = lab.knot.address().to_string();
                let mut command = Command::new(program::system("lego"));
                command
                    .args(["--accept-tos", "--email", "ops@example.test", "--server"])
                    .args([&url, "--dns", "rfc2136", "--domains", DOMAIN])
                    .args(["--domains", WILDCARD, "--path", &at("lego")])
                    // Its own check asks port 53 of the name servers only, which nobody may open here.
                    .args(["--dns.disable-cp", "--dns.resolvers", &server, "run"])
                    .env("LEGO_CA_CERTIFICATES", lab.proxy.ca_file())
                    .env("LEGO_EXPERIMENTAL_CNAME_SUPPORT", "true")
                    .env("RFC2136_NAMESERVER", &server)
                    .env("RFC2136_TSIG_KEY", KEY_NAME)
                    .env("RFC2136_TSIG_SECRET", KEY_SECRET)
                    .env("RFC2136_TSIG_ALGORITHM", "hmac-sha256.")
                    .env("RFC2136_SEQUENCE_INTERVAL", "1");
                command
            }
            Self::Certbot => {
                let mut command = Command::new(program::system("certbot"));
                command
                    .args(["certonly", "-n", "--agree-tos", "-m", "ops@example.test"])
                    .args(["--server", &url, "--dns-rfc2136"])
                    .args(["--dns-rfc2136-credentials", &at("rfc2136.ini")])
                    .args(["--dns-rfc2136-propagation-seconds", "1", "-d", DOMAIN])
                    .args(["-d", WILDCARD, "--config-dir", &at("certbot")])
                    .args(["--work-dir", &at("certbot"), "--logs-dir", &at("certbot")])
                    .env("REQUESTS_CA_BUNDLE", lab.proxy.ca_file());
                command
            }
        }
    }

    fn run(self, lab: &Lab) -> Run {
        run(self.command(lab))
    }

    fn start(self, lab: &Lab) -> Child {
        let mut command = self.command(lab);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program runs")
    }
}

fn lab(change: impl FnOnce(PebbleBuilder) -> PebbleBuilder) -> Lab {
    Lab::with(&[DOMAIN], change)
}

fn issued(run: &Run) -> &'static str {
    if run.code == Some(0) {
        "issued"
    } else {
        "failed"
    }
}

/// 1: of `TRIES` first issues with 80 % bad nonces, how many went well.
fn case_1(who: Program) -> String {
    let good = (0..TRIES).filter(|_| {
        let lab = lab(|pebble| pebble.nonce_reject(80));
        who.run(&lab).code == Some(0)
    });
    format!("{} of {TRIES} issued", good.count())
}

/// 3: apex and wildcard at one name beside a foreign value.
fn case_3(who: Program) -> String {
    let lab = lab(|pebble| pebble);
    let line = format!("add {RECORD}. 60 TXT foreign");
    assert!(lab.knot.update(DOMAIN, &[&line]).status.success());
    let run = who.run(&lab);
    let left = lab.left_in_dns();
    let foreign = if left.contains(&"foreign".to_owned()) {
        "foreign value kept"
    } else {
        "FOREIGN VALUE LOST"
    };
    let own = left.iter().filter(|value| *value != "foreign").count();
    format!("{}, {foreign}, {own} own values left", issued(&run))
}

/// 4: the server that the CA asks gets the record five seconds after the one that is updated.
fn case_4(who: Program) -> String {
    let knot = Knot::start(&[DOMAIN]);
    let late = Knot::start(&[DOMAIN]);
    let pebble = Pebble::asking(late.address()).start();
    let mut lab = Lab::of(&[DOMAIN], knot, pebble);
    let server = lab.knot.address();
    lab.reconfigure(
        &format!("nameservers = [\"{server}\"]"),
        &format!("nameservers = [\"{server}\", \"{}\"]", late.address()),
    );
    lab.reconfigure("\"5s\"", "\"20s\"");
    let mut child = who.start(&lab);
    let mut copied = false;
    let start = std::time::Instant::now();
    let mut seen: Option<std::time::Instant> = None;
    let mut offered_early = false;
    let code = loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            break status.code();
        }
        let values = lab.left_in_dns();
        let both = lab.proxy.posts(Kind::Challenge) > 0;
        if !values.is_empty() && seen.is_none() {
            seen = Some(std::time::Instant::now());
        }
        let ripe = seen.is_some_and(|at| at.elapsed().as_secs() >= 5);
        offered_early |= both && !copied;
        if ripe && !copied && !values.is_empty() {
            for value in &values {
                let line = format!("add {RECORD}. 60 TXT {value}");
                assert!(late.update(DOMAIN, &[&line]).status.success());
            }
            copied = true;
        }
        assert!(start.elapsed().as_secs() < 90, "{who:?} hangs");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let end = if code == Some(0) { "issued" } else { "failed" };
    let offered = if offered_early {
        "challenge offered before the laggard had the record"
    } else {
        "waited for the laggard"
    };
    format!("{end}, {offered}")
}

/// 7: the challenge name is a CNAME into another zone; Pebble believes all, so what counts is where the value went.
fn case_7(who: Program) -> String {
    let cname = format!("{RECORD}. CNAME x.target.test.\n");
    let zones = [
        (DOMAIN, zone_text(DOMAIN) + &cname),
        ("target.test", zone_text("target.test")),
    ];
    let knot = Knot::at(port::local(port::free()), &zones);
    let pebble = Pebble::asking(knot.address()).always_valid().start();
    let lab = Lab::of(&[DOMAIN], knot, pebble);
    let run = who.run(&lab);
    let log = lab.knot.log();
    let count = |zone: &str| {
        let line = format!("[{zone}.] DDNS, finished");
        log.matches(&line).count()
    };
    let (own, target) = (count(DOMAIN), count("target.test"));
    let place = match (own, target) {
        (_, 1..) => "value in the target zone",
        (0, 0) => "no value anywhere",
        (_, 0) => "value (or attempt) in the wrong zone",
    };
    format!("{}, {place}", issued(&run))
}

/// 13: newOrder is limited for an hour; the program is run again at once.
fn case_13(who: Program) -> String {
    let lab = lab(|pebble| pebble);
    lab.proxy.on(Kind::NewOrder, Fault::rate_limited("3600"));
    who.run(&lab);
    let first = lab.proxy.posts(Kind::NewOrder);
    who.run(&lab);
    let again = lab.proxy.posts(Kind::NewOrder) - first;
    format!("{first} newOrder in the first run, {again} in the next")
}

/// 16: killed while the CA is silent to the challenge; the program is run again.
fn case_16(who: Program) -> String {
    let lab = lab(|pebble| pebble);
    lab.proxy.on(Kind::Challenge, Fault::Hang);
    let mut child = who.start(&lab);
    wait::until("the challenge is offered", || {
        (lab.proxy.posts(Kind::Challenge) > 0).then_some(())
    });
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    lab.proxy.heal();
    let run = who.run(&lab);
    format!(
        "{}, {} orders made, {} TXT values left",
        issued(&run),
        lab.proxy.granted(Kind::NewOrder),
        lab.left_in_dns().len()
    )
}

type Case = fn(Program) -> String;

#[test]
#[ignore = "compares with lego and certbot: run by tests/acme-peers/run"]
fn rows_of_the_comparison() {
    let cases: [(&str, Case, Option<&str>); 6] = [
        ("1", case_1, None),
        (
            "3",
            case_3,
            Some("issued, foreign value kept, 0 own values left"),
        ),
        ("4", case_4, Some("issued, waited for the laggard")),
        ("7", case_7, Some("issued, value in the target zone")),
        (
            "13",
            case_13,
            Some("1 newOrder in the first run, 0 in the next"),
        ),
        (
            "16",
            case_16,
            Some("issued, 1 orders made, 0 TXT values left"),
        ),
    ];
    let mut wrong = Vec::new();
    let mut table = String::from("| # | Portico | lego | certbot |\n|---|---|---|---|\n");
    for (number, case, promised) in cases {
        let cells = Program::ALL.map(case);
        if promised.is_some_and(|promised| cells[0] != promised) {
            wrong.push(format!("{number}: {}", cells[0]));
        }
        table.push_str(&format!("| {number} | {} |\n", cells.join(" | ")));
    }
    eprintln!("--- table ---\n{table}--- end ---");
    if let Some(file) = std::env::var_os("PORTICO_PEERS_TABLE") {
        fs::write(file, &table).expect("a file for the table");
    }
    assert!(wrong.is_empty(), "ours: {wrong:?}");
}

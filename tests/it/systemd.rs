//! The units of `systemd/`: systemd accepts every line, the sandbox is tight, and users and secrets stay apart.
//!
//! Needs `systemd-analyze` and `systemd-sysusers` (Debian's package `systemd`, 252 or later), but no running systemd.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "the rules are for src: a test stops at the first surprise and writes files"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNITS: [&str; 4] = [
    "portico.service",
    "portico-renew.service",
    "portico-renew.timer",
    "portico-renew.path",
];

fn read(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    fs::read_to_string(dir.join(name)).unwrap()
}

/// The values of a key, in order; comments do not count.
fn values(unit: &str, key: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let found = lines.filter(|(name, _)| *name == key);
    found.map(|(_, value)| value.to_owned()).collect()
}

fn run(program: &str, arguments: &[&str], paths: &[PathBuf]) -> Output {
    let output = Command::new(program).args(arguments).args(paths).output();
    let reason = format!("{program} is needed: apt-get install systemd");
    output
        .map_err(|error| format!("{reason}: {error}"))
        .unwrap()
}

fn printed(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// The units in a folder of their own, with the program where the test run has put it.
struct Copies(tempfile::TempDir);

impl Copies {
    fn new(change: impl Fn(&str, String) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in UNITS {
            let unit = read(name).replace("/usr/bin/portico", env!("CARGO_BIN_EXE_portico"));
            fs::write(dir.path().join(name), change(name, unit)).unwrap();
        }
        Self(dir)
    }

    /// What `systemd-analyze verify` has to say.
    fn verify(&self) -> (bool, String) {
        let paths = UNITS.map(|name| self.0.path().join(name));
        let output = run("systemd-analyze", &["verify", "--man=no"], &paths);
        // Another unit of the machine may be at fault; ours have to be silent.
        let text = printed(&output);
        let ours: Vec<_> = text
            .lines()
            .filter(|line| line.contains("portico"))
            .collect();
        (output.status.success(), ours.join("\n"))
    }

    /// Whether the exposure of a unit is at most a tenth of `threshold`.
    fn is_tight(&self, name: &str, threshold: u32) -> Result<(), String> {
        let threshold = format!("--threshold={threshold}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold];
        let output = run("systemd-analyze", &arguments, &[self.0.path().join(name)]);
        let text = printed(&output);
        assert!(text.contains("Overall exposure level"), "{text}");
        if output.status.success() {
            Ok(())
        } else {
            Err(text)
        }
    }
}

#[test]
fn systemd_accepts_every_line() {
    assert_eq!(Copies::new(|_, unit| unit).verify(), (true, String::new()));
}

#[test]
fn a_mistyped_key_would_be_found() {
    for (name, wrong) in [
        ("portico.service", "\n[Service]\nProtectSystm=strict\n"),
        (
            "portico-renew.service",
            "\n[Service]\nTimeoutStartSec=soon\n",
        ),
        ("portico-renew.path", "\n[Path]\nPathChangd=/x\n"),
        (
            "portico-renew.timer",
            "\n[Timer]\nOnCalendar=every now and then\n",
        ),
    ] {
        let copies = Copies::new(|copy, unit| if copy == name { unit + wrong } else { unit });
        let (_, complaint) = copies.verify();
        assert!(complaint.contains(name), "{name}: {complaint}");
    }
}

#[test]
fn the_sandbox_is_tight() {
    let copies = Copies::new(|_, unit| unit);
    for (name, threshold) in [("portico.service", 20), ("portico-renew.service", 15)] {
        if let Err(table) = copies.is_tight(name, threshold) {
            unreachable!("{table}");
        }
    }
    let loose = Copies::new(|_, unit| unit.replace("SystemCallFilter=", "#"));
    assert!(
        loose.is_tight("portico.service", 20).is_err(),
        "the measure has to notice"
    );
}

#[test]
fn the_proxy_holds_no_secret_of_the_issuer_and_writes_no_state_of_its() {
    let proxy = read("portico.service");
    for key in ["LoadCredential", "EnvironmentFile"] {
        assert_eq!(values(&proxy, key), [""; 0], "{key}");
    }
    // What is remembered of tenants lies in a folder of its own.
    assert_eq!(values(&proxy, "StateDirectory"), ["portico/tenants"]);
    // Wishes for custom domains, which are no state; and what starts the renewal for them.
    let wanted = "/var/lib/portico/wanted";
    assert_eq!(values(&proxy, "ReadWritePaths"), [format!("-{wanted}")]);
    let path = read("portico-renew.path");
    assert_eq!(values(&path, "PathChanged"), [wanted]);
    assert_eq!(values(&path, "Unit"), ["portico-renew.service"]);
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        assert_eq!(values(&proxy, key), ["CAP_NET_BIND_SERVICE"], "{key}");
    }
    let renew = read("portico-renew.service");
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        assert_eq!(values(&renew, key), [""], "{key}");
    }
    assert_eq!(values(&renew, "StateDirectory"), ["portico"]);
    assert_ne!(values(&proxy, "User"), values(&renew, "User"));
    // The group that the issuer's files get is one of the proxy's.
    assert_eq!(
        values(&renew, "Group"),
        values(&proxy, "SupplementaryGroups")
    );
    for (name, unit) in [("proxy", &proxy), ("renew", &renew)] {
        assert_eq!(values(unit, "ProtectSystem"), ["strict"], "{name}");
        assert_eq!(values(unit, "NoNewPrivileges"), ["yes"], "{name}");
    }
}

#[test]
fn the_timer_looks_every_quarter_of_an_hour_and_waiting_is_no_failure() {
    let timer = read("portico-renew.timer");
    for (key, value) in [
        ("OnCalendar", "*:0/15"),
        ("RandomizedDelaySec", "10min"),
        ("FixedRandomDelay", "yes"),
        ("Persistent", "yes"),
        ("AccuracySec", "1min"),
    ] {
        assert_eq!(values(&timer, key), [value], "{key}");
    }
    let service = read("portico-renew.service");
    assert_eq!(values(&service, "Type"), ["oneshot"]);
    assert_eq!(values(&service, "SuccessExitStatus"), ["75"]);
    let start = values(&service, "ExecStart");
    assert!(start[0].contains(" cert reconcile --config "), "{start:?}");
    // systemd itself: four looks an hour, a quarter of an hour apart.
    let output = run(
        "systemd-analyze",
        &[
            "calendar",
            "--iterations=5",
            "--base-time=2026-11-21 00:07:00 UTC",
            "*:0/15",
        ],
        &[],
    );
    let text = printed(&output);
    assert!(output.status.success(), "{text}");
    for minute in ["00:15:00", "00:30:00", "00:45:00", "01:00:00", "01:15:00"] {
        assert!(text.contains(minute), "{minute}: {text}");
    }
}

#[test]
fn every_user_and_group_is_declared() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/sysusers.conf");
    let root = tempfile::tempdir().unwrap();
    let root_option = format!("--root={}", root.path().display());
    let output = run("systemd-sysusers", &["--dry-run", &root_option], &[file]);
    let text = printed(&output);
    assert!(
        output.status.success() && !text.contains("sysusers.conf:"),
        "{text}"
    );

    let declared: Vec<String> = read("sysusers.conf")
        .lines()
        .filter(|line| line.starts_with("u ") || line.starts_with("g "))
        .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .collect();
    let mut used = Vec::new();
    for name in ["portico.service", "portico-renew.service"] {
        for key in ["User", "Group", "SupplementaryGroups"] {
            used.extend(values(&read(name), key));
        }
    }
    for line in read("tmpfiles.conf")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, path, mode, user, group, _] = fields.as_slice() else {
            unreachable!("six fields: {line}")
        };
        assert!(
            path.starts_with('/') && mode.len() == 4 && mode.ends_with('0')
                || *path == "/etc/portico",
            "{line}"
        );
        used.extend([user, group].map(|&name| name.to_owned()));
    }
    for name in used.iter().filter(|name| *name != "root") {
        assert!(declared.contains(name), "{name} is not among {declared:?}");
    }
}

//! `cert status`, `cert check` and `cert export`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Desk, NAMES, TIMER, aged, stderr, stdout};
use crate::support::pki::Ca;

#[test]
fn check_answers_as_a_plugin_by_what_is_left() {
    let ca = Ca::new();
    for (gone, code, word) in [
        (100, 0, "OK"),
        (760, 1, "WARNING"),
        (870, 1, "WARNING"),
        (890, 2, "CRITICAL"),
        (1001, 2, "CRITICAL"),
    ] {
        // `import` refuses what has expired; a file of another program may be so all the same.
        let desk = if gone > 1000 {
            let text = TIMER.replace("state_dir", "certs = \"files\"\nstate_dir");
            let files =
                "[files]\nfullchain = \"{dir}/fullchain.pem\"\nkey = \"{dir}/privkey.pem\"\n";
            let desk = Desk::new(&(text + files));
            aged(&ca, gone).write(desk.path());
            desk
        } else {
            let desk = Desk::new(&TIMER.replace("[acme]", "[acme]\nrun = \"off\""));
            desk.import(&aged(&ca, gone));
            desk
        };
        let output = desk.cert(&["check", "-w", "25%", "-c", "12%"]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(code), "{gone}: {output:?}");
        assert!(
            text.starts_with(&format!("CERT {word} - example.test: ")),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
        let (_, numbers) = text.split_once(" | ").expect("performance data");
        let left = f64::from(1000_u32.saturating_sub(gone)) / 10.0;
        // The test's own seconds may cost a tenth.
        let found = numbers.strip_prefix("'example.test'=").expect("a label");
        let (value, rest) = found.split_once('%').expect("a unit");
        assert!(
            (value.parse::<f64>().unwrap() - left).abs() < 0.2,
            "{numbers}"
        );
        assert!(
            rest.starts_with(";25.0:;12.0:;0;100 'example.test_seconds'="),
            "{numbers}"
        );
    }
}

#[test]
fn check_knows_durations_and_missing_certificates_and_what_it_does_not_know() {
    let ca = Ca::new();
    let desk = Desk::new(&TIMER.replace("[acme]", "[acme]\nrun = \"off\""));
    let missing = desk.cert(&["check"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(stdout(&missing).contains("no certificate"), "{missing:?}");

    desk.import(&aged(&ca, 500));
    assert_eq!(
        desk.cert(&["check", "-w", "40d", "-c", "10d"])
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        desk.cert(&["check", "-w", "60d", "-c", "10d"])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(
        desk.cert(&["check", "-w", "70d", "-c", "60d"])
            .status
            .code(),
        Some(2)
    );

    fs::write(&desk.file, "domains = []\n").unwrap();
    let unknown = desk.cert(&["check"]);
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    assert!(
        stdout(&unknown).starts_with("CERT UNKNOWN - "),
        "{unknown:?}"
    );
    assert_eq!(desk.cert(&["check", "-w", "lots"]).status.code(), Some(2));
}

#[test]
fn a_renewal_that_never_ran_is_a_warning_and_says_what_to_look_at() {
    let desk = Desk::new(TIMER);
    desk.import(&aged(&Ca::new(), 100));
    let output = desk.cert(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stdout(&output).contains("portico-renew.timer"),
        "{output:?}"
    );

    // It runs, finds nothing due, and from then on all is well.
    let ran = desk.done(&["reconcile"]);
    assert!(ran.contains("not due before"), "{ran}");
    let output = desk.cert(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn status_is_one_line_with_the_next_step_and_json_has_the_same() {
    let desk = Desk::new(TIMER);
    let empty = desk.done(&["status"]);
    assert_eq!(
        empty.trim(),
        "example.test: no certificate; due now: there is no certificate; `systemctl start portico-renew` tries now"
    );
    desk.import(&aged(&Ca::new(), 100));
    desk.done(&["reconcile"]);
    let line = desk.done(&["status"]);
    assert_eq!(line.lines().count(), 1);
    for part in [
        "for example.test, *.example.test",
        " days left (until ",
        "generation 1; renewal at ",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let all: serde_json::Value = serde_json::from_str(&desk.done(&["status", "--json"])).unwrap();
    assert_eq!(all[0]["level"], "fine");
    assert_eq!(all[0]["generation"], 1);
    assert!(
        line.contains(all[0]["next"].as_str().unwrap()),
        "{line} {all}"
    );
}

#[test]
fn export_writes_a_private_pair_and_overwrites_nothing_unasked() {
    let leaf = Ca::new().leaf(&NAMES);
    let desk = Desk::new(TIMER);
    let missing = desk.cert(&["export", "--print", "fullchain"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    desk.import(&leaf);
    assert_eq!(desk.done(&["export", "--print", "fullchain"]), leaf.chain);
    // Not a terminal here, so no --force is needed.
    assert_eq!(desk.done(&["export", "--print", "key"]), leaf.key);

    let out = desk.path().join("out");
    let out = out.display().to_string();
    desk.done(&["export", "--out", &out]);
    for name in ["fullchain.pem", "privkey.pem"] {
        let mode = fs::metadata(format!("{out}/{name}"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        fs::read_to_string(format!("{out}/privkey.pem")).unwrap(),
        leaf.key
    );
    let again = desk.cert(&["export", "--out", &out]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("is there already"), "{again:?}");
    desk.done(&["export", "--out", &out, "--force"]);
}

#[test]
fn a_key_is_not_shown_on_a_terminal_unless_forced() {
    let leaf = Ca::new().leaf(&NAMES);
    let desk = Desk::new(TIMER);
    desk.import(&leaf);
    // `script` gives the program a terminal of its own.
    let on_terminal = |force: &str| {
        let command = format!(
            "{} cert export --print key {force} --config {}",
            env!("CARGO_BIN_EXE_portico"),
            desk.file.display()
        );
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]);
        stdout(&script.output().expect("script, of the package bsdutils"))
    };
    let refused = on_terminal("");
    assert!(refused.contains("not shown on a terminal"), "{refused}");
    assert!(!refused.contains("PRIVATE KEY"));
    assert!(on_terminal("--force").contains("PRIVATE KEY"));
}

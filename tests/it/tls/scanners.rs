//! What the scanners say that operators and auditors run: sslyze and testssl.sh.

use std::process::{Command, Stdio};

use crate::support::origin::Origin;
use crate::support::program;
use crate::support::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sslyze_finds_mozillas_intermediate_configuration() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let target = format!(
        "acme.example.test:{}{{127.0.0.1}}",
        site.portico.https_port()
    );
    let trust = site.ca.trust();
    // The second one knows no TLS 1.2: it must find fault, or the first verdict means nothing.
    for (wanted, verdict) in [("intermediate", 0), ("modern", 1)] {
        let mut command = Command::new(program::venv("sslyze"));
        command
            .arg(format!("--mozilla_config={wanted}"))
            .arg("--certinfo_ca_file")
            .arg(trust.file())
            .arg(&target)
            .stdin(Stdio::null());
        let out = command.output().expect("sslyze runs");
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert_eq!(out.status.code(), Some(verdict), "{wanted}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn testssl_finds_nothing_vulnerable() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.csv");
    let mut command = Command::new(program::system("testssl"));
    command
        .args([
            "--ip",
            "127.0.0.1",
            "--vulnerable",
            "--protocols",
            "--warnings",
            "off",
        ])
        .args(["--color", "0", "--quiet", "--nodns", "none", "--csvfile"])
        .arg(&report)
        .arg(format!(
            "https://acme.example.test:{}",
            site.portico.https_port()
        ))
        .current_dir(folder.path())
        .stdin(Stdio::null());
    let out = command.output().expect("testssl.sh runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let report = std::fs::read_to_string(&report).expect("a report");
    let rows: Vec<Vec<&str>> = report
        .lines()
        .skip(1)
        .map(|line| line.trim_matches('"').split("\",\"").collect())
        .collect();
    // What it looked for, so that a scan that looked at nothing is no success.
    for id in [
        "SSLv2",
        "SSLv3",
        "heartbleed",
        "CCS",
        "ticketbleed",
        "ROBOT",
        "secure_renego",
        "secure_client_renego",
        "CRIME_TLS",
        "POODLE_SSL",
        "fallback_SCSV",
        "SWEET32",
        "FREAK",
        "DROWN",
        "LOGJAM",
        "BEAST",
        "LUCKY13",
        "RC4",
        "TLS1_2",
        "TLS1_3",
    ] {
        let row = rows.iter().find(|row| row[0] == id);
        let severity = row.map(|row| row[3]);
        assert_eq!(severity, Some("OK"), "{id}: {said}\n{report}");
    }
    for row in &rows {
        // WARN is the scanner's own lack of something.
        let fine = ["OK", "INFO", "WARN"].contains(&row[3]);
        assert!(fine && !row[4].contains("VULNERABLE"), "{row:?}\n{said}");
    }
}

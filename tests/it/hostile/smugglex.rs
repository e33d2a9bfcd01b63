//! smugglex, a scanner for request smuggling by others, at the proxy before gunicorn.
//!
//! All its checks, but not its `--fuzz`: that takes each wait for a body that was announced and never sent for a finding,
//! and the 408 that ends it for a certain one.

use std::process::Command;

use crate::support::gunicorn::Gunicorn;
use crate::support::program;
use crate::support::site::Site;

/// All that it can look for; those that keep state are off by default.
const CHECKS: [&str; 10] = [
    "0-cl",
    "cl-0",
    "cl-edge",
    "cl-te",
    "h2",
    "h2-downgrade",
    "h2c",
    "parser-discrepancy",
    "te-cl",
    "te-te",
];

#[tokio::test]
#[ignore = "smugglex is a crate that tests/soak/smugglex installs"]
async fn smugglex_finds_nothing() {
    let app = Gunicorn::worker("gthread").keep_alive(5).tcp();
    let site = Site::before(&[app.address()]).start();
    let port = site.portico.https_port();
    let mut command = Command::new(program::system("smugglex"));
    command.arg(format!("https://127.0.0.1:{port}/"));
    // By its address there is no name in the handshake, so the certificate is not looked at.
    command.args(["--vhost", "acme.example.test", "--insecure", "--json"]);
    command.args(["--checks", &CHECKS.join(",")]);
    let run = tokio::task::spawn_blocking(move || command.output());
    let run = run.await.unwrap().expect("smugglex runs");
    let told: serde_json::Value =
        serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    let checks = told["results"][0]["checks"].as_array().unwrap();
    let mut seen = Vec::new();
    for check in checks {
        let (kind, normal) = (&check["check_type"], &check["normal_status"]);
        let found = &check["vulnerable"];
        eprintln!("smugglex {kind}: {normal}, vulnerable: {found}");
        // Without an answer of the app to its honest requests it would find nothing anywhere.
        assert!(normal.as_str().unwrap().contains(" 200"), "{check}");
        assert_eq!(found, false, "{check}");
        seen.push(kind.as_str().unwrap());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, CHECKS);
}

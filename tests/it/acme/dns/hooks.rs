//! One hook script, under certbot itself and under ours.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use portico::cli::cert::Verdict;
use portico::config::DnsProvider;

use super::super::issue::{DUE, RECORD, config, run};
use crate::support::knot::{KEY_NAME, KEY_SECRET, Knot};
use crate::support::pebble::Pebble;
use crate::support::program;

/// Written for certbot: one script for both hooks, told apart by what certbot sets for the second. It notes all that
/// certbot's manual promises in `calls`.
fn certbot_hook(folder: &Path, server: SocketAddr) -> PathBuf {
    let script = folder.join("hook.sh");
    let text = format!(
        "#!/bin/sh\nset -eu\nname=_acme-challenge.$CERTBOT_DOMAIN.\n\
         if [ -n \"${{CERTBOT_AUTH_OUTPUT+set}}\" ]; then verb=del ttl=; else verb=add ttl=60; fi\n\
         knsupdate -y hmac-sha256:{KEY_NAME}:{KEY_SECRET} <<END\n\
         server {ip} {port}\nzone example.test.\n$verb $name $ttl TXT $CERTBOT_VALIDATION\nsend\nquit\nEND\n\
         echo \"$verb $# $CERTBOT_DOMAIN $CERTBOT_REMAINING_CHALLENGES $CERTBOT_ALL_DOMAINS \
         token:${{CERTBOT_TOKEN+set}} output:${{CERTBOT_AUTH_OUTPUT-}} value:${{#CERTBOT_VALIDATION}}\" >> {calls}\n\
         [ $verb = del ] || echo made-$CERTBOT_REMAINING_CHALLENGES\n",
        ip = server.ip(),
        port = server.port(),
        calls = folder.join("calls").display(),
    );
    fs::write(&script, text).unwrap();
    script
}

fn calls(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("calls")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_hook_written_for_certbot_runs_unchanged_under_both() {
    let knot = Knot::start(&["example.test"]);
    let pebble = Pebble::asking(knot.address()).start();
    let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

    let script = certbot_hook(theirs.path(), knot.address());
    let hook = format!("/bin/sh {}", script.display());
    let folder = |name: &str| theirs.path().join(name).display().to_string();
    let certbot = Command::new(program::system("certbot"))
        .args([
            "certonly",
            "--non-interactive",
            "--agree-tos",
            "--register-unsafely-without-email",
        ])
        .args(["--manual", "--preferred-challenges", "dns"])
        .args(["--manual-auth-hook", &hook, "--manual-cleanup-hook", &hook])
        .args(["--server", &pebble.directory_url()])
        .args([
            "--config-dir",
            &folder("config"),
            "--work-dir",
            &folder("work"),
            "--logs-dir",
            &folder("logs"),
        ])
        .args(["-d", "example.test", "-d", "*.example.test"])
        .env("REQUESTS_CA_BUNDLE", pebble.ca_file())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&certbot.stderr).into_owned();
    assert!(
        certbot.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&certbot.stdout)
    );
    let live = theirs.path().join("config/live/example.test/fullchain.pem");
    assert!(
        fs::read_to_string(live)
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
    assert_eq!(knot.txt(RECORD), [""; 0]);

    let script = certbot_hook(ours.path(), knot.address());
    let command = vec!["/bin/sh".to_owned(), script.display().to_string()];
    let provider = DnsProvider::CertbotHook {
        auth: command.clone(),
        cleanup: command,
    };
    let config = config(ours.path(), &pebble, provider, knot.address());
    let (verdict, text) = run(&config, DUE).await;
    assert_eq!(verdict, Verdict::Fine, "{text}");
    assert_eq!(knot.txt(RECORD), [""; 0]);
    assert_eq!(
        calls(ours.path()),
        calls(theirs.path()),
        "they cannot tell who called"
    );
    assert_eq!(calls(ours.path()).len(), 4);
}

//! Knot DNS as the authority for test zones, updated by RFC 2136 with a TSIG key that may change TXT only.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::child::Child;
use super::{dns, port, program};

/// The name of the TSIG key.
pub(crate) const KEY_NAME: &str = "acme-key";
/// Its secret, base64 of 32 bytes.
pub(crate) const KEY_SECRET: &str = "cG9ydGljby10ZXN0LXRzaWctc2VjcmV0LW9mLTMyYnk=";

/// A key that the servers know but that may change nothing; its secret is the same.
pub(crate) const POOR_KEY_NAME: &str = "poor-key";

/// A running knotd.
pub(crate) struct Knot {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Knot {
    /// Serves `zones`; in each, the apex and `*` have the address 127.0.0.1.
    pub(crate) fn start(zones: &[&str]) -> Self {
        let zones: Vec<(&str, String)> =
            zones.iter().map(|zone| (*zone, zone_text(zone))).collect();
        Self::at(port::local(port::free()), &zones)
    }

    /// Serves zones of any content at an address of loopback.
    pub(crate) fn at(address: SocketAddr, zones: &[(&str, String)]) -> Self {
        Self::with_env(address, zones, &[])
    }

    /// The same with environment variables, as for another clock.
    pub(crate) fn with_env(
        address: SocketAddr,
        zones: &[(&str, String)],
        env: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().display();
        let mut config = format!(
            "server:\n  rundir: {dir}\n  listen: {ip}@{port}\n  udp-workers: 1\n  tcp-workers: 2\n  \
             background-workers: 1\ncontrol:\n  listen: {dir}/control.sock\ndatabase:\n  storage: {dir}\n\
             log:\n  - target: stderr\n    any: info\n\
             key:\n  - id: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {KEY_SECRET}\n\
             \x20 - id: {POOR_KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {KEY_SECRET}\n\
             acl:\n  - id: acme-txt-only\n    address: 127.0.0.1\n    key: {KEY_NAME}\n    action: update\n    \
             update-type: TXT\n\
             template:\n  - id: default\n    storage: {dir}\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    \
             zonefile-load: difference\n    journal-content: changes\n    acl: acme-txt-only\n\
             zone:\n",
            ip = address.ip(),
            port = address.port(),
        );
        for (zone, text) in zones {
            let _ = writeln!(config, "  - domain: {zone}");
            let file = folder.path().join(format!("{zone}.zone"));
            fs::write(file, text).expect("our own folder");
        }
        let file = folder.path().join("knot.conf");
        fs::write(&file, config).expect("our own folder");

        let mut command = Command::new(program::system("knotd"));
        command.arg("-c").arg(&file).envs(env.iter().copied());
        let child = Child::spawn("knotd", command)
            .ready(|| zones.iter().all(|(zone, _)| dns::serves(address, zone)));
        Self {
            address,
            child,
            folder,
        }
    }

    /// Where it answers, UDP and TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The TXT values of a name, sorted.
    pub(crate) fn txt(&self, name: &str) -> Vec<String> {
        dns::txt(self.address, name)
    }

    /// Runs `knsupdate` with our key: `update(&["add _acme-challenge.example.test. 60 TXT value"])`.
    pub(crate) fn update(&self, zone: &str, lines: &[&str]) -> Output {
        nsupdate(self.address, KEY_SECRET, zone, lines)
    }

    /// What knotd has logged.
    pub(crate) fn log(&self) -> String {
        self.child.log()
    }
}

/// An RFC 2136 update of any server, signed with `secret`.
pub(crate) fn nsupdate(server: SocketAddr, secret: &str, zone: &str, lines: &[&str]) -> Output {
    let mut child = Command::new(program::system("knsupdate"))
        .arg("-y")
        .arg(format!("hmac-sha256:{KEY_NAME}:{secret}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("knsupdate runs");
    let script = format!(
        "server {} {}\nzone {zone}.\n{}\nsend\nquit\n",
        server.ip(),
        server.port(),
        lines.join("\n"),
    );
    let mut stdin = child.stdin.take().expect("piped above");
    stdin
        .write_all(script.as_bytes())
        .expect("knsupdate reads its script");
    drop(stdin);
    child.wait_with_output().expect("knsupdate ends")
}

/// A zone with one name server and the address of everything.
pub(crate) fn zone_text(zone: &str) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 900 86400 60\n@ NS ns1\n@ A 127.0.0.1\n\
         ns1 A 127.0.0.1\n* A 127.0.0.1\n"
    )
}

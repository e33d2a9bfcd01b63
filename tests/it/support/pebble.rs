//! Pebble, the test server of Let's Encrypt's authors: a real ACME authority that loses its memory on purpose.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::child::Child;
use super::http::{Edge, Protocol};
use super::pki::Ca;
use super::tls::Trust;
use super::{port, probe, program};

/// What a Pebble shall be like; `Pebble::asking(dns)` then changes then `start()`.
pub(crate) struct PebbleBuilder {
    dns: SocketAddr,
    profiles: Map<String, Value>,
    env: Vec<(String, String)>,
    config: Map<String, Value>,
}

impl PebbleBuilder {
    /// Offers a profile. Without any there is `default` with 90 days; a client that names none gets a random one.
    pub(crate) fn profile(mut self, name: &str, lifetime: Duration) -> Self {
        let profile = json!({ "description": name, "validityPeriod": lifetime.as_secs() });
        self.profiles.insert(name.to_owned(), profile);
        self
    }

    /// Rejects so many good nonces of a hundred (0 unless told; Pebble's own default is 5).
    pub(crate) fn nonce_reject(self, percent: u8) -> Self {
        self.env("PEBBLE_WFE_NONCEREJECT", &percent.to_string())
    }

    /// Reuses so many valid authorizations of a hundred (0 unless told): at 100 a renewal gets no challenge.
    pub(crate) fn authz_reuse(self, percent: u8) -> Self {
        self.env("PEBBLE_AUTHZREUSE", &percent.to_string())
    }

    /// Believes every challenge without looking at DNS.
    pub(crate) fn always_valid(self) -> Self {
        self.env("PEBBLE_VA_ALWAYS_VALID", "1")
    }

    /// Any other knob of Pebble's environment; a later value wins.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Any other key of Pebble's configuration (`externalAccountBindingRequired`, `domainBlocklist` …).
    pub(crate) fn config(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.to_owned(), value);
        self
    }

    /// Starts it; returns when both listeners accept.
    pub(crate) fn start(mut self) -> Pebble {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = Ca::new();
        let (certificate, key) = ca.leaf(&["localhost", "127.0.0.1"]).write(folder.path());
        let ca_file = folder.path().join("ca.pem");
        fs::write(&ca_file, ca.pem()).expect("our own folder");
        let [acme, management, http, tls] = [(); 4].map(|()| port::free());
        if self.profiles.is_empty() {
            self = self.profile("default", Duration::from_secs(90 * 86_400));
        }
        let mut config = json!({
            "listenAddress": port::local(acme),
            "managementListenAddress": port::local(management),
            "certificate": certificate,
            "privateKey": key,
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "retryAfter": { "authz": 1, "order": 1 },
            "profiles": self.profiles,
        });
        config
            .as_object_mut()
            .expect("an object above")
            .extend(self.config);
        let file = folder.path().join("pebble.json");
        fs::write(&file, json!({ "pebble": config }).to_string()).expect("our own folder");

        let child = spawn(&file, self.dns, &self.env, [acme, management]);
        Pebble {
            acme,
            management,
            trust: ca.trust(),
            ca_file,
            child,
            folder,
            dns: self.dns,
            env: self.env,
        }
    }
}

fn spawn(config: &Path, dns: SocketAddr, env: &[(String, String)], ports: [u16; 2]) -> Child {
    let mut command = Command::new(program::pebble());
    command
        .arg("-config")
        .arg(config)
        .arg("-strict")
        .arg("-dnsserver")
        .arg(dns.to_string());
    command.envs([
        ("PEBBLE_VA_NOSLEEP", "1"),
        ("PEBBLE_WFE_NONCEREJECT", "0"),
        ("PEBBLE_AUTHZREUSE", "0"),
    ]);
    command.envs(env.iter().cloned());
    Child::spawn("pebble", command).ready(|| ports.map(port::local).into_iter().all(probe::accepts))
}

/// A running Pebble.
pub(crate) struct Pebble {
    acme: u16,
    management: u16,
    trust: Trust,
    ca_file: PathBuf,
    child: Child,
    folder: TempDir,
    dns: SocketAddr,
    env: Vec<(String, String)>,
}

impl Pebble {
    /// A Pebble that validates by asking this name server (over TCP).
    pub(crate) fn asking(dns: SocketAddr) -> PebbleBuilder {
        PebbleBuilder {
            dns,
            profiles: Map::new(),
            env: Vec::new(),
            config: Map::new(),
        }
    }

    /// Ends it and starts it anew at the same address: it has forgotten every account, order and root.
    pub(crate) fn restart(mut self) -> Self {
        self.forget();
        self
    }

    /// The same for an owner that cannot give it away.
    pub(crate) fn forget(&mut self) {
        self.child.signal(Signal::KILL);
        self.child.wait_exit();
        self.child = spawn(
            &self.folder.path().join("pebble.json"),
            self.dns,
            &self.env,
            [self.acme, self.management],
        );
    }

    /// Its ACME listener.
    pub(crate) fn address(&self) -> SocketAddr {
        port::local(self.acme)
    }

    /// For `[acme] directory`.
    pub(crate) fn directory_url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.acme)
    }

    /// For `[acme] ca_file`: the root of Pebble's own HTTPS listeners, not of what it issues.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Clients of its ACME listener.
    pub(crate) fn edge(&self) -> Edge {
        Edge::new(self.acme, self.trust.clone())
    }

    /// Clients of its management listener (`/roots/0`, `/cert-status-by-serial/…`, `/set-renewal-info/`).
    pub(crate) fn management(&self) -> Edge {
        Edge::new(self.management, self.trust.clone())
    }

    /// The root of what it issues; new at every start.
    pub(crate) async fn root(&self) -> Trust {
        let answer = self
            .management()
            .get(Protocol::Http1, "127.0.0.1", "/roots/0")
            .await;
        Trust::from_pem(answer.text())
    }

    /// What Pebble has logged.
    pub(crate) fn log(&self) -> String {
        self.child.log()
    }
}

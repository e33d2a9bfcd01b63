//! Custom domains: a row of the directory, a certificate on demand from Pebble, and the tenant's app behind it.
//!
//! The engine is a process of its own (`portico cert reconcile`, as the timer runs it) unless a test says `daemon`.

mod budgets;
mod explain;
mod issue;
mod memory;
mod ownership;
mod trouble;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::{Answer, Edge, Protocol};
use crate::support::knot::Knot;
use crate::support::origin::{Origin, Seen};
use crate::support::pebble::Pebble;
use crate::support::pki::Ca;
use crate::support::portico::{Portico, portico_cmd};
use crate::support::tls::{self, Alpn, Trust};
use crate::support::{port, wait};

/// A customer's own domain.
const NAME: &str = "www.customer.test";

/// Everything around a proxy, which may be started more than once over the same state.
struct Rig {
    pebble: Pebble,
    /// None if the test has its own.
    _knot: Option<Knot>,
    origin: Origin,
    folder: TempDir,
    https: SocketAddr,
    config: String,
}

impl Rig {
    /// `run` as in `[acme]`; `on_demand`: further lines of that section.
    fn new(run: &str, on_demand: &str) -> Self {
        let knot = Knot::start(&["example.test", "customer.test", "other.test"]);
        let rig = Self::asking(knot.address(), run, on_demand);
        Self {
            _knot: Some(knot),
            ..rig
        }
    }

    /// The same with a name server that the test starts itself.
    fn asking(dns: SocketAddr, run: &str, on_demand: &str) -> Self {
        let (http, https) = (port::local(port::free()), port::local(port::free()));
        let pebble = Pebble::asking(dns)
            .config("httpPort", json!(http.port()))
            .config("tlsPort", json!(https.port()))
            .start();
        let origin = Origin::hello();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            r#"domains = ["example.test"]
state_dir = "{folder}/state"
[listen]
https = ["{https}"]
http = ["{http}"]
admin = "{{admin}}"
[acme]
directory = "{}"
ca_file = "{}"
challenge = "dns-persist-01"
run = "{run}"
deploy_probe = "off"
[acme.dns]
nameservers = ["{dns}"]
resolvers = ["{dns}"]
[on_demand]
enabled = true
{on_demand}
[tenants]
source = "file"
file = "{folder}/tenants.toml"
[upstream]
servers = ["http://{}"]
[server]
workers = 2
"#,
            pebble.directory_url(),
            pebble.ca_file().display(),
            origin.address(),
            folder = folder.path().display(),
        );
        let rig = Self {
            pebble,
            _knot: None,
            origin,
            folder,
            https,
            config,
        };
        rig.rows(&[]);
        rig.import_base();
        rig
    }

    /// A certificate of the base domain, so that nothing but custom domains is ever due.
    fn import_base(&self) {
        let leaf = Ca::new().leaf(&["example.test", "*.example.test"]);
        let (chain, key) = leaf.write(self.folder.path());
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        let done = self.cert(&["import", "--cert", &chain, "--key", &key]);
        assert!(done.status.success(), "{}", words(&done));
    }

    /// What the directory has, from now on: tenant and hosts.
    fn rows(&self, rows: &[(&str, &[&str])]) {
        let mut text = String::from("[[tenant]]\nid = \"zero\"\n");
        for (tenant, hosts) in rows {
            text.push_str(&format!("[[tenant]]\nid = {tenant:?}\nhosts = {hosts:?}\n"));
        }
        let path = self.folder.path().join("tenants.toml");
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn portico(&self) -> Portico {
        Portico::with(&self.config).start()
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn wanted(&self, host: &str) -> PathBuf {
        self.state().join("wanted").join(host)
    }

    /// Runs `portico cert …` as the renewal unit does: a process of its own.
    fn cert(&self, verb: &[&str]) -> Output {
        let file = self.folder.path().join("engine.toml");
        let config = self.config.replace("{admin}", "off");
        std::fs::write(&file, config).unwrap();
        let file = file.display().to_string();
        let mut args = vec!["cert"];
        args.extend_from_slice(verb);
        args.extend_from_slice(&["--config", &file]);
        portico_cmd(&args)
    }

    /// What the timer runs. Custom domains never make it fail.
    fn reconcile(&self) -> String {
        let done = self.cert(&["reconcile"]);
        assert_eq!(done.status.code(), Some(0), "{}", words(&done));
        words(&done)
    }

    /// `cert domains --json`, of all or of one.
    fn domains(&self, host: Option<&str>) -> Value {
        let mut verb = vec!["domains", "--json"];
        if let Some(host) = host {
            verb.extend_from_slice(&["--domain", host]);
        }
        let done = self.cert(&verb);
        serde_json::from_slice(&done.stdout).unwrap_or(Value::Null)
    }

    /// Waits until the engine of a daemon has come so far.
    fn wait_domains(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, || {
            let all = self.domains(None);
            wanted(&all).then_some(all)
        })
    }

    /// How many orders Pebble has taken.
    fn orders(&self) -> usize {
        self.pebble.log().matches("Added order").count()
    }

    /// A handshake for a name, by a client that takes whatever comes.
    async fn shake(&self, name: &str, trust: &Trust) -> std::io::Result<()> {
        let mut config = trust.config(Alpn::Http1);
        // A ticket of one handshake must not stand in for another.
        config.resumption = rustls::client::Resumption::disabled();
        tls::connect(self.https, name, config).await.map(drop)
    }

    /// Waits until a name is served with a certificate of Pebble's, and asks it for a page.
    async fn page(&self, name: &str) -> Answer {
        let trust = self.pebble.root().await;
        wait::until_async(&format!("a certificate for {name}"), async || {
            self.shake(name, &trust).await.ok()
        })
        .await;
        let edge = Edge::new(self.https.port(), trust);
        edge.get(Protocol::Http2, name, "/").await
    }

    /// The tenants that the app has seen, in order.
    fn tenants(&self) -> Vec<String> {
        let all = self.origin.requests();
        let tenant = |seen: &Seen| {
            let found = seen.headers.iter().find(|(name, _)| name == "x-tenant");
            found.expect("a tenant").1.clone()
        };
        all.iter().map(tenant).collect()
    }
}

/// The alert of a handshake that was refused.
#[track_caller]
fn assert_unrecognized(refused: std::io::Result<()>) {
    let error = refused.expect_err("no certificate");
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert!(
        matches!(
            alert,
            Some(rustls::Error::AlertReceived(
                rustls::AlertDescription::UnrecognisedName
            ))
        ),
        "{error}"
    );
}

/// Both outputs, for assertions on words.
fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// The names in a folder that do not begin with a point.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

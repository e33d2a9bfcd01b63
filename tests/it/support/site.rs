//! A whole site: the proxy with a certificate for `example.test` and `*.example.test`, in front of given app servers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::http::Edge;
use super::pki::{Ca, Leaf};
use super::portico::{Portico, PorticoBuilder, portico_cmd};

/// The base domain of every site.
pub(crate) const DOMAIN: &str = "example.test";

/// What a site shall be like: `Site::before(&[origin.address()]).set("limits", "idle_timeout = \"1s\"").start()`.
pub(crate) struct SiteBuilder {
    sections: BTreeMap<String, Vec<String>>,
    lists: Vec<String>,
    env: Vec<(String, String)>,
    ca: Ca,
}

/// A running site.
pub(crate) struct Site {
    pub(crate) portico: Portico,
    pub(crate) edge: Edge,
    pub(crate) ca: Ca,
}

impl Site {
    /// A site before these app servers, as `host:port`, URL or `unix:path`. No access log; the apex is the tenant `public`.
    pub(crate) fn before(servers: &[&str]) -> SiteBuilder {
        let builder = SiteBuilder {
            sections: BTreeMap::new(),
            lists: Vec::new(),
            env: Vec::new(),
            ca: Ca::new(),
        };
        builder.set("upstream", &servers_line(servers))
    }

    /// Puts a certificate into the running site's store.
    pub(crate) fn import(&self, leaf: &Leaf) {
        import(leaf, self.portico.folder(), self.portico.config_file());
    }

    /// A new certificate with the site's names.
    pub(crate) fn leaf(&self) -> Leaf {
        self.ca.leaf(&NAMES)
    }
}

const NAMES: [&str; 2] = [DOMAIN, "*.example.test"];

/// The line of `[upstream]` that names these app servers.
pub(crate) fn servers_line(servers: &[&str]) -> String {
    let urls: Vec<String> = servers
        .iter()
        .map(|server| match server.strip_prefix("unix:") {
            Some(_) => (*server).to_owned(),
            None if server.contains("://") => (*server).to_owned(),
            None => format!("http://{server}"),
        })
        .collect();
    format!("servers = {urls:?}")
}

impl SiteBuilder {
    /// Adds a line to a section of the configuration; a later line replaces an earlier one with the same key.
    pub(crate) fn set(mut self, section: &str, line: &str) -> Self {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let lines = self.sections.entry(section.to_owned()).or_default();
        lines.retain(|old| key(old) != key(line));
        lines.push(line.to_owned());
        self
    }

    /// Adds a section to a list of sections (`[[name]]`) of the configuration.
    pub(crate) fn list(mut self, section: &str, lines: &str) -> Self {
        self.lists.push(format!("[[{section}]]\n{lines}\n"));
        self
    }

    /// Sets an environment variable of the process.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it with its certificate and waits until it is ready.
    pub(crate) fn start(self) -> Site {
        self.with_certificate(PorticoBuilder::start)
    }

    /// Starts it with its certificate and waits until it accepts: for a site that cannot be ready yet.
    pub(crate) fn start_unready(self) -> Site {
        self.with_certificate(PorticoBuilder::start_unready)
    }

    fn with_certificate(self, start: impl FnOnce(PorticoBuilder) -> Portico) -> Site {
        let (builder, ca) = self.prepare();
        let cert = ca.leaf(&NAMES);
        // The store needs the folder and the domains only; the real file gets its ports when the proxy is started.
        let file = builder.folder().join("import.toml");
        let text = config(&BTreeMap::new())
            .replace("{dir}", &builder.folder().display().to_string())
            .replace("{https}", "127.0.0.1:1")
            .replace("{http}", "127.0.0.1:2")
            .replace("{admin}", "127.0.0.1:3");
        let text = format!("{text}[upstream]\nservers = [\"http://127.0.0.1:4\"]\n");
        fs::write(&file, text).expect("our own folder");
        import(&cert, builder.folder(), &file);
        Site::new(start(builder), ca)
    }

    /// Starts it without any certificate and waits until it accepts.
    pub(crate) fn start_without_certificate(self) -> Site {
        let (builder, ca) = self.prepare();
        Site::new(builder.start_unready(), ca)
    }

    fn prepare(mut self) -> (PorticoBuilder, Ca) {
        let tenants = self.sections.entry("tenants".to_owned()).or_default();
        if !tenants.iter().any(|line| line.starts_with("apex")) {
            tenants.push("apex = \"public\"".to_owned());
        }
        let log = self.sections.entry("log".to_owned()).or_default();
        if !log.iter().any(|line| line.starts_with("access")) {
            log.push("access = \"off\"".to_owned());
        }
        let text = config(&self.sections) + &self.lists.join("\n");
        let mut builder = Portico::with(&text);
        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        (builder, self.ca)
    }
}

impl Site {
    fn new(portico: Portico, ca: Ca) -> Self {
        let edge = portico.edge(&ca.trust());
        Self { portico, edge, ca }
    }
}

fn config(sections: &BTreeMap<String, Vec<String>>) -> String {
    let listen = sections.get("listen").map_or(&[][..], Vec::as_slice);
    let mut text = format!(
        "domains = [\"{DOMAIN}\"]\nstate_dir = \"{{dir}}/state\"\n\n[listen]\nhttp = [\"{{http}}\"]\n\
         admin = \"{{admin}}\"\n"
    );
    if !listen.iter().any(|line| line.starts_with("https")) {
        text.push_str("https = [\"{https}\"]\n");
    }
    let _ = writeln!(text, "{}", listen.join("\n"));
    text.push_str("\n[acme]\nrun = \"off\"\n\n");
    for (name, lines) in sections.iter().filter(|(name, _)| *name != "listen") {
        let _ = writeln!(text, "[{name}]\n{}\n", lines.join("\n"));
    }
    text
}

fn import(leaf: &Leaf, folder: &Path, config: &Path) {
    let (cert, key) = leaf.write(&folder.join("import"));
    let text = |path: &Path| path.display().to_string();
    let done = portico_cmd(&[
        "cert",
        "import",
        "--config",
        &text(config),
        "--cert",
        &text(&cert),
        "--key",
        &text(&key),
    ]);
    assert!(done.status.success(), "{done:?}");
}

//! The proxy under test: the built program as a child process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::child::Child;
use super::http::Edge;
use super::tls::Trust;
use super::{port, probe};

/// A running `portico run`; its folder goes when it is dropped.
pub(crate) struct Portico {
    child: Child,
    listeners: Listeners,
    config_file: PathBuf,
    config: String,
    folder: TempDir,
}

/// How to start a proxy when a configuration alone does not say it: `Portico::with(config).env(…).start()`.
pub(crate) struct PorticoBuilder {
    config: String,
    folder: TempDir,
    env: Vec<(String, String)>,
    args: Vec<String>,
}

impl PorticoBuilder {
    /// The folder that `{dir}` stands for, to prepare a store, a credentials file or a tenant file in it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets an environment variable (`LD_PRELOAD` of libfaketime, `NOTIFY_SOCKET`, a DNS token).
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Appends an argument after `run --config FILE`.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Starts it and waits until `/readyz` is 200 (without an admin listener: until it accepts).
    pub(crate) fn start(self) -> Portico {
        let portico = self.start_unready();
        let Some(admin) = portico.listeners.admin else {
            return portico;
        };
        portico.ready(|| probe::get(admin, "/readyz").is_ok_and(|(status, _)| status == 200))
    }

    /// Starts it and waits only until it accepts: for tests in which it is not ready yet.
    pub(crate) fn start_unready(self) -> Portico {
        let portico = self.spawn();
        let listener = portico.listeners.any().expect("an address in `[listen]`");
        portico.ready(|| probe::accepts(listener))
    }

    /// Starts it and waits for nothing: for configurations that it must refuse.
    pub(crate) fn spawn(self) -> Portico {
        let config = fill(&self.config, self.folder.path());
        let config_file = self.folder.path().join("portico.toml");
        fs::write(&config_file, &config).expect("our own folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .arg("run")
            .arg("--config")
            .arg(&config_file)
            .args(self.args);
        command.envs(self.env).current_dir(self.folder.path());
        Portico {
            child: Child::spawn("portico", command),
            listeners: Listeners::of(&config),
            config_file,
            config,
            folder: self.folder,
        }
    }
}

impl Portico {
    /// Starts the proxy and waits until it is ready.
    ///
    /// In the text `{dir}` stands for a fresh folder and `{https}`, `{http}`, `{admin}` for free addresses.
    pub(crate) fn start(config: &str) -> Self {
        Self::with(config).start()
    }

    /// The same with more to say before it starts.
    pub(crate) fn with(config: &str) -> PorticoBuilder {
        let folder = tempfile::tempdir().expect("a temporary folder");
        PorticoBuilder {
            config: config.to_owned(),
            folder,
            env: Vec::new(),
            args: Vec::new(),
        }
    }

    fn ready(mut self, probe: impl FnMut() -> bool) -> Self {
        self.child = self.child.ready(probe);
        self
    }

    /// Clients of the TLS listener.
    pub(crate) fn edge(&self, trust: &Trust) -> Edge {
        Edge::new(self.https_port(), trust.clone())
    }

    /// The port of `[listen] https`.
    pub(crate) fn https_port(&self) -> u16 {
        self.listeners
            .https
            .expect("`[listen] https` in the configuration")
            .port()
    }

    /// The port of `[listen] http`.
    pub(crate) fn http_port(&self) -> u16 {
        self.listeners
            .http
            .expect("`[listen] http` in the configuration")
            .port()
    }

    /// `GET path` from the admin listener: status and body.
    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        let admin = self
            .listeners
            .admin
            .expect("`[listen] admin` in the configuration");
        probe::get(admin, path).unwrap_or_else(|error| panic!("admin {path}: {error}"))
    }

    /// The sum of a metric's samples whose name and labels begin so.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (status, text) = self.admin("/metrics");
        assert_eq!(status, 200);
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Replaces the configuration file: `config` is the old text changed. The next SIGHUP reads it.
    pub(crate) fn rewrite_config(&mut self, change: impl FnOnce(&str) -> String) {
        self.config = change(&self.config);
        fs::write(&self.config_file, &self.config).expect("our own folder");
    }

    /// The temporary folder that holds everything of this proxy.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub(crate) fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Asks for a reload.
    pub(crate) fn sighup(&self) {
        self.child.signal(Signal::HUP);
    }

    /// Asks for the end: drain, then exit.
    pub(crate) fn sigterm(&self) {
        self.child.signal(Signal::TERM);
    }

    /// Ends it as a power cut would.
    pub(crate) fn sigkill(&self) {
        self.child.signal(Signal::KILL);
    }

    /// Waits for the end of the process.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        self.child.wait_exit()
    }

    /// Waits until the log contains `text`.
    pub(crate) fn wait_log(&mut self, text: &str) {
        self.child.wait_log(text);
    }

    /// Has the configuration read again, and waits until it is in effect. Whatever was said of earlier reloads does not count.
    pub(crate) fn reload(&mut self) {
        let said = |portico: &Self| portico.stderr().matches("configuration reloaded").count();
        let before = said(self);
        self.sighup();
        super::wait::until("the reload", || (said(self) > before).then_some(()));
    }

    /// Everything written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.child.stderr()
    }

    /// Everything written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.child.stdout()
    }
}

/// Runs a one-shot command of the program, `portico_cmd(&["check", "--config", file])`, and captures what it says.
pub(crate) fn portico_cmd(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("portico runs")
}

/// Replaces `{dir}`, `{https}`, `{http}` and `{admin}`.
pub(crate) fn fill(config: &str, folder: &Path) -> String {
    let mut config = config.replace("{dir}", &folder.display().to_string());
    for name in ["{https}", "{http}", "{admin}"] {
        if config.contains(name) {
            config = config.replace(name, &port::local(port::free()).to_string());
        }
    }
    config
}

/// The addresses of `[listen]`, the first of each.
#[derive(Debug, Clone, Copy)]
struct Listeners {
    https: Option<SocketAddr>,
    http: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Listeners {
    fn of(config: &str) -> Self {
        // A configuration that does not even parse is the proxy's to refuse.
        let table: toml::Table = config.parse().unwrap_or_default();
        let address = |key: &str| {
            let value = table.get("listen")?.get(key)?;
            value
                .as_array()
                .map_or(Some(value), |list| list.first())?
                .as_str()?
                .parse()
                .ok()
        };
        Self {
            https: address("https"),
            http: address("http"),
            admin: address("admin"),
        }
    }

    fn any(&self) -> Option<SocketAddr> {
        self.https.or(self.http).or(self.admin)
    }
}

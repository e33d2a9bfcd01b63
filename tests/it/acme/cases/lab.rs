//! Knot, Pebble, the proxy with faults, and `portico cert` as the renewal unit runs it: a process for each run.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portico::cert::bundle::Bundle;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::dns_front::{Front, Mood};
use crate::support::fault_proxy::FaultProxy;
use crate::support::knot::{KEY_NAME, KEY_SECRET, Knot};
use crate::support::pebble::{Pebble, PebbleBuilder};
use crate::support::{port, program};

/// Exit codes of `portico cert renew`.
pub(in crate::acme) const DONE: i32 = 0;
pub(in crate::acme) const FAILED: i32 = 1;
pub(in crate::acme) const BLOCKED: i32 = 2;
pub(in crate::acme) const WAITING: i32 = 75;

pub(in crate::acme) const DOMAIN: &str = "example.test";
pub(in crate::acme) const HOUR: i64 = 3600;
pub(in crate::acme) const DAY: i64 = 24 * HOUR;

/// One run of the program.
#[derive(Debug)]
pub(in crate::acme) struct Run {
    pub(in crate::acme) code: Option<i32>,
    pub(in crate::acme) signal: Option<i32>,
    pub(in crate::acme) stdout: String,
    pub(in crate::acme) stderr: String,
    pub(in crate::acme) took: Duration,
}

impl Run {
    /// Fails the test unless the program ended with this code.
    #[track_caller]
    pub(in crate::acme) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text());
        self
    }

    /// Fails the test unless the program said this.
    #[track_caller]
    pub(in crate::acme) fn says(self, words: &str) -> Self {
        assert!(self.text().contains(words), "{words:?} in: {}", self.text());
        self
    }

    pub(in crate::acme) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// How a hook that changes DNS behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::acme) enum Hook {
    /// It does what it is asked.
    Honest,
    /// It says ok to `present` and does nothing.
    PublishesNothing,
    /// It says ok to `cleanup` and does nothing.
    RemovesNothing,
}

/// Everything that a case needs.
pub(in crate::acme) struct Lab {
    pub(in crate::acme) knot: Knot,
    pub(in crate::acme) pebble: Pebble,
    pub(in crate::acme) proxy: FaultProxy,
    folder: TempDir,
    config: String,
    /// The lines of the configuration that name the DNS provider.
    provider: String,
    https: SocketAddr,
    /// Seconds that this machine's clock, as the program sees it, is ahead of the true time.
    ahead: Cell<i64>,
}

impl Lab {
    /// One domain, knot by RFC 2136.
    pub(in crate::acme) fn start() -> Self {
        Self::with(&[DOMAIN], |pebble| pebble)
    }

    /// The same with other domains and another Pebble.
    pub(in crate::acme) fn with(
        domains: &[&str],
        change: impl FnOnce(PebbleBuilder) -> PebbleBuilder,
    ) -> Self {
        let knot = Knot::start(domains);
        let pebble = change(Pebble::asking(knot.address())).start();
        Self::of(domains, knot, pebble)
    }

    /// The same with parts that are there already.
    pub(in crate::acme) fn of(domains: &[&str], knot: Knot, pebble: Pebble) -> Self {
        let proxy = FaultProxy::before(&pebble);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().display();
        let credentials = folder.path().join("rfc2136.ini");
        let text = format!(
            "dns_rfc2136_server = {}\ndns_rfc2136_port = {}\ndns_rfc2136_name = {KEY_NAME}\n\
             dns_rfc2136_secret = {KEY_SECRET}\ndns_rfc2136_algorithm = HMAC-SHA256\n",
            knot.address().ip(),
            knot.address().port()
        );
        fs::write(&credentials, text).expect("our own folder");
        fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).expect("our file");
        let provider = format!(
            "provider = \"rfc2136\"\ncredentials = \"{}\"",
            credentials.display()
        );
        let [https, http, admin] = [(); 3].map(|()| port::local(port::free()));
        let config = format!(
            "domains = {domains:?}\nstate_dir = \"{dir}/state\"\n\
             [listen]\nhttps = [\"{}\"]\nhttp = [\"{}\"]\nadmin = \"{}\"\n\
             [upstream]\nservers = [\"http://127.0.0.1:9\"]\n\
             [acme]\nemail = \"ops@example.test\"\ndirectory = \"{}\"\nca_file = \"{}\"\n\
             [acme.dns]\n{}\nnameservers = [\"{}\"]\n\
             propagation_timeout = \"5s\"\n",
            https,
            http,
            admin,
            proxy.directory_url(),
            proxy.ca_file().display(),
            provider,
            knot.address(),
        );
        let lab = Self {
            knot,
            pebble,
            proxy,
            folder,
            config,
            provider,
            https,
            ahead: Cell::new(0),
        };
        lab.write_config();
        lab
    }

    /// Replaces a part of the configuration that must be there.
    #[track_caller]
    pub(in crate::acme) fn reconfigure(&mut self, from: &str, to: &str) {
        assert!(self.config.contains(from), "{from:?} in {}", self.config);
        self.config = self.config.replace(from, to);
        self.write_config();
    }

    /// A second name server, which passes on what knot says in this mood.
    pub(in crate::acme) fn second_server(&mut self, mood: Mood) -> Front {
        let address = port::local(port::free());
        let known = format!("nameservers = [\"{}\"", self.knot.address());
        self.reconfigure(&known, &format!("{known}, \"{address}\""));
        Front::start(address, self.knot.address(), mood)
    }

    /// Where the proxy would listen, if one ran.
    pub(in crate::acme) fn https(&self) -> SocketAddr {
        self.https
    }

    /// Another DNS provider: the lines of the configuration that name it.
    pub(in crate::acme) fn provider(&mut self, lines: &str) {
        let before = std::mem::replace(&mut self.provider, lines.to_owned());
        self.reconfigure(&before, lines);
    }

    /// For tests that move the clock: knot would refuse a signature of another time, so a hook updates it at the true one.
    pub(in crate::acme) fn any_time(mut self) -> Self {
        self.hook(Hook::Honest);
        self
    }

    /// From now on a hook changes DNS, or says that it does. Each call is noted.
    pub(in crate::acme) fn hook(&mut self, hook: Hook) {
        let script = self.folder.path().join("hook.sh");
        let lies = match hook {
            Hook::Honest => "never",
            Hook::PublishesNothing => "present",
            Hook::RemovesNothing => "cleanup",
        };
        let text = format!(
            "#!/bin/sh\nunset LD_PRELOAD FAKETIME FAKETIME_TIMESTAMP_FILE\necho \"$1 $3\" >> {}\n\
             [ $1 = {lies} ] && exit 0\n\
             case $1 in present) verb=add ttl=60;; cleanup) verb=del ttl=;; esac\n\
             name=${{2%.}}\nzone=${{name#_acme-challenge.}}\n\
             exec knsupdate -y hmac-sha256:{KEY_NAME}:{KEY_SECRET} <<END\n\
             server {} {}\nzone $zone.\n$verb $name. $ttl TXT $3\nsend\nquit\nEND\n",
            self.calls_file().display(),
            self.knot.address().ip(),
            self.knot.address().port(),
        );
        fs::write(&script, text).expect("our own folder");
        let lines = format!(
            "provider = \"exec\"\ncommand = [\"/bin/sh\", \"{}\"]",
            script.display()
        );
        self.provider(&lines);
    }

    fn calls_file(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    /// The values that the hook was called with for `present` or `cleanup`, in order.
    pub(in crate::acme) fn hook_calls(&self, verb: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.calls_file()).unwrap_or_default();
        let of = |line: &str| Some(line.strip_prefix(verb)?.trim().to_owned());
        calls.lines().filter_map(of).collect()
    }

    fn write_config(&self) {
        fs::write(self.config_file(), &self.config).expect("our own folder");
    }

    pub(in crate::acme) fn config_file(&self) -> PathBuf {
        self.folder.path().join("portico.toml")
    }

    /// The state directory.
    pub(in crate::acme) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The directory of a lineage.
    pub(in crate::acme) fn lineage(&self, domain: &str) -> PathBuf {
        self.state().join("certs").join(domain)
    }

    /// It is so many seconds later than at the start, here and at the CA.
    pub(in crate::acme) fn at(&self, seconds: i64) {
        self.clock(seconds);
        self.proxy.skew(seconds);
    }

    /// This machine's clock alone is so many seconds ahead.
    pub(in crate::acme) fn clock(&self, seconds: i64) {
        self.ahead.set(seconds);
    }

    /// The program with these arguments, at the time that it is.
    pub(in crate::acme) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .args(args)
            .arg("--config")
            .arg(self.config_file())
            .stdin(Stdio::null());
        if self.ahead.get() != 0 {
            command.envs(faketime(&format!("{:+}s", self.ahead.get())));
        }
        command
    }

    /// Runs `portico` with these arguments.
    pub(in crate::acme) fn portico(&self, args: &[&str]) -> Run {
        run(self.command(args))
    }

    /// What the timer does.
    pub(in crate::acme) fn renew(&self) -> Run {
        self.portico(&["cert", "renew"])
    }

    /// What an operator does who will not wait.
    pub(in crate::acme) fn force(&self) -> Run {
        self.portico(&["cert", "renew", "--force"])
    }

    /// `cert status` of a domain.
    pub(in crate::acme) fn status(&self, domain: &str) -> Value {
        let run = self.portico(&["cert", "status", "--json"]).ends(DONE);
        let all: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let all = all
            .as_array()
            .cloned()
            .unwrap_or_else(|| all["certificates"].as_array().cloned().expect("a list"));
        let found = all.into_iter().find(|status| status["domain"] == domain);
        found.expect("the domain's status")
    }

    /// The serial number of the certificate in use; none if there is none.
    pub(in crate::acme) fn serial(&self) -> Option<String> {
        self.status(DOMAIN)["serial"].as_str().map(str::to_owned)
    }

    /// The names of the generations in the store, in order.
    pub(in crate::acme) fn generations(&self) -> Vec<String> {
        let Ok(all) = fs::read_dir(self.lineage(DOMAIN).join("gen")) else {
            return Vec::new();
        };
        let mut all: Vec<String> = all
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| !name.starts_with('.'))
            .collect();
        all.sort();
        all
    }

    /// The certificate in use with its key, proven to be a pair for both names; fails the test otherwise.
    #[track_caller]
    pub(in crate::acme) fn pair(&self) -> Bundle {
        let current = self.lineage(DOMAIN).join("current");
        let read = |name: &str| fs::read(current.join(name)).expect("a file of the pair");
        let bundle = Bundle::parse(&read("fullchain.pem"), &read("privkey.pem")).expect("a pair");
        let names: Vec<String> = bundle.names().iter().map(ToString::to_string).collect();
        assert!(
            names.contains(&DOMAIN.to_owned()) && names.contains(&format!("*.{DOMAIN}")),
            "{names:?}"
        );
        bundle
    }

    /// Pebble forgets everything.
    pub(in crate::acme) fn restart_pebble(&mut self) {
        self.pebble.forget();
    }

    /// The TXT values left in the zone.
    pub(in crate::acme) fn left_in_dns(&self) -> Vec<String> {
        self.knot.txt(&format!("_acme-challenge.{DOMAIN}"))
    }
}

/// Runs a command to its end.
pub(in crate::acme) fn run(mut command: Command) -> Run {
    let start = Instant::now();
    let done = command.output().expect("the program runs");
    let run = Run {
        code: done.status.code(),
        signal: done.status.signal(),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        took: start.elapsed(),
    };
    // Shown only when the test fails.
    eprintln!("{:?} after {:?}: {}", run.code, run.took, run.text());
    run
}

/// The environment that shifts a program's wall clock, and nothing else of it.
pub(in crate::acme) fn faketime(spec: &str) -> [(&'static str, String); 5] {
    [
        ("LD_PRELOAD", program::faketime().display().to_string()),
        ("FAKETIME", spec.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
}

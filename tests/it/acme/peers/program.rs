//! The three programs, each as its manual says: a certificate for the apex and the wildcard by RFC 2136.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::net::{DOMAIN, Net};
use crate::support::child::Child;
use crate::support::knot::{KEY_NAME, KEY_SECRET};
use crate::support::program;

const WILDCARD: &str = "*.example.test";

/// No run takes longer: what is not done then hangs. Above the longest wait that any of the programs has in a case.
const LIMIT: Duration = Duration::from_secs(240);

/// Between two looks at a program that runs.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Portico,
    Lego,
    Certbot,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct End {
    /// None: it was killed, by the limit or by the case.
    pub(super) code: Option<i32>,
    pub(super) hung: bool,
    pub(super) took: Duration,
    pub(super) text: String,
}

impl End {
    pub(super) fn good(&self) -> bool {
        self.code == Some(0)
    }

    pub(super) fn word(&self) -> &'static str {
        match (self.good(), self.hung) {
            (true, _) => "issued",
            (false, true) => "hung",
            (false, false) => "failed",
        }
    }
}

impl Program {
    pub(super) const ALL: [Self; 3] = [Self::Portico, Self::Lego, Self::Certbot];

    fn command(self, net: &Net) -> Command {
        let url = net.proxy.directory_url();
        match self {
            Self::Portico => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
                command
                    .args(["cert", "renew", "--config"])
                    .arg(net.config_file());
                command
            }
            Self::Lego => {
                let mut command = Command::new(program::system("lego"));
                command
                    .args(["--accept-tos", "--email", "ops@example.test", "--server"])
                    .args([&url, "--dns", "rfc2136", "--domains", DOMAIN])
                    .args(["--domains", WILDCARD, "--path"])
                    .arg(net.file("lego"))
                    .arg("run")
                    .env("LEGO_CA_CERTIFICATES", net.proxy.ca_file())
                    .env("RFC2136_NAMESERVER", net.authority.address().to_string())
                    .env("RFC2136_TSIG_KEY", KEY_NAME)
                    .env("RFC2136_TSIG_SECRET", KEY_SECRET)
                    .env("RFC2136_TSIG_ALGORITHM", "hmac-sha256.")
                    // Between two names; its default of a minute would say nothing of the cases.
                    .env("RFC2136_SEQUENCE_INTERVAL", "1");
                command
            }
            Self::Certbot => {
                let mut command = Command::new(program::system("certbot"));
                command
                    .args(["certonly", "-n", "--agree-tos", "-m", "ops@example.test"])
                    .args(["--server", &url, "--dns-rfc2136"])
                    .arg("--dns-rfc2136-credentials")
                    .arg(net.credentials())
                    .args(["--dns-rfc2136-propagation-seconds", net.pause, "-d", DOMAIN])
                    .args(["-d", WILDCARD]);
                for folder in ["--config-dir", "--work-dir", "--logs-dir"] {
                    command.arg(folder).arg(net.file("certbot"));
                }
                command.env("REQUESTS_CA_BUNDLE", net.proxy.ca_file());
                command
            }
        }
    }

    /// Starts it.
    pub(super) fn start(self, net: &Net) -> Trial {
        let mut command = self.command(net);
        command.stdin(Stdio::null()).current_dir(net.folder());
        Trial {
            child: Child::spawn(&format!("{self:?}"), command),
            start: Instant::now(),
        }
    }

    /// Runs it to its end, or to the limit.
    pub(super) fn run(self, net: &Net) -> End {
        self.start(net).watch(|| {})
    }
}

/// A run that is under way; the program and its children end with it.
pub(super) struct Trial {
    child: Child,
    start: Instant,
}

impl Trial {
    /// Waits for the end, and has a look at something meanwhile.
    pub(super) fn watch(mut self, mut look: impl FnMut()) -> End {
        while self.goes_on() {
            look();
            std::thread::sleep(TICK);
        }
        self.end()
    }

    /// Kills it (`SIGKILL`) as soon as `here` says so; false if it ended or hung before.
    pub(super) fn kill_when(mut self, mut here: impl FnMut() -> bool) -> (bool, End) {
        let mut killed = false;
        while self.goes_on() && !killed {
            if here() {
                self.child.signal(Signal::KILL);
                self.child.wait_exit();
                killed = true;
            } else {
                std::thread::sleep(TICK);
            }
        }
        (killed, self.end())
    }

    fn goes_on(&mut self) -> bool {
        self.child.exited().is_none() && self.start.elapsed() < LIMIT
    }

    fn end(mut self) -> End {
        let took = self.start.elapsed();
        let hung = self.child.exited().is_none();
        if hung {
            self.child.signal(Signal::KILL);
        }
        let status = self.child.wait_exit();
        let text = self.child.log();
        // For the log of the whole run.
        eprintln!("{status} after {took:?}:\n{text}");
        End {
            code: status.code(),
            hung,
            took,
            text,
        }
    }
}

//! Unbound as the recursor: what a machine's resolver is, and what a certificate authority asks through. It has a
//! cache, negative answers included, and can be given an internal view.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::child::Child;
use super::{dns, port, program};

/// A running unbound.
pub(crate) struct Unbound {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Unbound {
    /// Resolves each zone at its server; knows nothing else.
    pub(crate) fn start(stubs: &[(&str, SocketAddr)]) -> Self {
        Self::with(stubs, "")
    }

    /// The same with lines of its own in the section `server:` (`local-zone: …`, `local-data: …`).
    pub(crate) fn with(stubs: &[(&str, SocketAddr)], server: &str) -> Self {
        Self::at(port::local(port::free()), stubs, server)
    }

    /// The same at an address of loopback.
    pub(crate) fn at(address: SocketAddr, stubs: &[(&str, SocketAddr)], server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = format!(
            "server:\n  interface: {ip}\n  port: {port}\n  do-daemonize: no\n  use-syslog: no\n  logfile: \"\"\n  \
             username: \"\"\n  chroot: \"\"\n  directory: \"{dir}\"\n  pidfile: \"\"\n  num-threads: 1\n  \
             do-not-query-localhost: no\n  module-config: \"iterator\"\n  local-zone: \"test.\" nodefault\n  \
             cache-max-negative-ttl: 60\n  qname-minimisation: no\n  access-control: 127.0.0.0/8 allow\n{server}",
            ip = address.ip(),
            port = address.port(),
            dir = folder.path().display(),
        );
        for (zone, server) in stubs {
            let _ = write!(
                config,
                "stub-zone:\n  name: \"{zone}\"\n  stub-addr: {}@{}\n",
                server.ip(),
                server.port()
            );
        }
        config.push_str("remote-control:\n  control-enable: no\n");
        let file = folder.path().join("unbound.conf");
        fs::write(&file, &config).expect("our own folder");
        let mut command = Command::new(program::system("unbound"));
        command.arg("-d").arg("-c").arg(&file);
        let child = Child::spawn("unbound", command)
            .ready(|| stubs.iter().all(|(zone, _)| dns::resolves(address, zone)));
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

    /// The TXT values that it gives for a name, sorted.
    pub(crate) fn txt(&self, name: &str) -> Vec<String> {
        dns::txt(self.address, name)
    }
}

//! `curl`: a client nobody here wrote.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::program;

/// A call of curl being put together.
pub(crate) struct Curl {
    command: Command,
    base: String,
}

impl Curl {
    /// Resolves `host` to `address` and trusts the roots in `ca`.
    pub(crate) fn new(host: &str, address: SocketAddr, ca: &Path) -> Self {
        let port = address.port();
        let mut command = Command::new(program::system("curl"));
        // `-q` first: no .curlrc; and no proxy settings of the machine.
        command.args([
            "-q",
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "20",
        ]);
        command
            .arg("--cacert")
            .arg(ca)
            .arg("--resolve")
            .arg(format!("{host}:{port}:{}", address.ip()));
        command.stdin(Stdio::null());
        Self {
            command,
            base: format!("https://{host}:{port}"),
        }
    }

    /// Any of curl's own arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// Runs it for `path`; blocks until curl is done.
    pub(crate) fn run(mut self, path: &str) -> CurlOutput {
        let output = self
            .command
            .arg(format!("{}{path}", self.base))
            .output()
            .expect("curl runs");
        CurlOutput {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// What curl said; code 0 is success (60: certificate not trusted, 35: handshake failed).
#[derive(Debug)]
pub(crate) struct CurlOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

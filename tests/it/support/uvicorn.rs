//! uvicorn with an ASGI application of the tests.

use std::process::Command;

use rustix::process::Signal;

use super::child::Child;
use super::{port, probe, program};

/// A running uvicorn; keep-alive is 5 s as by default.
pub(crate) struct Uvicorn {
    address: String,
    child: Child,
}

impl Uvicorn {
    /// Runs `app` (as in `hostile_app:asgi`) on a free port and waits until `path` answers 200.
    pub(crate) fn start(app: &str, path: &str) -> Self {
        let address = port::local(port::free());
        let mut command = Command::new(program::venv("uvicorn"));
        command
            .arg("--app-dir")
            .arg(program::support_file(""))
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--no-access-log", "--log-level", "warning", app])
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let child = Child::spawn("uvicorn", command)
            .farewell(Signal::TERM)
            .ready(|| probe::get(address, path).is_ok_and(|(status, _)| status == 200));
        Self {
            address: address.to_string(),
            child,
        }
    }

    /// For `[upstream] servers`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.child.log()
    }
}

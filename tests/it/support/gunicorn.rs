//! gunicorn with the small WSGI application of `app.py`: what most of our users have behind them.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::child::Child;
use super::{port, probe, program};

/// What a gunicorn shall be like: `Gunicorn::worker("gthread").keep_alive(5).tcp()`.
pub(crate) struct GunicornBuilder {
    worker: String,
    keep_alive: u32,
    app: &'static str,
    ready: &'static str,
    args: Vec<String>,
}

impl GunicornBuilder {
    /// Seconds to keep an idle connection (`sync` workers never keep one).
    pub(crate) fn keep_alive(mut self, seconds: u32) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// Another application than the one of `app.py`; it is ready when `path` answers 200.
    pub(crate) fn app(mut self, app: &'static str, path: &'static str) -> Self {
        (self.app, self.ready) = (app, path);
        self
    }

    /// Any other argument of gunicorn's.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Starts it on a free port.
    pub(crate) fn tcp(self) -> Gunicorn {
        let address = port::local(port::free());
        let ready = self.ready;
        self.start(address.to_string(), move |_| probe::get(address, ready))
    }

    /// Starts it on a Unix socket.
    pub(crate) fn unix(self) -> Gunicorn {
        let ready = self.ready;
        self.start("unix:".to_owned(), move |socket| {
            probe::get_unix(socket, ready)
        })
    }

    fn start(
        self,
        mut address: String,
        get: impl Fn(&std::path::Path) -> io::Result<(u16, String)>,
    ) -> Gunicorn {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("gunicorn.sock");
        if address == "unix:" {
            address.push_str(&socket.display().to_string());
        }
        let mut command = Command::new(program::venv("gunicorn"));
        command.arg("--pythonpath").arg(program::support_file(""));
        command.args(["--bind", &address, "--worker-class", &self.worker]);
        command.args([
            "--keep-alive",
            &self.keep_alive.to_string(),
            "--threads",
            "4",
        ]);
        command.args(["--no-control-socket", "--worker-tmp-dir", "/dev/shm"]);
        command.args(self.args).arg(self.app);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(folder.path());
        let child = Child::spawn("gunicorn", command)
            .farewell(Signal::QUIT)
            .ready(|| get(&socket).is_ok_and(|(status, _)| status == 200));
        Gunicorn {
            address,
            socket,
            child,
            folder,
        }
    }
}

/// A running gunicorn.
pub(crate) struct Gunicorn {
    address: String,
    socket: PathBuf,
    child: Child,
    folder: TempDir,
}

impl Gunicorn {
    /// With workers of this class: `sync`, `gthread` …; keep-alive is 2 s as by default.
    pub(crate) fn worker(class: &str) -> GunicornBuilder {
        GunicornBuilder {
            worker: class.to_owned(),
            keep_alive: 2,
            app: "app:application",
            ready: "/",
            args: Vec::new(),
        }
    }

    /// For `[upstream] servers`: `127.0.0.1:PORT` or `unix:PATH`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The path of its Unix socket.
    pub(crate) fn socket(&self) -> &std::path::Path {
        assert!(
            self.address.starts_with("unix:"),
            "this gunicorn listens on TCP"
        );
        &self.socket
    }

    /// What gunicorn has logged.
    pub(crate) fn log(&self) -> String {
        self.child.log()
    }
}

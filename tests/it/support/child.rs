//! A child process whose output is kept, which ends with the test.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::wait;

/// How long a child that was asked to end by a signal may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The child; dropping it ends the process and its own children, and prints the log if the test is failing.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    stdout: Log,
    stderr: Log,
    ended: Option<ExitStatus>,
    farewell: Signal,
}

impl Child {
    /// Starts `command` with no input and both outputs captured.
    pub(crate) fn spawn(name: &str, mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let stdout = Log::follow(process.stdout.take().expect("piped above"));
        let stderr = Log::follow(process.stderr.take().expect("piped above"));
        Self {
            name: name.to_owned(),
            process,
            stdout,
            stderr,
            ended: None,
            farewell: Signal::KILL,
        }
    }

    /// The signal that asks this program to end at once but cleanly (for those with workers of their own).
    pub(crate) fn farewell(mut self, signal: Signal) -> Self {
        self.farewell = signal;
        self
    }

    /// Waits until `probe` says yes; fails at once when the child ends before.
    pub(crate) fn ready(mut self, mut probe: impl FnMut() -> bool) -> Self {
        let what = format!("{} becomes ready", self.name);
        wait::until(&what, || {
            if let Some(status) = self.exited() {
                panic!(
                    "{} ended before it was ready: {status}\n{}",
                    self.name,
                    self.log()
                );
            }
            probe().then_some(())
        });
        self
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to this process only.
    pub(crate) fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "{} has ended already", self.name);
        send(self.process.id(), signal);
    }

    /// How the process ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() && self.reap().is_some() {
            self.finish_logs();
        }
        self.ended
    }

    fn reap(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait().expect("our own child");
        }
        self.ended
    }

    fn finish_logs(&mut self) {
        self.stdout.finish();
        self.stderr.finish();
    }

    /// Waits for the end of the process; both logs are complete then.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait::until(&what, || self.exited())
    }

    /// Everything written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Both outputs, for people.
    pub(crate) fn log(&self) -> String {
        format!("{}{}", self.stdout(), self.stderr())
    }

    /// Waits until either output contains `text`.
    pub(crate) fn wait_log(&mut self, text: &str) {
        let what = format!("{} logs {text:?}", self.name);
        wait::until(&what, || {
            let over = self.exited().is_some();
            let found = self.log().contains(text);
            assert!(
                found || !over,
                "{} ended and never logged {text:?}",
                self.name
            );
            found.then_some(())
        });
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.reap().is_none() {
            let descendants = descendants(self.process.id());
            send(self.process.id(), self.farewell);
            let start = Instant::now();
            while self.reap().is_none() && start.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
            if self.ended.is_none() {
                let _ = self.process.kill();
                self.ended = self.process.wait().ok();
            }
            for pid in descendants {
                send(pid, Signal::KILL);
            }
        }
        self.finish_logs();
        if std::thread::panicking() {
            let end = self.ended.map_or_else(
                || "lost".to_owned(),
                |status| {
                    status
                        .signal()
                        .map_or_else(|| status.to_string(), |signal| format!("signal {signal}"))
                },
            );
            eprintln!(
                "--- log of {} ({end}) ---\n{}--- end of the log ---",
                self.name,
                self.log()
            );
        }
    }
}

/// A signal to one process; that it is gone already is fine.
fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    let _ = kill_process(pid, signal);
}

/// The children of a process and theirs, as the kernel lists them.
fn descendants(pid: u32) -> Vec<u32> {
    let list =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = list
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect();
    let below: Vec<u32> = children.iter().copied().flat_map(descendants).collect();
    [children, below].concat()
}

/// What a pipe has brought so far.
#[derive(Debug)]
struct Log {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    fn follow(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                sink.lock()
                    .expect("never held over a panic")
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        self.text.lock().expect("never held over a panic").clone()
    }

    /// Reads the rest, after the process ended. A grandchild may hold the pipe open, so not for ever.
    fn finish(&mut self) {
        let start = Instant::now();
        while self
            .reader
            .as_ref()
            .is_some_and(|reader| !reader.is_finished())
        {
            if start.elapsed() > PATIENCE {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.reader = None;
    }
}

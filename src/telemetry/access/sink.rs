//! The writer thread of the access log: the only place that waits for the disk or the pipe.
//!
//! It ends when it is told to stop or when the last sender is gone, after writing what is queued. Failures lose lines,
//! are counted, and are reported at most once a minute; it never gives up.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::KEEP;

/// Losses are reported at most this often.
const REPORT: Duration = Duration::from_secs(60);
/// How long a pipe that would block (another process made it non-blocking) may stay full.
const FULL_PIPE: Duration = Duration::from_secs(5);

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessSink {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to; created with mode 0640, because it holds addresses of people.
    File(PathBuf),
}

impl AccessSink {
    pub(super) fn open(&self) -> io::Result<Option<File>> {
        match self {
            Self::Off => Ok(None),
            // A duplicate, so that writes go past the lock and the buffer of `io::stdout`.
            Self::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned()?;
                Ok(Some(File::from(stdout)))
            }
            Self::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path)
                .map(Some),
        }
    }
}

/// What the writer thread is sent.
pub(super) enum Message {
    Batch(Batch),
    /// Look at [`Shared`].
    Wake,
}

/// Whole lines from one worker.
pub(super) struct Batch {
    pub(super) lines: Vec<u8>,
    pub(super) records: u64,
    /// Where the buffer goes back.
    pub(super) home: SyncSender<Vec<u8>>,
}

/// What the log's owner, the workers and the thread share beside the channel.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// A file to go on with. Locked for the time of a move only; workers never touch it.
    next: Mutex<Option<File>>,
    pub(super) stop: AtomicBool,
    /// Records that workers dropped; written only when that happens.
    pub(super) dropped: AtomicU64,
    /// Records that could not be written.
    pub(super) lost: AtomicU64,
}

impl Shared {
    pub(super) fn switch_to(&self, file: File) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    fn take_next(&self) -> Option<File> {
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// The state of the writer thread.
pub(super) struct Sink {
    file: File,
    /// The last write ended within a line.
    torn: bool,
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    report: Report,
}

impl Sink {
    pub(super) fn new(file: File, messages: Receiver<Message>, shared: Arc<Shared>) -> Self {
        Self {
            file,
            torn: false,
            messages,
            shared,
            report: Report::default(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            match self.messages.recv_timeout(REPORT) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.report.if_due(&self.shared);
            if self.shared.stop.load(Relaxed) {
                while let Ok(message) = self.messages.try_recv() {
                    self.take(message);
                }
                break;
            }
        }
        self.report.print(&self.shared);
    }

    fn take(&mut self, message: Message) {
        if let Some(file) = self.shared.take_next() {
            self.file = file;
            self.torn = false;
        }
        let Message::Batch(batch) = message else {
            return;
        };
        if let Err(error) = self.write(&batch.lines) {
            self.shared.lost.fetch_add(batch.records, Relaxed);
            self.report.last_error = Some(error);
        }
        let mut lines = batch.lines;
        if lines.capacity() <= KEEP {
            lines.clear();
            // If the worker has ended or has enough, the buffer is freed.
            drop(batch.home.try_send(lines));
        }
    }

    /// Writes whole lines; after a torn write the next one begins with a line break, so that one loss stays one.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_all(b"\n")?;
            self.torn = false;
        }
        self.write_all(lines)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut deadline = None;
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.torn = !bytes.is_empty();
                    deadline = None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let end = *deadline.get_or_insert_with(|| Instant::now() + FULL_PIPE);
                    if Instant::now() >= end || self.shared.stop.load(Relaxed) {
                        return Err(error);
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Tells of losses, the first at once and then at most once a minute.
#[derive(Default)]
struct Report {
    at: Option<Instant>,
    dropped: u64,
    lost: u64,
    last_error: Option<io::Error>,
}

impl Report {
    fn if_due(&mut self, shared: &Shared) {
        if self.at.is_none_or(|at| at.elapsed() >= REPORT) {
            self.print(shared);
        }
    }

    fn print(&mut self, shared: &Shared) {
        let (dropped, lost) = (shared.dropped.load(Relaxed), shared.lost.load(Relaxed));
        if (dropped, lost) == (self.dropped, self.lost) {
            return;
        }
        let error = self.last_error.take().map(|error| error.to_string());
        tracing::warn!(
            dropped = dropped - self.dropped,
            lost = lost - self.lost,
            error,
            "records are missing from the access log"
        );
        (self.dropped, self.lost) = (dropped, lost);
        self.at = Some(Instant::now());
    }
}

//! The thread that puts the workers' sums together: the only place here that waits for the disk.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::top::Top;
use super::usage::{self, Usage};
use super::{Message, Sums, Tally, Writer};

/// How often the choice of the busiest is looked at.
const TURN: Duration = Duration::from_secs(1);
/// Hand-overs that may wait.
const QUEUE: usize = 64;
/// Failures are reported at most this often.
const REPORT: Duration = Duration::from_secs(60);

/// Why nothing can be collected.
#[derive(Debug, Error)]
pub enum StartError {
    /// The file of the record.
    #[error(
        "cannot open the record of usage: {0}\n  hint: the directory must exist and be writable for this user, and no other process may write the file; see `usage.file`"
    )]
    File(#[source] io::Error),
    /// The thread.
    #[error("cannot start the thread that collects usage: {0}")]
    Thread(#[source] io::Error),
}

/// What to collect.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How many tenants have series.
    pub top: usize,
    /// The file of the record, if there is to be one.
    pub file: Option<PathBuf>,
    /// How often it is written.
    pub interval: Duration,
    /// Tells this run of the process from all others.
    pub instance: String,
}

/// The owner of the thread. Shared with the admin listener.
#[derive(Debug)]
pub struct Collector {
    queue: Option<SyncSender<Message>>,
    file: Option<PathBuf>,
    shared: Arc<Shared>,
    lost: Arc<AtomicU64>,
    /// Taken once, at the end.
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Held for a copy, by the thread and by a scrape; no worker touches it.
    rows: Mutex<Vec<(Arc<str>, Tally)>>,
}

impl Collector {
    /// Opens the file and starts the thread; neither if nothing is to be collected.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(setting: Setting) -> Result<Self, StartError> {
        let mut collector = Self {
            queue: None,
            file: setting.file.clone(),
            shared: Arc::default(),
            lost: Arc::default(),
            thread: Mutex::default(),
        };
        if setting.top == 0 && setting.file.is_none() {
            return Ok(collector);
        }
        let usage = match &setting.file {
            Some(path) => {
                let file = usage::open(path).map_err(StartError::File)?;
                Some(Usage::new(file, setting.instance))
            }
            None => None,
        };
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let work = Work {
            messages,
            top: Top::new(setting.top),
            usage,
            interval: setting.interval,
            shared: Arc::clone(&collector.shared),
            lost: Arc::clone(&collector.lost),
            reported: None,
        };
        let thread = thread::Builder::new()
            .name("usage".to_owned())
            .spawn(move || work.run())
            .map_err(StartError::Thread)?;
        collector.queue = Some(queue);
        collector.thread = Mutex::new(Some(thread));
        Ok(collector)
    }

    /// The sums of one more worker.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer {
            queue: self.queue.clone(),
            sums: Sums::default(),
            lost: Arc::clone(&self.lost),
        }
    }

    /// The series of the busiest tenants, the others last; about a second old.
    #[must_use]
    pub fn rows(&self) -> Vec<(Arc<str>, Tally)> {
        let rows = self.shared.rows.lock();
        rows.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests that are in no sum because it could be put nowhere.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Opens the file by its path again, for logrotate. Not for a worker: it opens a file.
    ///
    /// # Errors
    /// The file cannot be opened; the record goes on in the one that is open.
    pub fn reopen(&self) -> io::Result<()> {
        let (Some(queue), Some(path)) = (&self.queue, &self.file) else {
            return Ok(());
        };
        match usage::open(path) {
            Ok(file) => match queue.try_send(Message::Reopen(file)) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
            },
            // It is the one that is open, and locked by us.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes what has been handed over and ends the thread. Every [`Writer`] has to be dropped before. Waits at most
    /// `patience`; returns whether the thread has ended.
    #[must_use]
    pub fn close(&self, patience: Duration) -> bool {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (Some(thread), Some(queue)) = (thread, &self.queue) else {
            return true;
        };
        let end = Instant::now() + patience;
        let mut told = false;
        while !thread.is_finished() {
            told = told || queue.try_send(Message::Stop).is_ok();
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        thread.join().is_ok()
    }
}

/// The state of the thread.
struct Work {
    messages: Receiver<Message>,
    top: Top,
    usage: Option<Usage>,
    interval: Duration,
    shared: Arc<Shared>,
    lost: Arc<AtomicU64>,
    reported: Option<Instant>,
}

impl Work {
    fn run(mut self) {
        let mut turn = Instant::now() + TURN;
        let mut flush = Instant::now() + self.interval;
        self.publish();
        loop {
            let next = turn.min(flush).saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(next) {
                Ok(Message::Sums(sums)) => self.add(&sums),
                Ok(Message::Reopen(file)) => {
                    if let Some(usage) = &mut self.usage {
                        usage.switch(file);
                    }
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= turn {
                turn = now + TURN;
                self.top.turn();
                self.publish();
            }
            if now >= flush {
                flush = now + self.interval;
                self.flush();
            }
        }
        self.flush();
    }

    fn add(&mut self, sums: &Sums) {
        self.top.add(sums);
        let Some(usage) = &mut self.usage else {
            return;
        };
        let lost = usage.add(sums);
        let full = usage.is_full();
        if lost > 0 {
            self.lost.fetch_add(lost, Relaxed);
        }
        if full {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(Err(error)) = self.usage.as_mut().map(Usage::flush) else {
            return;
        };
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT) {
            self.reported = Some(Instant::now());
            tracing::error!(
                %error,
                "the record of usage cannot be written; its sums are kept for the next attempt\nhint: look at the disk of \
                 `usage.file`"
            );
        }
    }

    fn publish(&self) {
        let rows = self.top.rows();
        *self
            .shared
            .rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

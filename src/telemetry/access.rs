//! The access log: one JSON line per request.
//!
//! A worker renders each record into a buffer of its own and hands full buffers to one writer thread over a bounded
//! channel. A worker never waits for the disk: if the channel is full, the buffer is dropped and its records are
//! counted. What is not known is left out of the line, so a reader tests for the key.
//!
//! Assumes that the worker calls [`AccessWriter::flush`] about once a second; without it the last records of a quiet
//! worker stay in memory.

mod line;
mod privacy;
mod sink;

use std::fs::File;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use self::privacy::Privacy;
pub use self::sink::AccessSink;
use self::sink::{Batch, Message, Shared, Sink};
use crate::clock::UnixMillis;

/// A buffer of this size is handed over without waiting for the tick.
const HAND_OVER: usize = 32 * 1024;
/// Room for the record that crosses the mark.
const BUFFER: usize = HAND_OVER + 4 * 1024;
/// A buffer that one huge record has grown beyond this is not used again.
const KEEP: usize = 4 * BUFFER;
/// Buffers that may wait for the disk, over all workers: about 8 MiB.
const QUEUE: usize = 256;
/// Empty buffers that may wait for their worker.
const SPARE: usize = 4;
/// How long a worker that ends waits for room in the channel.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// What is known of a request when its response has ended.
#[derive(Debug, Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When the request's head had been read.
    pub started: UnixMillis,
    /// The client, after the PROXY protocol.
    pub client: IpAddr,
    /// The tenant, once resolved.
    pub tenant: Option<&'a str>,
    /// The host that was asked for, once known to be valid.
    pub host: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// Path and query as received.
    pub path: &'a [u8],
    /// The version of HTTP.
    pub protocol: super::Protocol,
    /// The status sent; 0 if the client left before one was.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// From [`Self::started`] to the end of the response.
    pub duration_us: u64,
    /// The app server that answered.
    pub upstream: Option<&'a str>,
    /// Until the head of the app server's answer.
    pub upstream_us: Option<u64>,
    /// The request's id, as sent to the app server.
    pub request_id: &'a str,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// Version of TLS, as in `TLSv1.3`.
    pub tls: Option<&'a str>,
    /// The label of the error that Portico answered itself.
    pub error: Option<&'static str>,
}

impl AccessRecord<'_> {
    fn append(&self, out: &mut Vec<u8>, stamp: &mut line::Stamp, privacy: Privacy) {
        let optional = |out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>| {
            if let Some(value) = value {
                out.extend_from_slice(key);
                line::text(out, value);
                out.push(b'"');
            }
        };
        let number = |out: &mut Vec<u8>, key: &[u8], value: u64| {
            out.extend_from_slice(key);
            line::number(out, value);
        };
        out.extend_from_slice(b"{\"time\":\"");
        stamp.append(out, self.started);
        out.extend_from_slice(b"\",\"client\":\"");
        line::address(out, privacy.mask(self.client));
        out.push(b'"');
        optional(out, b",\"tenant\":\"", self.tenant.map(str::as_bytes));
        optional(out, b",\"host\":\"", self.host.map(str::as_bytes));
        optional(out, b",\"method\":\"", Some(self.method.as_bytes()));
        optional(out, b",\"path\":\"", Some(privacy.cut(self.path)));
        out.extend_from_slice(b",\"protocol\":\"");
        out.extend_from_slice(self.protocol.as_str().as_bytes());
        number(out, b"\",\"status\":", u64::from(self.status));
        number(out, b",\"bytes_in\":", self.bytes_in);
        number(out, b",\"bytes_out\":", self.bytes_out);
        number(out, b",\"duration_us\":", self.duration_us);
        optional(out, b",\"upstream\":\"", self.upstream.map(str::as_bytes));
        if let Some(micros) = self.upstream_us {
            number(out, b",\"upstream_us\":", micros);
        }
        optional(out, b",\"request_id\":\"", Some(self.request_id.as_bytes()));
        optional(out, b",\"user_agent\":\"", self.user_agent);
        let referer = self.referer.map(|referer| privacy.cut(referer));
        optional(out, b",\"referer\":\"", referer);
        optional(out, b",\"tls\":\"", self.tls.map(str::as_bytes));
        optional(out, b",\"error\":\"", self.error.map(str::as_bytes));
        out.extend_from_slice(b"}\n");
    }
}

/// The access log of one worker. It may move to another thread but not be shared.
#[derive(Debug)]
pub struct AccessWriter {
    link: Option<Link>,
    lines: Vec<u8>,
    records: u64,
    dropped: u64,
    stamp: line::Stamp,
    privacy: Privacy,
}

/// A worker's way to the writer thread and back.
#[derive(Debug)]
struct Link {
    queue: SyncSender<Message>,
    /// Given to the writer thread with each batch, for the way back.
    home: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
}

impl AccessWriter {
    /// Whether records are written at all; if not, the caller need not gather one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.link.is_some()
    }

    /// Adds a record.
    pub fn write(&mut self, record: &AccessRecord<'_>) {
        if self.link.is_none() {
            return;
        }
        record.append(&mut self.lines, &mut self.stamp, self.privacy);
        self.records += 1;
        if self.lines.len() >= HAND_OVER {
            self.flush();
        }
    }

    /// Hands what has gathered to the writer thread. Never waits.
    pub fn flush(&mut self) {
        self.hand_over(None);
    }

    /// Records dropped so far because the writer thread was behind.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn hand_over(&mut self, deadline: Option<Instant>) {
        let Some(link) = &self.link else { return };
        if self.records == 0 {
            return;
        }
        let empty = link
            .spare
            .try_recv()
            .unwrap_or_else(|_none| Vec::with_capacity(BUFFER));
        let records = mem::take(&mut self.records);
        let lines = mem::replace(&mut self.lines, empty);
        let mut message = Message::Batch(Batch {
            lines,
            records,
            home: link.home.clone(),
        });
        loop {
            message = match link.queue.try_send(message) {
                Ok(()) => return,
                Err(TrySendError::Full(message))
                    if deadline.is_some_and(|end| Instant::now() < end) =>
                {
                    message
                }
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.dropped += records;
                    link.shared.dropped.fetch_add(records, Relaxed);
                    return;
                }
            };
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for AccessWriter {
    /// The worker serves no more, so the last lines may wait for a moment.
    fn drop(&mut self) {
        self.hand_over(Some(Instant::now() + LAST_FLUSH));
    }
}

/// The access log of the process: owner of the writer thread.
#[derive(Debug)]
pub struct AccessLog {
    sink: AccessSink,
    privacy: Privacy,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl AccessLog {
    /// Opens the sink and starts the writer thread; [`AccessSink::Off`] does neither.
    ///
    /// # Errors
    /// The file cannot be opened or the thread cannot be started.
    pub fn start(sink: AccessSink, privacy: Privacy) -> io::Result<Self> {
        let running = match sink.open()? {
            None => None,
            Some(file) => Some(Running::start(file)?),
        };
        Ok(Self {
            sink,
            privacy,
            running,
        })
    }

    /// The log of one more worker.
    #[must_use]
    pub fn writer(&self) -> AccessWriter {
        let link = self.running.as_ref().map(|running| {
            let (home, spare) = mpsc::sync_channel(SPARE);
            Link {
                queue: running.queue.clone(),
                home,
                spare,
                shared: Arc::clone(&running.shared),
            }
        });
        let room = if link.is_some() { BUFFER } else { 0 };
        AccessWriter {
            link,
            lines: Vec::with_capacity(room),
            records: 0,
            dropped: 0,
            stamp: line::Stamp::default(),
            privacy: self.privacy,
        }
    }

    /// Opens the file by its path again, for logrotate; the writer thread goes on with it. Not for a worker: it opens
    /// a file.
    ///
    /// # Errors
    /// The file cannot be opened; the log goes on in the one that is open.
    pub fn reopen(&self) -> io::Result<()> {
        if let (Some(running), AccessSink::File(_)) = (&self.running, &self.sink)
            && let Some(file) = self.sink.open()?
        {
            running.shared.switch_to(file);
            running.wake();
        }
        Ok(())
    }

    /// Records lost so far because they could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.running
            .as_ref()
            .map_or(0, |running| running.shared.lost.load(Relaxed))
    }

    /// Writes what has been handed over and ends the writer thread. Every [`AccessWriter`] has to be dropped before, or
    /// what it still holds is lost. Waits at most `patience`; returns whether the thread has ended.
    pub fn close(mut self, patience: Duration) -> bool {
        let Some(running) = self.running.take() else {
            return true;
        };
        let deadline = Instant::now() + patience;
        running.shared.stop.store(true, Relaxed);
        running.wake();
        while !running.thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        running.thread.join().is_ok()
    }
}

impl Running {
    fn start(file: File) -> io::Result<Self> {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let sink = Sink::new(file, messages, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || sink.run())?;
        Ok(Self {
            queue,
            shared,
            thread,
        })
    }

    /// Lets the thread look at [`Shared`]. If the channel is full, the next batch does.
    fn wake(&self) {
        if let Err(TrySendError::Disconnected(_)) = self.queue.try_send(Message::Wake) {
            tracing::error!("the access log's thread has ended");
        }
    }
}

#[cfg(test)]
mod tests;

//! The record of what each tenant has used: a file of JSON lines that only grows.
//!
//! | key | value |
//! |---|---|
//! | `seq` | counts the lines of this process from 1, without a gap |
//! | `instance` | tells this run of the process from all others |
//! | `from`, `to` | the interval (RFC 3339); what ended in it is counted, a long answer when it is over |
//! | `tenant` | its id |
//! | `requests`, `errors`, `limited` | answers in all, of them from 500, of them 429 |
//! | `bytes_in`, `bytes_out` | bodies and tunnels, from and to clients |
//!
//! A tenant may have several lines for one interval: they add up. Each interval is written and synced as a whole, or cut
//! off again and kept for the next one. What a crash leaves of a line is cut off at the next start if it is ours, and ended
//! otherwise. An advisory lock keeps a second process out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{Sums, Tally};
use crate::clock::UnixTime;

/// Tenants in memory: beyond it, they are written before the interval is over.
const MOST: usize = 65_536;
/// Tenants in memory while nothing can be written; beyond it, requests are lost.
const MOST_UNWRITTEN: usize = 4 * MOST;
/// How every line begins.
const BEGIN: &[u8] = b"{\"seq\":";

/// The file and what is not in it yet.
#[derive(Debug)]
pub(super) struct Usage {
    file: File,
    instance: String,
    seq: u64,
    from: UnixTime,
    sums: Sums,
    /// The end of the file could not be mended.
    torn: bool,
}

/// Opens the file, which holds what bills are made of (mode 0640), and mends its end.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    mend(&mut file)?;
    Ok(file)
}

/// Cuts off a line of ours that has no end, and ends any other.
fn mend(file: &mut File) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut start = length;
    let mut tail = Vec::new();
    while start > 0 && !tail.contains(&b'\n') {
        let step = start.min(4096);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        let mut block = vec![0; usize::try_from(step).unwrap_or(0)];
        file.read_exact(&mut block)?;
        block.append(&mut tail);
        tail = block;
    }
    let ended = tail.iter().rposition(|byte| *byte == b'\n');
    let line = ended.map_or(0, |at| at + 1);
    let torn = tail.get(line..).unwrap_or_default();
    if torn.is_empty() {
        return Ok(());
    }
    let ours = torn.iter().zip(BEGIN).all(|(byte, known)| byte == known);
    if ours {
        file.set_len(start + line as u64)
    } else {
        file.write_all(b"\n")
    }
}

impl Usage {
    pub(super) fn new(file: File, instance: String) -> Self {
        Self {
            file,
            instance,
            seq: 0,
            from: UnixTime::now(),
            sums: Sums::default(),
            torn: false,
        }
    }

    /// Goes on in another file.
    pub(super) fn switch(&mut self, file: File) {
        self.file = file;
        self.torn = false;
    }

    /// Adds to the interval. Returns the requests that were lost because nothing can be written.
    pub(super) fn add(&mut self, sums: &Sums) -> u64 {
        let mut lost = 0;
        for (tenant, tally) in sums {
            if let Some(sum) = self.sums.get_mut(tenant) {
                sum.add(tally);
            } else if self.sums.len() < MOST_UNWRITTEN {
                self.sums.insert(tenant.clone(), *tally);
            } else {
                lost += tally.requests;
            }
        }
        lost
    }

    /// Whether it should be written before its time.
    pub(super) fn is_full(&self) -> bool {
        self.sums.len() >= MOST
    }

    /// Ends the interval: writes and syncs it.
    ///
    /// # Errors
    /// Nothing of it is in the file; it goes with the next one.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let to = UnixTime::now();
        if self.sums.is_empty() {
            self.from = to;
            return Ok(());
        }
        let mut text = String::with_capacity(192 * self.sums.len());
        if self.torn {
            text.push('\n');
        }
        let mut seq = self.seq;
        for (tenant, tally) in &self.sums {
            seq += 1;
            self.line(&mut text, seq, to, (tenant, tally));
        }
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(text.as_bytes());
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            self.torn = self.file.set_len(before).is_err();
            return Err(error);
        }
        (self.seq, self.from, self.torn) = (seq, to, false);
        self.sums = Sums::default();
        Ok(())
    }

    fn line(&self, text: &mut String, seq: u64, to: UnixTime, (tenant, tally): (&str, &Tally)) {
        let Tally {
            requests,
            errors,
            limited,
            bytes_in,
            bytes_out,
        } = tally;
        let tenant = serde_json::Value::from(tenant);
        text.push_str(&format!(
            "{{\"seq\":{seq},\"instance\":\"{}\",\"from\":\"{}\",\"to\":\"{to}\",\"tenant\":{tenant},\"requests\":{requests},\
             \"errors\":{errors},\"limited\":{limited},\"bytes_in\":{bytes_in},\"bytes_out\":{bytes_out}}}\n",
            self.instance, self.from
        ));
    }
}

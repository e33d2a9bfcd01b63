//! The register of custom domains: `engine/domains.jsonl`, one line for each change.
//!
//! Only the engine writes it, under a lock that it holds for as long as it works on custom domains; the proxy follows
//! it ([`super::follower`]). A line has a whole entry, so the last one of a host counts. Lines that no later reader needs are
//! dropped now and then by writing the file anew. A torn last line is that of a change that never came to pass.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use super::entry::{Entry, Standing, Trouble};
use crate::cert::disk;
use crate::cert::store::StoreError;
use crate::clock::UnixTime;
use crate::host::Host;

/// Mode of the register: the proxy's group reads it.
const MODE: u32 = 0o640;
/// Orders older than this count for no budget, in seconds.
const MEMORY: i64 = 7 * 86400;
/// Lines beyond twice the entries before the file is written anew.
const SLACK: usize = 1000;

/// An order that was, or is about to be, made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// When.
    pub at: UnixTime,
    /// For which name.
    pub host: String,
    /// Whose.
    pub tenant: String,
    /// Whether it is for a first certificate.
    pub new: bool,
}

/// Counts since the register began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Certificates that were issued.
    pub issued: u64,
    /// Tries that failed.
    pub failed: u64,
}

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// The state of a host.
    Entry(String, Entry),
    /// A host is no longer known.
    Removed(String),
    /// An order.
    Order(Spent),
    /// The last order of this host was not made after all.
    Refund(String),
    /// Counts.
    Totals(Totals),
}

/// What the lines come to.
#[derive(Debug, Default)]
pub struct Content {
    /// The names.
    pub entries: HashMap<Host, Entry, foldhash::fast::RandomState>,
    /// The orders of the last seven days, oldest first.
    pub orders: VecDeque<Spent>,
    /// Counts.
    pub totals: Totals,
    lines: usize,
}

impl Content {
    /// Reads the register of a state directory, as it is at this moment. Needs no lock.
    ///
    /// # Errors
    /// [`StoreError`]; that there is none yet is an empty one.
    pub fn read(state_dir: &Path) -> Result<Self, StoreError> {
        let path = path(state_dir);
        let bytes = disk::read_if_there(&path).map_err(failed("read", &path))?;
        let mut content = Self::default();
        for line in bytes.unwrap_or_default().split(|&byte| byte == b'\n') {
            // A line that is not understood is torn, or of a later version.
            if let Ok(line) = serde_json::from_slice(line) {
                content.apply(line);
            }
        }
        Ok(content)
    }

    fn apply(&mut self, line: Line) {
        self.lines += 1;
        match line {
            Line::Entry(host, entry) => {
                if let Ok(host) = Host::parse(&host) {
                    self.entries.insert(host, entry);
                }
            }
            Line::Removed(host) => {
                if let Ok(host) = Host::parse(&host) {
                    self.entries.remove(&host);
                }
            }
            Line::Order(spent) => self.orders.push_back(spent),
            Line::Refund(host) => {
                if let Some(last) = self.orders.iter().rposition(|spent| spent.host == host) {
                    self.orders.remove(last);
                }
            }
            Line::Totals(totals) => self.totals = totals,
        }
    }
}

/// The register, held by the one engine that may write it.
#[derive(Debug)]
pub struct Register {
    path: PathBuf,
    file: File,
    content: Content,
    _lock: File,
}

impl Register {
    /// Opens the register for writing; none if another engine is at work on custom domains.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(state_dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = path(state_dir);
        let folder = state_dir.join("engine");
        disk::create_dir(&folder, disk::GROUP_DIR).map_err(failed("make", &folder))?;
        let lock_path = folder.join("domains.lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(disk::PRIVATE)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &lock_path)(error)),
        }
        let content = Content::read(state_dir)?;
        let torn = is_torn(&path).map_err(failed("read", &path))?;
        let file = append_to(&path).map_err(failed("open", &path))?;
        let mut register = Self {
            path,
            file,
            content,
            _lock: lock,
        };
        if torn {
            register.rewrite()?;
        }
        Ok(Some(register))
    }

    /// What it holds.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Writes down the state of a host.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put(&mut self, host: &Host, entry: Entry) -> Result<(), StoreError> {
        self.put_all(vec![(host.clone(), entry)])
    }

    /// Writes down the states of many hosts at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_all(&mut self, all: Vec<(Host, Entry)>) -> Result<(), StoreError> {
        let lines = all
            .into_iter()
            .map(|(host, entry)| Line::Entry(host.to_string(), entry));
        self.append(lines.collect())
    }

    /// Forgets a host.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&mut self, host: &Host) -> Result<(), StoreError> {
        self.append(vec![Line::Removed(host.to_string())])
    }

    /// Counts an order, before it is made.
    ///
    /// # Errors
    /// [`StoreError`]; then it must not be made.
    pub fn spend(&mut self, spent: Spent) -> Result<(), StoreError> {
        self.append(vec![Line::Order(spent)])
    }

    /// The last order of this host was not made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn refund(&mut self, host: &Host) -> Result<(), StoreError> {
        self.append(vec![Line::Refund(host.to_string())])
    }

    /// Counts what came of a try.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count(&mut self, issued: bool) -> Result<(), StoreError> {
        let mut totals = self.content.totals;
        let slot = if issued {
            &mut totals.issued
        } else {
            &mut totals.failed
        };
        *slot = slot.saturating_add(1);
        self.append(vec![Line::Totals(totals)])
    }

    /// Forgets orders that count for nothing any more, and writes the file anew if it has become long.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tidy(&mut self, now: UnixTime) -> Result<(), StoreError> {
        self.content
            .orders
            .retain(|spent| now.seconds_since(spent.at).abs() < MEMORY);
        let needed = self.content.entries.len() + self.content.orders.len();
        if self.content.lines > 2 * needed + SLACK {
            self.rewrite()?;
        }
        Ok(())
    }

    fn append(&mut self, lines: Vec<Line>) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for line in &lines {
            write_line(&mut bytes, line).map_err(failed("write", &self.path))?;
        }
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &self.path))?;
        for line in lines {
            self.content.apply(line);
        }
        Ok(())
    }

    /// Writes what counts into a new file, which takes the place of the old one in one step.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        let content = &self.content;
        let entries = content
            .entries
            .iter()
            .map(|(host, entry)| Line::Entry(host.to_string(), entry.clone()));
        let orders = content.orders.iter().cloned().map(Line::Order);
        let all = entries
            .chain(orders)
            .chain(std::iter::once(Line::Totals(content.totals)));
        for line in all {
            write_line(&mut bytes, &line).map_err(failed("write", &self.path))?;
        }
        disk::write(&self.path, &bytes, MODE).map_err(failed("write", &self.path))?;
        self.file = append_to(&self.path).map_err(failed("open", &self.path))?;
        self.content.lines = self.content.entries.len() + self.content.orders.len() + 1;
        Ok(())
    }
}

/// Where the register of a state directory is.
pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("engine").join("domains.jsonl")
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::PermissionsExt;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)?;
    // Whatever the umask.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    Ok(file)
}

/// Whether the last line has no end.
fn is_torn(path: &Path) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn write_line(bytes: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *bytes, line)?;
    bytes.push(b'\n');
    Ok(())
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn entry(tenant: &str) -> Entry {
        Entry {
            tenant: tenant.to_owned(),
            since: UnixTime(5),
            ..Entry::default()
        }
    }

    fn spent(name: &str, at: i64) -> Spent {
        Spent {
            at: UnixTime(at),
            host: name.to_owned(),
            tenant: "t".to_owned(),
            new: true,
        }
    }

    #[test]
    fn what_was_written_is_read_and_a_torn_line_is_not() {
        let state = tempfile::tempdir().unwrap();
        let mut register = Register::open(state.path()).unwrap().unwrap();
        assert!(Register::open(state.path()).unwrap().is_none(), "held");
        register.put(&host("a.test"), entry("one")).unwrap();
        register.put(&host("b.test"), entry("two")).unwrap();
        register.put(&host("a.test"), entry("three")).unwrap();
        register.remove(&host("b.test")).unwrap();
        register.spend(spent("a.test", 10)).unwrap();
        register.spend(spent("a.test", 20)).unwrap();
        register.refund(&host("a.test")).unwrap();
        register.count(true).unwrap();
        drop(register);
        let path = path(state.path());
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(br#"{"entry":["c.test",{"ten"#).unwrap();
        let register = Register::open(state.path()).unwrap().unwrap();
        let content = register.content();
        assert_eq!(content.entries.len(), 1);
        assert_eq!(content.entries.get(&host("a.test")), Some(&entry("three")));
        assert_eq!(content.orders, [spent("a.test", 10)]);
        assert_eq!(content.totals.issued, 1);
        assert!(!is_torn(&path).unwrap(), "written anew");
    }

    #[test]
    fn a_long_register_is_written_anew_with_what_counts() {
        let state = tempfile::tempdir().unwrap();
        let mut register = Register::open(state.path()).unwrap().unwrap();
        for number in 0..1100 {
            register
                .put_all(vec![(host("a.test"), entry(&number.to_string()))])
                .unwrap();
        }
        register.spend(spent("a.test", 0)).unwrap();
        register.spend(spent("a.test", MEMORY)).unwrap();
        register.tidy(UnixTime(MEMORY + 1)).unwrap();
        let text = fs::read_to_string(path(state.path())).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        register.put(&host("b.test"), entry("x")).unwrap();
        let content = Content::read(state.path()).unwrap();
        assert_eq!(content.entries.len(), 2);
        assert_eq!(content.orders, [spent("a.test", MEMORY)]);
        assert_eq!(content.entries.get(&host("a.test")).unwrap().tenant, "1099");
    }
}

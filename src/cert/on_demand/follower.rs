//! The proxy's view of the register: read once, then followed as lines are added.
//!
//! Only reads. A register that was written anew is another file, which is read from its beginning.

use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::register::{self, Line, Standing, Totals};
use crate::clock::UnixTime;
use crate::host::Host;

/// Most bytes that are taken in at once.
const CHUNK: u64 = 8 << 20;

/// What the proxy keeps of each name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The certificate's number in the store; 0 if there is none.
    pub generation: u64,
    /// How it is doing.
    pub standing: Standing,
    /// A number for the tenant, to see a change of it.
    pub tenant: u64,
}

/// The number for a tenant.
#[must_use]
pub fn number_of(tenant: &str) -> u64 {
    foldhash::fast::FixedState::default().hash_one(tenant)
}

/// One line, as far as it concerns the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// What follows is all there is.
    Anew,
    /// A name.
    Is(Host, Known),
    /// A name that is no longer known.
    Removed(Host),
    /// An order was made.
    Order(UnixTime),
    /// An order was not made after all.
    Refund,
    /// Counts.
    Totals(Totals),
}

/// Where the reading stands.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// Which file, and how far in it.
    at: Option<(u64, u64)>,
}

impl Follower {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: register::path(state_dir),
            at: None,
        }
    }

    /// Hands each change since the last look to `take`.
    ///
    /// # Errors
    /// What the file system says; that there is no register is none.
    pub fn look(&mut self, take: &mut dyn FnMut(Change)) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let facts = file.metadata()?;
        let (inode, length) = (facts.ino(), facts.len());
        let mut offset = match self.at {
            Some((same, offset)) if same == inode && offset <= length => offset,
            _ => {
                take(Change::Anew);
                0
            }
        };
        while offset < length {
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            Read::by_ref(&mut file)
                .take(CHUNK)
                .read_to_end(&mut bytes)?;
            // Up to the last whole line; what comes after it is being written.
            let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else {
                break;
            };
            let whole = bytes.get(..=end).unwrap_or_default();
            for line in whole.split(|&byte| byte == b'\n') {
                if let Some(change) = read(line) {
                    take(change);
                }
            }
            offset += u64::try_from(whole.len()).unwrap_or(u64::MAX);
        }
        self.at = Some((inode, offset));
        Ok(())
    }
}

fn read(line: &[u8]) -> Option<Change> {
    Some(match serde_json::from_slice(line).ok()? {
        Line::Entry(host, entry) => {
            let known = Known {
                generation: entry.generation,
                standing: entry.standing(),
                tenant: number_of(&entry.tenant),
            };
            Change::Is(Host::parse(&host).ok()?, known)
        }
        Line::Removed(host) => Change::Removed(Host::parse(&host).ok()?),
        Line::Order(spent) => Change::Order(spent.at),
        Line::Refund(_) => Change::Refund,
        Line::Totals(totals) => Change::Totals(totals),
    })
}

#[cfg(test)]
mod tests {
    use super::super::register::{Entry, Register};
    use super::*;

    #[test]
    fn follows_line_by_line_and_begins_anew_with_another_file() {
        let state = tempfile::tempdir().unwrap();
        let host = |text: &str| Host::parse(text).unwrap();
        let mut follower = Follower::new(state.path());
        let mut look = || {
            let mut all = Vec::new();
            follower.look(&mut |change| all.push(change)).unwrap();
            all
        };
        assert_eq!(look(), [], "there is none");
        let mut register = Register::open(state.path()).unwrap().unwrap();
        let entry = |generation| Entry {
            generation,
            ..Entry::default()
        };
        let known = |generation, standing| Known {
            generation,
            standing,
            tenant: number_of(""),
        };
        register.put(&host("a.test"), entry(0)).unwrap();
        let queued = Change::Is(host("a.test"), known(0, Standing::Queued));
        assert_eq!(look(), [Change::Anew, queued]);
        assert_eq!(look(), []);
        register.put(&host("a.test"), entry(7)).unwrap();
        register.remove(&host("b.test")).unwrap();
        let served = Change::Is(host("a.test"), known(7, Standing::Served));
        assert_eq!(look(), [served.clone(), Change::Removed(host("b.test"))]);
        for _ in 0..1100 {
            register.count(true).unwrap();
        }
        register.tidy(UnixTime(0)).unwrap();
        let totals = Totals {
            issued: 1100,
            failed: 0,
        };
        assert_eq!(look(), [Change::Anew, served, Change::Totals(totals)]);
    }
}

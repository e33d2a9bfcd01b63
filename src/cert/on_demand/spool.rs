//! What the proxy asks the engine for: a folder that the proxy writes and the engine empties, `wanted/`.
//!
//! The proxy holds no ACME account and may not write the state (`acme.run = "timer"`), and the engine does not know the
//! directory; so the proxy leaves a small file for each name whose row it has seen, and a list of the names whose row has
//! gone. The engine takes what it finds for what it is: input of a process that faces the network. Names, sizes and
//! numbers are checked, and a wish is worth no more than a place in the queue.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::cert::disk;
use crate::cert::store::StoreError;
use crate::clock::UnixTime;
use crate::host::Host;

/// Mode of the folder where the proxy makes it itself: both users are in the group.
const SHARED_DIR: u32 = 0o770;
/// Largest wish that is read, in bytes.
const LARGEST: u64 = 4 << 10;
/// Largest list of names whose row has gone, in bytes: of a million names.
const LARGEST_LIST: u64 = 300 << 20;
/// Longest tenant id, in bytes: 63 characters.
const LONGEST_TENANT: usize = 252;
/// The list of names whose row has gone. No host begins with a point.
const GONE: &str = ".gone.json";

/// A name that is to have a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The tenant that the row names.
    pub tenant: String,
    /// Whether a client has asked for the name.
    pub asked: bool,
}

/// The names whose row has gone.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Gone {
    at: UnixTime,
    hosts: Vec<String>,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Spool(PathBuf);

impl Spool {
    /// The folder of a state directory. Nothing is made yet.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("wanted"))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder, if it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn make(&self) -> Result<(), StoreError> {
        disk::create_dir(&self.0, SHARED_DIR).map_err(|source| file("make", &self.0, source))
    }

    /// Asks for a name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put(&self, host: &Host, wish: &Wish) -> Result<(), StoreError> {
        let path = self.0.join(host.as_str());
        let failed = |source| file("write", &path, source);
        let content = serde_json::to_vec(wish).map_err(|error| failed(error.into()))?;
        // The engine is another user.
        disk::write(&path, &content, disk::PUBLIC).map_err(failed)
    }

    /// Up to `most` wishes. What is none is removed, with a warning.
    ///
    /// # Errors
    /// [`StoreError`]; that there is no folder is none.
    pub fn wishes(&self, most: usize) -> Result<Vec<(Host, Wish)>, StoreError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file("read", &self.0, error)),
        };
        let mut wishes = Vec::new();
        for entry in entries.flatten() {
            if wishes.len() >= most {
                break;
            }
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with('.')) {
                continue;
            }
            match name.to_str().and_then(|name| Host::parse(name).ok()) {
                Some(host) => match read(&entry.path()) {
                    Ok(Some(wish)) => wishes.push((host, wish)),
                    Ok(None) => {}
                    Err(error) => self.refuse(&entry.path(), &error),
                },
                None => {
                    self.refuse(&entry.path(), &bad("not a host name"));
                }
            }
        }
        Ok(wishes)
    }

    /// The wish for a name that the engine has not taken up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find(&self, host: &Host) -> Result<Option<Wish>, StoreError> {
        let path = self.0.join(host.as_str());
        read(&path).map_err(|source| file("read", &path, source))
    }

    /// How many wishes the engine has not taken up.
    ///
    /// # Errors
    /// [`StoreError`]; that there is no folder is none.
    pub fn count(&self) -> Result<usize, StoreError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(file("read", &self.0, error)),
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names
            .filter(|name| name.to_str().is_some_and(|name| !name.starts_with('.')))
            .count())
    }

    /// Strikes a wish out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, host: &Host) -> Result<(), StoreError> {
        let path = self.0.join(host.as_str());
        disk::remove(&path).map_err(|source| file("remove", &path, source))
    }

    /// Says which known names have no row any more, by a directory that could be asked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_gone(&self, hosts: &[Host], now: UnixTime) -> Result<(), StoreError> {
        let path = self.0.join(GONE);
        let failed = |source| file("write", &path, source);
        let gone = Gone {
            at: now,
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        let content = serde_json::to_vec(&gone).map_err(|error| failed(error.into()))?;
        disk::write(&path, &content, disk::PUBLIC).map_err(failed)
    }

    /// The names that have no row any more, and since when that is known at the latest; none if nobody has said.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged list is none.
    pub fn gone(&self) -> Result<Option<(UnixTime, HashSet<Host>)>, StoreError> {
        let path = self.0.join(GONE);
        let content = match open(&path, LARGEST_LIST) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file("read", &path, error)),
        };
        let Ok(gone) = serde_json::from_slice::<Gone>(&content) else {
            tracing::warn!(path = %path.display(), "the list of names without a row is damaged");
            return Ok(None);
        };
        let hosts = gone.hosts.iter().filter_map(|host| Host::parse(host).ok());
        Ok(Some((gone.at, hosts.collect())))
    }

    /// A number that changes when a wish comes or goes. Cheap enough to ask every second.
    #[must_use]
    pub fn fingerprint(&self) -> Option<(i64, i64)> {
        use std::os::unix::fs::MetadataExt;
        let facts = fs::metadata(&self.0).ok()?;
        Some((facts.mtime(), facts.mtime_nsec()))
    }

    fn refuse(&self, path: &Path, error: &io::Error) {
        tracing::warn!(path = %path.display(), %error, "no wish for a certificate; removed");
        if let Err(error) = disk::remove(path) {
            tracing::warn!(path = %path.display(), %error, "it cannot be removed");
        }
    }
}

/// `None` if it has gone meanwhile.
fn read(path: &Path) -> io::Result<Option<Wish>> {
    let content = match open(path, LARGEST) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // The parser's words may hold some of the content.
    let wish: Wish =
        serde_json::from_slice(&content).map_err(|_error| bad("not a wish in JSON"))?;
    let tenant = &wish.tenant;
    let fits =
        (1..=LONGEST_TENANT).contains(&tenant.len()) && !tenant.chars().any(char::is_control);
    if fits {
        return Ok(Some(wish));
    }
    Err(bad("the tenant is no tenant's id"))
}

/// Reads a common file: not what a link leads to, nor a pipe that would never end.
fn open(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let mut options = File::options();
    let file = options.read(true).custom_flags(flags).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() || facts.len() > largest {
        return Err(bad("not a small common file"));
    }
    let mut content = Vec::new();
    file.take(largest).read_to_end(&mut content)?;
    Ok(content)
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn file(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_come_and_go_and_what_is_none_is_thrown_out() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::new(state.path());
        let host = Host::parse("www.customer.test").unwrap();
        let wish = Wish {
            tenant: "acme".to_owned(),
            asked: true,
        };
        assert!(spool.wishes(9).unwrap().is_empty());
        assert!(spool.gone().unwrap().is_none());
        spool.make().unwrap();
        spool.put(&host, &wish).unwrap();
        for (name, content) in [
            ("not_a_host", &b"{}"[..]),
            ("a.test", b"{"),
            ("b.test", br#"{"tenant":"","asked":false}"#),
            ("c.test", br#"{"tenant":"a\nb","asked":false}"#),
            ("d.test", &[b'x'; 5000]),
        ] {
            disk::write(&spool.path().join(name), content, disk::PUBLIC).unwrap();
        }
        std::os::unix::fs::symlink("/dev/zero", spool.path().join("e.test")).unwrap();
        assert_eq!(spool.wishes(9).unwrap(), [(host.clone(), wish.clone())]);
        assert_eq!(spool.find(&host).unwrap(), Some(wish));
        assert_eq!(spool.count().unwrap(), 1);
        assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 1);
        assert_eq!(spool.wishes(0).unwrap(), []);
        spool.remove(&host).unwrap();
        assert_eq!(spool.find(&host).unwrap(), None);
        assert!(spool.wishes(9).unwrap().is_empty());
        spool
            .put_gone(std::slice::from_ref(&host), UnixTime(7))
            .unwrap();
        let (at, hosts) = spool.gone().unwrap().unwrap();
        assert_eq!((at, hosts.contains(&host)), (UnixTime(7), true));
        assert!(spool.wishes(9).unwrap().is_empty(), "the list is no wish");
        assert_eq!(spool.count().unwrap(), 0);
    }
}

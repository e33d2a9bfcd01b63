//! The store in the state directory of one machine.
//!
//! ```text
//! certs/<domain>/gen/000123-<serial8>/{fullchain.pem, chain.pem, privkey.pem, meta.json, MANIFEST}
//! certs/<domain>/current -> gen/000123-<serial8>
//! certs/<domain>/pending/{key.pem, csr.der, order.json}     an order in progress
//! certs/<domain>/{state.json, state.json.prev, txt-ledger.jsonl, lock, lease}   the renewal's own
//! engine/{limits.json, limits.json.prev, limits.lock, engine.heartbeat}         what all lineages share
//! challenges/<token>.json                            what a CA asks the proxy for while an order runs
//! domains/<host>/...                                 as in certs/, for each custom domain; two generations are kept
//! engine/{domains.jsonl, domains.lock, ownership.key}  the register of custom domains
//! wanted/<host>                                      what the proxy wants a certificate for
//! ```
//! A generation holds a `MANIFEST` too (as `sha256sum -c` reads it), and `COMPROMISED` once its key is known to others.
//! It appears by one rename and becomes current by another, so chain and key cannot mismatch. Keys are 0640:
//! the proxy's user reads them through its group. What others may read is tightened if it is ours and refused if not.
//! Of a lineage the five newest generations are kept, and older ones while a proxy serves them: it locks the chain's file.

mod generation;
mod lock;

use std::fs;
use std::hash::{BuildHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use self::generation::Generation;
use super::answers::AnswerFiles;
use super::{Debt, Lock, NewGeneration, Pending, PendingOrder, Store, StoreError, Stored};
use crate::cert::answers::Answer;
use crate::cert::bundle::Bundle;
use crate::cert::sealed::{self, Sealed};
use crate::cert::{disk, failpoint};
use crate::clock::UnixTime;
use crate::host::Host;

/// Generations kept, with the current one.
const KEEP: usize = 5;
/// The same for each of the many custom domains.
const KEEP_DOMAINS: usize = 2;
/// Size of the probe.
const PROBE: usize = 10 << 10;

/// The store below one directory.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
    engine: PathBuf,
    /// Generations kept of a lineage, with the current one; older ones only while they are served.
    keep: usize,
}

impl FileStore {
    /// The store of a state directory. Nothing is read or made yet.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            root: state_dir.join("certs"),
            engine: state_dir.join("engine"),
            keep: KEEP,
        }
    }

    /// The store of the custom domains of a state directory: beside the other one, because that is read whole every second.
    /// What lineages share is the same.
    #[must_use]
    pub fn domains(state_dir: &Path) -> Self {
        Self {
            root: state_dir.join("domains"),
            keep: KEEP_DOMAINS,
            ..Self::new(state_dir)
        }
    }

    /// Where a lineage lives.
    #[must_use]
    pub fn lineage(&self, lineage: &Host) -> PathBuf {
        self.root.join(lineage.as_str())
    }

    /// The key of a generation, in PEM.
    ///
    /// # Errors
    /// [`StoreError`] if there is no such generation, or its key cannot be read.
    pub fn key(&self, lineage: &Host, generation: u64) -> Result<Zeroizing<String>, StoreError> {
        let path = self
            .generation(lineage, generation)?
            .path
            .join("privkey.pem");
        let key = fs::read_to_string(&path).map_err(failed("read", &path))?;
        Ok(Zeroizing::new(key))
    }

    fn generation(&self, lineage: &Host, number: u64) -> Result<Generation, StoreError> {
        let all = generation::all(&self.lineage(lineage))?;
        let found = all.into_iter().find(|one| one.number == number);
        found.ok_or_else(|| StoreError::NoGeneration {
            lineage: lineage.clone(),
            wanted: Some(number),
        })
    }

    /// Every lineage that has a folder, in no order.
    #[must_use]
    pub fn lineages(&self) -> Vec<Host> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let name = |entry: fs::DirEntry| Host::parse(entry.file_name().to_str()?).ok();
        entries.filter_map(name).collect()
    }

    /// Removes a lineage with all its certificates and keys: for one that was a rehearsal.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget(&self, lineage: &Host) -> Result<(), StoreError> {
        let path = self.lineage(lineage);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn made(&self, lineage: &Host) -> Result<PathBuf, StoreError> {
        let path = self.lineage(lineage);
        disk::create_dir(&path, disk::GROUP_DIR).map_err(failed("make", &path))?;
        Ok(path)
    }
}

impl Store for FileStore {
    fn load(&self, lineage: &Host) -> Result<Option<Stored>, StoreError> {
        let path = self.lineage(lineage);
        let link = path.join("current");
        let mut last = match fs::read_link(&link) {
            Ok(target) => {
                let current = Generation::at(&path.join(target));
                match current.and_then(|generation| generation.load()) {
                    Ok(stored) => return Ok(Some(stored)),
                    Err(error) => Some(error),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // No link: a backup was restored without links, say.
            Err(error) => Some(failed("read", &link)(error)),
        };
        for generation in generation::all(&path)?.into_iter().rev() {
            match generation.load() {
                Ok(stored) if stored.compromised => {}
                Ok(stored) => {
                    let reason = last
                        .map_or_else(|| "no `current` link".to_owned(), |error| error.to_string());
                    tracing::warn!(%lineage, generation = stored.generation, reason, "the current certificate is unusable, using the newest good one");
                    return Ok(Some(Stored {
                        instead_of: Some(reason),
                        ..stored
                    }));
                }
                Err(error) => last = last.or(Some(error)),
            }
        }
        last.map_or(Ok(None), Err)
    }

    fn mend(&self, lineage: &Host) -> Result<(), StoreError> {
        let path = self.lineage(lineage);
        let link = path.join("current");
        let usable = |target: PathBuf| {
            Generation::at(&path.join(target)).is_ok_and(|current| current.load().is_ok())
        };
        if fs::read_link(&link).is_ok_and(usable) {
            return Ok(());
        }
        let newest_first = generation::all(&path)?.into_iter().rev();
        let mut good = newest_first
            .filter_map(|generation| generation.load().ok())
            .filter(|stored| !stored.compromised);
        if let Some(stored) = good.next() {
            generation::make_current(&path, &stored)?;
            tracing::warn!(%lineage, generation = stored.generation, "the newest good certificate is current again");
        }
        Ok(())
    }

    fn put(&self, lineage: &Host, new: &NewGeneration) -> Result<Stored, StoreError> {
        let path = self.made(lineage)?;
        let bundle =
            Bundle::parse(new.fullchain.as_bytes(), new.key.as_bytes()).map_err(|error| {
                StoreError::Bad {
                    path: path.clone(),
                    error,
                }
            })?;
        let number = self.next_number(&path)?;
        let stored = generation::write(&path, number, new, &bundle)?;
        failpoint::hit(failpoint::GENERATION_WRITTEN);
        generation::make_current(&path, &stored)?;
        generation::prune(&path, number, self.keep);
        Ok(stored)
    }

    fn generations(&self, lineage: &Host) -> Result<Vec<Stored>, StoreError> {
        let all = generation::all(&self.lineage(lineage))?;
        Ok(all
            .iter()
            .filter_map(|generation| generation.load().ok())
            .collect())
    }

    fn rollback(&self, lineage: &Host, to: Option<u64>) -> Result<Stored, StoreError> {
        let path = self.lineage(lineage);
        let now = UnixTime::now();
        let current = self.load(lineage)?.map(|stored| stored.generation);
        let fits = |stored: &Stored| match to {
            Some(number) => stored.generation == number,
            None => current.is_none_or(|current| stored.generation < current),
        };
        let usable =
            |stored: &Stored| !stored.compromised && stored.bundle.check_dates(now).is_ok();
        let mut all = self.generations(lineage)?;
        all.retain(|stored| fits(stored) && usable(stored));
        let chosen = all.pop().ok_or_else(|| StoreError::NoGeneration {
            lineage: lineage.clone(),
            wanted: to,
        })?;
        generation::make_current(&path, &chosen)?;
        Ok(chosen)
    }

    fn compromise(&self, lineage: &Host, number: u64) -> Result<(), StoreError> {
        self.generation(lineage, number)?.mark_compromised()
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        let mut lineages: Vec<PathBuf> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        lineages.sort();
        for lineage in lineages {
            let link = lineage.join("current");
            link.hash(&mut hasher);
            fs::read_link(&link).ok().hash(&mut hasher);
            for file in ["fullchain.pem", "privkey.pem"] {
                let facts = fs::metadata(link.join(file)).ok();
                facts
                    .map(|facts| (facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.len()))
                    .hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    fn probe(&self) -> Result<(), StoreError> {
        disk::create_dir(&self.root, disk::GROUP_DIR).map_err(failed("make", &self.root))?;
        let path = self.root.join(".probe");
        let content = vec![0x5a; PROBE];
        disk::write(&path, &content, disk::PRIVATE).map_err(failed("write", &path))?;
        let read = fs::read(&path).map_err(failed("read", &path))?;
        disk::remove(&path).map_err(failed("remove", &path))?;
        if read == content {
            Ok(())
        } else {
            Err(StoreError::ReadBack(path))
        }
    }

    fn lock(&self, lineage: &Host) -> Result<Option<Box<dyn Lock>>, StoreError> {
        lock::take(&self.made(lineage)?)
    }

    fn is_locked(&self, lineage: &Host) -> bool {
        lock::is_taken(&self.lineage(lineage))
    }

    fn current(&self, lineage: &Host) -> Option<u64> {
        let target = fs::read_link(self.lineage(lineage).join("current")).ok()?;
        generation::number_of(&target)
    }

    fn hold(&self, lineage: &Host, number: u64) -> Option<Box<dyn Lock>> {
        let all = generation::all(&self.lineage(lineage)).ok()?;
        let found = all.iter().find(|generation| generation.number == number)?;
        Some(Box::new(found.hold()?))
    }

    fn pending(&self, lineage: &Host) -> Result<Option<Pending>, StoreError> {
        let folder = self.lineage(lineage).join("pending");
        let read = |name: &str| {
            let path = folder.join(name);
            disk::read_if_there(&path).map_err(failed("read", &path))
        };
        let (Some(order), Some(key), Some(csr)) =
            (read("order.json")?, read("key.pem")?, read("csr.der")?)
        else {
            return Ok(None);
        };
        let order: Option<PendingOrder> = serde_json::from_slice(&order).ok();
        let key = String::from_utf8(key).ok();
        Ok(order.zip(key).map(|(order, key)| Pending {
            key: key.into(),
            csr,
            order,
        }))
    }

    fn put_pending(&self, lineage: &Host, pending: &Pending) -> Result<(), StoreError> {
        let folder = self.made(lineage)?.join("pending");
        disk::create_dir(&folder, disk::PRIVATE_DIR).map_err(failed("make", &folder))?;
        let order = serde_json::to_vec_pretty(&pending.order)
            .map_err(|error| failed("write", &folder)(error.into()))?;
        // The order's file comes last: it makes the other two valid.
        for (name, content) in [
            ("key.pem", pending.key.as_bytes()),
            ("csr.der", &pending.csr),
            ("order.json", &order),
        ] {
            let path = folder.join(name);
            disk::write(&path, content, disk::PRIVATE).map_err(failed("write", &path))?;
        }
        Ok(())
    }

    fn clear_pending(&self, lineage: &Host) -> Result<(), StoreError> {
        let folder = self.lineage(lineage).join("pending");
        for name in ["order.json", "key.pem", "csr.der"] {
            let path = folder.join(name);
            disk::remove(&path).map_err(failed("remove", &path))?;
        }
        // Only if nothing else is in it; that it stays does no harm.
        if let Err(error) = fs::remove_dir(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %folder.display(), %error, "the directory stays");
        }
        Ok(())
    }

    fn state(&self, lineage: &Host) -> Result<Sealed, StoreError> {
        let path = self.lineage(lineage).join("state.json");
        sealed::read(&path).map_err(failed("read", &path))
    }

    fn put_state(&self, lineage: &Host, state: &[u8]) -> Result<(), StoreError> {
        let path = self.made(lineage)?.join("state.json");
        sealed::write(&path, state, disk::PUBLIC).map_err(failed("write", &path))
    }

    fn limits(&self) -> Result<Sealed, StoreError> {
        let path = self.engine.join("limits.json");
        sealed::read(&path).map_err(failed("read", &path))
    }

    fn change_limits(&self, change: &mut dyn FnMut(Sealed) -> Vec<u8>) -> Result<(), StoreError> {
        disk::create_dir(&self.engine, disk::GROUP_DIR).map_err(failed("make", &self.engine))?;
        let path = self.engine.join("limits.lock");
        let lock = lock::open(&path)?;
        // Held for one read and one write: waiting is short.
        lock.lock().map_err(failed("lock", &path))?;
        let content = change(self.limits()?);
        let path = self.engine.join("limits.json");
        sealed::write(&path, &content, disk::PUBLIC).map_err(failed("write", &path))
    }

    fn beat(&self, now: UnixTime) -> Result<(), StoreError> {
        disk::create_dir(&self.engine, disk::GROUP_DIR).map_err(failed("make", &self.engine))?;
        let path = self.engine.join("engine.heartbeat");
        let content = format!("{}\n", now.0);
        disk::write(&path, content.as_bytes(), disk::PUBLIC).map_err(failed("write", &path))
    }

    fn heartbeat(&self) -> Result<Option<UnixTime>, StoreError> {
        let path = self.engine.join("engine.heartbeat");
        let content = disk::read_if_there(&path).map_err(failed("read", &path))?;
        let text = content.and_then(|content| String::from_utf8(content).ok());
        Ok(text.and_then(|text| text.trim().parse().ok()).map(UnixTime))
    }

    fn owe(&self, lineage: &Host, debt: &Debt) -> Result<(), StoreError> {
        self.enter(lineage, &Entry::Owe(debt.clone()))
    }

    fn paid(&self, lineage: &Host, debt: &Debt) -> Result<(), StoreError> {
        self.enter(lineage, &Entry::Paid(debt.clone()))?;
        if self.debts(lineage)?.is_empty() {
            let path = self.ledger(lineage);
            disk::remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    fn debts(&self, lineage: &Host) -> Result<Vec<Debt>, StoreError> {
        let path = self.ledger(lineage);
        let content = disk::read_if_there(&path)
            .map_err(failed("read", &path))?
            .unwrap_or_default();
        let mut open: Vec<Debt> = Vec::new();
        for line in content.split(|&byte| byte == b'\n') {
            // A torn line is that of a call that never came to pass: the record is written before the call.
            match serde_json::from_slice(line) {
                Ok(Entry::Owe(debt)) => match open.iter_mut().find(|other| other.is_same(&debt)) {
                    Some(known) => *known = debt,
                    None => open.push(debt),
                },
                Ok(Entry::Paid(debt)) => open.retain(|other| !other.is_same(&debt)),
                Err(_) => {}
            }
        }
        Ok(open)
    }

    fn put_answer(&self, answer: &Answer) -> Result<(), StoreError> {
        self.challenges().put(answer)
    }

    fn answers(&self) -> Result<Vec<Answer>, StoreError> {
        self.challenges().all()
    }

    fn answers_fingerprint(&self) -> u64 {
        self.challenges().fingerprint()
    }

    fn withdraw(&self, lineage: &Host) -> Result<(), StoreError> {
        self.challenges().withdraw(lineage)
    }
}

/// A line of the ledger.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Owe(Debt),
    Paid(Debt),
}

impl FileStore {
    fn challenges(&self) -> AnswerFiles {
        AnswerFiles(self.root.with_file_name("challenges"))
    }

    fn ledger(&self, lineage: &Host) -> PathBuf {
        self.lineage(lineage).join("txt-ledger.jsonl")
    }

    fn enter(&self, lineage: &Host, entry: &Entry) -> Result<(), StoreError> {
        let path = self.made(lineage)?.join("txt-ledger.jsonl");
        let line =
            serde_json::to_vec(entry).map_err(|error| failed("write", &path)(error.into()))?;
        disk::append_line(&path, &line).map_err(failed("write", &path))
    }

    /// One more than any number that was ever current or is on the disk.
    fn next_number(&self, path: &Path) -> Result<u64, StoreError> {
        let newest = generation::all(path)?
            .last()
            .map_or(0, |generation| generation.number);
        let linked = fs::read_link(path.join("current"))
            .ok()
            .and_then(|target| generation::number_of(&target));
        Ok(newest.max(linked.unwrap_or(0)) + 1)
    }
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
mod tests;

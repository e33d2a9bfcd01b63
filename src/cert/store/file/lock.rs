//! Who is at work on a lineage and who serves a generation, told by locks on files.
//!
//! The kernel frees them when the process ends in any way, so nothing here goes stale after `kill -9`. Two processes of
//! one machine are told apart; several machines are not.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::super::{Lock, StoreError};
use super::failed;
use crate::cert::disk;

/// Locked, shared, by whoever holds the lock of the lineage. It cannot be the lock itself: who can read a file can lock
/// it, and the proxy must not be able to hold up a renewal.
const LEASE: &str = "lease";
/// How often it is tried while others look.
const TRIES: u32 = 10;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(1);

/// Held while an engine works on a lineage.
#[derive(Debug)]
struct AtWork {
    _lock: File,
    _lease: Option<File>,
}

impl Lock for AtWork {}

/// Held while a generation is in service.
#[derive(Debug)]
pub(super) struct Held {
    _chain: File,
}

impl Lock for Held {}

/// Takes the right to work on the lineage in this directory; none if somebody else has it.
pub(super) fn take(lineage: &Path) -> Result<Option<Box<dyn Lock>>, StoreError> {
    let path = lineage.join("lock");
    let file = open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Box::new(AtWork {
            _lock: file,
            _lease: show(lineage),
        }))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Whether somebody works on the lineage in this directory. The look holds the lease for an instant.
pub(super) fn is_taken(lineage: &Path) -> bool {
    File::open(lineage.join(LEASE)).is_ok_and(|file| is_held(&file))
}

/// A file to be locked, which nobody else may read.
pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    create(path, disk::PRIVATE).map_err(failed("open", path))
}

/// Says that a generation is served.
pub(super) fn hold(chain: File) -> Option<Held> {
    chain.try_lock_shared().ok()?;
    Some(Held { _chain: chain })
}

/// Whether another one has locked the file; otherwise it is ours while it is open.
pub(super) fn is_held(file: &File) -> bool {
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Shows that the lock is held. That it cannot be shown is no reason not to work.
fn show(lineage: &Path) -> Option<File> {
    let file = create(&lineage.join(LEASE), disk::PUBLIC).ok()?;
    for _try in 0..TRIES {
        if file.try_lock_shared().is_ok() {
            return Some(file);
        }
        // Somebody looks at it just now, which takes microseconds.
        std::thread::sleep(PAUSE);
    }
    None
}

fn create(path: &Path, mode: u32) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode)
        .open(path)
}

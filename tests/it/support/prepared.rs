//! Folders that are slow to make and the same for many tests: made once per build folder, by the first test that wants one.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Lets `with` look at the folder that `make` has filled for this `key` (everything that its content depends on).
///
/// Tests are processes of their own, so a lock file keeps them apart: one makes, the others wait; many look at a time.
/// A folder of another key under the same name is removed. A maker that fails leaves nothing behind.
pub(crate) fn folder<T>(
    name: &str,
    key: &(impl Hash + ?Sized),
    make: impl FnOnce(&Path),
    with: impl FnOnce(&Path) -> T,
) -> T {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let ready = place.join(format!("{name}.{:016x}", hasher.finish()));
    let lock = File::create(place.join(format!("{name}.lock"))).expect("a writable build folder");
    loop {
        flock(&lock, FlockOperation::LockShared).expect("a lock");
        if ready.is_dir() {
            return with(&ready);
        }
        // Between the two locks another test may have made it: look again.
        flock(&lock, FlockOperation::LockExclusive).expect("a lock");
        if !ready.is_dir() {
            for old in others(place, name) {
                fs::remove_dir_all(old).expect("our own folder");
            }
            let fresh = place.join(format!("{name}.new"));
            fs::create_dir(&fresh).expect("no other maker");
            make(&fresh);
            fs::rename(&fresh, &ready).expect("the same file system");
            return with(&ready);
        }
    }
}

/// The folders of this name with any key, and what a killed maker left.
fn others(place: &Path, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && path.file_stem().is_some_and(|stem| stem == name))
        .collect()
}

//! Files that survive a crash: the old content or the new one, never half of either.
//!
//! Everything is written aside, synced and renamed, and the directory is synced after it. Nothing here knows what the
//! files hold. Modes are set in full and do not depend on the umask. Calls block; the data plane never makes one.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink,
};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Mode of a file that only its owner reads: account keys, pending keys.
pub const PRIVATE: u32 = 0o600;
/// Mode of a key that the proxy's group reads.
pub const GROUP_KEY: u32 = 0o640;
/// Mode of a file without secrets.
pub const PUBLIC: u32 = 0o644;
/// Mode of a directory that the proxy's group may enter.
pub const GROUP_DIR: u32 = 0o750;
/// Mode of a directory that only its owner may enter.
pub const PRIVATE_DIR: u32 = 0o700;

/// Replaces the file's content, or makes the file.
///
/// # Errors
/// What the file system says; the old content is untouched then.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let (folder, name) = split(path)?;
    let aside = folder.join(format!(".{name}.{}-{}.new", std::process::id(), thread()));
    let written = write_aside(&aside, content, mode).and_then(|()| fs::rename(&aside, path));
    if let Err(error) = written {
        discard(&aside);
        return Err(error);
    }
    sync_dir(folder)
}

/// Replaces the content of a file of somebody else's: owner, group and mode stay those of `facts`.
///
/// # Errors
/// What the file system says, also when this user may not keep the owner; the old content is untouched then.
pub fn replace(path: &Path, content: &[u8], facts: &Metadata) -> io::Result<()> {
    let (folder, name) = split(path)?;
    let aside = folder.join(format!(".{name}.{}-{}.new", std::process::id(), thread()));
    let written = write_aside(&aside, content, PRIVATE)
        .and_then(|()| {
            let made = fs::metadata(&aside)?;
            if (made.uid(), made.gid()) != (facts.uid(), facts.gid()) {
                chown(&aside, Some(facts.uid()), Some(facts.gid()))?;
            }
            // Last: it may give others more than ours.
            fs::set_permissions(&aside, facts.permissions())?;
            File::open(&aside)?.sync_all()
        })
        .and_then(|()| fs::rename(&aside, path));
    if let Err(error) = written {
        discard(&aside);
        return Err(error);
    }
    sync_dir(folder)
}

/// The number of this thread: two threads that replace a file at the same time must not write into one another's.
fn thread() -> u32 {
    static THREADS: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static NUMBER: u32 = THREADS.fetch_add(1, Relaxed);
    }
    NUMBER.with(|number| *number)
}

fn write_aside(aside: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    discard(aside); // of an earlier process with our number that was killed
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(aside)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

/// Adds a line to a file that only its owner reads. A torn last line of an earlier crash is ended first.
///
/// # Errors
/// What the file system says.
pub fn append_line(path: &Path, line: &[u8]) -> io::Result<()> {
    let (folder, _) = split(path)?;
    let torn =
        fs::read(path).is_ok_and(|content| content.last().is_some_and(|&byte| byte != b'\n'));
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(PRIVATE)
        .open(path)?;
    let mut content = Vec::with_capacity(line.len() + 2);
    if torn {
        content.push(b'\n');
    }
    content.extend_from_slice(line);
    content.push(b'\n');
    file.write_all(&content)?;
    file.sync_all()?;
    sync_dir(folder)
}

/// Makes a directory and the missing ones above it.
///
/// # Errors
/// What the file system says; that it exists already is fine.
pub fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_dir(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the symbolic link `link` point to `target`, in one step for every reader.
///
/// # Errors
/// What the file system says; the link is unchanged then.
pub fn switch_link(link: &Path, target: &Path) -> io::Result<()> {
    let (folder, name) = split(link)?;
    let aside = folder.join(format!(".{name}.{}.new", std::process::id()));
    discard(&aside);
    symlink(target, &aside)?;
    if let Err(error) = fs::rename(&aside, link) {
        discard(&aside);
        return Err(error);
    }
    sync_dir(folder)
}

/// Makes what was renamed or made in a directory durable.
///
/// # Errors
/// What the file system says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}

/// Removes a file; that it is not there is fine.
///
/// # Errors
/// What the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a file; `None` if it is not there.
///
/// # Errors
/// What the file system says.
pub fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Best effort: what is left over does no harm and is overwritten next time.
fn discard(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::debug!(path = %path.display(), %error, "a temporary file stays behind");
    }
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    match (path.parent(), name) {
        (Some(folder), Some(name)) => Ok((folder, name)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the path of a file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_replace_one_file_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("heartbeat");
        std::thread::scope(|scope| {
            for content in [b"one", b"two", b"six"] {
                let file = &file;
                scope.spawn(move || {
                    for _ in 0..100 {
                        write(file, content, PUBLIC).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read(&file).unwrap().len(), 3);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

//! Small JSON files that notice their own damage and have a fallback.
//!
//! The content is wrapped as `{"sha256":"…","content":…}`: still JSON for people and tools, and truncation, garbage
//! and bit rot are told from a good file. The file before the last write is kept as `<name>.prev`. A damaged file never
//! takes the place of a good fallback.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::{disk, failpoint};

const BEFORE: &[u8] = b"{\"sha256\":\"";
const BETWEEN: &[u8] = b"\",\"content\":";
const AFTER: &[u8] = b"}\n";
/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sealed {
    /// Nothing was ever written.
    Missing,
    /// The content of the last write.
    Good(Vec<u8>),
    /// The last write is damaged or gone; this is the one before.
    Previous(Vec<u8>),
    /// Both are damaged.
    Damaged,
}

/// Reads the file, or its fallback.
///
/// # Errors
/// What the file system says; a damaged file is no error.
pub fn read(path: &Path) -> io::Result<Sealed> {
    let current = disk::read_if_there(path)?;
    if let Some(content) = current.as_deref().and_then(open) {
        return Ok(Sealed::Good(content.to_vec()));
    }
    let previous = disk::read_if_there(&fallback(path))?;
    if let Some(content) = previous.as_deref().and_then(open) {
        return Ok(Sealed::Previous(content.to_vec()));
    }
    Ok(match (current, previous) {
        (None, None) => Sealed::Missing,
        _ => Sealed::Damaged,
    })
}

/// Replaces the file; what it held becomes the fallback. `content` is a JSON text.
///
/// # Errors
/// What the file system says; the old content is still to be read then.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let current = disk::read_if_there(path)?;
    if current.as_deref().and_then(open).is_some() {
        std::fs::rename(path, fallback(path))?;
    }
    failpoint::hit(failpoint::STATE_HALF_WRITTEN);
    let content = content.trim_ascii();
    let sum = hexadecimal(content);
    disk::write(
        path,
        &[BEFORE, sum.as_bytes(), BETWEEN, content, AFTER].concat(),
        mode,
    )
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn hexadecimal(content: &[u8]) -> String {
    let digest = digest(&SHA256, content);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn fallback(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".prev");
    name.into()
}

/// The content, if it is what was written.
fn open(file: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = file.strip_prefix(BEFORE)?.split_at_checked(DIGITS)?;
    let content = rest.strip_prefix(BETWEEN)?.strip_suffix(AFTER)?;
    (hexadecimal(content).as_bytes() == sum).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "damage is done on purpose")]
    fn damage_is_noticed_and_the_one_before_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(read(&path).unwrap(), Sealed::Missing);
        write(&path, b"{\"a\":1}\n", disk::PUBLIC).unwrap();
        assert_eq!(read(&path).unwrap(), Sealed::Good(b"{\"a\":1}".to_vec()));
        write(&path, b"{\"a\":2}", disk::PUBLIC).unwrap();
        let good = std::fs::read(&path).unwrap();
        serde_json::from_slice::<serde_json::Value>(&good).expect("JSON for other tools");
        for length in 0..good.len() {
            std::fs::write(&path, good.get(..length).unwrap()).unwrap();
            let found = read(&path).unwrap();
            assert_eq!(found, Sealed::Previous(b"{\"a\":1}".to_vec()), "{length}");
        }
        for place in 0..good.len() {
            let mut bad = good.clone();
            *bad.get_mut(place).unwrap() ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let found = read(&path).unwrap();
            assert_eq!(found, Sealed::Previous(b"{\"a\":1}".to_vec()), "{place}");
        }
        // A write over damage leaves the good fallback where it is.
        write(&path, b"{\"a\":3}", disk::PUBLIC).unwrap();
        assert_eq!(read(&path).unwrap(), Sealed::Good(b"{\"a\":3}".to_vec()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            read(&path).unwrap(),
            Sealed::Previous(b"{\"a\":1}".to_vec())
        );
        std::fs::write(&path, b"").unwrap();
        std::fs::write(fallback(&path), b"garbage").unwrap();
        assert_eq!(read(&path).unwrap(), Sealed::Damaged);
    }
}

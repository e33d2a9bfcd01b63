//! Answers to a CA in the state directory: one file for each, `challenges/<token>.json`.
//!
//! Written by the engine, read by the proxy through its group. A file appears and goes whole.

use std::fs;
use std::hash::{BuildHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::StoreError;
use crate::cert::answers::{Answer, is_token};
use crate::cert::disk;
use crate::host::Host;

/// Largest file that is read.
const LARGEST: u64 = 64 << 10;

/// The folder with the answers.
#[derive(Debug)]
pub(super) struct AnswerFiles(pub(super) PathBuf);

impl AnswerFiles {
    pub(super) fn put(&self, answer: &Answer) -> Result<(), StoreError> {
        let path = self.0.join(format!("{}.json", answer.token));
        let failed = |source| file("write", &path, source);
        // The token comes from the CA, and must not lead anywhere else.
        if !is_token(&answer.token) {
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the CA's token is not base64url",
            )));
        }
        disk::create_dir(&self.0, disk::GROUP_DIR).map_err(failed)?;
        let content = serde_json::to_vec(answer).map_err(|error| failed(error.into()))?;
        disk::write(&path, &content, disk::GROUP_KEY).map_err(failed)
    }

    /// Those that can be read; a damaged one is left out, with a warning.
    pub(super) fn all(&self) -> Result<Vec<Answer>, StoreError> {
        let read = |(_, path): &(String, PathBuf)| match read(path) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an answer to the CA cannot be read");
                None
            }
        };
        Ok(self.files()?.iter().filter_map(read).collect())
    }

    /// Removes those of a lineage.
    pub(super) fn withdraw(&self, lineage: &Host) -> Result<(), StoreError> {
        for (_, path) in self.files()? {
            let ours = match read(&path) {
                Ok(answer) => answer.is_some_and(|answer| answer.lineage == lineage.as_str()),
                // Nobody's: left by a broken disk.
                Err(error) => error.kind() == io::ErrorKind::InvalidData,
            };
            if ours {
                disk::remove(&path).map_err(|source| file("remove", &path, source))?;
            }
        }
        Ok(())
    }

    /// Changes when any of them does.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        for (name, path) in self.files().unwrap_or_default() {
            name.hash(&mut hasher);
            let facts = fs::metadata(path).ok();
            facts
                .map(|facts| (facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.len()))
                .hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Token and path of each, sorted.
    fn files(&self) -> Result<Vec<(String, PathBuf)>, StoreError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file("read", &self.0, error)),
        };
        let mut files: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let token = name.strip_suffix(".json").filter(|text| is_token(text))?;
                Some((token.to_owned(), entry.path()))
            })
            .collect();
        files.sort();
        Ok(files)
    }
}

/// `None` if it has gone meanwhile.
fn read(path: &Path) -> io::Result<Option<Answer>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(LARGEST).read_to_end(&mut content)?;
    let answer = serde_json::from_slice(&content);
    answer
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
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
    use crate::cert::answers::Shown;

    fn answer(lineage: &str, token: &str) -> Answer {
        Answer {
            lineage: lineage.to_owned(),
            name: lineage.to_owned(),
            token: token.to_owned(),
            shown: Shown::Http {
                key_authorization: "x".to_owned(),
            },
        }
    }

    #[test]
    fn keeps_answers_by_lineage_and_refuses_tokens_that_are_paths() {
        let state = tempfile::tempdir().unwrap();
        let files = AnswerFiles(state.path().join("challenges"));
        let (a, b) = (
            Host::parse("a.test").unwrap(),
            Host::parse("b.test").unwrap(),
        );
        let before = files.fingerprint();
        assert!(files.all().unwrap().is_empty());
        files.put(&answer("a.test", "one")).unwrap();
        files.put(&answer("b.test", "two")).unwrap();
        assert!(files.put(&answer("a.test", "../three")).is_err());
        assert_ne!(files.fingerprint(), before);
        assert_eq!(files.all().unwrap().len(), 2);
        disk::write(&state.path().join("challenges/torn.json"), b"{", 0o640).unwrap();
        assert_eq!(files.all().unwrap().len(), 2);
        files.withdraw(&a).unwrap();
        let left = files.all().unwrap();
        let left: Vec<&str> = left.iter().map(|answer| answer.lineage.as_str()).collect();
        assert_eq!(left, [b.as_str()]);
        files.withdraw(&b).unwrap();
        assert_eq!(
            files.fingerprint(),
            before,
            "the damaged one is gone as well"
        );
    }
}

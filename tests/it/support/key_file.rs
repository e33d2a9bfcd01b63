//! The file of keys that edge and app share.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

/// Keys as the edge and the app read them.
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    _folder: TempDir,
}

impl KeyFile {
    /// With these lines of `name = key`.
    pub(crate) fn new(lines: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tenant.keys");
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .expect("our own folder");
        file.write_all(lines.as_bytes()).expect("our own file");
        Self {
            path,
            _folder: folder,
        }
    }

    /// The line of `[tenants.signature]`.
    pub(crate) fn line(&self) -> String {
        format!("keys = {:?}", self.path.display().to_string())
    }
}

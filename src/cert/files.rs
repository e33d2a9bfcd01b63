//! Certificates that another program renews: certbot's `live/` folder, or any chain and key in PEM.
//!
//! Only read, never written, and nothing is remembered here: the caller keeps the last good pair. A pair is proven like
//! every other one. Two files cannot be replaced in one step, so a caller that watches should let the
//! [`Files::fingerprint`] come to rest before it loads.

use std::fs;
use std::hash::{BuildHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use super::bundle::{self, Bundle, BundleError};
use crate::config::PairFiles;
use crate::host::Host;

/// Largest file that is read: a chain is a few KiB, so a larger one was named by mistake.
const LARGEST: u64 = 1 << 20;

/// Why a pair is not served.
#[derive(Debug, Error)]
pub enum FilesError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}{}", path.display(), hint(source))]
    Read {
        /// Which.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// The pair is no certificate.
    #[error("`{}` with `{}`: {error}", chain.display(), key.display())]
    Bad {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong with them.
        error: BundleError,
    },
    /// The pair is a certificate for something else.
    #[error("`{}` covers neither `{domain}` nor `*.{domain}`; it covers: {has}\nhint: check `files.fullchain`", chain.display())]
    Foreign {
        /// The chain.
        chain: PathBuf,
        /// What it is wanted for.
        domain: Host,
        /// The names that are there.
        has: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "\nhint: the proxy's user must be able to read it and to enter its folders, as in `setfacl -R -m \
             u:portico:rX /etc/letsencrypt/live /etc/letsencrypt/archive`"
        }
        io::ErrorKind::NotFound => "\nhint: check `files.fullchain` and `files.key`",
        _ => "",
    }
}

/// The files of all domains.
#[derive(Debug, Clone)]
pub struct Files(PairFiles);

impl Files {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(files: PairFiles) -> Self {
        Self(files)
    }

    /// Reads and proves the pair of a domain. Dates are the caller's to judge.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn load(&self, domain: &Host) -> Result<Bundle, FilesError> {
        let (chain, key) = self.0.of(domain);
        let chain_pem = read(&chain)?;
        let key_pem = read(&key)?;
        let bundle = match Bundle::parse(&chain_pem, &key_pem) {
            Ok(bundle) => bundle,
            Err(error) => return Err(FilesError::Bad { chain, key, error }),
        };
        let wanted = bundle::names_of(domain);
        if !wanted.iter().any(|name| bundle.names().contains(name)) {
            let has = bundle::join(bundle.names());
            let domain = domain.clone();
            return Err(FilesError::Foreign { chain, domain, has });
        }
        Ok(bundle)
    }

    /// A number that changes when a file of these domains is written or replaced, also behind links.
    #[must_use]
    pub fn fingerprint(&self, domains: &[Host]) -> u64 {
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        for domain in domains {
            let (chain, key) = self.0.of(domain);
            for path in [chain, key] {
                let facts = fs::metadata(&path).ok();
                facts
                    .map(|facts| (facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.len()))
                    .hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FilesError> {
    use std::io::Read;
    let mut content = Zeroizing::new(Vec::new());
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_end(&mut content))
        .map_err(|source| FilesError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(content)
}

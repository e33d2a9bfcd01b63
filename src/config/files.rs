//! `certs` and `[files]`: where the certificates in service come from.

use std::path::PathBuf;

use super::reader::Reader;
use crate::host::Host;

/// Stands for the domain in a path.
const DOMAIN: &str = "{domain}";

/// Where the certificates in service come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertOrigin {
    /// `"acme"`: the store in `state_dir`, which the renewal or `portico cert import` fills.
    Acme,
    /// `"files"`: files that another program renews.
    Files(PairFiles),
}

/// Where another program keeps a chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// Leaf first, in PEM; `{domain}` stands for the domain. Default: certbot's
    /// `/etc/letsencrypt/live/{domain}/fullchain.pem`.
    pub fullchain: PathBuf,
    /// The key in PEM. Default: certbot's `/etc/letsencrypt/live/{domain}/privkey.pem`.
    pub key: PathBuf,
}

impl Default for PairFiles {
    fn default() -> Self {
        Self {
            fullchain: PathBuf::from("/etc/letsencrypt/live/{domain}/fullchain.pem"),
            key: PathBuf::from("/etc/letsencrypt/live/{domain}/privkey.pem"),
        }
    }
}

impl PairFiles {
    /// Chain and key of a domain.
    #[must_use]
    pub fn of(&self, domain: &Host) -> (PathBuf, PathBuf) {
        let fill = |path: &PathBuf| match path.to_str() {
            Some(text) => PathBuf::from(text.replace(DOMAIN, domain.as_str())),
            None => path.clone(),
        };
        (fill(&self.fullchain), fill(&self.key))
    }
}

impl CertOrigin {
    /// The key `certs` at the top of the file.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut files = false;
        reader.section("").choice(
            "certs",
            &mut files,
            &[("acme", false), ("files", true)],
            "Where certificates come from: `acme`, or `files` that another program renews (certbot)",
        );
        if files {
            Self::Files(PairFiles::default())
        } else {
            Self::Acme
        }
    }

    /// The section `[files]`.
    pub(super) fn read_files(&mut self, reader: &mut Reader<'_>) {
        let mut section = reader.section("files");
        let fullchain = section.maybe_path(
            "fullchain",
            "certbot's, `/etc/letsencrypt/live/{domain}/fullchain.pem`",
            "For `certs = \"files\"`: the chain in PEM, leaf first; `{domain}` stands for the domain",
        );
        let key = section.maybe_path(
            "key",
            "certbot's, `/etc/letsencrypt/live/{domain}/privkey.pem`",
            "For `certs = \"files\"`: its key in PEM",
        );
        match self {
            Self::Files(files) => {
                files.fullchain = fullchain.unwrap_or_else(|| files.fullchain.clone());
                files.key = key.unwrap_or_else(|| files.key.clone());
            }
            Self::Acme => {
                for name in ["fullchain", "key"] {
                    if section.has(name) {
                        section.refuse(
                            name,
                            "the key has no use with `certs = \"acme\"`",
                            "write `certs = \"files\"` at the top of the file, or remove the key",
                        );
                    }
                }
            }
        }
    }
}

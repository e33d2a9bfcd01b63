//! `account.json`: the account's key, its URL, and during a rollover the key that is to follow.
//!
//! One file, replaced as a whole, so that nothing in it can disagree. The file before a change stays beside it as
//! `account.json.before`. Asks nobody.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::acme::error::AcmeError;
use crate::acme::key::Key;
use crate::cert::disk;
use crate::cert::store::StoreError;

/// For another process to make or change the account; a call to the CA takes half a minute at most.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What the file holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) directory: String,
    key: KeyText,
    /// A key that the CA may have taken in place of the other, or may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<KeyText>,
    /// None until the CA has confirmed it.
    pub(super) url: Option<String>,
    /// The address that the CA knows.
    pub(super) contact: Option<String>,
}

impl Saved {
    /// An account that no CA knows yet.
    pub(super) fn new(directory: &str, key: &Key) -> Result<Self, AcmeError> {
        Ok(Self {
            directory: directory.to_owned(),
            key: KeyText::of(key)?,
            next: None,
            url: None,
            contact: None,
        })
    }

    pub(super) fn key(&self) -> Result<Key, AcmeError> {
        self.key.read()
    }

    pub(super) fn next(&self) -> Result<Option<Key>, AcmeError> {
        self.next.as_ref().map(KeyText::read).transpose()
    }

    /// Notes the key that is to follow.
    pub(super) fn set_next(&mut self, key: &Key) -> Result<(), AcmeError> {
        self.next = Some(KeyText::of(key)?);
        Ok(())
    }

    /// The next key is the account's.
    pub(super) fn promote(&mut self) {
        if let Some(next) = self.next.take() {
            self.key = next;
        }
    }

    /// The URL of an account that the CA has confirmed.
    pub(super) fn url(&self) -> Result<String, AcmeError> {
        self.url.clone().ok_or_else(|| {
            let text = "the CA has not confirmed the account yet";
            AcmeError::AccountGone(text.to_owned())
        })
    }
}

/// A key in PKCS#8, base64url: wiped from memory after use.
pub(super) struct KeyText(Zeroizing<String>);

impl KeyText {
    fn of(key: &Key) -> Result<Self, AcmeError> {
        let text = BASE64_URL_SAFE_NO_PAD.encode(key.to_pkcs8()?.as_slice());
        Ok(Self(text.into()))
    }

    fn read(&self) -> Result<Key, AcmeError> {
        // The decoder's error would show part of the key.
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(self.0.as_bytes());
        let key = bytes.ok().map(Zeroizing::new);
        let key = key.and_then(|key| Key::from_pkcs8(&key).ok());
        key.ok_or_else(|| {
            let text = "the account key is damaged\nhint: restore `account.json` from a backup, or remove it and a new \
                        account is made";
            AcmeError::Config(text.to_owned())
        })
    }
}

impl Serialize for KeyText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(text.into()))
    }
}

/// Where the account at one CA is kept.
pub(super) struct AccountFile {
    path: PathBuf,
    directory: String,
}

impl AccountFile {
    /// One directory for each CA, named by its address, so that a person can tell them apart.
    pub(super) fn of(state_dir: &Path, directory: &str) -> Self {
        let name = directory.strip_prefix("https://").unwrap_or(directory);
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(plain).take(200).collect();
        let folder = state_dir.join("acme").join("accounts").join(name);
        Self {
            path: folder.join("account.json"),
            directory: directory.to_owned(),
        }
    }

    /// The account that must be there.
    pub(super) fn existing(&self) -> Result<Saved, AcmeError> {
        let saved = self.read()?.filter(|saved| saved.url.is_some());
        saved.ok_or_else(|| {
            AcmeError::Config(format!(
                "there is no account at `{}`\nhint: `portico cert issue` makes one with the first certificate",
                self.directory
            ))
        })
    }

    pub(super) fn read(&self) -> Result<Option<Saved>, AcmeError> {
        let content = disk::read_if_there(&self.path).map_err(self.failed("read"))?;
        let Some(content) = content.map(Zeroizing::new) else {
            return Ok(None);
        };
        let damaged = |error: serde_json::Error| {
            AcmeError::Config(format!(
                "the ACME account `{}` is damaged at line {}\nhint: restore it from a backup, or remove it and a new \
                 account is made",
                self.path.display(),
                error.line()
            ))
        };
        serde_json::from_slice(&content).map(Some).map_err(damaged)
    }

    /// Returns when it is on the disk for good.
    pub(super) fn write(&self, saved: &Saved) -> Result<(), AcmeError> {
        if let Some(folder) = self.path.parent() {
            disk::create_dir(folder, disk::PRIVATE_DIR).map_err(self.failed("write"))?;
        }
        let content = serde_json::to_vec_pretty(saved).map(Zeroizing::new);
        let content = content.map_err(|error| self.failed("write")(error.into()))?;
        Ok(disk::write(&self.path, &content, disk::PRIVATE).map_err(self.failed("write"))?)
    }

    /// Keeps a copy of the file beside it.
    pub(super) fn set_aside(&self) -> Result<(), AcmeError> {
        let aside = self.path.with_file_name("account.json.before");
        if let Some(content) = disk::read_if_there(&self.path).map_err(self.failed("read"))? {
            let content = Zeroizing::new(content);
            disk::write(&aside, &content, disk::PRIVATE).map_err(self.failed("copy"))?;
        }
        Ok(())
    }

    pub(super) fn remove(&self) -> Result<(), AcmeError> {
        Ok(disk::remove(&self.path).map_err(self.failed("remove"))?)
    }

    /// The right to make or change the account.
    pub(super) async fn lock(&self) -> Result<File, AcmeError> {
        let path = self.path.with_file_name("lock");
        if let Some(folder) = path.parent() {
            disk::create_dir(folder, disk::PRIVATE_DIR).map_err(self.failed("lock"))?;
        }
        let file = File::create(&path).map_err(self.failed("lock"))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(self.failed("lock")(error).into()),
                Err(TryLockError::WouldBlock) if start.elapsed() > LOCK_PATIENCE => {
                    let text = "another process has been making the ACME account for too long";
                    return Err(AcmeError::Transport(text.to_owned()));
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            }
        }
    }

    fn failed(&self, action: &'static str) -> impl Fn(std::io::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::File {
            action,
            path: path.clone(),
            source,
        }
    }
}

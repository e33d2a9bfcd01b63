//! The ACME account: made once for each CA and used for ever.
//!
//! The key is on the disk before the CA hears of it, so a crash in between finds the same account again. Accounts are
//! limited by the CA; a new one is never made while there is a key.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use instant_acme::{Account, Key};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::client::Client;
use super::error::AcmeError;
use super::order::patient;
use crate::cert::store::StoreError;
use crate::cert::{disk, failpoint};
use crate::config::Acme;

/// For another process to make the account; a call to the CA takes half a minute at most.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// `account.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    directory: String,
    /// PKCS#8, base64url.
    #[serde(with = "wiped")]
    key: Zeroizing<String>,
    /// None until the CA has confirmed it.
    url: Option<String>,
    /// The address that the CA knows.
    contact: Option<String>,
}

/// A text that is wiped from memory after use, as a plain one in the file.
mod wiped {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        text: &Zeroizing<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(from).map(Zeroizing::new)
    }
}

/// Opens the account, or makes one if this CA has none of ours.
pub(super) async fn open(
    state_dir: &Path,
    config: &Acme,
    client: &Client,
) -> Result<Account, AcmeError> {
    let path = path(state_dir, &config.directory);
    let (mut saved, account) = match read(&path)? {
        Some(saved) if saved.url.is_some() => {
            let account = restore(&saved, client).await?;
            (saved, account)
        }
        _ => {
            // Two lineages in two processes must not make two accounts: who comes second finds the first one's.
            let _lock = lock(&path).await?;
            let mut saved = match read(&path)? {
                Some(saved) => saved,
                None => create(&path, &config.directory)?,
            };
            let account = match saved.url {
                Some(_) => restore(&saved, client).await?,
                None => register(&mut saved, &path, client).await?,
            };
            (saved, account)
        }
    };
    if saved.contact != config.email
        && let Some(email) = &config.email
    {
        let contact = format!("mailto:{email}");
        // The certificate matters more than the address.
        match patient(client, async || account.update_contacts(&[&contact]).await).await {
            Ok(()) => {
                saved.contact.clone_from(&config.email);
                write(&path, &saved)?;
            }
            Err(error) => tracing::warn!(%error, "the CA did not take the contact address"),
        }
    }
    Ok(account)
}

/// Registers the same key again, after the CA has forgotten it.
pub(super) async fn register_again(
    state_dir: &Path,
    config: &Acme,
    client: &Client,
) -> Result<(), AcmeError> {
    let path = path(state_dir, &config.directory);
    let Some(mut saved) = read(&path)? else {
        return Ok(());
    };
    saved.contact = None;
    register(&mut saved, &path, client).await.map(drop)
}

/// The right to make the account.
async fn lock(path: &Path) -> Result<File, AcmeError> {
    let path = path.with_file_name("lock");
    let failed = |source| StoreError::File {
        action: "lock",
        path: path.clone(),
        source,
    };
    if let Some(folder) = path.parent() {
        disk::create_dir(folder, disk::PRIVATE_DIR).map_err(failed)?;
    }
    let file = File::create(&path).map_err(failed)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error).into()),
            Err(TryLockError::WouldBlock) if start.elapsed() > LOCK_PATIENCE => {
                let text = "another process has been making the ACME account for too long";
                return Err(AcmeError::Transport(text.to_owned()));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
        }
    }
}

async fn restore(saved: &Saved, client: &Client) -> Result<Account, AcmeError> {
    let url = saved.url.as_deref().unwrap_or_default();
    patient(client, async || {
        let builder = Account::builder_with_http(Box::new(client.clone()));
        builder
            .from_parts(url.to_owned(), pkcs8(saved)?, saved.directory.clone())
            .await
    })
    .await
}

async fn register(saved: &mut Saved, path: &Path, client: &Client) -> Result<Account, AcmeError> {
    let account = patient(client, async || {
        let key = pkcs8(saved)?;
        let pair = (
            Key::from_pkcs8_der(key.clone_key())?,
            PrivateKeyDer::Pkcs8(key),
        );
        let builder = Account::builder_with_http(Box::new(client.clone()));
        builder
            .create_from_key(pair, saved.directory.clone())
            .await
            .map(|(account, _)| account)
    })
    .await?;
    failpoint::hit(failpoint::ACCOUNT_REGISTERED);
    saved.url = Some(account.id().to_owned());
    write(path, saved)?;
    tracing::info!(account = account.id(), "the CA knows our account");
    Ok(account)
}

fn create(path: &Path, directory: &str) -> Result<Saved, AcmeError> {
    let failed = |error: instant_acme::Error| {
        AcmeError::Config(format!("cannot make an account key: {error}"))
    };
    let (_, key) = Key::generate_pkcs8().map_err(failed)?;
    let key = BASE64_URL_SAFE_NO_PAD.encode(key.secret_pkcs8_der()).into();
    let saved = Saved {
        directory: directory.to_owned(),
        key,
        url: None,
        contact: None,
    };
    write(path, &saved)?;
    failpoint::hit(failpoint::ACCOUNT_KEY_WRITTEN);
    Ok(saved)
}

fn pkcs8(saved: &Saved) -> Result<PrivatePkcs8KeyDer<'static>, instant_acme::Error> {
    // The decoder's error would show part of the key.
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(saved.key.as_bytes())
        .map_err(|_shows_key| instant_acme::Error::Str("the account key is damaged"))?;
    Ok(PrivatePkcs8KeyDer::from(bytes))
}

fn read(path: &Path) -> Result<Option<Saved>, AcmeError> {
    let file = |source| StoreError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let Some(content) = disk::read_if_there(path).map_err(file)? else {
        return Ok(None);
    };
    let content = Zeroizing::new(content);
    let damaged = |error: serde_json::Error| {
        AcmeError::Config(format!(
            "the ACME account `{}` is damaged at line {}\nhint: restore it from a backup, or remove it and a new \
             account is made",
            path.display(),
            error.line()
        ))
    };
    serde_json::from_slice(&content).map(Some).map_err(damaged)
}

fn write(path: &Path, saved: &Saved) -> Result<(), AcmeError> {
    let file = |source| StoreError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        disk::create_dir(folder, disk::PRIVATE_DIR).map_err(file)?;
    }
    let content = serde_json::to_vec_pretty(saved)
        .map(Zeroizing::new)
        .map_err(|error| file(error.into()))?;
    Ok(disk::write(path, &content, disk::PRIVATE).map_err(file)?)
}

/// One directory for each CA, named by its address, so that a person can tell them apart.
fn path(state_dir: &Path, directory: &str) -> PathBuf {
    let name = directory.strip_prefix("https://").unwrap_or(directory);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).take(200).collect();
    state_dir
        .join("acme")
        .join("accounts")
        .join(name)
        .join("account.json")
}

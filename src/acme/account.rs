//! The ACME account: made once for each CA and used for ever.
//!
//! The key is on the disk before the CA hears of it, so a crash in between finds the same account again. Accounts are
//! limited by the CA; a new one is never made while there is a key.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::{digest, signature};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use instant_acme::{
    Account, ExternalAccountKey, Key, NewAccount, RevocationReason, RevocationRequest,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::client::Client;
use super::error::AcmeError;
use super::order::patient;
use crate::cert::store::StoreError;
use crate::cert::{disk, failpoint};
use crate::config::{Ca, Eab};

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
pub(super) async fn open(state_dir: &Path, ca: &Ca, client: &Client) -> Result<Account, AcmeError> {
    let path = path(state_dir, &ca.directory);
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
                None => create(&path, &ca.directory)?,
            };
            if saved.url.is_none() && ca.eab.is_some() {
                saved.contact.clone_from(&ca.email);
            }
            let account = match saved.url {
                Some(_) => restore(&saved, client).await?,
                None => register(&mut saved, &path, ca, client).await?,
            };
            (saved, account)
        }
    };
    if saved.contact != ca.email
        && let Some(email) = &ca.email
    {
        let contact = format!("mailto:{email}");
        // The certificate matters more than the address.
        match patient(client, async || account.update_contacts(&[&contact]).await).await {
            Ok(()) => {
                saved.contact.clone_from(&ca.email);
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
    ca: &Ca,
    client: &Client,
) -> Result<(), AcmeError> {
    let path = path(state_dir, &ca.directory);
    let Some(mut saved) = read(&path)? else {
        return Ok(());
    };
    saved.contact = None;
    register(&mut saved, &path, ca, client).await.map(drop)
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

async fn register(
    saved: &mut Saved,
    path: &Path,
    ca: &Ca,
    client: &Client,
) -> Result<Account, AcmeError> {
    let account = match &ca.eab {
        Some(eab) => bind(saved, eab, client).await?,
        None => {
            patient(client, async || {
                let builder = Account::builder_with_http(Box::new(client.clone()));
                let made = builder.create_from_key(pair(saved)?, saved.directory.clone());
                made.await.map(|(account, _)| account)
            })
            .await?
        }
    };
    failpoint::hit(failpoint::ACCOUNT_REGISTERED);
    saved.url = Some(account.id().to_owned());
    write(path, saved)?;
    tracing::info!(account = account.id(), "the CA knows our account");
    Ok(account)
}

/// Registers with an external account binding (RFC 8555 §7.3.4). A key that the CA knows already is not bound again.
/// The library makes the key of a new account itself, so a crash between the CA's answer and our note of it loses the
/// account; the next run binds another one.
async fn bind(saved: &mut Saved, eab: &Eab, client: &Client) -> Result<Account, AcmeError> {
    let known = patient(client, async || {
        let builder = Account::builder_with_http(Box::new(client.clone()));
        let found = builder.from_key(pair(saved)?, saved.directory.clone());
        found.await.map(|(account, _)| account)
    });
    match known.await {
        Ok(account) => return Ok(account),
        Err(AcmeError::AccountGone(_)) => {}
        Err(error) => return Err(error),
    }
    let credentials = eab
        .key_file
        .read()
        .map_err(|error| AcmeError::Config(error.to_string()))?;
    let key = credentials
        .require("eab_hmac_key")
        .map_err(|error| AcmeError::Config(error.to_string()))?;
    // With or without padding: CAs print both. The decoder's error would show part of the key.
    let key = BASE64_URL_SAFE_NO_PAD
        .decode(key.expose().trim_end_matches('='))
        .map_err(|_shows_key| {
            AcmeError::Config(format!(
                "`eab_hmac_key` in `{}` is not base64url\nhint: copy the key from the CA's page as it stands there",
                eab.key_file
            ))
        })?;
    let key = Zeroizing::new(key);
    let contact: Vec<String> = saved
        .contact
        .iter()
        .map(|email| format!("mailto:{email}"))
        .collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let binding = ExternalAccountKey::new(eab.kid.clone(), &key);
    let (account, made) = patient(client, async || {
        let builder = Account::builder_with_http(Box::new(client.clone()));
        builder
            .create(&new, saved.directory.clone(), Some(&binding))
            .await
    })
    .await?;
    saved.key = encode(made.private_key());
    Ok(account)
}

fn pair(saved: &Saved) -> Result<(Key, PrivateKeyDer<'static>), instant_acme::Error> {
    let key = pkcs8(saved)?;
    Ok((
        Key::from_pkcs8_der(key.clone_key())?,
        PrivateKeyDer::Pkcs8(key),
    ))
}

fn encode(key: &PrivatePkcs8KeyDer<'_>) -> Zeroizing<String> {
    BASE64_URL_SAFE_NO_PAD.encode(key.secret_pkcs8_der()).into()
}

/// What is known of an account without asking the CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The CA's directory URL.
    pub directory: String,
    /// The account's URL; none until the CA has confirmed it.
    pub url: Option<String>,
    /// The address that the CA knows.
    pub contact: Option<String>,
    /// The SHA-256 of the account's public key (RFC 7638), as challenges show it.
    pub thumbprint: Option<String>,
}

/// The account at a CA, from the disk alone; none if there is none.
///
/// # Errors
/// [`AcmeError`] if the file is there and cannot be read.
pub fn show(state_dir: &Path, ca: &Ca) -> Result<Option<Known>, AcmeError> {
    let saved = read(&path(state_dir, &ca.directory))?;
    Ok(saved.map(|saved| Known {
        thumbprint: thumbprint(&saved),
        directory: saved.directory,
        url: saved.url,
        contact: saved.contact,
    }))
}

/// RFC 7638, for a P-256 key.
fn thumbprint(saved: &Saved) -> Option<String> {
    let key = pkcs8(saved).ok()?;
    let key = signature::EcdsaKeyPair::from_pkcs8(
        &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        key.secret_pkcs8_der(),
    )
    .ok()?;
    // Uncompressed: a byte 4, then both coordinates.
    let (_, point) = key.public_key().as_ref().split_first()?;
    let (x, y) = point.split_at_checked(point.len() / 2)?;
    let [x, y] = [x, y].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let digest = digest::digest(&digest::SHA256, jwk.as_bytes());
    Some(BASE64_URL_SAFE_NO_PAD.encode(digest))
}

/// Takes in an account that exists at the CA: its key is looked up there, and replaces ours if the CA knows it. The
/// file before stays as `account.json.before`.
///
/// # Errors
/// [`AcmeError`]; nothing is changed then. The key must be a P-256 key in PKCS#8 PEM.
pub async fn import(state_dir: &Path, ca: &Ca, key_pem: &str) -> Result<Known, AcmeError> {
    let unusable = |_shows_key| {
        AcmeError::Config(
            "not an account key that can be used\nhint: give an EC P-256 key as PKCS#8 PEM; `openssl pkcs8 -topk8 \
             -nocrypt` converts others; RSA account keys cannot be used"
                .to_owned(),
        )
    };
    let key = PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).map_err(unusable)?;
    Key::from_pkcs8_der(key.clone_key())
        .map_err(|_shows_key| unusable(rustls_pki_types::pem::Error::NoItemsFound))?;
    let client = Client::new(ca.ca_file.as_deref())?;
    let mut saved = Saved {
        directory: ca.directory.clone(),
        key: encode(&key),
        url: None,
        contact: None,
    };
    let account = patient(&client, async || {
        let builder = Account::builder_with_http(Box::new(client.clone()));
        let found = builder.from_key(pair(&saved)?, saved.directory.clone());
        found.await.map(|(account, _)| account)
    })
    .await?;
    saved.url = Some(account.id().to_owned());
    let path = path(state_dir, &ca.directory);
    let _lock = lock(&path).await?;
    set_aside(&path)?;
    write(&path, &saved)?;
    show(state_dir, ca)?
        .ok_or_else(|| AcmeError::AccountGone("it is gone from the disk".to_owned()))
}

/// Gives the account a new key (RFC 8555 §7.3.5); its URL stays, so CAA records and persistent challenges that name it
/// stay right. The file before stays as `account.json.before`. The library makes the new key itself, so a crash
/// between the CA's answer and our note of it loses the account, and the next run registers another one.
///
/// # Errors
/// [`AcmeError`]; the old key is still the account's then.
pub async fn rollover(state_dir: &Path, ca: &Ca) -> Result<Known, AcmeError> {
    let path = path(state_dir, &ca.directory);
    let _lock = lock(&path).await?;
    let mut saved = existing(&path, ca)?;
    let client = Client::new(ca.ca_file.as_deref())?;
    // Before the CA forgets the old key, not after: a full disk must show now.
    set_aside(&path)?;
    let mut account = restore(&saved, &client).await?;
    let made = patient(&client, async || account.update_key().await).await?;
    saved.key = encode(made.private_key());
    write(&path, &saved)?;
    show(state_dir, ca)?
        .ok_or_else(|| AcmeError::AccountGone("it is gone from the disk".to_owned()))
}

/// Ends the account at the CA, for ever; its certificates stay valid. The file stays as `account.json.before`.
///
/// # Errors
/// [`AcmeError`]; the account is as before then.
pub async fn deactivate(state_dir: &Path, ca: &Ca) -> Result<(), AcmeError> {
    let path = path(state_dir, &ca.directory);
    let _lock = lock(&path).await?;
    let saved = existing(&path, ca)?;
    let client = Client::new(ca.ca_file.as_deref())?;
    let account = restore(&saved, &client).await?;
    patient(&client, async || account.clone().deactivate().await).await?;
    // The library does not look at the answer.
    let status = client.reply().status;
    if !(200..=299).contains(&status) {
        return Err(AcmeError::Transport(format!("the CA answered {status}")));
    }
    set_aside(&path)?;
    disk::remove(&path).map_err(|source| {
        let action = "remove";
        StoreError::File {
            action,
            path: path.clone(),
            source,
        }
        .into()
    })
}

/// Revokes a certificate with the account that got it (RFC 8555 §7.6). Replace it first: this ends its service.
///
/// # Errors
/// [`AcmeError`]; a certificate that is revoked already is no error.
pub async fn revoke(
    state_dir: &Path,
    ca: &Ca,
    certificate: &CertificateDer<'_>,
    reason: RevocationReason,
) -> Result<(), AcmeError> {
    let path = path(state_dir, &ca.directory);
    let saved = existing(&path, ca)?;
    let client = Client::new(ca.ca_file.as_deref())?;
    let account = restore(&saved, &client).await?;
    let request = RevocationRequest {
        certificate,
        reason: Some(reason),
    };
    match patient(&client, async || account.revoke(&request).await).await {
        Err(AcmeError::Refused { kind, .. }) if kind == "alreadyRevoked" => Ok(()),
        other => other,
    }
}

fn existing(path: &Path, ca: &Ca) -> Result<Saved, AcmeError> {
    let saved = read(path)?.filter(|saved| saved.url.is_some());
    saved.ok_or_else(|| {
        AcmeError::Config(format!(
            "there is no account at `{}`\nhint: `portico cert issue` makes one with the first certificate",
            ca.directory
        ))
    })
}

/// Keeps a copy of the file beside it.
fn set_aside(path: &Path) -> Result<(), AcmeError> {
    let aside = path.with_file_name("account.json.before");
    let failed = |action| {
        let path = path.to_owned();
        move |source| StoreError::File {
            action,
            path,
            source,
        }
    };
    if let Some(content) = disk::read_if_there(path).map_err(failed("read"))? {
        let content = Zeroizing::new(content);
        disk::write(&aside, &content, disk::PRIVATE).map_err(failed("copy"))?;
    }
    Ok(())
}

fn create(path: &Path, directory: &str) -> Result<Saved, AcmeError> {
    let failed = |error: instant_acme::Error| {
        AcmeError::Config(format!("cannot make an account key: {error}"))
    };
    let (_, key) = Key::generate_pkcs8().map_err(failed)?;
    let saved = Saved {
        directory: directory.to_owned(),
        key: encode(&key),
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

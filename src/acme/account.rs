//! The ACME account: made once for each CA and used for ever.
//!
//! A key is on the disk before the CA hears of it, so a crash in between finds the same account again: a first key is asked
//! for at the CA, and of two keys in a rollover the CA says which is the account's. Accounts are limited by the CA; a
//! new one is never made while there is a key. Orders go through the ACME library, everything about the account itself
//! through `Post`.

mod change;
mod file;
mod library;

use std::path::Path;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

pub use self::change::{deactivate, import, rollover};
use self::file::{AccountFile, Saved};
pub(super) use self::library::Account;
use super::client::Client;
use super::error::AcmeError;
use super::jws::{Jws, Signer};
use super::key::Key;
use super::order::patient;
use super::post::Post;
use crate::cert::failpoint;
use crate::config::{Ca, Eab};

/// Opens the account, or makes one if this CA has none of ours.
pub(super) async fn open(state_dir: &Path, ca: &Ca, client: &Client) -> Result<Account, AcmeError> {
    let file = AccountFile::of(state_dir, &ca.directory);
    let mut saved = match file.read()? {
        Some(saved) if saved.url.is_some() && saved.next.is_none() => saved,
        _ => {
            // Two lineages in two processes must not make two accounts: who comes second finds the first one's.
            let _lock = file.lock().await?;
            let mut saved = match file.read()? {
                Some(saved) => saved,
                None => create(&file, ca)?,
            };
            let mut post = Post::to(&ca.directory, client).await?;
            settle(&file, &mut saved, &mut post).await?;
            if saved.url.is_none() {
                register(&file, &mut saved, ca, &mut post).await?;
            }
            saved
        }
    };
    let account = Account::of(&saved, client).await?;
    if saved.contact != ca.email
        && let Some(email) = &ca.email
    {
        let contact = mailto(email);
        // The certificate matters more than the address.
        match patient(client, async || account.update_contacts(&[&contact]).await).await {
            Ok(()) => {
                saved.contact.clone_from(&ca.email);
                file.write(&saved)?;
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
    let file = AccountFile::of(state_dir, &ca.directory);
    let _lock = file.lock().await?;
    let Some(mut saved) = file.read()? else {
        return Ok(());
    };
    let mut post = Post::to(&ca.directory, client).await?;
    register(&file, &mut saved, ca, &mut post).await
}

/// URL and key of the account on the disk, with the key that the CA has for it; none if there is none. Makes none.
pub(super) async fn known(
    state_dir: &Path,
    ca: &Ca,
    post: &mut Post<'_>,
) -> Result<Option<(String, Key)>, AcmeError> {
    let file = AccountFile::of(state_dir, &ca.directory);
    let mut saved = file.read()?;
    if saved.as_ref().is_some_and(|saved| saved.next.is_some()) {
        let _lock = file.lock().await?;
        saved = file.read()?;
        if let Some(saved) = &mut saved {
            settle(&file, saved, post).await?;
        }
    }
    match saved {
        Some(saved) if saved.url.is_some() => Ok(Some((saved.url()?, saved.key()?))),
        _ => Ok(None),
    }
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
    /// The kind of its key, for people: `EC P-256`, `RSA 2048`.
    pub key: Option<String>,
    /// The SHA-256 of the account's public key (RFC 7638), as challenges show it.
    pub thumbprint: Option<String>,
}

/// The account at a CA, from the disk alone; none if there is none.
///
/// # Errors
/// [`AcmeError`] if the file is there and cannot be read.
pub fn show(state_dir: &Path, ca: &Ca) -> Result<Option<Known>, AcmeError> {
    let saved = AccountFile::of(state_dir, &ca.directory).read()?;
    Ok(saved.map(Known::from))
}

impl From<Saved> for Known {
    fn from(saved: Saved) -> Self {
        let key = saved.key().ok();
        Self {
            key: key.as_ref().map(Key::to_string),
            thumbprint: key.and_then(|key| key.thumbprint().ok()),
            directory: saved.directory,
            url: saved.url,
            contact: saved.contact,
        }
    }
}

/// A key of our own, on the disk and not known to anybody yet.
fn create(file: &AccountFile, ca: &Ca) -> Result<Saved, AcmeError> {
    let saved = Saved::new(&ca.directory, &Key::generate()?)?;
    file.write(&saved)?;
    failpoint::hit(failpoint::ACCOUNT_KEY_WRITTEN);
    Ok(saved)
}

/// What the CA says of an account.
struct Found {
    url: String,
    contact: Option<String>,
}

/// Makes the CA know the key on the disk, or finds that it does already.
async fn register(
    file: &AccountFile,
    saved: &mut Saved,
    ca: &Ca,
    post: &mut Post<'_>,
) -> Result<(), AcmeError> {
    let key = saved.key()?;
    let known = match &ca.eab {
        // A binding may be good for one account only, so a key that the CA knows is not bound again.
        Some(_) => match look_up(&key, post).await {
            Err(AcmeError::AccountGone(_)) => None,
            other => Some(other?),
        },
        None => None,
    };
    let found = match known {
        Some(found) => found,
        None => make(&key, ca, post).await?,
    };
    failpoint::hit(failpoint::ACCOUNT_REGISTERED);
    tracing::info!(account = found.url, "the CA knows our account");
    saved.url = Some(found.url);
    saved.contact = found.contact;
    file.write(saved)
}

/// What a new account shall be (RFC 8555 §7.3).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    terms_of_service_agreed: bool,
    contact: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_account_binding: Option<Jws>,
}

/// RFC 8555 §7.3: an account for this key; the one that there is if the CA knows the key.
async fn make(key: &Key, ca: &Ca, post: &mut Post<'_>) -> Result<Found, AcmeError> {
    let url = post.new_account();
    let binding = match &ca.eab {
        Some(eab) => Some(Jws::binding(&eab.kid, &secret(eab)?, &url, key)?),
        None => None,
    };
    let mut wanted = Wanted {
        terms_of_service_agreed: true,
        contact: ca.email.iter().map(|email| mailto(email)).collect(),
        external_account_binding: binding,
    };
    match ask(&url, key, &wanted, post).await {
        // The certificate matters more than the address.
        Err(AcmeError::Refused { kind, detail, .. })
            if ca.email.is_some() && kind.ends_with("Contact") =>
        {
            tracing::warn!(detail, "the CA did not take the contact address");
            wanted.contact.clear();
            ask(&url, key, &wanted, post).await
        }
        other => other,
    }
}

/// RFC 8555 §7.3.1: the account that has this key; [`AcmeError::AccountGone`] if there is none.
async fn look_up(key: &Key, post: &mut Post<'_>) -> Result<Found, AcmeError> {
    let url = post.new_account();
    ask(&url, key, &json!({ "onlyReturnExisting": true }), post).await
}

async fn ask(
    url: &str,
    key: &Key,
    wanted: &impl Serialize,
    post: &mut Post<'_>,
) -> Result<Found, AcmeError> {
    #[derive(Default, Deserialize)]
    struct Object {
        #[serde(default)]
        contact: Vec<String>,
    }
    let answer = post.send(url, Signer::Key(key), wanted).await?;
    let url = answer.location.ok_or_else(|| {
        AcmeError::Transport("the CA does not tell the account's address".to_owned())
    })?;
    // Not every CA tells the address; then it is given again, which does no harm.
    let object: Object = serde_json::from_slice(&answer.body).unwrap_or_default();
    let contact = object.contact.into_iter().next();
    let contact = contact.map(|contact| contact.trim_start_matches("mailto:").to_owned());
    Ok(Found { url, contact })
}

/// Ends a change of keys that a run began and did not live to note: the CA says which of both is the account's.
async fn settle(
    file: &AccountFile,
    saved: &mut Saved,
    post: &mut Post<'_>,
) -> Result<(), AcmeError> {
    let Some(next) = saved.next()? else {
        return Ok(());
    };
    match look_up(&next, post).await {
        // Nobody but this account ever showed it to the CA.
        Ok(found) => {
            tracing::info!(account = found.url, "the CA has the account's new key");
            saved.promote();
        }
        Err(AcmeError::AccountGone(_)) => {
            tracing::info!("the CA never took the account's new key; the one before stays");
            saved.next = None;
        }
        Err(error) => return Err(error),
    }
    file.write(saved)
}

/// The key that the CA gave for the binding.
fn secret(eab: &Eab) -> Result<Zeroizing<Vec<u8>>, AcmeError> {
    let config = |error: crate::config::SecretError| AcmeError::Config(error.to_string());
    let credentials = eab.key_file.read().map_err(config)?;
    let key = credentials.require("eab_hmac_key").map_err(config)?;
    // With or without padding: CAs print both. The decoder's error would show part of the key.
    let key = BASE64_URL_SAFE_NO_PAD.decode(key.expose().trim_end_matches('='));
    key.map(Zeroizing::new).map_err(|_shows_key| {
        AcmeError::Config(format!(
            "`eab_hmac_key` in `{}` is not base64url\nhint: copy the key from the CA's page as it stands there",
            eab.key_file
        ))
    })
}

fn mailto(email: &str) -> String {
    format!("mailto:{email}")
}

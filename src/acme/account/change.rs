//! What an operator does with an account: take one in, give it another key, end it.
//!
//! Each may die anywhere and be done again. Nothing here makes an account.

use std::path::Path;

use serde_json::json;

use super::file::{AccountFile, Saved};
use super::{Known, look_up, settle};
use crate::acme::client::Client;
use crate::acme::error::AcmeError;
use crate::acme::jws::{self, Jws, Signer};
use crate::acme::key::{Key, KeyError};
use crate::acme::post::Post;
use crate::cert::failpoint;
use crate::config::Ca;

/// Takes in an account that exists at the CA: its key is looked up there, and replaces ours if the CA knows it. `key` is
/// the text of a file in which an ACME client keeps an account key: PEM, or JSON as certbot and we have it. The file
/// before stays as `account.json.before`.
///
/// # Errors
/// [`AcmeError`]; nothing is changed then.
pub async fn import(state_dir: &Path, ca: &Ca, key: &str) -> Result<Known, AcmeError> {
    let key = read(key).map_err(|error| {
        let hint = match error {
            KeyError::Encrypted => "`openssl pkey -in FILE -out PLAIN` takes the passphrase off",
            _ => {
                "give the PEM of an account key, or certbot's `private_key.json`; without one, Portico makes an account \
                 of its own at the first `portico cert issue`, and CAA and `_validation-persist` records that name the \
                 account must then name the new one (`portico account show`)"
            }
        };
        AcmeError::Config(format!("not an account key that can be used: {error}\nhint: {hint}"))
    })?;
    let client = Client::new(ca.ca_file.as_deref())?;
    let mut post = Post::to(&ca.directory, &client).await?;
    let found = look_up(&key, &mut post).await.map_err(|error| match error {
        AcmeError::AccountGone(detail) => AcmeError::Config(format!(
            "`{}` has no account with this key: {detail}\nhint: is it the CA that the account is at? set `directory` in \
             [acme] to that",
            ca.directory
        )),
        other => other,
    })?;
    let mut saved = Saved::new(&ca.directory, &key)?;
    saved.url = Some(found.url);
    saved.contact = found.contact;
    let file = AccountFile::of(state_dir, &ca.directory);
    let _lock = file.lock().await?;
    file.set_aside()?;
    file.write(&saved)?;
    Ok(saved.into())
}

/// Reads the text of a file in which some ACME client keeps an account key.
fn read(text: &str) -> Result<Key, KeyError> {
    if !text.trim_start().starts_with('{') {
        return Key::from_pem(text);
    }
    // Our own, of another machine or from a backup.
    match serde_json::from_str::<Saved>(text) {
        Ok(saved) => saved.key().map_err(|_shows_key| KeyError::Unusable),
        Err(_shows_key) => Key::from_jwk(text),
    }
}

/// Gives the account a new key (RFC 8555 §7.3.5), of our own kind whatever the one before was; its URL stays, so CAA
/// records and persistent challenges that name it stay right. The new key is on the disk before the CA hears of it, and
/// whoever opens the account after a crash asks the CA which of both it has. The file before stays as
/// `account.json.before`.
///
/// # Errors
/// [`AcmeError`]; the CA has the old key then, or could not be asked and the next run asks it.
pub async fn rollover(state_dir: &Path, ca: &Ca) -> Result<Known, AcmeError> {
    let file = AccountFile::of(state_dir, &ca.directory);
    let _lock = file.lock().await?;
    let mut saved = file.existing()?;
    let client = Client::new(ca.ca_file.as_deref())?;
    let mut post = Post::to(&ca.directory, &client).await?;
    settle(&file, &mut saved, &mut post).await?;
    let url = post.key_change()?;
    let account = saved.url()?;
    let (old, new) = (saved.key()?, Key::generate()?);
    // RFC 8555 §7.3.5: the new key agrees to be the account's, in a request that the old one signs.
    let consent = json!({ "account": account, "oldKey": jws::public(&old)? });
    let consent = serde_json::to_vec(&consent).map_err(|_never| KeyError::Crypto)?;
    let consent = Jws::new(Signer::Key(&new), None, &url, &consent)?;
    file.set_aside()?;
    saved.set_next(&new)?;
    file.write(&saved)?;
    failpoint::hit(failpoint::ROLLOVER_KEY_WRITTEN);
    let signer = Signer::Account(&account, &old);
    match post.send(&url, signer, &consent).await {
        Ok(_) => {
            failpoint::hit(failpoint::ROLLOVER_ACCEPTED);
            saved.promote();
            file.write(&saved)?;
        }
        Err(error) => {
            // An answer that was lost on the way looks like none at all.
            let settled = settle(&file, &mut saved, &mut post).await;
            if settled.is_err() || saved.key()?.thumbprint()? == old.thumbprint()? {
                return Err(error);
            }
        }
    }
    failpoint::hit(failpoint::ROLLOVER_NOTED);
    Ok(saved.into())
}

/// Ends the account at the CA, for ever; its certificates stay valid. The file stays as `account.json.before`. An account
/// that the CA has ended already is no error.
///
/// # Errors
/// [`AcmeError`]; the account is as before then.
pub async fn deactivate(state_dir: &Path, ca: &Ca) -> Result<(), AcmeError> {
    let file = AccountFile::of(state_dir, &ca.directory);
    let _lock = file.lock().await?;
    let mut saved = file.existing()?;
    let client = Client::new(ca.ca_file.as_deref())?;
    let mut post = Post::to(&ca.directory, &client).await?;
    settle(&file, &mut saved, &mut post).await?;
    let (url, key) = (saved.url()?, saved.key()?);
    let ended = json!({ "status": "deactivated" });
    match post.send(&url, Signer::Account(&url, &key), &ended).await {
        // RFC 8555 §7.3.6: what is ended is `unauthorized` from then on. A run died before it had noted that.
        Err(AcmeError::Refused { kind, .. }) if kind == "unauthorized" => {}
        Err(AcmeError::AccountGone(_)) => {}
        other => drop(other?),
    }
    failpoint::hit(failpoint::ACCOUNT_ENDED);
    file.set_aside()?;
    file.remove()
}

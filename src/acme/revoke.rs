//! Revocation (RFC 8555 §7.6), by the account that got the certificate or by the certificate's own key.
//!
//! The key alone is enough, so a certificate can be revoked that came from elsewhere, or whose account is lost. Nothing is
//! replaced here: whoever calls does that first.

use std::path::Path;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use instant_acme::RevocationReason;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::account;
use super::client::Client;
use super::error::AcmeError;
use super::jws::Signer;
use super::key::Key;
use super::post::Post;
use crate::config::Ca;

/// A certificate that is to be revoked.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// It, in DER.
    pub certificate: &'a CertificateDer<'a>,
    /// Its key, in PEM.
    pub key: &'a str,
    /// Why.
    pub reason: &'a RevocationReason,
}

/// Who signs the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The account that got it; its own key if that account is gone or never was ours.
    Account,
    /// Its own key.
    Key,
}

/// Revokes a certificate, and says who signed. Replace it first: this ends its service.
///
/// # Errors
/// [`AcmeError`]; a certificate that is revoked already is no error.
pub async fn revoke(
    state_dir: &Path,
    ca: &Ca,
    target: Target<'_>,
    by: By,
) -> Result<By, AcmeError> {
    let client = Client::new(ca.ca_file.as_deref())?;
    let mut post = Post::to(&ca.directory, &client).await?;
    let payload = json!({
        "certificate": BASE64_URL_SAFE_NO_PAD.encode(target.certificate),
        "reason": target.reason,
    });
    if by == By::Account {
        match account::known(state_dir, ca, &mut post).await? {
            Some((url, key)) => {
                match send(Signer::Account(&url, &key), &payload, &mut post).await {
                    Ok(()) => return Ok(By::Account),
                    Err(error) if is_about_the_account(&error) => {
                        tracing::info!(%error, "not by the account, so by the certificate's key");
                    }
                    Err(error) => return Err(error),
                }
            }
            None => tracing::info!("there is no account, so by the certificate's key"),
        }
    }
    let key = Key::from_pem(target.key)?;
    send(Signer::Key(&key), &payload, &mut post).await?;
    Ok(By::Key)
}

async fn send(signer: Signer<'_>, payload: &Value, post: &mut Post<'_>) -> Result<(), AcmeError> {
    let url = post.revoke_cert()?;
    match post.send(&url, signer, payload).await {
        Err(AcmeError::Refused { kind, .. }) if kind == "alreadyRevoked" => Ok(()),
        other => other.map(drop),
    }
}

/// The CA does not know the account, has ended it, or says that it did not get this certificate.
fn is_about_the_account(error: &AcmeError) -> bool {
    match error {
        AcmeError::AccountGone(_) => true,
        AcmeError::Refused { kind, .. } => kind == "unauthorized",
        _ => false,
    }
}

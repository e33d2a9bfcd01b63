//! Signed requests (RFC 7515, flattened JSON as RFC 8555 §6.2 wants it): pure, from a payload to the text that is sent.
//!
//! The nonce is the caller's; a request without one goes inside another one (a key that takes another's place, an
//! external account binding) and is never sent by itself.

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Serialize;
use serde_json::Value;

use super::key::{Key, KeyError};

/// By what the CA knows the signer (RFC 8555 §6.2: never both).
#[derive(Debug, Clone, Copy)]
pub(super) enum Signer<'a> {
    /// The account of this URL; the key is its key.
    Account(&'a str, &'a Key),
    /// The key itself, whose public half is in the request.
    Key(&'a Key),
}

impl<'a> Signer<'a> {
    fn key(self) -> &'a Key {
        match self {
            Self::Account(_, key) | Self::Key(key) => key,
        }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    url: &'a str,
}

/// A signed request, ready to be sent.
#[derive(Debug, Serialize)]
pub(super) struct Jws {
    protected: String,
    payload: String,
    signature: String,
}

impl Jws {
    /// Signs `payload` for `url`.
    pub(super) fn new(
        signer: Signer<'_>,
        nonce: Option<&str>,
        url: &str,
        payload: &[u8],
    ) -> Result<Self, KeyError> {
        Self::of_encoded(signer, nonce, url, BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    /// Signs a payload that is in base64url already.
    pub(super) fn of_encoded(
        signer: Signer<'_>,
        nonce: Option<&str>,
        url: &str,
        payload: String,
    ) -> Result<Self, KeyError> {
        let (jwk, kid) = match signer {
            Signer::Account(account, _) => (None, Some(account)),
            Signer::Key(key) => (Some(public(key)?), None),
        };
        let header = Header {
            alg: signer.key().algorithm(),
            jwk,
            kid,
            nonce,
            url,
        };
        Self::sign(&header, payload, |input| signer.key().sign(input))
    }

    /// Says that whoever holds the account key `key` is customer `kid` of the CA (RFC 8555 §7.3.4). `secret` is what both
    /// know.
    pub(super) fn binding(
        kid: &str,
        secret: &[u8],
        url: &str,
        key: &Key,
    ) -> Result<Self, KeyError> {
        let header = Header {
            alg: "HS256",
            jwk: None,
            kid: Some(kid),
            nonce: None,
            url,
        };
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let payload = BASE64_URL_SAFE_NO_PAD.encode(key.jwk()?);
        Self::sign(&header, payload, |input| {
            Ok(hmac::sign(&secret, input).as_ref().to_vec())
        })
    }

    fn sign(
        header: &Header<'_>,
        payload: String,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, KeyError>,
    ) -> Result<Self, KeyError> {
        let header = serde_json::to_vec(header).map_err(|_never| KeyError::Crypto)?;
        let protected = BASE64_URL_SAFE_NO_PAD.encode(header);
        let signature = sign(format!("{protected}.{payload}").as_bytes())?;
        Ok(Self {
            protected,
            payload,
            signature: BASE64_URL_SAFE_NO_PAD.encode(signature),
        })
    }
}

/// The public half of a key, to be put into a request.
pub(super) fn public(key: &Key) -> Result<Value, KeyError> {
    serde_json::from_str(&key.jwk()?).map_err(|_never| KeyError::Crypto)
}

#[cfg(test)]
mod tests;

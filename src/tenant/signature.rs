//! `X-Tenant-Signature`: proof to the app that the edge has named the tenant of this very request (design: signed identity,
//! 2.6), so that an app which is reached round the edge believes nothing.
//!
//! ```text
//! X-Tenant-Signature: v1;kid=K;t=UNIX;s=BASE64URL(HMAC-SHA256(key, canon))
//! canon = v1 LF t LF tenant LF host LF METHOD LF path?query LF client-ip LF request-id
//! ```
//! Each part is the value as the app gets it: the tenant header, `Host`, method and target, `X-Real-IP`, `X-Request-Id`. No
//! part can contain a line feed, so no two requests share a canon. The base64url has no padding (RFC 4648 §5).
//!
//! Keys come from a file of `name = key` lines that edge and app share; the first one signs. To change it, add the new one
//! as the second line everywhere, then move it to the front at the edge, then remove the old one. Nothing here knows a
//! clock or a request; a key is never printed.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::Value;
use thiserror::Error;

use super::token::TokenSigner;
use crate::clock::UnixTime;
use crate::config::{CredentialSource, Secret, SecretError, Signature, SignatureForm};

/// Shortest key in bytes: as long as the hash (RFC 2104 §3).
pub const SHORTEST: usize = 32;
/// Longest name of a key.
const LONGEST_NAME: usize = 64;

/// Why the keys are of no use.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file.
    #[error(transparent)]
    Read(#[from] SecretError),
    /// A line of it.
    #[error(
        "{file}:{line}: {message}\n  hint: write `name = key` lines; `openssl rand -hex 32` makes a key"
    )]
    Line {
        /// The file, as configured.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: &'static str,
    },
    /// No line.
    #[error(
        "there is no key in it: `{file}`\n  hint: write `name = key` lines; `openssl rand -hex 32` makes a key"
    )]
    Empty {
        /// The file, as configured.
        file: String,
    },
    /// Two keys that an app could not tell apart.
    #[error(
        "two published keys have the name `{name}`: the second one in `{file}`\n  hint: give each key of each pool a name of its own"
    )]
    Twice {
        /// The file of the second one, as configured.
        file: String,
        /// The name of both.
        name: String,
    },
    /// Not a private key.
    #[error(
        "the key `{name}` is no Ed25519 key: `{file}`\n  hint: openssl genpkey -algorithm ed25519 -outform DER | base64 -w0"
    )]
    Private {
        /// The file, as configured.
        file: String,
        /// The key's name.
        name: String,
    },
}

/// The keys of a file, in its order.
#[derive(Debug)]
pub struct Keys(pub Vec<(String, Secret)>);

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    /// [`KeyError`]; no message shows a key.
    pub fn read(source: &CredentialSource) -> Result<Self, KeyError> {
        Self::parse(source.read_text()?.expose(), &source.to_string())
    }

    fn parse(text: &str, file: &str) -> Result<Self, KeyError> {
        let mut keys: Vec<(String, Secret)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |message| KeyError::Line {
                file: file.to_owned(),
                line: index + 1,
                message,
            };
            let (name, key) = line
                .split_once('=')
                .ok_or_else(|| wrong("not `name = key`"))?;
            let (name, key) = (name.trim(), key.trim());
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_name) {
                return Err(wrong(
                    "a key's name has 1 to 64 letters, digits, `-`, `_` or `.`",
                ));
            }
            // Only what base64 and hexadecimal digits are made of, so that no reader of the file can read it otherwise.
            let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte);
            if !key.bytes().all(is_key) {
                return Err(wrong("a key is written in base64 or hexadecimal digits"));
            }
            if key.len() < SHORTEST {
                return Err(wrong("a key has at least 32 characters"));
            }
            if keys.iter().any(|(other, _)| other == name) {
                return Err(wrong("this name was there before"));
            }
            keys.push((name.to_owned(), Secret::new(key.to_owned())));
        }
        if keys.is_empty() {
            return Err(KeyError::Empty {
                file: file.to_owned(),
            });
        }
        Ok(Self(keys))
    }
}

/// What signs the identity.
#[derive(Debug)]
pub enum Signer {
    /// Each request.
    Hmac(Box<HmacSigner>),
    /// Tenant and host.
    Token(TokenSigner),
}

impl Signer {
    /// Reads the keys that are configured.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(signature: &Signature) -> Result<Self, KeyError> {
        let keys = Keys::read(&signature.keys)?;
        match signature.form {
            SignatureForm::Hmac => Ok(Self::Hmac(Box::new(HmacSigner::new(&keys)))),
            SignatureForm::JwtHs256 => Ok(Self::Token(TokenSigner::hs256(&keys, signature))),
            SignatureForm::JwtEdDsa => TokenSigner::eddsa(&keys, signature).map(Self::Token),
        }
    }

    /// The public keys (RFC 7517 §4); none of shared ones.
    #[must_use]
    pub fn published(&self) -> &[Value] {
        match self {
            Self::Hmac(_) => &[],
            Self::Token(signer) => signer.published(),
        }
    }
}

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The value of the tenant header.
    pub tenant: &'a [u8],
    /// `Host`.
    pub host: &'a [u8],
    /// The method.
    pub method: &'a str,
    /// Path and query as they are sent.
    pub target: &'a str,
    /// `X-Real-IP`.
    pub client: &'a [u8],
    /// `X-Request-Id`.
    pub request_id: &'a [u8],
}

/// Signs with the first key of a file.
pub struct HmacSigner {
    name: String,
    key: hmac::Key,
}

impl std::fmt::Debug for HmacSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HmacSigner({})", self.name)
    }
}

impl HmacSigner {
    /// With the first of `keys`, which are never empty. The bytes of the key are its text.
    #[must_use]
    pub fn new(keys: &Keys) -> Self {
        let (name, key) = first(keys);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()),
            name: name.to_owned(),
        }
    }

    /// The value of the header at `now`.
    #[must_use]
    pub fn sign(&self, signed: &Signed<'_>, now: UnixTime) -> HeaderValue {
        let time = now.0.to_string();
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(b"v1");
        for part in [
            time.as_bytes(),
            signed.tenant,
            signed.host,
            signed.method.as_bytes(),
            signed.target.as_bytes(),
            signed.client,
            signed.request_id,
        ] {
            mac.update(b"\n");
            mac.update(part);
        }
        let mac = URL_SAFE_NO_PAD.encode(mac.sign());
        // Letters, digits and marks; an app refuses an empty one.
        HeaderValue::try_from(format!("v1;kid={};t={time};s={mac}", self.name))
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The key that signs.
pub(super) fn first(keys: &Keys) -> (&str, &str) {
    let first = keys.0.first();
    first.map_or(("", ""), |(name, key)| (name, key.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_order_and_are_never_shown() {
        let key = "0123456789abcdef0123456789ABCDEF";
        let text = format!("# keys\n\nnew = {key}+/\n old-1={key}==\n");
        let keys = Keys::parse(&text, "k").unwrap();
        let names: Vec<&str> = keys.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["new", "old-1"]);
        assert_eq!(keys.0.last().unwrap().1.expose(), format!("{key}=="));
        assert!(!format!("{keys:?} {:?}", HmacSigner::new(&keys)).contains("0123"));
        for (bad, part) in [
            (format!("a = {key}\na = {key}"), "k:2: this name was there"),
            ("a = short".to_owned(), "k:1: a key has at least 32"),
            (format!("a = {key} # new"), "k:1: a key is written in"),
            (format!("a b = {key}"), "k:1: a key's name"),
            (key.to_owned(), "k:1: not `name = key`"),
            ("# nothing\n".to_owned(), "there is no key"),
        ] {
            let error = Keys::parse(&bad, "k").unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("hint: "), "{error}");
            assert!(!error.contains("0123"), "{error}");
        }
    }
}

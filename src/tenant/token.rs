//! `X-Tenant-Token`: a JSON Web Token (RFC 7519) that names tenant and host.
//!
//! It says nothing of path or client, so it can be sent again with every request of the tenant for a while, and costs
//! nothing then; an app reads it with any JWT library. It lives 60 s. Against replay within that time a request's own
//! signature ([`super::signature`]) is the better choice.
//!
//! | claim | value |
//! |---|---|
//! | `iss`, `aud` | as configured |
//! | `iat`, `exp` | now, and 60 s later |
//! | `sub` | the tenant's id |
//! | `tenant` | what the tenant header says |
//! | `schema` | the schema, if there is one |
//! | `host` | `Host` as the app gets it |

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde_json::{Value, json};

use super::id::Tenant;
use super::signature::{KeyError, Keys, first};
use crate::clock::UnixTime;
use crate::config::{CredentialSource, Signature};

/// Seconds that a token is valid.
pub const LIFETIME: i64 = 60;
/// Seconds that a token may be sent again; the rest of its life is for clocks that differ and slow apps.
pub const REUSE: i64 = 30;

enum Key {
    Hs256(Box<hmac::Key>),
    EdDsa(Box<Ed25519KeyPair>),
}

/// Makes tokens with the first key of a file.
pub struct TokenSigner {
    key: Key,
    /// The first part of each token.
    header: String,
    issuer: String,
    audience: String,
    published: Vec<Value>,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenSigner({:?})", self.published)
    }
}

impl TokenSigner {
    /// With shared keys (RFC 7518 §3.2). There is nothing to publish.
    #[must_use]
    pub fn hs256(keys: &Keys, signature: &Signature) -> Self {
        let (name, key) = first(keys);
        let key = Key::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())));
        Self::new(key, ("HS256", name), signature, Vec::new())
    }

    /// With private keys (RFC 8037): PKCS#8 in base64. The public ones of all are published, so that an app knows the next
    /// one before it signs.
    ///
    /// # Errors
    /// [`KeyError::Private`].
    pub fn eddsa(keys: &Keys, signature: &Signature) -> Result<Self, KeyError> {
        let mut published = Vec::new();
        let mut signs = None;
        for (name, key) in &keys.0 {
            let pair = STANDARD
                .decode(key.expose())
                .ok()
                .map(zeroize::Zeroizing::new)
                .and_then(|der| Ed25519KeyPair::from_pkcs8(&der).ok())
                .ok_or_else(|| private(&signature.keys, name))?;
            published.push(json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": name,
                "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            }));
            signs.get_or_insert(pair);
        }
        let pair = signs.ok_or_else(|| private(&signature.keys, ""))?;
        let (name, _) = first(keys);
        let key = Key::EdDsa(Box::new(pair));
        Ok(Self::new(key, ("EdDSA", name), signature, published))
    }

    fn new(
        key: Key,
        (alg, name): (&str, &str),
        signature: &Signature,
        published: Vec<Value>,
    ) -> Self {
        let header = json!({ "alg": alg, "kid": name, "typ": "JWT" });
        Self {
            key,
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            issuer: signature.issuer.clone(),
            audience: signature.audience.clone(),
            published,
        }
    }

    /// The public keys (RFC 7517 §4); none of shared ones.
    #[must_use]
    pub fn published(&self) -> &[Value] {
        &self.published
    }

    /// A token made at `now`. `told` is the value of the tenant header, `host` that of `Host`.
    #[must_use]
    pub fn token(&self, tenant: &Tenant, told: &str, host: &str, now: UnixTime) -> HeaderValue {
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "iat": now.0,
            "exp": now.0.saturating_add(LIFETIME),
            "sub": tenant.id.as_str(),
            "tenant": told,
            "host": host,
        });
        if let (Some(schema), Some(claims)) = (&tenant.schema, claims.as_object_mut()) {
            claims.insert("schema".to_owned(), schema.as_str().into());
        }
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        let mut token = format!("{}.{claims}", self.header);
        let proof = match &self.key {
            Key::Hs256(key) => URL_SAFE_NO_PAD.encode(hmac::sign(key, token.as_bytes())),
            Key::EdDsa(pair) => URL_SAFE_NO_PAD.encode(pair.sign(token.as_bytes())),
        };
        token.push('.');
        token.push_str(&proof);
        // Letters, digits, `-`, `_` and `.`; an app refuses an empty one.
        HeaderValue::try_from(token).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

fn private(file: &CredentialSource, name: &str) -> KeyError {
    KeyError::Private {
        file: file.to_string(),
        name: name.to_owned(),
    }
}

//! What a CA asks the running proxy for while single names are proven: http-01 (RFC 8555 §8.3) and tls-alpn-01
//! (RFC 8737).
//!
//! The engine, maybe another process, puts an [`Answer`] into the store; the proxy's control plane reads them all into
//! one [`Answers`] table and publishes it beside the certificates. A client can only name a key of this table, never a
//! file. Nothing here talks to a CA.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::host::Host;

/// The protocol that a CA's handshake for tls-alpn-01 asks for, and nothing else does (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// Where http-01 is asked for (RFC 8555 §8.3); the token follows.
pub const HTTP_PATH: &str = "/.well-known/acme-challenge/";

/// Longest token. CAs use 43 characters.
const LONGEST_TOKEN: usize = 128;

/// Whether a text can be a token: base64url without padding (RFC 8555 §8.3), and no longer than a file's name may be.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= LONGEST_TOKEN && text.bytes().all(plain)
}

/// One answer, for one name and one order.
#[derive(Clone, Serialize, Deserialize)]
pub struct Answer {
    /// Whose order it is.
    pub lineage: String,
    /// The name that is proven.
    pub name: String,
    /// The CA's random text for this challenge. It also names the answer in the store.
    pub token: String,
    /// What is to be seen.
    pub shown: Shown,
}

/// What a CA is to see.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// The body of the answer at [`HTTP_PATH`] and the token.
    Http {
        /// Token and thumbprint of the account's key.
        key_authorization: String,
    },
    /// The certificate of a handshake for [`ACME_TLS`].
    Tls {
        /// PEM.
        certificate: String,
        /// PEM. It protects nothing: the certificate is good for this one purpose.
        key: String,
    },
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("name", &self.name)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http { .. } => "Http",
            Self::Tls { .. } => "Tls",
        })
    }
}

/// All answers in service at one time.
#[derive(Debug, Default)]
pub struct Answers {
    /// By token.
    http: HashMap<String, (Host, Bytes), foldhash::fast::RandomState>,
    tls: HashMap<Host, Arc<CertifiedKey>, foldhash::fast::RandomState>,
}

impl Answers {
    /// Builds the table. An answer that cannot be used is left out and named.
    #[must_use]
    pub fn new(all: Vec<Answer>) -> (Self, Vec<String>) {
        let mut table = Self::default();
        let mut problems = Vec::new();
        for answer in all {
            let (name, token) = (answer.name.clone(), answer.token.clone());
            if let Err(problem) = table.take(answer) {
                problems.push(format!("`{name}`, token `{token}`: {problem}"));
            }
        }
        (table, problems)
    }

    fn take(&mut self, answer: Answer) -> Result<(), String> {
        let host = Host::parse(&answer.name).map_err(|error| error.to_string())?;
        if !is_token(&answer.token) {
            return Err("not a token".to_owned());
        }
        match answer.shown {
            Shown::Http { key_authorization } => {
                let body = Bytes::from(key_authorization);
                self.http.insert(answer.token, (host, body));
            }
            Shown::Tls { certificate, key } => {
                let key = Zeroizing::new(key);
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| error.to_string())?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|error| error.to_string())?;
                self.tls.insert(host, Arc::new(pair(chain, key)?));
            }
        }
        Ok(())
    }

    /// The body for a request of `path` to `host`; `None` if nobody waits for it.
    #[must_use]
    pub fn http(&self, host: &Host, path: &str) -> Option<&Bytes> {
        let token = path.strip_prefix(HTTP_PATH).filter(|text| is_token(text))?;
        let (name, body) = self.http.get(token)?;
        (name == host).then_some(body)
    }

    /// The certificate for a handshake of [`ACME_TLS`] with `host`.
    #[must_use]
    pub fn tls(&self, host: &Host) -> Option<&Arc<CertifiedKey>> {
        self.tls.get(host)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.http.len() + self.tls.len()
    }

    /// Whether nothing is being proven.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Certificate and key, proven to belong together. rustls cannot prove it here: it refuses the critical extension that
/// such a certificate must have (RFC 8737 §3).
fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let provider = aws_lc_rs::default_provider();
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| error.to_string())?;
    let leaf = chain.first().ok_or("there is no certificate")?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    if key.public_key().as_deref() != Some(leaf.public_key().raw) {
        return Err("the key is not the certificate's".to_owned());
    }
    Ok(CertifiedKey::new(chain, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &str, token: &str) -> Answer {
        Answer {
            lineage: name.to_owned(),
            name: name.to_owned(),
            token: token.to_owned(),
            shown: Shown::Http {
                key_authorization: format!("{token}.thumb"),
            },
        }
    }

    #[test]
    fn only_a_token_of_the_table_and_of_the_host_is_answered() {
        let (table, problems) = Answers::new(vec![
            answer("www.customer.test", "tok_en-1"),
            answer("www.customer.test", "../../etc/passwd"),
            answer("not a host", "tok3"),
        ]);
        assert_eq!((table.len(), problems.len()), (1, 2));
        let host = Host::parse("www.customer.test").unwrap();
        let other = Host::parse("other.test").unwrap();
        let path = "/.well-known/acme-challenge/tok_en-1";
        assert_eq!(table.http(&host, path).unwrap(), "tok_en-1.thumb");
        assert_eq!(table.http(&other, path), None);
        for bad in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/tok_en-2",
            "/.well-known/acme-challenge/tok_en-1/",
            "/.well-known/acme-challenge/./tok_en-1",
            "/.well-known/acme-challenge/tok%5Fen-1",
            "/.well-known/acme-challenge//tok_en-1",
            "/.well-known/ACME-challenge/tok_en-1",
            "/tok_en-1",
        ] {
            assert_eq!(table.http(&host, bad), None, "{bad}");
        }
    }

    #[test]
    fn tokens_are_base64url() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"));
        for bad in ["", "a.b", "a/b", "a=", "ä", &"a".repeat(129)] {
            assert!(!is_token(bad), "{bad}");
        }
    }
}

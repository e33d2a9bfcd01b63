//! What proves the tenant, by the pool that a request goes to.
//!
//! A pool with keys of its own (`[pools.NAME.signature]`) gets nothing that others believe: its servers can sign for no
//! other pool. Every other pool is served by `[tenants.signature]`. All is read at once, and nothing changes later.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::signature::{KeyError, Signer};
use crate::config::{Config, Signature};

/// The signers of a configuration.
#[derive(Debug, Default)]
pub struct Signers {
    all: Option<Signer>,
    own: Vec<(Box<str>, Signer)>,
}

/// What proves the tenant to one pool.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'s> {
    /// What signs.
    pub signer: &'s Signer,
    /// Tells it from the others of the configuration.
    pub number: usize,
}

impl Signers {
    /// Reads all keys.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(config: &Config) -> Result<Self, KeyError> {
        let all = config.tenants.identity.signature.as_ref();
        let mut published = BTreeMap::new();
        let mut read = |signature: &Signature| {
            let signer = Signer::read(signature)?;
            for key in signer.published() {
                let name = key.get("kid").and_then(Value::as_str).unwrap_or_default();
                let before = published.insert(name.to_owned(), key.clone());
                if before.is_some_and(|before| before != *key) {
                    return Err(KeyError::Twice {
                        file: signature.keys.to_string(),
                        name: name.to_owned(),
                    });
                }
            }
            Ok(signer)
        };
        let all = all.map(&mut read).transpose()?;
        let own = config.pool_signatures.iter().map(|(pool, signature)| {
            let signer = read(signature)?;
            Ok((pool.as_str().into(), signer))
        });
        Ok(Self {
            own: own.collect::<Result<_, KeyError>>()?,
            all,
        })
    }

    /// What proves the tenant to the servers of `pool`; `None` if nothing does.
    #[must_use]
    pub fn of(&self, pool: &str) -> Option<Proof<'_>> {
        let mut own = self.own.iter().zip(1..);
        if let Some(((_, signer), number)) = own.find(|((name, _), _)| **name == *pool) {
            return Some(Proof { signer, number });
        }
        let signer = self.all.as_ref()?;
        Some(Proof { signer, number: 0 })
    }

    /// The public keys of all (RFC 7517 §5), each once.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let all = self.all.iter().chain(self.own.iter().map(|(_, own)| own));
        let mut keys: Vec<&Value> = Vec::new();
        for key in all.flat_map(Signer::published) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        json!({ "keys": keys })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::Ed25519KeyPair;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::config::{CredentialSource, SignatureForm};

    fn private() -> String {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        STANDARD.encode(pair.as_ref())
    }

    fn signature(folder: &Path, name: &str, lines: &str) -> Signature {
        let path = folder.join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        std::io::Write::write_all(&mut file.unwrap(), lines.as_bytes()).unwrap();
        Signature {
            keys: CredentialSource::File(path),
            form: SignatureForm::JwtEdDsa,
            issuer: "portico".to_owned(),
            audience: name.to_owned(),
        }
    }

    fn config(all: Option<Signature>, pools: &[(&str, Signature)]) -> Config {
        let mut config = Config::for_domains(Vec::new());
        config.tenants.identity.signature = all;
        let pools = pools
            .iter()
            .map(|(name, own)| ((*name).to_owned(), own.clone()));
        config.pool_signatures = pools.collect();
        config
    }

    #[test]
    fn each_pool_has_its_signer_and_all_keys_are_published_once() {
        let folder = tempfile::tempdir().unwrap();
        let all = signature(folder.path(), "all", &format!("a = {}\n", private()));
        let eu = signature(folder.path(), "eu", &format!("e = {}\n", private()));
        let us = Signature {
            audience: "us".to_owned(),
            ..all.clone()
        };
        let signers = Signers::read(&config(Some(all), &[("eu", eu.clone()), ("us", us)])).unwrap();
        let number = |pool: &str| signers.of(pool).unwrap().number;
        assert_eq!((number("app"), number("eu"), number("us")), (0, 1, 2));
        let jwks = signers.jwks();
        let keys = jwks.get("keys").and_then(Value::as_array).unwrap();
        let names: Vec<_> = keys
            .iter()
            .map(|key| key.get("kid").and_then(Value::as_str).unwrap())
            .collect();
        assert_eq!(names, ["a", "e"]);
        let alone = Signers::read(&config(None, &[("eu", eu)])).unwrap();
        assert!(alone.of("app").is_none() && alone.of("eu").is_some());
        assert_eq!(Signers::default().jwks(), json!({ "keys": [] }));
    }

    #[test]
    fn published_keys_of_one_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (private(), private());
        let all = signature(folder.path(), "all", &format!("k = {first}\n"));
        let eu = signature(folder.path(), "eu", &format!("k = {second}\n"));
        let error = Signers::read(&config(Some(all), &[("eu", eu)])).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("have the name `k`") && error.contains("hint: "),
            "{error}"
        );
        assert!(!error.contains(&first) && !error.contains(&second));
    }
}

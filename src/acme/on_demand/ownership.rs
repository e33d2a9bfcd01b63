//! Whether a custom domain is its tenant's own: a record that only this tenant was told to publish.
//!
//! The CA proves that a name leads here. It does not prove whose it is: of two tenants that both claim a name which leads
//! here, or a name whose owner has left and whose DNS still leads here, only one may have it. So each tenant gets a value
//! that nobody can guess, an HMAC under a key of this edge, and publishes it at the name. Records are only read, from
//! resolvers.

use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::super::error::AcmeError;
use super::super::propagation::Propagation;
use crate::cert::disk;
use crate::cert::store::StoreError;
use crate::config::{Config, Dns, Ownership};
use crate::host::Host;

/// The label before the host.
pub const LABEL: &str = "_portico-verify";
/// Length of the key, in bytes.
const KEY: usize = 32;
/// Bytes of the HMAC that are shown, in hexadecimal: 128 bits, and with 32 digits a legal label.
const SHOWN: usize = 16;

/// What a tenant is to publish for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Nothing is asked for.
    None,
    /// The host itself is a CNAME to this name.
    Cname(String),
    /// A TXT record.
    Txt {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

impl Record {
    /// As a line of a zone file, for `host`; none if nothing is asked for.
    #[must_use]
    pub fn line(&self, host: &Host) -> Option<String> {
        match self {
            Self::None => None,
            Self::Cname(target) => Some(format!("{host}. 3600 IN CNAME {target}.")),
            Self::Txt { name, value } => Some(format!("{name}. 3600 IN TXT \"{value}\"")),
        }
    }
}

/// The key of the values. It never leaves the state directory, but for a backup.
pub struct OwnershipKey(hmac::Key);

impl std::fmt::Debug for OwnershipKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnershipKey")
    }
}

impl OwnershipKey {
    /// Reads the key, or makes it the first time.
    ///
    /// # Errors
    /// [`AcmeError::Store`]; a key of the wrong length is refused, and not replaced: the records of all tenants would be
    /// worth nothing.
    pub fn open(state_dir: &Path) -> Result<Self, AcmeError> {
        if let Some(key) = Self::read(state_dir)? {
            return Ok(key);
        }
        let (folder, path) = places(state_dir);
        let mut bytes = Zeroizing::new(vec![0; KEY]);
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| {
            file("make", &path, std::io::Error::other("no random bytes"))
        })?;
        disk::create_dir(&folder, disk::GROUP_DIR)
            .and_then(|()| disk::write(&path, &bytes, disk::PRIVATE))
            .map_err(|source| file("write", &path, source))?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Reads the key; none if it was never made.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(state_dir: &Path) -> Result<Option<Self>, AcmeError> {
        let (_, path) = places(state_dir);
        let found = disk::read_if_there(&path).map_err(|source| file("read", &path, source))?;
        let Some(bytes) = found.map(Zeroizing::new) else {
            return Ok(None);
        };
        if bytes.len() != KEY {
            let source = std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "not 32 bytes; hint: restore it from a backup, or remove it and publish all records anew",
            );
            return Err(file("use", &path, source).into());
        }
        Ok(Some(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))))
    }

    /// What `tenant` is to publish for `host`.
    #[must_use]
    pub fn record(&self, config: &Config, tenant: &str, host: &Host) -> Record {
        match (config.on_demand.proof, &config.on_demand.cname_base) {
            (Ownership::None, _) | (Ownership::Cname, None) => Record::None,
            // One name for all hosts of a tenant: it can be told once.
            (Ownership::Cname, Some(base)) => {
                Record::Cname(format!("{}.{base}", self.value(&["cname", tenant])))
            }
            (Ownership::Txt, _) => Record::Txt {
                name: format!("{LABEL}.{host}"),
                value: self.value(&["txt", tenant, host.as_str()]),
            },
        }
    }

    /// No part has a line feed: tenants' ids have no control characters.
    fn value(&self, parts: &[&str]) -> String {
        let text = format!("portico-ownership-v1\n{}", parts.join("\n"));
        let tag = hmac::sign(&self.0, text.as_bytes());
        let shown = tag.as_ref().iter().take(SHOWN);
        shown.map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Whether the record is there; otherwise what is, with a hint. It is not asked for more often than the queue says, so that
/// resolvers that remember its absence can forget it.
///
/// # Errors
/// The cause, for people.
pub async fn check(dns: Option<&Dns>, host: &Host, record: &Record) -> Result<(), String> {
    let propagation = Propagation::new(&dns.cloned().unwrap_or_default());
    match record {
        Record::None => Ok(()),
        Record::Cname(target) => {
            let aliases = propagation.public_aliases(host).await?;
            if aliases.iter().any(|alias| alias == target) {
                return Ok(());
            }
            let found = match aliases.last() {
                Some(last) => format!("it leads to `{last}`"),
                None => "it is no CNAME".to_owned(),
            };
            Err(format!(
                "`{host}` is not shown to be the tenant's: {found}\nhint: the tenant publishes `{host} CNAME {target}`"
            ))
        }
        Record::Txt { name, value } => {
            let texts = propagation.public_texts(name).await?;
            if texts.contains(value) {
                return Ok(());
            }
            let found = match texts.len() {
                0 => "there is no TXT record".to_owned(),
                _ => "the TXT record has another value".to_owned(),
            };
            Err(format!(
                "`{host}` is not shown to be the tenant's: at `{name}` {found}\nhint: the tenant publishes `{name} TXT \
                 \"{value}\"`"
            ))
        }
    }
}

/// The folder of the key, and the key.
fn places(state_dir: &Path) -> (PathBuf, PathBuf) {
    let folder = state_dir.join("engine");
    let path = folder.join("ownership.key");
    (folder, path)
}

fn file(action: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File {
        action,
        path: PathBuf::from(path),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_a_tenants_own_and_last() {
        let state = tempfile::tempdir().unwrap();
        let host = |text: &str| Host::parse(text).unwrap();
        let mut config = Config::for_domains(vec![host("example.test")]);
        let key = OwnershipKey::open(state.path()).unwrap();
        let (www, shop) = (host("www.customer.test"), host("shop.customer.test"));
        assert_eq!(key.record(&config, "acme", &www), Record::None);
        config.on_demand.proof = Ownership::Txt;
        let record = key.record(&config, "acme", &www);
        let Record::Txt { name, value } = &record else {
            unreachable!("{record:?}");
        };
        assert_eq!(name, "_portico-verify.www.customer.test");
        assert_eq!(value.len(), 32);
        let again = OwnershipKey::open(state.path()).unwrap();
        assert_eq!(again.record(&config, "acme", &www), record, "kept");
        assert_ne!(key.record(&config, "globex", &www), record);
        assert_ne!(key.record(&config, "acme", &shop), record);
        let fresh = tempfile::tempdir().unwrap();
        assert!(OwnershipKey::read(fresh.path()).unwrap().is_none());
        assert!(!fresh.path().join("engine").exists(), "reading makes none");
        let other = OwnershipKey::open(fresh.path()).unwrap();
        assert_ne!(other.record(&config, "acme", &www), record);

        config.on_demand.proof = Ownership::Cname;
        config.on_demand.cname_base = Some(host("edge.example.test"));
        let record = key.record(&config, "acme", &www);
        let Record::Cname(target) = &record else {
            unreachable!("{record:?}");
        };
        assert!(target.ends_with(".edge.example.test") && host(target).as_str() == target);
        assert_eq!(key.record(&config, "acme", &shop), record, "one for all");
        assert_ne!(key.record(&config, "globex", &www), record);

        let path = state.path().join("engine/ownership.key");
        disk::write(&path, b"short", disk::PRIVATE).unwrap();
        let refused = OwnershipKey::open(state.path()).unwrap_err();
        assert!(refused.to_string().contains("not 32 bytes"), "{refused}");
        assert_eq!(std::fs::read(path).unwrap(), b"short");
    }
}

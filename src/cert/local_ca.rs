//! A certificate authority in a directory, for `portico demo` and for development.
//!
//! The CA is made once and kept (`ca.pem`, `ca-key.pem`, mode 0600), so that a browser need trust it only once. It can
//! issue leaves only: no CA below it. Never for production; nothing here talks to a network.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cert::bundle::{self, Bundle, BundleError};
use crate::cert::disk;
use crate::cert::live::{CertName, Served};
use crate::clock::UnixTime;

/// Ten years: the demo must not end because its CA did.
const CA_LIFETIME: Duration = Duration::from_secs(3650 * 86400);
/// Browsers refuse local leaves over 825 days; 90 keeps renewal exercised.
const LEAF_LIFETIME: Duration = Duration::from_secs(90 * 86400);
/// Dated back, for a browser whose clock is a little behind.
const BACKDATE_SECONDS: i64 = 3600;

/// Why the local CA cannot be used.
#[derive(Debug, Error)]
pub enum LocalCaError {
    /// A file cannot be read or written.
    #[error("`{}`: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the file system says.
        error: io::Error,
    },
    /// A file holds something else, or the CA has expired.
    #[error("`{}` is no usable CA: {reason}\nhint: remove the directory, a new CA is made then", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A key or certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The CA and the directory it lives in.
#[derive(Debug)]
pub struct LocalCa {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A chain and its key, in PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The leaf alone; the CA is not sent.
    pub fullchain: String,
    /// The key.
    pub key: zeroize::Zeroizing<String>,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").finish_non_exhaustive()
    }
}

impl LocalCa {
    /// Opens the CA, or makes it if the directory has none.
    ///
    /// # Errors
    /// [`LocalCaError`]; an unusable CA is never replaced silently, since somebody may trust it.
    pub fn open(directory: &Path, now: UnixTime) -> Result<Self, LocalCaError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |error| LocalCaError::File { path, error }
        };
        disk::create_dir(directory, disk::PRIVATE_DIR).map_err(file(directory))?;
        let (cert_path, key_path) = (directory.join("ca.pem"), directory.join("ca-key.pem"));
        let stored = disk::read_if_there(&cert_path).map_err(file(&cert_path))?;
        let key = disk::read_if_there(&key_path).map_err(file(&key_path))?;
        let (certificate, key) = match (stored, key) {
            (Some(certificate), Some(key)) => {
                (text(certificate, &cert_path)?, key_pair(key, &key_path)?)
            }
            // A crash between the two writes leaves a key alone: nobody trusts it yet, so it is used.
            (None, key) => {
                let key = match key {
                    Some(key) => key_pair(key, &key_path)?,
                    None => KeyPair::generate()?,
                };
                let certificate = ca_params(&format!("Portico local CA {now}"), now)?
                    .self_signed(&key)?
                    .pem();
                disk::write(&key_path, key.serialize_pem().as_bytes(), disk::PRIVATE)
                    .map_err(file(&key_path))?;
                disk::write(&cert_path, certificate.as_bytes(), disk::PUBLIC)
                    .map_err(file(&cert_path))?;
                (certificate, key)
            }
            (Some(_), None) => {
                return Err(LocalCaError::Unusable {
                    path: key_path,
                    reason: "the file is missing".to_owned(),
                });
            }
        };
        let unusable = |reason: String| LocalCaError::Unusable {
            path: cert_path.clone(),
            reason,
        };
        let subject = subject(&certificate, &key, now).map_err(unusable)?;
        let issuer = Issuer::new(ca_params(&subject, now)?, key);
        Ok(Self {
            directory: directory.to_owned(),
            issuer,
            certificate,
        })
    }

    /// The CA's certificate in PEM: what a client must trust.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Where `ca.pem` is.
    #[must_use]
    pub fn certificate_path(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A leaf for `names`: the one made before if it has these names, comes from this CA and has a third of its life
    /// left, else a new one.
    ///
    /// # Errors
    /// [`LocalCaError`].
    pub fn leaf(&self, names: &[CertName], now: UnixTime) -> Result<Leaf, LocalCaError> {
        let (cert_path, key_path) = (
            self.directory.join("leaf.pem"),
            self.directory.join("leaf-key.pem"),
        );
        if let Some(leaf) = self.kept(&cert_path, &key_path, names, now) {
            return Ok(leaf);
        }
        let key = KeyPair::generate()?;
        let fullchain = leaf_params(names, now)?
            .signed_by(&key, &self.issuer)?
            .pem();
        let leaf = Leaf {
            fullchain,
            key: key.serialize_pem().into(),
        };
        for (path, content, mode) in [
            (&key_path, &*leaf.key, disk::PRIVATE),
            (&cert_path, &leaf.fullchain, disk::PUBLIC),
        ] {
            disk::write(path, content.as_bytes(), mode).map_err(|error| LocalCaError::File {
                path: path.clone(),
                error,
            })?;
        }
        Ok(leaf)
    }

    /// As [`LocalCa::leaf`], ready to serve.
    ///
    /// # Errors
    /// [`LocalCaError`].
    pub fn served(&self, names: &[CertName], now: UnixTime) -> Result<Served, LocalCaError> {
        let leaf = self.leaf(names, now)?;
        let bundle = Bundle::parse(leaf.fullchain.as_bytes(), leaf.key.as_bytes())?;
        Ok(bundle.into_served("local", 1))
    }

    fn kept(
        &self,
        cert_path: &Path,
        key_path: &Path,
        names: &[CertName],
        now: UnixTime,
    ) -> Option<Leaf> {
        let fullchain = String::from_utf8(std::fs::read(cert_path).ok()?).ok()?;
        let key = String::from_utf8(std::fs::read(key_path).ok()?).ok()?;
        let bundle = Bundle::parse(fullchain.as_bytes(), key.as_bytes()).ok()?;
        let left = bundle.not_after().seconds_since(now);
        let lifetime = bundle.not_after().seconds_since(bundle.not_before());
        let ours = bundle.names() == names && left * 3 > lifetime && self.issued(&fullchain);
        ours.then(|| Leaf {
            fullchain,
            key: key.into(),
        })
    }

    /// Whether the CA's key identifier is the one that the leaf names: the directory may hold a leaf of an older CA.
    fn issued(&self, leaf_pem: &str) -> bool {
        let authority = key_identifier(leaf_pem, |extension| match extension {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().map(|id| id.0.to_vec())
            }
            _ => None,
        });
        let subject = key_identifier(&self.certificate, |extension| match extension {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        authority.is_some() && authority == subject
    }
}

/// The first key identifier that `pick` finds among the extensions of a certificate.
fn key_identifier(
    pem: &str,
    pick: impl Fn(&ParsedExtension<'_>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    certificate
        .extensions()
        .iter()
        .find_map(|extension| pick(extension.parsed_extension()))
}

/// The CA's common name, if the certificate is in its dates and the key is its own.
fn subject(pem: &str, key: &KeyPair, now: UnixTime) -> Result<String, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    if certificate.public_key().subject_public_key.data != key.public_key_raw() {
        return Err("`ca-key.pem` is the key of another certificate".to_owned());
    }
    if certificate.validity().not_after.timestamp() <= now.0 {
        return Err("it has expired".to_owned());
    }
    let name = certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok());
    name.map(str::to_owned)
        .ok_or_else(|| "it has no common name".to_owned())
}

fn ca_params(subject: &str, now: UnixTime) -> Result<CertificateParams, LocalCaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = bundle::common_name(subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = bundle::date(backdated(now))?;
    params.not_after = bundle::date(now.plus(CA_LIFETIME))?;
    Ok(params)
}

fn leaf_params(names: &[CertName], now: UnixTime) -> Result<CertificateParams, LocalCaError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(bundle::san).collect::<Result<_, _>>()?;
    params.distinguished_name = bundle::common_name("Portico local certificate");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = bundle::date(backdated(now))?;
    params.not_after = bundle::date(now.plus(LEAF_LIFETIME))?;
    Ok(params)
}

fn backdated(now: UnixTime) -> UnixTime {
    UnixTime(now.0.saturating_sub(BACKDATE_SECONDS))
}

fn text(content: Vec<u8>, path: &Path) -> Result<String, LocalCaError> {
    String::from_utf8(content).map_err(|error| LocalCaError::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn key_pair(content: Vec<u8>, path: &Path) -> Result<KeyPair, LocalCaError> {
    let pem = text(content, path)?;
    KeyPair::from_pem(&pem).map_err(|error| LocalCaError::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::host::Host;

    #[test]
    fn keeps_its_ca_and_its_leaf_until_a_third_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let now = UnixTime(1_800_000_000);
        let names = bundle::names_of(&Host::parse("demo.localhost").unwrap());
        let ca = LocalCa::open(folder.path(), now).unwrap();
        let leaf = ca.leaf(&names, now).unwrap();
        let key_mode = std::fs::metadata(folder.path().join("ca-key.pem"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(key_mode & 0o777, 0o600);

        let later = now.plus(Duration::from_secs(59 * 86400));
        let again = LocalCa::open(folder.path(), later).unwrap();
        assert_eq!(again.certificate(), ca.certificate());
        assert_eq!(again.leaf(&names, later).unwrap().fullchain, leaf.fullchain);
        let due = now.plus(Duration::from_secs(61 * 86400));
        let renewed = again.leaf(&names, due).unwrap();
        assert_ne!(renewed.fullchain, leaf.fullchain);
        // In order with the CA behind it, so the issuer made from the stored certificate is the same one.
        let chain = renewed.fullchain + again.certificate();
        Bundle::parse(chain.as_bytes(), renewed.key.as_bytes()).unwrap();
        let other = bundle::names_of(&Host::parse("other.localhost").unwrap());
        assert_eq!(again.served(&other, due).unwrap().names, other);
    }

    #[test]
    fn a_leaf_of_an_older_ca_is_not_used_and_a_broken_ca_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let now = UnixTime(1_800_000_000);
        let names = bundle::names_of(&Host::parse("demo.localhost").unwrap());
        let leaf = LocalCa::open(folder.path(), now)
            .unwrap()
            .leaf(&names, now)
            .unwrap();
        std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
        std::fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
        let new = LocalCa::open(folder.path(), now).unwrap();
        assert_ne!(new.leaf(&names, now).unwrap().fullchain, leaf.fullchain);
        std::fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
        let error = LocalCa::open(folder.path(), now).unwrap_err().to_string();
        assert!(error.contains("hint: remove the directory"), "{error}");
        let expired = LocalCa::open(folder.path(), now.plus(CA_LIFETIME * 2)).unwrap_err();
        assert!(matches!(expired, LocalCaError::Unusable { .. }));
    }
}

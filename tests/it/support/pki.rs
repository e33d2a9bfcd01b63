//! A certificate authority made for one test, and leaves of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

use super::tls::Trust;

/// An authority (P-256) whose root no one else trusts.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    /// A fresh root.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Portico test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a P-256 key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root"))
    }

    /// The root as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a client needs to trust this authority.
    pub(crate) fn trust(&self) -> Trust {
        Trust::from_pem(&self.pem())
    }

    /// A leaf for DNS names (`*.` allowed) and IP addresses, valid from an hour ago for 90 days.
    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        let start = OffsetDateTime::now_utc() - Duration::from_secs(3_600);
        self.leaf_valid(names, start, start + Duration::from_secs(90 * 86_400))
    }

    /// A leaf with dates of its own: expired, not yet valid, nearly over.
    pub(crate) fn leaf_valid(
        &self,
        names: &[&str],
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Leaf {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let first = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).expect("names fit for a certificate");
        params.distinguished_name.push(DnType::CommonName, first);
        params.not_before = from;
        params.not_after = to;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a P-256 key");
        let leaf = params.signed_by(&key, &self.0).expect("a leaf");
        Leaf {
            chain: leaf.pem() + &self.pem(),
            certificate: leaf.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A leaf certificate and its key, all PEM.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// The leaf alone.
    pub(crate) certificate: String,
    /// The leaf, then the root.
    pub(crate) chain: String,
    /// The private key, PKCS#8.
    pub(crate) key: String,
}

impl Leaf {
    /// Writes `fullchain.pem` and `privkey.pem` (mode 0600) into `folder`; returns both paths.
    pub(crate) fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        fs::create_dir_all(folder).expect("a folder for the pair");
        let (chain, key) = (folder.join("fullchain.pem"), folder.join("privkey.pem"));
        fs::write(&chain, &self.chain).expect("a writable folder");
        fs::write(&key, &self.key).expect("a writable folder");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("our own file");
        (chain, key)
    }

    /// A rustls server that presents this leaf and offers HTTP/2 and HTTP/1.1.
    pub(crate) fn server_config(&self) -> ServerConfig {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM of our own");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc knows the usual versions")
            .with_no_client_auth()
            .with_single_cert(chain.expect("PEM of our own"), key)
            .expect("a fitting pair");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

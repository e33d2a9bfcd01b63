//! A certificate authority made for one test, and leaves of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SignatureAlgorithm,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls::Trust;

/// An authority (P-256) whose root no one else trusts.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    /// A fresh root.
    pub(crate) fn new() -> Self {
        Self::named("Portico test root")
    }

    /// A fresh root with this common name.
    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
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

    /// A client's certificate (P-256), for mutual TLS.
    pub(crate) fn client(&self, name: &str) -> Leaf {
        let start = OffsetDateTime::now_utc() - Duration::from_secs(3_600);
        let mut params = leaf_params(&[name], start, start + Duration::from_secs(90 * 86_400));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a P-256 key");
        let leaf = params.signed_by(&key, &self.0).expect("a leaf");
        Leaf {
            chain: leaf.pem() + &self.pem(),
            certificate: leaf.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A leaf with dates of its own: expired, not yet valid, nearly over.
    pub(crate) fn leaf_valid(
        &self,
        names: &[&str],
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Leaf {
        let key = KeyPair::generate().expect("a P-256 key");
        let leaf = leaf_params(names, from, to)
            .signed_by(&key, &self.0)
            .expect("a leaf");
        Leaf {
            chain: leaf.pem() + &self.pem(),
            certificate: leaf.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Another certificate for the key of the first one in `chain` (P-256), with its issuer, as PEM.
    pub(crate) fn for_key_of(
        &self,
        chain: &str,
        names: &[&str],
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> String {
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).expect("PEM");
        let (_, certificate) = X509Certificate::from_der(&der).expect("X.509");
        let key = &certificate.tbs_certificate.subject_pki.subject_public_key;
        let leaf = leaf_params(names, from, to)
            .signed_by(&ForeignKey(key.data.to_vec()), &self.0)
            .expect("a leaf");
        leaf.pem() + &self.pem()
    }
}

fn leaf_params(names: &[&str], from: OffsetDateTime, to: OffsetDateTime) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let first = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).expect("names fit for a certificate");
    params.distinguished_name.push(DnType::CommonName, first);
    params.not_before = from;
    params.not_after = to;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A public key (P-256, a point) whose private part is somebody else's.
struct ForeignKey(Vec<u8>);

impl PublicKeyData for ForeignKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
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

    /// What a rustls client shows to a server that asks.
    pub(crate) fn as_client(&self) -> Arc<dyn rustls::client::ResolvesClientCert> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM of our own");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key =
            rustls::sign::CertifiedKey::from_der(chain.expect("PEM of our own"), key, &provider);
        Arc::new(rustls::sign::SingleCertAndKey::from(
            key.expect("a fitting pair"),
        ))
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

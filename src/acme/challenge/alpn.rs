//! tls-alpn-01 (RFC 8737): the certificate that the CA wants to see, and asking a listener of ours for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime as PkiTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::served::ANSWER;
use crate::acme::error::AcmeError;
use crate::cert::answers::{ACME_TLS, Shown};
use crate::cert::bundle::{self, BundleError};
use crate::cert::live::CertName;
use crate::clock::UnixTime;
use crate::host::Host;

/// The CA may have another clock.
const BEFORE: Duration = Duration::from_secs(86400);
/// Longer than any order lasts.
const AFTER: Duration = Duration::from_secs(8 * 86400);
/// SHA-256.
const DIGEST: usize = 32;

/// A self-signed certificate for the one name with the digest of the key authorization in a critical extension
/// (RFC 8737 §3).
pub(super) fn certificate(host: &Host, digest: &[u8]) -> Result<Shown, AcmeError> {
    let make = |error: rcgen::Error| AcmeError::Certificate(BundleError::Make(error));
    if digest.len() != DIGEST {
        return Err(AcmeError::Config(
            "the ACME library gave no SHA-256".to_owned(),
        ));
    }
    let now = UnixTime::now();
    let key = KeyPair::generate().map_err(make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = bundle::common_name("ACME challenge");
    params.subject_alt_names = vec![bundle::san(&CertName::Exact(host.clone())).map_err(make)?];
    let before = i64::try_from(BEFORE.as_secs()).unwrap_or_default();
    params.not_before = bundle::date(UnixTime(now.0.saturating_sub(before)))?;
    params.not_after = bundle::date(now.plus(AFTER))?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(make)?;
    Ok(Shown::Tls {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Whether a handshake with the listener shows this very certificate; the reason if not.
pub(super) async fn probe(
    listener: SocketAddr,
    host: &Host,
    certificate: &str,
) -> Result<(), String> {
    let expected = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|error| error.to_string())?;
    let seen = timeout(ANSWER, handshake(listener, host))
        .await
        .map_err(|_elapsed| format!("no handshake within {} s", ANSWER.as_secs()))??;
    if seen.as_ref() == Some(&expected) {
        Ok(())
    } else {
        Err("it shows another certificate".to_owned())
    }
}

/// The certificate that is shown to a client of `acme-tls/1`; none if another protocol was chosen.
async fn handshake(
    listener: SocketAddr,
    host: &Host,
) -> Result<Option<CertificateDer<'static>>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let any = Arc::new(Any(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(any)
        .with_no_client_auth();
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    let name = ServerName::try_from(host.to_string()).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(listener)
        .await
        .map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(ACME_TLS) {
        return Ok(None);
    }
    let chain = session.peer_certificates().unwrap_or_default();
    Ok(chain.first().cloned().map(CertificateDer::into_owned))
}

/// Takes any certificate: it is compared with the expected one afterwards, byte for byte, and nothing is sent over the
/// connection. A common verifier refuses the critical extension that the certificate must have.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: PkiTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::oid_registry::{Oid, asn1_rs::oid};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    /// id-pe-acmeIdentifier (RFC 8737 §6.1).
    const ACME_IDENTIFIER: Oid<'static> = oid!(1.3.6.1.5.5.7.1.31);

    #[test]
    fn the_certificate_has_one_name_and_a_critical_digest() {
        let host = Host::parse("www.customer.test").unwrap();
        let digest = [7; DIGEST];
        let Shown::Tls { certificate, .. } = certificate(&host, &digest).unwrap() else {
            unreachable!("made for TLS");
        };
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        let extension = leaf
            .get_extension_unique(&ACME_IDENTIFIER)
            .unwrap()
            .unwrap();
        assert!(extension.critical);
        assert_eq!(extension.value, [&[4, 32][..], &digest].concat());
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        assert!(super::certificate(&host, &digest[1..]).is_err());
    }
}

//! Whether a chain says who issued its leaf, and when it need not.
//!
//! What a CA gives must have the issuer, for clients do not look for it. The one exception is a private CA that issues
//! from its root, and that is proven: the operator has named the root and it signed the leaf. What an operator brings
//! (an import, files of another program) is served as it is, with a warning where clients surely miss something.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime as TlsTime};
use x509_parser::oid_registry;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Bundle, BundleError};
use crate::cert::live::CertName;

/// What is wrong when [`Bundle::lacks_issuer`].
pub const ALONE: &str = "the chain holds the certificate alone, and a public CA issued it: clients that do not know the \
                         intermediate refuse it; give the full chain";

impl Bundle {
    /// Whether the chain says who issued the leaf (RFC 8555 §7.4.2): clients do not look for it. A leaf alone will do if
    /// one of `roots`, which the operator has named, signed it: who trusts that root needs nothing else.
    ///
    /// # Errors
    /// [`BundleError::NoIssuer`].
    pub fn check_chain(&self, roots: &[CertificateDer<'static>]) -> Result<(), BundleError> {
        if self.key.cert.len() > 1 || self.is_signed_by(roots) {
            Ok(())
        } else {
            Err(BundleError::NoIssuer)
        }
    }

    /// Whether the leaf stands alone although a public CA issued it, as its certificate transparency stamps show. Such
    /// a CA never issues from its root (CA/Browser Forum Baseline Requirements §6.1.7), so clients miss something.
    #[must_use]
    pub fn lacks_issuer(&self) -> bool {
        let [leaf] = self.key.cert.as_slice() else {
            return false;
        };
        X509Certificate::from_der(leaf).is_ok_and(|(_, leaf)| {
            let mut extensions = leaf.extensions().iter();
            extensions.any(|extension| extension.oid == oid_registry::OID_CT_LIST_SCT)
        })
    }

    fn is_signed_by(&self, roots: &[CertificateDer<'static>]) -> bool {
        let mut trusted = RootCertStore::empty();
        trusted.add_parsable_certificates(roots.iter().cloned());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider);
        let (Ok(verifier), Some(leaf), Some(name)) =
            (verifier.build(), self.leaf(), self.names.first())
        else {
            return false;
        };
        let name = match name {
            CertName::Exact(host) => host.to_string(),
            CertName::Wildcard(parent) => format!("any.{parent}"),
        };
        let Ok(name) = ServerName::try_from(name) else {
            return false;
        };
        // Dates are another matter: see `check_dates`.
        let begin = Duration::from_secs(u64::try_from(self.not_before.0).unwrap_or_default());
        let begin = TlsTime::since_unix_epoch(begin);
        verifier
            .verify_server_cert(leaf, &[], &name, &[], begin)
            .is_ok()
    }
}

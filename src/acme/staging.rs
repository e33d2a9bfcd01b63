//! A staging CA's certificate is for trying things out: no client trusts it.
//!
//! So it never takes the place of a certificate that clients do trust, unless the operator says so. A staging CA is
//! known by its directory's address, and what it issues by the issuer's name, whatever the configuration says.

use super::error::AcmeError;
use crate::cert::bundle::Bundle;
use crate::cert::store::Stored;
use crate::config::Ca;

/// Parts of the address of a staging CA's directory.
const DIRECTORIES: &[&str] = &["staging", "test-api.pki.goog"];
/// Parts of the issuer's name of what a staging CA issues.
const ISSUERS: &[&str] = &["(STAGING)", "Fake LE"];

/// The staging CA that belongs to a CA, by its directory's address; none is known for the others.
#[must_use]
pub fn of(directory: &str) -> Option<&'static str> {
    match directory {
        "https://acme-v02.api.letsencrypt.org/directory" => {
            Some("https://acme-staging-v02.api.letsencrypt.org/directory")
        }
        "https://dv.acme-v02.api.pki.goog/directory" => {
            Some("https://dv.acme-v02.test-api.pki.goog/directory")
        }
        _ => None,
    }
}

/// Whether a directory is a staging CA's.
#[must_use]
pub fn is_directory(directory: &str) -> bool {
    DIRECTORIES.iter().any(|part| directory.contains(part))
}

/// Whether a stored certificate is a staging CA's.
#[must_use]
pub fn is_stored(stored: &Stored) -> bool {
    is_directory(&stored.meta.directory) || is_issued(&stored.bundle)
}

fn is_issued(bundle: &Bundle) -> bool {
    ISSUERS.iter().any(|part| bundle.issuer().contains(part))
}

/// Refuses to put a staging certificate in the place of a real one: before the order by the CA's address, and after it
/// by what was issued.
pub(super) fn refuse(
    ca: &Ca,
    issued: Option<&Bundle>,
    predecessor: Option<&Stored>,
) -> Result<(), AcmeError> {
    let staging = is_directory(&ca.directory) || issued.is_some_and(is_issued);
    let real = predecessor.is_some_and(|stored| !is_stored(stored));
    if staging && real {
        return Err(AcmeError::Config(format!(
            "`{}` is a staging CA, and the certificate in service is a real one\nhint: set `directory` in [acme] to the \
             real CA, or pass --allow-staging",
            ca.directory
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_cas_are_known_by_their_address() {
        for (directory, staging) in [
            (
                "https://acme-staging-v02.api.letsencrypt.org/directory",
                true,
            ),
            ("https://dv.acme-v02.test-api.pki.goog/directory", true),
            ("https://acme-v02.api.letsencrypt.org/directory", false),
            ("https://acme.zerossl.com/v2/DV90", false),
        ] {
            assert_eq!(is_directory(directory), staging, "{directory}");
            assert!(of(directory).is_none_or(is_directory));
        }
    }
}

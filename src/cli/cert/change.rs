//! `portico cert rollback`, `revoke` and `compromise`: what an operator does with certificates that exist.
//!
//! A revoked certificate must not be in service, so what is in service is replaced first, and seen to be served, and
//! only then revoked; `--now` turns that round for a key that is in use by somebody else already. Each step says what it
//! did, so that a run that ends half-way can be gone on with by hand.

use std::io::Write;

use thiserror::Error;

use super::after::{Aftermath, Ended};
use super::{CertError, Order, Verdict, chosen, renew};
use crate::acme::notices::Notices;
use crate::acme::revoke::{self, By, Target};
use crate::acme::{RevocationReason, Trigger};
use crate::cert::store::file::FileStore;
use crate::cert::store::{Store, StoreError, Stored};
use crate::config::{Ca, CertOrigin, Config};
use crate::host::Host;

/// Why nothing was changed.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// No such serial number in the store.
    #[error(
        "no certificate with the serial number `{0}` is in the store\n  hint: `portico cert status` shows the current \
         one; older ones are kept for a few renewals"
    )]
    NoSerial(String),
    /// Several domains and no choice.
    #[error("which one? the configuration has: {0}\n  hint: add `--domain`")]
    Which(String),
    /// No certificate.
    #[error("there is no certificate for `{0}`")]
    None(Host),
    /// It came from elsewhere.
    #[error(
        "certificate {0} was imported, so no account here can revoke it\n  hint: add `--cert-key` if the CA of [acme] \
         issued it, or revoke it where it came from"
    )]
    Imported(String),
    /// Its CA is not configured any more.
    #[error(
        "certificate {serial} comes from `{directory}`, which the configuration does not name any more\n  hint: set \
         `acme.directory` to it for the time of the revocation"
    )]
    OtherCa {
        /// Which certificate.
        serial: String,
        /// Its CA.
        directory: String,
    },
}

/// Why a certificate is revoked (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Reason {
    /// No reason is given.
    Unspecified,
    /// Others know the key. It is never used again here.
    KeyCompromise,
    /// Another certificate has taken its place.
    Superseded,
    /// The names are not ours any more, or are not served any more.
    CessationOfOperation,
}

impl From<Reason> for RevocationReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unspecified => Self::Unspecified,
            Reason::KeyCompromise => Self::KeyCompromise,
            Reason::Superseded => Self::Superseded,
            Reason::CessationOfOperation => Self::CessationOfOperation,
        }
    }
}

/// What is revoked, and how.
#[derive(Debug, Clone, Copy)]
pub struct Revocation<'a> {
    /// A serial number, hexadecimal; none is the current certificate.
    pub serial: Option<&'a str>,
    /// Of which domain, if there are several.
    pub domain: Option<&'a Host>,
    /// Why.
    pub reason: Reason,
    /// Before it is replaced.
    pub now: bool,
    /// Who signs the request.
    pub by: By,
}

/// `cert rollback`: makes an earlier generation current and looks whether it is served.
///
/// # Errors
/// [`CertError`]; nothing is changed then.
pub async fn rollback(
    config: &Config,
    domain: Option<&Host>,
    to: Option<u64>,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    let store = ours(config)?;
    let domain = &one(config, domain)?;
    let lock = store.lock(domain)?;
    let lock = lock.ok_or_else(|| StoreError::Busy(domain.clone()))?;
    let stored = store.rollback(domain, to)?;
    drop(lock);
    writeln!(
        out,
        "{domain}: back to generation {}, certificate {}, valid until {}",
        stored.generation,
        stored.bundle.serial(),
        stored.bundle.not_after()
    )?;
    look(config, &store, domain, out).await
}

/// `cert revoke`: replaces the certificate first if it is in service, then revokes it.
///
/// # Errors
/// [`CertError`]; nothing is revoked then.
pub async fn revoke(
    config: &Config,
    revocation: Revocation<'_>,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    let store = ours(config)?;
    let (domain, stored) = find(config, &store, &revocation)?;
    let domain = &domain;
    let ca = ca_of(config, &stored, revocation.by)?;
    let current = store.load(domain)?;
    let in_service =
        current.is_some_and(|current| current.bundle.serial() == stored.bundle.serial());
    if revocation.reason == Reason::KeyCompromise {
        let lock = store.lock(domain)?;
        let _lock = lock.ok_or_else(|| StoreError::Busy(domain.clone()))?;
        store.compromise(domain, stored.generation)?;
    }
    if in_service && !revocation.now {
        writeln!(out, "{domain}: replacing it first")?;
        let replaced = replace(config, &store, domain, &stored, out).await?;
        if replaced != Verdict::Fine {
            writeln!(
                out,
                "{domain}: certificate {} is NOT revoked, because it is still in service\nhint: mend the cause and run \
                 this again, or add `--now`",
                stored.bundle.serial()
            )?;
            return Ok(replaced);
        }
    }
    end(config, &store, &ca, domain, &stored, &revocation, out).await?;
    if in_service && revocation.now {
        writeln!(
            out,
            "{domain}: the revoked certificate is still in service; replacing it"
        )?;
        return replace(config, &store, domain, &stored, out).await;
    }
    Ok(Verdict::Fine)
}

/// `cert compromise`: the key of the current certificate is known to others. A new key and certificate, then revocation
/// of the old one; its key is never served again.
///
/// # Errors
/// [`CertError`].
pub async fn compromise(
    config: &Config,
    domain: Option<&Host>,
    by: By,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    let revocation = Revocation {
        serial: None,
        domain,
        reason: Reason::KeyCompromise,
        now: false,
        by,
    };
    revoke(config, revocation, out).await
}

/// Gets another certificate, with a key of its own, and sees it served.
async fn replace(
    config: &Config,
    store: &FileStore,
    domain: &Host,
    old: &Stored,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    let order = Order {
        domain: Some(domain),
        trigger: Trigger::Force,
    };
    let verdict = Box::pin(renew(config, order, out)).await?;
    let new = store.load(domain)?;
    let replaced = new.is_some_and(|new| new.bundle.serial() != old.bundle.serial());
    Ok(if replaced {
        verdict
    } else {
        verdict.max(Verdict::Failed)
    })
}

async fn end(
    config: &Config,
    store: &FileStore,
    ca: &Ca,
    domain: &Host,
    stored: &Stored,
    revocation: &Revocation<'_>,
    out: &mut (dyn Write + Send),
) -> Result<(), CertError> {
    let Some(leaf) = stored.bundle.leaf() else {
        return Ok(());
    };
    let (serial, reason) = (stored.bundle.serial(), revocation.reason);
    let key = store.key(domain, stored.generation)?;
    let target = Target {
        certificate: leaf,
        key: &key,
        reason: &reason.into(),
    };
    let signer = Box::pin(revoke::revoke(&config.state_dir, ca, target, revocation.by)).await?;
    tracing::warn!(%domain, serial, ?reason, ?signer, "revoked a certificate");
    let signer = match signer {
        By::Account => "",
        By::Key => ", on the word of its own key",
    };
    writeln!(out, "{domain}: certificate {serial} is revoked{signer}")?;
    Ok(())
}

/// Looks whether the current generation is served, as after a renewal.
async fn look(
    config: &Config,
    store: &FileStore,
    domain: &Host,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    // A number that was looked for before, and has been replaced since, is looked for again.
    let mut notices = Notices::read(store, domain);
    notices.deploy = None;
    notices.write(store, domain);
    let mut aftermath = Aftermath::new(config, store);
    let verdict = Box::pin(aftermath.of(domain, &Ended::quiet(), out)).await;
    aftermath.finish().await;
    Ok(verdict)
}

fn ours(config: &Config) -> Result<FileStore, CertError> {
    match config.certs {
        CertOrigin::Files(_) => Err(CertError::NotOurs),
        CertOrigin::Acme => Ok(FileStore::new(&config.state_dir)),
    }
}

fn one(config: &Config, domain: Option<&Host>) -> Result<Host, CertError> {
    match chosen(config, domain)?.as_slice() {
        [one] => Ok(one.clone()),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(ChangeError::Which(names.join(", ")).into())
        }
    }
}

fn find(
    config: &Config,
    store: &FileStore,
    revocation: &Revocation<'_>,
) -> Result<(Host, Stored), CertError> {
    let Some(serial) = revocation.serial else {
        let domain = one(config, revocation.domain)?;
        let stored = store.load(&domain)?;
        let stored = stored.ok_or_else(|| ChangeError::None(domain.clone()))?;
        return Ok((domain, stored));
    };
    let wanted: String = serial
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let wanted = wanted.trim_start_matches('0');
    for domain in chosen(config, revocation.domain)? {
        let all = store.generations(&domain)?;
        let found = all
            .into_iter()
            .find(|stored| stored.bundle.serial().trim_start_matches('0') == wanted);
        if let Some(stored) = found {
            return Ok((domain, stored));
        }
    }
    Err(ChangeError::NoSerial(serial.to_owned()).into())
}

/// The CA that issued it, if it is one of ours.
fn ca_of(config: &Config, stored: &Stored, by: By) -> Result<Ca, CertError> {
    let serial = stored.bundle.serial().to_owned();
    let directory = &stored.meta.directory;
    if directory.is_empty() {
        return match by {
            // Who issued an import is not known; the CA will say if it did not.
            By::Key => Ok(config.acme.first()),
            By::Account => Err(ChangeError::Imported(serial).into()),
        };
    }
    let cas = config.acme.cas();
    let ca = cas.into_iter().find(|ca| ca.directory == *directory);
    ca.ok_or_else(|| {
        let directory = directory.clone();
        ChangeError::OtherCa { serial, directory }.into()
    })
}

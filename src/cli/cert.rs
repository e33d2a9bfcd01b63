//! `portico cert`: issue, renew, status, import.
//!
//! Each verb takes the checked configuration and says what it did in one line for each domain; what it returns has an
//! exit code. Parsing of arguments and ending the process are done elsewhere.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::acme::schedule::Decision;
use crate::acme::{self, AcmeError, Class, Outcome, Trigger};
use crate::cert::store::file::FileStore;
use crate::cert::store::{self, Store, StoreError};
use crate::clock::UnixTime;
use crate::config::{AcmeRun, Config};
use crate::host::Host;

/// How a verb ended, for the exit code. The later wins when several domains ended differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Done, or nothing to do.
    Fine,
    /// An earlier failure, or another process, holds the next try back.
    Waiting,
    /// Something failed and is tried again later.
    Failed,
    /// Somebody must change something.
    Blocked,
}

impl Verdict {
    /// The exit code: 0, 75 (as in `sysexits.h`: try again later), 1 or 2.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Waiting => 75,
            Self::Failed => 1,
            Self::Blocked => 2,
        }
    }
}

/// Why a verb could not begin, or could not say what it did.
#[derive(Debug, Error)]
pub enum CertError {
    /// A domain that the configuration does not have.
    #[error("`{domain}` is not among the configured domains: {known}")]
    Unknown {
        /// What was asked for.
        domain: Host,
        /// What there is.
        known: String,
    },
    /// A file that cannot be read.
    #[error("cannot read `{path}`: {error}")]
    Read {
        /// Which.
        path: String,
        /// What the file system says.
        error: io::Error,
    },
    /// Root at work in a store of another user.
    #[error(
        "`{0}` belongs to another user, who could not read what root writes\n  hint: `systemctl start \
         portico-renew`, or `sudo -u portico-renew portico cert ...`"
    )]
    Root(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The renewal's notes.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// Nobody listens.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    /// No JSON.
    #[error("cannot print: {0}")]
    Json(#[from] serde_json::Error),
}

impl CertError {
    /// The exit code.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Unknown { .. } | Self::Read { .. } | Self::Root(_) => Verdict::Blocked,
            Self::Store(_) | Self::Acme(_) | Self::Print(_) | Self::Json(_) => Verdict::Failed,
        }
    }
}

/// What is asked of `issue` and `renew`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<'a> {
    /// One domain; none is all of them.
    pub domain: Option<&'a Host>,
    /// Whether it is due does not matter.
    pub trigger: Trigger,
}

/// `cert issue` and `cert renew`: obtains what is due (or everything, if forced), one domain after the other; the
/// failure of one does not stop the others.
///
/// # Errors
/// [`CertError`] if it cannot begin or cannot print; a failure at the CA is in the verdict.
pub async fn renew(
    config: &Config,
    order: Order<'_>,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    let store = FileStore::new(&config.state_dir);
    let mut verdict = Verdict::Fine;
    for domain in chosen(config, order.domain)? {
        let ended = Box::pin(acme::renew(config, &store, domain, order.trigger, out)).await;
        let (line, one) = describe(domain, ended);
        writeln!(out, "{line}")?;
        verdict = verdict.max(one);
    }
    Ok(verdict)
}

fn describe(domain: &Host, ended: Result<Outcome, AcmeError>) -> (String, Verdict) {
    match ended {
        Ok(Outcome::NotDue { until }) => {
            (format!("{domain}: not due before {until}"), Verdict::Fine)
        }
        Ok(Outcome::Issued { reason, stored }) => {
            let (serial, end) = (stored.bundle.serial(), stored.bundle.not_after());
            (
                format!("{domain}: new certificate {serial}, valid until {end} ({reason})"),
                Verdict::Fine,
            )
        }
        Ok(Outcome::Busy) => (
            format!("{domain}: another process is at work on it"),
            Verdict::Waiting,
        ),
        Ok(Outcome::Waiting {
            until,
            class,
            detail,
        }) => {
            let verdict = if class == Class::Blocked {
                Verdict::Blocked
            } else {
                Verdict::Waiting
            };
            let force = if class == Class::Limited {
                ""
            } else {
                "\nhint: --force tries now"
            };
            (
                format!("{domain}: waiting until {until} after: {detail}{force}"),
                verdict,
            )
        }
        Err(error) => {
            let verdict = if error.class() == Class::Blocked {
                Verdict::Blocked
            } else {
                Verdict::Failed
            };
            (format!("{domain}: failed: {error}"), verdict)
        }
    }
}

/// One line of `cert status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The lineage.
    pub domain: String,
    /// The names of the certificate; empty if there is none.
    pub names: Vec<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Who issued it.
    pub issuer: Option<String>,
    /// Its end, RFC 3339.
    pub not_after: Option<String>,
    /// Whole days until then; negative if it is over.
    pub days_left: Option<i64>,
    /// Its number in the store.
    pub generation: Option<u64>,
    /// What happens next, for people.
    pub next: String,
}

/// `cert status`: what the store holds, without any network.
///
/// # Errors
/// [`CertError`] if the store cannot be read.
pub fn status(config: &Config, now: UnixTime) -> Result<Vec<Status>, CertError> {
    let store = FileStore::new(&config.state_dir);
    config
        .domains
        .iter()
        .map(|domain| status_of(config, &store, domain, now))
        .collect()
}

/// Prints the status as one line for each domain, or as JSON.
///
/// # Errors
/// [`CertError`] if it cannot print.
pub fn print_status(all: &[Status], json: bool, out: &mut dyn Write) -> Result<(), CertError> {
    if json {
        serde_json::to_writer_pretty(&mut *out, all)?;
        return Ok(writeln!(out)?);
    }
    for status in all {
        match (
            &status.serial,
            &status.not_after,
            status.days_left,
            status.generation,
        ) {
            (Some(serial), Some(end), Some(days), Some(generation)) => writeln!(
                out,
                "{}: certificate {serial} for {}, {days} days left (until {end}), generation {generation}; {}",
                status.domain,
                status.names.join(", "),
                status.next
            )?,
            _ => writeln!(out, "{}: no certificate; {}", status.domain, status.next)?,
        }
    }
    Ok(())
}

fn status_of(
    config: &Config,
    store: &dyn Store,
    domain: &Host,
    now: UnixTime,
) -> Result<Status, CertError> {
    let view = acme::renew::view(config, store, domain, now)?;
    let next = match (&view.waiting, view.decision, config.acme.run) {
        (_, Decision::Renew(reason), AcmeRun::Off) => format!("import a new one ({reason})"),
        (_, Decision::Wait(until), AcmeRun::Off) => format!("import a new one before {until}"),
        (Some((until, _, detail)), Decision::Renew(_), _) => {
            format!("next try at {until} after: {}", first_line(detail))
        }
        (None, Decision::Renew(reason), _) => format!("due now: {reason}"),
        (_, Decision::Wait(until), _) => format!("renewal at {until}"),
    };
    let bundle = view.stored.as_ref().map(|stored| &stored.bundle);
    Ok(Status {
        domain: domain.to_string(),
        names: bundle.map_or_else(Vec::new, |bundle| {
            bundle.names().iter().map(ToString::to_string).collect()
        }),
        serial: bundle.map(|bundle| bundle.serial().to_owned()),
        issuer: bundle.map(|bundle| bundle.issuer().to_owned()),
        not_after: bundle.map(|bundle| bundle.not_after().to_string()),
        days_left: bundle.map(|bundle| bundle.not_after().seconds_since(now).div_euclid(86400)),
        generation: view.stored.as_ref().map(|stored| stored.generation),
        next,
    })
}

/// `cert import`: takes in a certificate from elsewhere, for every domain that it covers.
///
/// # Errors
/// [`CertError`] says what is wrong with the pair.
pub fn import(
    config: &Config,
    cert: &Path,
    key: &Path,
    now: UnixTime,
    out: &mut dyn Write,
) -> Result<(), CertError> {
    let fullchain = read(cert)?;
    let key = Zeroizing::new(read(key)?);
    let store = FileStore::new(&config.state_dir);
    for (domain, stored) in store::import(&store, &config.domains, &fullchain, &key, now)? {
        let (serial, end) = (stored.bundle.serial(), stored.bundle.not_after());
        writeln!(
            out,
            "{domain}: imported certificate {serial}, valid until {end}, generation {}",
            stored.generation
        )?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, CertError> {
    std::fs::read_to_string(path).map_err(|error| CertError::Read {
        path: path.display().to_string(),
        error,
    })
}

pub(super) fn chosen<'a>(
    config: &'a Config,
    domain: Option<&Host>,
) -> Result<Vec<&'a Host>, CertError> {
    let chosen: Vec<&Host> = config
        .domains
        .iter()
        .filter(|known| domain.is_none_or(|domain| domain == *known))
        .collect();
    match domain {
        Some(domain) if chosen.is_empty() => {
            let known: Vec<String> = config.domains.iter().map(ToString::to_string).collect();
            Err(CertError::Unknown {
                domain: domain.clone(),
                known: known.join(", "),
            })
        }
        _ => Ok(chosen),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

//! `portico cert`: issue, renew, reconcile, status, check, import, export.
//!
//! Each verb takes the checked configuration and says what it did in one line for each domain; what it returns has an
//! exit code. Parsing of arguments and ending the process are done elsewhere.

pub mod after;
pub mod change;
pub mod check;
pub mod domains;
pub mod export;
mod forgotten;
pub mod plan;
pub mod status;

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use thiserror::Error;
use zeroize::Zeroizing;

use self::after::Aftermath;
use self::change::ChangeError;
use self::export::ExportError;
pub use self::status::{print_status, status};
use crate::acme::state::State;
use crate::acme::{self, AcmeError, Class, Outcome, Request, Trigger, staging, trial};
use crate::cert::lineage::Lineage;
use crate::cert::store::file::FileStore;
use crate::cert::store::{self, Store, StoreError};
use crate::clock::UnixTime;
use crate::config::{CertOrigin, Config};
use crate::host::Host;

/// The time after which `reconcile` begins no other domain: an order takes minutes, the unit's limit is 25.
const BUDGET: Duration = Duration::from_secs(15 * 60);

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
    /// Another program renews.
    #[error(
        "with `certs = \"files\"` another program renews; there is nothing to do here\n  hint: renew there, the proxy \
         takes the new pair over by itself"
    )]
    NotOurs,
    /// A rollback or a revocation.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// An export.
    #[error(transparent)]
    Export(#[from] ExportError),
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
            Self::Unknown { .. }
            | Self::Read { .. }
            | Self::Root(_)
            | Self::NotOurs
            | Self::Change(_)
            | Self::Export(_) => Verdict::Blocked,
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
    renew_as(config, order.domain, order.trigger.into(), out).await
}

/// Like [`renew`], with all that can be asked of a run.
///
/// # Errors
/// As [`renew`].
pub async fn renew_as(
    config: &Config,
    domain: Option<&Host>,
    request: Request,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    let chosen = chosen(config, domain);
    if let (Err(CertError::Unknown { .. }), Some(host)) = (&chosen, domain)
        && let Some(verdict) = domains::one(config, host, request, out).await?
    {
        return Ok(verdict);
    }
    run(config, &chosen?, request, Duration::MAX, out).await
}

/// `cert reconcile`: one step for every domain, for the timer. Domains are taken in the order of their last attempt,
/// and none is begun after a quarter of an hour, so that the unit's time limit cuts no order short and each domain has
/// its turn.
///
/// # Errors
/// [`CertError`] if it cannot begin or cannot print; a failure at the CA is in the verdict.
pub async fn reconcile(
    config: &Config,
    domain: Option<&Host>,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    let start = Instant::now();
    let store = FileStore::new(&config.state_dir);
    let mut domains = chosen(config, domain)?;
    domains.sort_by_cached_key(|domain| {
        let state = State::load(&store, domain).unwrap_or_default();
        state.last_attempt
    });
    let verdict = run(config, &domains, Trigger::Due.into(), BUDGET, out).await?;
    if domain.is_none() {
        forgotten::clean(config, &store, out).await?;
        // After all else, so that no customer's domain holds up a certificate of ours. What one lacks is told by
        // `cert status` and is no failure of the run.
        Box::pin(domains::work(
            config,
            BUDGET.saturating_sub(start.elapsed()),
            out,
        ))
        .await?;
    }
    Ok(verdict)
}

/// One step for each of these domains, one after the other; none is begun after `budget`.
async fn run(
    config: &Config,
    domains: &[Host],
    request: Request,
    budget: Duration,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    if matches!(config.certs, CertOrigin::Files(_)) {
        return Err(CertError::NotOurs);
    }
    let start = Instant::now();
    let store = FileStore::new(&config.state_dir);
    let mut verdict = Verdict::Fine;
    let mut aftermath = Aftermath::new(config, &store);
    for domain in domains {
        if start.elapsed() > budget {
            let minutes = budget.as_secs() / 60;
            writeln!(
                out,
                "{domain}: left for the next run, this one has taken {minutes} min"
            )?;
            verdict = verdict.max(Verdict::Waiting);
            continue;
        }
        let ended = Box::pin(acme::renew(config, &store, domain, request, out)).await;
        let happened = after::happened(&ended);
        let (line, one) = describe(domain, ended);
        writeln!(out, "{line}")?;
        let told = Box::pin(aftermath.of(domain, &happened, out)).await;
        verdict = verdict.max(one).max(told);
    }
    aftermath.finish().await;
    Ok(verdict)
}

/// `cert renew --dry-run`: the whole way with a staging CA, real DNS and a state of its own below the state directory;
/// what is issued is thrown away and nothing in service is touched. The account at the staging CA is kept.
///
/// # Errors
/// [`CertError`] if it cannot begin or cannot print; a failure at the CA is in the verdict.
pub async fn dry_run(
    config: &Config,
    domain: Option<&Host>,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    let mut rehearsal = config.clone();
    rehearsal.state_dir = config.state_dir.join("dry-run");
    rehearsal.acme.fallback = None;
    match staging::of(&config.acme.directory) {
        Some(directory) => {
            directory.clone_into(&mut rehearsal.acme.directory);
            // A production account's binding has no meaning there.
            rehearsal.acme.eab = None;
        }
        None if staging::is_directory(&config.acme.directory) => {}
        None => writeln!(
            out,
            "no staging CA is known for `{0}`: the rehearsal orders from it, and its limits count",
            config.acme.directory
        )?,
    }
    let request = Request {
        trigger: Trigger::Force,
        allow_staging: true,
    };
    let store = FileStore::new(&rehearsal.state_dir);
    let mut verdict = Verdict::Fine;
    for domain in &chosen(config, domain)? {
        let ended = Box::pin(acme::renew(&rehearsal, &store, domain, request, out)).await;
        let (line, one) = describe(domain, ended);
        writeln!(out, "{line}")?;
        verdict = verdict.max(one);
        // Nobody takes a rehearsal up again, so no record waits for that.
        if let (Some(dns), false) = (&rehearsal.acme.dns, store.debts(domain)?.is_empty())
            && let Err(error) = trial::sweep(dns, &store, domain, out).await
        {
            tracing::warn!(%domain, %error, "TXT records of the rehearsal are left");
        }
        // Kept while DNS has records of ours: the next rehearsal removes them.
        if store.debts(domain)?.is_empty() {
            store.forget(domain)?;
        }
    }
    writeln!(out, "dry run: nothing was installed")?;
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
    for (domain, stored) in store::import(&store, &Lineage::all(config), &fullchain, &key, now)? {
        let (serial, end) = (stored.bundle.serial(), stored.bundle.not_after());
        writeln!(
            out,
            "{domain}: imported certificate {serial}, valid until {end}, generation {}",
            stored.generation
        )?;
    }
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<String, CertError> {
    std::fs::read_to_string(path).map_err(|error| CertError::Read {
        path: path.display().to_string(),
        error,
    })
}

pub(super) fn chosen(config: &Config, domain: Option<&Host>) -> Result<Vec<Host>, CertError> {
    let all = || Lineage::all(config).into_iter().map(|lineage| lineage.name);
    let chosen: Vec<Host> = all()
        .filter(|known| domain.is_none_or(|domain| domain == known))
        .collect();
    match domain {
        Some(domain) if chosen.is_empty() => {
            let known: Vec<String> = all().map(|name| name.to_string()).collect();
            Err(CertError::Unknown {
                domain: domain.clone(),
                known: known.join(", "),
            })
        }
        _ => Ok(chosen),
    }
}

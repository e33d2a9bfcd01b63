//! The one way to a certificate: first issue and renewal alike.
//!
//! Level-triggered: it reads what is there, decides, and does what is due; it may run at any time, any number of times
//! and on several processes. When nothing is due it opens no connection. Failures are noted in the store with the time
//! before which there is no other try.

use std::hash::BuildHasher;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::backoff::Failure;
use super::dns::Output;
use super::error::{AcmeError, Class};
use super::order::Job;
use super::schedule::{self, Decision, Facts, Reason};
use crate::cert::bundle;
use crate::cert::store::{Store, Stored};
use crate::clock::UnixTime;
use crate::config::Config;
use crate::host::Host;

/// What makes a renewal run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The clock: only what is due, and no failure before its time.
    Due,
    /// A person: now, unless the CA itself named a time to wait.
    Force,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Nothing before this time.
    NotDue {
        /// When.
        until: UnixTime,
    },
    /// An earlier failure holds the next try back.
    Waiting {
        /// Until when.
        until: UnixTime,
        /// What kind of failure it was.
        class: Class,
        /// What it said.
        detail: String,
    },
    /// Another process is at work on this lineage.
    Busy,
    /// A new certificate is stored and current.
    Issued {
        /// Why it was due.
        reason: Reason,
        /// The new generation.
        stored: Box<Stored>,
    },
}

/// What the store tells about a lineage, without any network.
#[derive(Debug, Clone)]
pub struct View {
    /// The current generation, if there is a good one.
    pub stored: Option<Stored>,
    /// What the schedule says.
    pub decision: Decision,
    /// The failure that holds the next try back, if one does: until when, what kind, what it said.
    pub waiting: Option<(UnixTime, Class, String)>,
}

/// Looks at a lineage.
///
/// # Errors
/// [`AcmeError`] if the store cannot be read at all; a damaged certificate counts as a missing one.
pub fn view(
    config: &Config,
    store: &dyn Store,
    domain: &Host,
    now: UnixTime,
) -> Result<View, AcmeError> {
    let stored = match store.load(domain) {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(%domain, %error, "the stored certificate cannot be used");
            None
        }
    };
    let decision = decide(config, stored.as_ref(), domain, now);
    let failure = failure(store, domain)?.filter(|failure| failure.holds(now, fingerprint(config)));
    let waiting = failure.map(|failure| (failure.until, failure.class, failure.detail));
    Ok(View {
        stored,
        decision,
        waiting,
    })
}

/// Does what is due for one domain.
///
/// # Errors
/// [`AcmeError`]; the failure is noted in the store, so that the next run knows when to try again.
pub async fn renew(
    config: &Config,
    store: &dyn Store,
    domain: &Host,
    trigger: Trigger,
    out: Output<'_>,
) -> Result<Outcome, AcmeError> {
    let dns = config.acme.dns.as_ref().ok_or_else(|| {
        let text = "no DNS provider is configured\nhint: add [acme.dns] with `provider`, or import a certificate";
        AcmeError::Config(text.to_owned())
    })?;
    let Some(lock) = store.lock(domain)? else {
        return Ok(Outcome::Busy);
    };
    let job = Job {
        state_dir: &config.state_dir,
        store,
        lineage: domain,
        acme: &config.acme,
        dns,
    };
    let now = UnixTime::now();
    let view = view(config, store, domain, now)?;
    let reason = match (trigger, view.decision) {
        (Trigger::Force, Decision::Wait(_)) => Reason::Forced,
        (_, Decision::Renew(reason)) => reason,
        (Trigger::Due, Decision::Wait(until)) => {
            if !store.debts(domain)?.is_empty() {
                job.clean(out).await?;
            }
            return Ok(Outcome::NotDue { until });
        }
    };
    if let Some((until, class, detail)) = view.waiting
        && (trigger == Trigger::Due || class == Class::Limited)
    {
        return Ok(Outcome::Waiting {
            until,
            class,
            detail,
        });
    }
    tracing::info!(%domain, %reason, "a certificate is due");
    let ran = Box::pin(job.run(out)).await;
    let noted = note(
        config,
        store,
        domain,
        view.stored.as_ref(),
        ran.as_ref().err(),
    );
    drop(lock);
    let stored = ran?;
    noted?;
    let bundle = &stored.bundle;
    tracing::info!(%domain, serial = bundle.serial(), not_after = %bundle.not_after(), generation = stored.generation, "a new certificate is in the store");
    Ok(Outcome::Issued {
        reason,
        stored: Box::new(stored),
    })
}

fn decide(config: &Config, stored: Option<&Stored>, domain: &Host, now: UnixTime) -> Decision {
    let Some(stored) = stored else {
        return Decision::Renew(Reason::Missing);
    };
    if stored
        .bundle
        .check_names(&bundle::names_of(domain))
        .is_err()
    {
        return Decision::Renew(Reason::Names);
    }
    // An imported one has no directory and is renewed like any other.
    if !stored.meta.directory.is_empty() && stored.meta.directory != config.acme.directory {
        return Decision::Renew(Reason::Issuer);
    }
    let facts = Facts {
        not_before: stored.bundle.not_before(),
        not_after: stored.bundle.not_after(),
        window: None,
    };
    schedule::decide(now, &facts)
}

/// Notes a failure, or strikes the last one out.
fn note(
    config: &Config,
    store: &dyn Store,
    domain: &Host,
    stored: Option<&Stored>,
    error: Option<&AcmeError>,
) -> Result<(), AcmeError> {
    let Some(error) = error else {
        return Ok(store.put_state(domain, b"{}\n")?);
    };
    let now = UnixTime::now();
    let remaining = stored.map(|stored| {
        let seconds = stored.bundle.not_after().seconds_since(now).max(0);
        Duration::from_secs(seconds.unsigned_abs())
    });
    let before = failure(store, domain).unwrap_or_default();
    let failure = Failure::new(error, before.as_ref(), now, remaining, fingerprint(config));
    tracing::warn!(%domain, class = ?failure.class, next = %failure.until, failures = failure.count, "no certificate: {}", failure.detail);
    let state = serde_json::to_vec_pretty(&State {
        failure: Some(failure),
    })
    .unwrap_or_default();
    if let Err(error) = store.put_state(domain, &state) {
        tracing::warn!(%domain, %error, "cannot note when to try again");
    }
    Ok(())
}

/// `state.json`.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct State {
    failure: Option<Failure>,
}

/// The last failure; a damaged note is none, which costs one try at most.
fn failure(store: &dyn Store, domain: &Host) -> Result<Option<Failure>, AcmeError> {
    let Some(content) = store.state(domain)? else {
        return Ok(None);
    };
    match serde_json::from_slice::<State>(&content) {
        Ok(state) => Ok(state.failure),
        Err(error) => {
            tracing::warn!(%domain, %error, "the note of the last failure is damaged and ignored");
            Ok(None)
        }
    }
}

/// Changes with the settings of `[acme]` and with the credentials file.
fn fingerprint(config: &Config) -> u64 {
    let path = config
        .acme
        .dns
        .as_ref()
        .and_then(|dns| dns.provider.credentials()?.path());
    // The mode as well: a file that others could read is refused until somebody runs chmod.
    let mode = path
        .as_ref()
        .and_then(|path| std::fs::metadata(path).ok())
        .map(|metadata| metadata.mode());
    let credentials = path
        .and_then(|path| std::fs::read(path).ok())
        .map(zeroize::Zeroizing::new);
    // The content, not the file's age: systemd makes a new copy for each run.
    foldhash::fast::FixedState::default().hash_one((
        format!("{:?}", config.acme),
        credentials.as_deref(),
        mode,
    ))
}

//! The one way to a certificate: first issue and renewal alike.
//!
//! Level-triggered: it reads what is there, decides, and does what is due; it may run at any time, any number of times
//! and on several processes. When nothing is due it opens no connection. Failures are noted in the store with the time
//! before which there is no other try.

use super::ari;
use super::backoff::Failure;
use super::client::Client;
use super::dns::Output;
use super::error::{AcmeError, Class};
use super::ledger::is_old;
use super::limits::{Block, Limits, Scope};
use super::order::Job;
use super::schedule::{self, Decision, Reason};
use super::state::{Journal, Phase, Skew};
pub use super::view::{View, Waiting, view};
use super::view::{fingerprint, left, view_lineage};
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::{Debt, Store, Stored};
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

/// What is asked of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What makes it run.
    pub trigger: Trigger,
    /// Whether a staging CA's certificate may take the place of a real one.
    pub allow_staging: bool,
}

impl From<Trigger> for Request {
    fn from(trigger: Trigger) -> Self {
        Self {
            trigger,
            allow_staging: false,
        }
    }
}

/// Does what is due for the lineage of the configuration that is called `domain`.
///
/// # Errors
/// [`AcmeError`]; the failure is noted in the store, so that the next run knows when to try again.
pub async fn renew(
    config: &Config,
    store: &dyn Store,
    domain: &Host,
    request: impl Into<Request>,
    out: Output<'_>,
) -> Result<Outcome, AcmeError> {
    renew_lineage(config, store, &Lineage::of(config, domain), request, out).await
}

/// Does what is due for one lineage, which need not be one of the configuration: names of a directory's row, say.
///
/// # Errors
/// As [`renew()`].
pub async fn renew_lineage(
    config: &Config,
    store: &dyn Store,
    lineage: &Lineage,
    request: impl Into<Request>,
    out: Output<'_>,
) -> Result<Outcome, AcmeError> {
    let request = request.into();
    let domain = &lineage.name;
    let now = UnixTime::now();
    store.beat(now)?;
    let Some(lock) = store.lock(domain)? else {
        return Ok(Outcome::Busy);
    };
    store.mend(domain)?;
    let journal = Journal::open(store, domain)?;
    journal.begin();
    advise(config, store, &journal, domain, now).await?;
    let view = view_lineage(config, store, lineage, now)?;
    let job = Job {
        state_dir: &config.state_dir,
        store,
        lineage,
        ca: &view.ca,
        config,
        journal: &journal,
        predecessor: view.stored.as_ref(),
        due: match (request.trigger, view.decision) {
            (Trigger::Due, Decision::Renew(Reason::Due | Reason::Advised)) => view.renew_at,
            _ => None,
        },
        allow_staging: request.allow_staging,
    };
    // A run that died after it had stored the certificate left its order behind.
    if let (Some(stored), Ok(Some(pending))) = (&view.stored, store.pending(domain))
        && stored.bundle.has_key(pending.key.as_bytes())
    {
        store.clear_pending(domain)?;
    }
    let reason = match (request.trigger, view.decision) {
        (Trigger::Force, Decision::Wait(_)) => Reason::Forced,
        (_, Decision::Renew(reason)) => reason,
        (Trigger::Due, Decision::Wait(until)) => {
            tidy(&job, now, Next::NotDue, out).await?;
            return Ok(Outcome::NotDue { until });
        }
    };
    if let Some(waiting) = view.waiting.clone()
        && (request.trigger == Trigger::Due || waiting.class == Class::Limited)
    {
        // That it fails is no reason to say anything else than that.
        if let Err(error) = tidy(&job, now, Next::Waits, out).await {
            tracing::warn!(%domain, %error, "TXT records of ours stay for now; the next run removes them");
        }
        return Ok(Outcome::Waiting {
            until: waiting.until,
            class: waiting.class,
            detail: waiting.detail,
        });
    }
    tracing::info!(%domain, %reason, ca = view.ca.directory, "a certificate is due");
    let second = (view.ca.directory != config.acme.directory).then(|| view.ca.directory.clone());
    journal.change(|state| {
        state.last_attempt = Some(now);
        state.phase = Phase::Ordering;
        state.phase_since = Some(now);
        state.fallback = second;
    })?;
    failpoint::hit(failpoint::INTENT_NOTED);
    let ran = Box::pin(job.run(out)).await;
    journal.count_debts();
    if let Err(AcmeError::NotYet(until)) = ran {
        journal.enter(Phase::Idle);
        return Ok(Outcome::NotDue { until });
    }
    let noted = note(config, &journal, store, domain, &view, ran.as_ref().err());
    let stored = ran?;
    noted?;
    failpoint::hit(failpoint::SUCCESS_NOTED);
    advise(config, store, &journal, domain, UnixTime::now()).await?;
    drop(lock);
    let bundle = &stored.bundle;
    tracing::info!(%domain, serial = bundle.serial(), not_after = %bundle.not_after(), generation = stored.generation, "a new certificate is in the store");
    Ok(Outcome::Issued {
        reason,
        stored: Box::new(stored),
    })
}

/// Asks the CA for its advice about a lineage, if it is time to, and orders nothing.
///
/// # Errors
/// [`AcmeError::Store`]; that the CA gives no advice is none.
pub(super) async fn look(
    config: &Config,
    store: &dyn Store,
    lineage: &Lineage,
) -> Result<(), AcmeError> {
    let domain = &lineage.name;
    let Some(_lock) = store.lock(domain)? else {
        return Ok(());
    };
    let journal = Journal::open(store, domain)?;
    advise(config, store, &journal, domain, UnixTime::now()).await
}

/// What happens next to a lineage that orders nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing, for long.
    NotDue,
    /// A further try, which may take up the order in progress.
    Waits,
}

/// Removes what the CA will not look at any more. It opens no connection if there is nothing.
async fn tidy(job: &Job<'_>, now: UnixTime, next: Next, out: Output<'_>) -> Result<(), AcmeError> {
    let (store, domain) = (job.store, &job.lineage.name);
    let pending = store.pending(domain)?.and_then(|pending| pending.order.url);
    let stays = |debt: &Debt| {
        let known = pending.is_some() && debt.order == pending;
        match next {
            // Somebody who has forced an order may come back to it within the hour.
            Next::NotDue => known && !is_old(debt, now),
            Next::Waits => known || !is_old(debt, now),
        }
    };
    let answers = next == Next::NotDue && store.has_answers(domain)?;
    if !answers && store.debts(domain)?.iter().all(stays) {
        return Ok(());
    }
    job.clean(stays, out).await
}

/// Asks the CA that issued the current certificate for its advice, if it is time to. What goes wrong is noted and no
/// error: advice is never needed.
async fn advise(
    config: &Config,
    store: &dyn Store,
    journal: &Journal<'_>,
    domain: &Host,
    now: UnixTime,
) -> Result<(), AcmeError> {
    let Some(stored) = store.load(domain).ok().flatten() else {
        return Ok(());
    };
    let directory = &stored.meta.directory;
    // RFC 9773 §4.3: not after expiry. An import has no CA that we know; another CA is replaced anyway.
    let cas = config.acme.cas();
    let Some(ca) = cas.iter().find(|ca| ca.directory == *directory) else {
        return Ok(());
    };
    if now >= stored.bundle.not_after() {
        return Ok(());
    }
    let Some(id) = ari::identifier(&stored.bundle) else {
        return Ok(());
    };
    let mut advice = journal.state().advice.unwrap_or_default();
    if !advice.is_due(&id, now) {
        return Ok(());
    }
    let before = advice.window_for(&id);
    let client = Client::new(ca.ca_file.as_deref())?;
    let found = ari::ask(&client, directory, &id).await;
    advice.take(&id, found, now);
    let window = advice.window_for(&id);
    advice.point = window.map(|window| {
        let spread = schedule::spread(&stored.meta.account, &id, Some(window));
        schedule::point(window, spread)
    });
    match (&advice.last_error, window) {
        (Some(error), _) => {
            tracing::debug!(%domain, error, next = ?advice.next_fetch, "no advice from the CA")
        }
        (None, window) if window != before => {
            let why = advice.explanation_url.as_deref().unwrap_or_default();
            tracing::info!(%domain, point = ?advice.point.map(|point| point.to_string()), explanation = why, "the CA advises when to renew");
        }
        (None, _) => {}
    }
    let seen = UnixTime::now();
    let skew = client.reply().date.map(|date| Skew {
        seconds: seen.seconds_since(date),
        at: seen,
    });
    let noted = journal.change(|state| {
        state.advice = Some(advice);
        state.clock = skew.or(state.clock);
    });
    if let Err(error) = noted {
        tracing::warn!(%domain, %error, "cannot note the CA's advice");
    }
    Ok(())
}

/// Notes a failure, or strikes the last one out.
fn note(
    config: &Config,
    journal: &Journal<'_>,
    store: &dyn Store,
    domain: &Host,
    view: &View,
    error: Option<&AcmeError>,
) -> Result<(), AcmeError> {
    let now = UnixTime::now();
    let Some(error) = error else {
        return journal.change(|state| state.succeed(now));
    };
    let left = view.stored.as_ref().map(|stored| left(stored, now));
    let directory = &view.ca.directory;
    let fingerprint = fingerprint(config).unwrap_or_default();
    let state = journal.state();
    let before = state.failure_at(directory);
    let failure = Failure::new(error, before, now, left, directory, fingerprint);
    tracing::warn!(%domain, class = %failure.class, scope = %failure.scope, next = %failure.until, failures = failure.count, "no certificate: {}", failure.detail);
    if failure.class == Class::Limited && failure.scope != Scope::NameSet {
        let block = Block {
            directory: directory.clone(),
            scope: failure.scope.clone(),
            at: now,
            until: failure.until,
            detail: failure.detail.clone(),
        };
        if let Err(error) = Limits::change(store, now, |limits| limits.add_block(block)) {
            tracing::warn!(%domain, %error, "cannot note a limit of the CA for the other domains");
        }
    }
    if let Err(error) = journal.change(|state| state.fail(failure)) {
        tracing::warn!(%domain, %error, "cannot note when to try again");
    }
    Ok(())
}

//! The one way to a certificate: first issue and renewal alike.
//!
//! Level-triggered: it reads what is there, decides, and does what is due; it may run at any time, any number of times
//! and on several processes. When nothing is due it opens no connection. Failures are noted in the store with the time
//! before which there is no other try.

use std::hash::BuildHasher;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::ari;
use super::backoff::{Failure, Left};
use super::client::Client;
use super::dns::Output;
use super::error::{AcmeError, Class};
use super::limits::{Block, Limits, Scope};
use super::order::Job;
use super::schedule::{self, Decision, Facts, Reason};
use super::state::{Journal, Phase, State};
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
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

/// What holds the next try back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Until when.
    pub until: UnixTime,
    /// The kind of failure behind it.
    pub class: Class,
    /// Whom it holds back.
    pub scope: Scope,
    /// What it said: cause and hint.
    pub detail: String,
}

/// What the disk tells about a lineage: everything that status, metrics and alarms are made of, without any network.
#[derive(Debug, Clone)]
pub struct View {
    /// The current generation, if there is a good one.
    pub stored: Option<Stored>,
    /// What the schedule says.
    pub decision: Decision,
    /// From when on the certificate is due; none if there is none.
    pub renew_at: Option<UnixTime>,
    /// What holds the next try back: a failure of this lineage, or a limit that it shares with others.
    pub waiting: Option<Waiting>,
    /// What the engine remembers: phase, attempts, failures, advice, clock.
    pub state: State,
    /// What all lineages share.
    pub limits: Limits,
    /// When the engine was last at work on any lineage.
    pub heartbeat: Option<UnixTime>,
}

impl View {
    /// When the next attempt is made if nothing changes: never before what it waits for.
    #[must_use]
    pub fn next_attempt(&self, now: UnixTime) -> UnixTime {
        let due = match self.decision {
            Decision::Wait(until) => until,
            Decision::Renew(_) => now,
        };
        let until = self.waiting.as_ref().map(|waiting| waiting.until);
        until.map_or(due, |until| until.max(due))
    }
}

/// Looks at the lineage of the configuration that is called `domain`.
///
/// # Errors
/// [`AcmeError`] if the store cannot be read at all; a damaged certificate counts as a missing one.
pub fn view(
    config: &Config,
    store: &dyn Store,
    domain: &Host,
    now: UnixTime,
) -> Result<View, AcmeError> {
    view_lineage(config, store, &Lineage::of(config, domain), now)
}

fn view_lineage(
    config: &Config,
    store: &dyn Store,
    lineage: &Lineage,
    now: UnixTime,
) -> Result<View, AcmeError> {
    let domain = &lineage.name;
    let stored = match store.load(domain) {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(%domain, %error, "the stored certificate cannot be used");
            None
        }
    };
    let state = State::load(store, domain)?;
    let limits = Limits::load(store)?;
    let decision = decide(config, stored.as_ref(), &state, lineage, now);
    let renew_at = stored
        .as_ref()
        .map(|stored| schedule::renewal(&facts(stored, &state)).0);
    let waiting = waiting(config, &state, &limits, domain, now);
    Ok(View {
        stored,
        decision,
        renew_at,
        waiting,
        state,
        limits,
        heartbeat: store.heartbeat()?,
    })
}

/// The failure or the limit that holds the next try back the longest.
fn waiting(
    config: &Config,
    state: &State,
    limits: &Limits,
    domain: &Host,
    now: UnixTime,
) -> Option<Waiting> {
    let failure = state
        .failure
        .as_ref()
        .filter(|failure| failure.holds(now, fingerprint(config)));
    let own = failure.map(|failure| Waiting {
        until: failure.until,
        class: failure.class,
        scope: failure.scope.clone(),
        detail: failure.detail.clone(),
    });
    let shared = limits.block(&config.acme.directory, domain, now);
    let shared = shared.map(|block| Waiting {
        until: block.until,
        class: Class::Limited,
        scope: block.scope.clone(),
        detail: block.detail.clone(),
    });
    own.into_iter()
        .chain(shared)
        .max_by_key(|waiting| waiting.until)
}

/// Does what is due for the lineage of the configuration that is called `domain`.
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
    renew_lineage(config, store, &Lineage::of(config, domain), trigger, out).await
}

/// Does what is due for one lineage, which need not be one of the configuration: names of a directory's row, say.
///
/// # Errors
/// As [`renew()`].
pub async fn renew_lineage(
    config: &Config,
    store: &dyn Store,
    lineage: &Lineage,
    trigger: Trigger,
    out: Output<'_>,
) -> Result<Outcome, AcmeError> {
    let domain = &lineage.name;
    let Some(lock) = store.lock(domain)? else {
        return Ok(Outcome::Busy);
    };
    let now = UnixTime::now();
    store.beat(now)?;
    let journal = Journal::open(store, domain)?;
    advise(config, store, &journal, domain, now).await?;
    let job = Job {
        state_dir: &config.state_dir,
        store,
        lineage,
        acme: &config.acme,
        config,
        journal: &journal,
    };
    let view = view_lineage(config, store, lineage, now)?;
    let reason = match (trigger, view.decision) {
        (Trigger::Force, Decision::Wait(_)) => Reason::Forced,
        (_, Decision::Renew(reason)) => reason,
        (Trigger::Due, Decision::Wait(until)) => {
            if !store.debts(domain)?.is_empty() || store.has_answers(domain)? {
                job.clean(out).await?;
                journal.count_debts();
            }
            return Ok(Outcome::NotDue { until });
        }
    };
    if let Some(waiting) = view.waiting
        && (trigger == Trigger::Due || waiting.class == Class::Limited)
    {
        return Ok(Outcome::Waiting {
            until: waiting.until,
            class: waiting.class,
            detail: waiting.detail,
        });
    }
    tracing::info!(%domain, %reason, "a certificate is due");
    journal.change(|state| {
        state.last_attempt = Some(now);
        state.phase = Phase::Ordering;
        state.phase_since = Some(now);
    })?;
    failpoint::hit(failpoint::INTENT_NOTED);
    let ran = Box::pin(job.run(out)).await;
    journal.count_debts();
    let noted = note(
        config,
        &journal,
        store,
        domain,
        view.stored.as_ref(),
        ran.as_ref().err(),
    );
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
    if *directory != config.acme.directory || now >= stored.bundle.not_after() {
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
    let client = Client::new(config.acme.ca_file.as_deref())?;
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
    if let Err(error) = journal.change(|state| state.advice = Some(advice)) {
        tracing::warn!(%domain, %error, "cannot note the CA's advice");
    }
    Ok(())
}

fn decide(
    config: &Config,
    stored: Option<&Stored>,
    state: &State,
    lineage: &Lineage,
    now: UnixTime,
) -> Decision {
    let Some(stored) = stored else {
        return Decision::Renew(Reason::Missing);
    };
    if stored.bundle.check_names(&lineage.names).is_err() {
        return Decision::Renew(Reason::Names);
    }
    // An imported one has no directory and is renewed like any other.
    if !stored.meta.directory.is_empty() && stored.meta.directory != config.acme.directory {
        return Decision::Renew(Reason::Issuer);
    }
    schedule::decide(now, &facts(stored, state))
}

/// What the schedule needs to know.
fn facts(stored: &Stored, state: &State) -> Facts {
    let bundle = &stored.bundle;
    let id = ari::identifier(bundle).unwrap_or_else(|| bundle.serial().to_owned());
    let advice = state.advice.as_ref();
    let window = advice.and_then(|advice| advice.window_for(&id));
    Facts {
        not_before: bundle.not_before(),
        not_after: bundle.not_after(),
        window,
        spread: schedule::spread(&stored.meta.account, &id, window),
    }
}

/// Notes a failure, or strikes the last one out.
fn note(
    config: &Config,
    journal: &Journal<'_>,
    store: &dyn Store,
    domain: &Host,
    stored: Option<&Stored>,
    error: Option<&AcmeError>,
) -> Result<(), AcmeError> {
    let now = UnixTime::now();
    let Some(error) = error else {
        return journal.change(|state| state.succeed(now));
    };
    let left = stored.map(|stored| left(stored, now));
    let directory = &config.acme.directory;
    let fingerprint = fingerprint(config).unwrap_or_default();
    let before = journal.state().failure;
    let failure = Failure::new(error, before.as_ref(), now, left, directory, fingerprint);
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

fn left(stored: &Stored, now: UnixTime) -> Left {
    let bundle = &stored.bundle;
    let seconds = |length: i64| Duration::from_secs(length.max(0).unsigned_abs());
    Left {
        remaining: seconds(bundle.not_after().seconds_since(now)),
        lifetime: seconds(bundle.not_after().seconds_since(bundle.not_before())),
    }
}

/// Changes with the settings of `[acme]` and with the credentials file; none for a reader that cannot see the latter.
fn fingerprint(config: &Config) -> Option<u64> {
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
    let credentials = match path.map(std::fs::read) {
        None => None,
        Some(Ok(content)) => Some(zeroize::Zeroizing::new(content)),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
        Some(Err(_)) => None,
    };
    // The content, not the file's age: systemd makes a new copy for each run.
    let all = (format!("{:?}", config.acme), credentials.as_deref(), mode);
    Some(foldhash::fast::FixedState::default().hash_one(all))
}

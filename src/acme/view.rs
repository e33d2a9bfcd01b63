//! What the disk tells about a lineage, and what follows from it: is it due, whom to ask, what to wait for.
//!
//! Nothing here has a network or changes anything; the engine, `portico cert status` and the proxy's metrics read the
//! same view. A reader that cannot see the credentials (the proxy) gets all the same answers, but does not notice that
//! a change of them ends a wait.

use std::hash::BuildHasher;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::ari;
use super::backoff::Left;
use super::error::{AcmeError, Class};
use super::limits::{Limits, Scope};
use super::schedule::{self, Decision, Facts, Reason};
use super::state::State;
use crate::cert::lineage::Lineage;
use crate::cert::store::{Store, Stored};
use crate::clock::UnixTime;
use crate::config::{Ca, Config};
use crate::host::Host;

/// Failures of the first CA before the second one is asked.
const FAILURES: u32 = 3;
/// And the time since the first of them, in seconds.
const PATIENCE: i64 = 6 * 3600;
/// A clock that differs by more from the CA's matters.
pub(super) const SKEW: i64 = 300;
/// What was seen of the CA's clock counts for so long.
const FRESH: i64 = 2 * 86400;

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
    /// The CA that the next try asks: the second one only while the first one has failed for long and waits.
    pub ca: Ca,
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

pub(super) fn view_lineage(
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
    let left = stored.as_ref().map(|stored| left(stored, now));
    let (ca, waiting) = choose(config, &state, &limits, left, domain, now);
    Ok(View {
        ca,
        stored,
        decision,
        renew_at,
        waiting,
        state,
        limits,
        heartbeat: store.heartbeat()?,
    })
}

/// The CA to ask, and what holds that back. The first one has the first word at every try; the second one is asked
/// when the first one waits after failures that were its own, and either there were three over six hours or a sixth of
/// the lifetime is left.
fn choose(
    config: &Config,
    state: &State,
    limits: &Limits,
    left: Option<Left>,
    domain: &Host,
    now: UnixTime,
) -> (Ca, Option<Waiting>) {
    let fingerprint = fingerprint(config);
    let mut cas = config
        .acme
        .cas()
        .into_iter()
        .map(|ca| {
            let waiting = waiting(&ca, state, limits, fingerprint, domain, now);
            (ca, waiting)
        })
        .collect::<Vec<_>>();
    let long = state.ca_failures >= FAILURES
        && state
            .failing_since
            .is_some_and(|since| now.seconds_since(since) >= PATIENCE);
    let late = state.ca_failures > 0 && left.is_some_and(|left| left.remaining < left.lifetime / 6);
    if !(long || late) {
        cas.truncate(1);
    }
    let until = |entry: &(Ca, Option<Waiting>)| entry.1.as_ref().map(|waiting| waiting.until);
    // The first of those that wait the least: none comes before any time.
    cas.sort_by_key(until);
    cas.into_iter()
        .next()
        .unwrap_or_else(|| (config.acme.first(), None))
}

/// The failure or the limit that holds back the next try at a CA the longest.
fn waiting(
    ca: &Ca,
    state: &State,
    limits: &Limits,
    fingerprint: Option<u64>,
    domain: &Host,
    now: UnixTime,
) -> Option<Waiting> {
    let failure = state
        .failure_at(&ca.directory)
        .filter(|failure| failure.holds(now, fingerprint));
    let own = failure.map(|failure| Waiting {
        until: failure.until,
        class: failure.class,
        scope: failure.scope.clone(),
        detail: failure.detail.clone(),
    });
    let shared = limits.block(&ca.directory, domain, now);
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
    if stored.compromised {
        return Decision::Renew(Reason::Compromised);
    }
    // An imported one has no directory and is renewed like any other; one of the second CA stays for its lifetime.
    let from = &stored.meta.directory;
    if !from.is_empty() && config.acme.cas().iter().all(|ca| ca.directory != *from) {
        return Decision::Renew(Reason::Issuer);
    }
    let facts = facts(stored, state);
    let decision = schedule::decide(now, &facts);
    // A clock that is behind the CA's must not let a certificate lapse; the CA's time is asked again before an order.
    match (decision, state.clock) {
        (Decision::Wait(_), Some(skew)) if now.seconds_since(skew.at).abs() < FRESH => {
            match schedule::decide(UnixTime(now.0.saturating_sub(skew.seconds)), &facts) {
                Decision::Renew(reason) if skew.seconds < -SKEW => Decision::Renew(reason),
                _ => decision,
            }
        }
        _ => decision,
    }
}

/// What the schedule needs to know.
pub(super) fn facts(stored: &Stored, state: &State) -> Facts {
    let bundle = &stored.bundle;
    let id = ari::identifier(bundle).unwrap_or_else(|| bundle.serial().to_owned());
    let advice = state.advice.as_ref();
    let window = advice.and_then(|advice| advice.window_for(&id));
    Facts {
        not_before: bundle.not_before(),
        not_after: bundle.not_after(),
        window,
        learnt: advice.and_then(|advice| advice.since),
        spread: schedule::spread(&stored.meta.account, &id, window),
    }
}

pub(super) fn left(stored: &Stored, now: UnixTime) -> Left {
    let bundle = &stored.bundle;
    let seconds = |length: i64| Duration::from_secs(length.max(0).unsigned_abs());
    Left {
        remaining: seconds(bundle.not_after().seconds_since(now)),
        lifetime: seconds(bundle.not_after().seconds_since(bundle.not_before())),
    }
}

/// Changes with the settings of `[acme]`, `[[certificates]]` and `[on_demand]` and with the credentials file; none for a reader that
/// cannot see the latter.
pub(super) fn fingerprint(config: &Config) -> Option<u64> {
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
    let settings = format!(
        "{:?} {:?} {:?}",
        config.acme, config.certificates, config.on_demand.challenge
    );
    let all = (settings, credentials.as_deref(), mode);
    Some(foldhash::fast::FixedState::default().hash_one(all))
}

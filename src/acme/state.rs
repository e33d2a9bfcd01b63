//! What the engine remembers of one lineage between runs, and shows to whoever asks.
//!
//! It is `state.json` of the lineage, sealed with a checksum and with the one before it to fall back to; both damaged
//! means starting from what the generations tell, at the price of one more question for advice and never of an order
//! (an order needs a certificate that is missing or due). The proxy's user may read it; it holds no secret. Only the
//! holder of the lineage's lock writes it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::ari::Advice;
use super::backoff::Failure;
use super::error::{AcmeError, Class};
use crate::cert::sealed::Sealed;
use crate::cert::store::Store;
use crate::clock::UnixTime;
use crate::host::Host;

/// Certificates whose replacement the CA has accepted are remembered up to this number.
const REPLACED: usize = 8;

/// Where a run is, or was when it died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// Account, key and order.
    Ordering,
    /// TXT records are being published.
    Presenting,
    /// All authoritative servers are to show them.
    Propagating,
    /// The CA looks.
    Validating,
    /// The request is with the CA.
    Finalizing,
    /// The certificate is fetched.
    Downloading,
    /// It is proven.
    Verifying,
    /// It is stored and made current.
    Installing,
    /// The proxy is to serve it.
    Deploying,
}

impl Phase {
    /// Every phase, in the order of a run.
    pub const ALL: [Self; 10] = [
        Self::Idle,
        Self::Ordering,
        Self::Presenting,
        Self::Propagating,
        Self::Validating,
        Self::Finalizing,
        Self::Downloading,
        Self::Verifying,
        Self::Installing,
        Self::Deploying,
    ];

    /// The word used in metrics and in `state.json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ordering => "ordering",
            Self::Presenting => "presenting",
            Self::Propagating => "propagating",
            Self::Validating => "validating",
            Self::Finalizing => "finalizing",
            Self::Downloading => "downloading",
            Self::Verifying => "verifying",
            Self::Installing => "installing",
            Self::Deploying => "deploying",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// `state.json`. A key that is missing has its default, so that older files are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Where the run is.
    pub phase: Phase,
    /// Since when.
    pub phase_since: Option<UnixTime>,
    /// The URL of the order in progress.
    pub order: Option<String>,
    /// When a run last asked a CA for a certificate.
    pub last_attempt: Option<UnixTime>,
    /// When a certificate was last stored.
    pub last_success: Option<UnixTime>,
    /// Failures since the last success, of any class.
    pub consecutive_failures: u32,
    /// When the first of them was.
    pub failing_since: Option<UnixTime>,
    /// The last of them, with the time before which there is no other try.
    pub failure: Option<Failure>,
    /// Those of the other CA, which hold back only tries there.
    pub others: Vec<Failure>,
    /// Failures since the last success for which a CA may be to blame: a reason to ask the second one.
    pub ca_failures: u32,
    /// Failures since this file exists, for counters.
    pub totals: Vec<Total>,
    /// Waits for authoritative servers.
    pub waits: Waits,
    /// What the CA advises for the current certificate.
    pub advice: Option<Advice>,
    /// How far this machine's clock was from the CA's at the last contact.
    pub clock: Option<Skew>,
    /// Identifiers (RFC 9773) of certificates whose replacement the CA has accepted: not to be named again.
    pub replaced: Vec<String>,
    /// The directory of the second CA while it stands in for the first: the last attempt was made there.
    pub fallback: Option<String>,
    /// TXT records that are still to be removed.
    pub debts: usize,
    /// Since when there are any.
    pub debts_since: Option<UnixTime>,
}

/// How long authoritative servers took to show our records, since this file exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waits {
    /// How many waits took at most as long as each bound of [`Waits::BOUNDS`]; a missing one counts as none.
    pub buckets: Vec<u64>,
    /// All waits.
    pub count: u64,
    /// Their seconds, each rounded up.
    pub seconds: u64,
}

impl Waits {
    /// Upper bounds in seconds.
    pub const BOUNDS: [u64; 8] = [1, 5, 15, 30, 60, 120, 300, 1800];

    /// Notes a wait.
    pub(super) fn note(&mut self, waited: std::time::Duration) {
        let seconds = waited
            .as_secs()
            .saturating_add(u64::from(waited.subsec_nanos() > 0));
        self.count = self.count.saturating_add(1);
        self.seconds = self.seconds.saturating_add(seconds);
        self.buckets.resize(Self::BOUNDS.len(), 0);
        for (bucket, bound) in self.buckets.iter_mut().zip(Self::BOUNDS) {
            *bucket = bucket.saturating_add(u64::from(seconds <= bound));
        }
    }
}

/// Failures of one class at one CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The class.
    pub class: Class,
    /// The CA's directory URL.
    pub directory: String,
    /// How many.
    pub count: u64,
}

/// A difference of clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skew {
    /// Seconds by which this machine is ahead of the CA; negative if it is behind.
    pub seconds: i64,
    /// When that was seen, by this machine's clock.
    pub at: UnixTime,
}

impl State {
    /// Reads the state of a lineage; a damaged one gives way to the one before, and that to a new one.
    ///
    /// # Errors
    /// [`AcmeError::Store`] if the file cannot be read for another reason than damage.
    pub fn load(store: &dyn Store, lineage: &Host) -> Result<Self, AcmeError> {
        let content = match store.state(lineage)? {
            Sealed::Missing => return Ok(Self::default()),
            Sealed::Good(content) => content,
            Sealed::Previous(content) => {
                tracing::warn!(%lineage, "`state.json` is damaged; the one before it is used");
                content
            }
            Sealed::Damaged => {
                tracing::warn!(%lineage, "`state.json` and the one before it are damaged; the engine begins anew from the certificates");
                return Ok(Self::default());
            }
        };
        Ok(serde_json::from_slice(&content).unwrap_or_else(|error| {
            tracing::warn!(%lineage, %error, "`state.json` is not understood; the engine begins anew from the certificates");
            Self::default()
        }))
    }

    pub(super) fn save(&self, store: &dyn Store, lineage: &Host) -> Result<(), AcmeError> {
        let content = serde_json::to_vec_pretty(self)
            .map_err(|error| AcmeError::Config(format!("`state.json`: {error}")))?;
        Ok(store.put_state(lineage, &content)?)
    }

    /// Notes that a run ended without a certificate.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.failing_since.get_or_insert(failure.at);
        if matches!(
            failure.class,
            Class::Transport | Class::Limited | Class::Blocked | Class::Certificate
        ) {
            self.ca_failures = self.ca_failures.saturating_add(1);
        }
        self.others
            .retain(|other| other.directory != failure.directory);
        let last = self.failure.take();
        self.others
            .extend(last.filter(|last| last.directory != failure.directory));
        let known = self
            .totals
            .iter_mut()
            .find(|total| total.class == failure.class && total.directory == failure.directory);
        match known {
            Some(total) => total.count = total.count.saturating_add(1),
            None => self.totals.push(Total {
                class: failure.class,
                directory: failure.directory.clone(),
                count: 1,
            }),
        }
        self.failure = Some(failure);
        self.phase = Phase::Idle;
        self.phase_since = None;
    }

    /// The last failure at a CA since the last success.
    #[must_use]
    pub fn failure_at(&self, directory: &str) -> Option<&Failure> {
        let all = self.failure.iter().chain(&self.others);
        all.into_iter()
            .find(|failure| failure.directory == directory)
    }

    /// Notes that a certificate is stored.
    pub(super) fn succeed(&mut self, now: UnixTime) {
        self.last_success = Some(now);
        self.consecutive_failures = 0;
        self.failing_since = None;
        self.failure = None;
        self.others.clear();
        self.ca_failures = 0;
        self.order = None;
        self.phase = Phase::Idle;
        self.phase_since = None;
    }

    /// Remembers that the CA has accepted an order in place of this certificate.
    pub fn remember_replaced(&mut self, id: &str) {
        self.replaced.retain(|known| known != id);
        self.replaced.push(id.to_owned());
        let surplus = self.replaced.len().saturating_sub(REPLACED);
        self.replaced.drain(..surplus);
    }
}

/// The state of one lineage during a run: each change is on the disk before the run goes on.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    store: &'a dyn Store,
    lineage: &'a Host,
    // Held for a change only, never over an await.
    state: Mutex<State>,
}

impl<'a> Journal<'a> {
    /// Opens the journal of a lineage. The caller holds the lineage's lock.
    pub(super) fn open(store: &'a dyn Store, lineage: &'a Host) -> Result<Self, AcmeError> {
        let state = Mutex::new(State::load(store, lineage)?);
        Ok(Self {
            store,
            lineage,
            state,
        })
    }

    /// A copy of the state.
    pub(super) fn state(&self) -> State {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes the state and writes it if that made a difference.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, AcmeError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.clone();
        let given = change(&mut state);
        if *state != before {
            state.save(self.store, self.lineage)?;
        }
        Ok(given)
    }

    /// Notes how far the run is. That it cannot be noted does not stop the run: the phase is for people.
    pub(super) fn enter(&self, phase: Phase) {
        let noted = self.change(|state| {
            state.phase = phase;
            state.phase_since = (phase != Phase::Idle).then(UnixTime::now);
        });
        if let Err(error) = noted {
            tracing::warn!(lineage = %self.lineage, %phase, %error, "cannot note how far the run is");
        }
    }

    /// Notes that nothing is under way; a run that died somewhere has left another word there.
    pub(super) fn begin(&self) {
        let left = self.state().phase;
        if left != Phase::Idle {
            tracing::info!(lineage = %self.lineage, phase = %left, "an earlier run ended before its time");
            self.shift(left, Phase::Idle);
        }
    }

    /// Notes another phase, if the one before is still that.
    fn shift(&self, from: Phase, to: Phase) {
        if self.state().phase == from {
            self.enter(to);
        }
    }

    /// Counts the TXT records that are still to be removed.
    pub(super) fn count_debts(&self) {
        let counted = self.store.debts(self.lineage).map_err(AcmeError::from);
        let noted = counted.and_then(|debts| {
            self.change(|state| {
                state.debts = debts.len();
                state.debts_since = match debts.len() {
                    0 => None,
                    _ => state.debts_since.or_else(|| Some(UnixTime::now())),
                };
            })
        });
        if let Err(error) = noted {
            tracing::warn!(lineage = %self.lineage, %error, "cannot count the TXT records that are left");
        }
    }
}

/// Notes that the proxy is to serve what was stored (`looking`), or that nobody looks any more. What a run that is at
/// work meanwhile notes of itself comes first, so nothing is noted while one holds the lineage's lock. That it cannot be
/// noted is no failure: the phase is for people.
pub fn note_deploying(store: &dyn Store, lineage: &Host, looking: bool) {
    let (from, to) = match looking {
        true => (Phase::Idle, Phase::Deploying),
        false => (Phase::Deploying, Phase::Idle),
    };
    let noted = store
        .lock(lineage)
        .map_err(AcmeError::from)
        .and_then(|lock| {
            if lock.is_some() {
                Journal::open(store, lineage)?.shift(from, to);
            }
            Ok(())
        });
    if let Err(error) = noted {
        tracing::debug!(%lineage, %error, "cannot note that a certificate is looked for");
    }
}

#[cfg(test)]
mod tests;

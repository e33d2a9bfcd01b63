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
            state.phase_since = Some(UnixTime::now());
        });
        if let Err(error) = noted {
            tracing::warn!(lineage = %self.lineage, %phase, %error, "cannot note how far the run is");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::store::file::FileStore;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "damage is done on purpose")]
    fn a_damaged_state_gives_way_to_the_one_before_and_then_to_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::new(folder.path());
        let lineage = Host::parse("example.test").unwrap();
        assert_eq!(State::load(&store, &lineage).unwrap(), State::default());

        let journal = Journal::open(&store, &lineage).unwrap();
        journal
            .change(|state| state.remember_replaced("first"))
            .unwrap();
        journal
            .change(|state| state.remember_replaced("second"))
            .unwrap();
        let read = || State::load(&store, &lineage).unwrap().replaced;
        assert_eq!(read(), ["first", "second"]);

        let path = store.lineage(&lineage).join("state.json");
        for bad in [&b""[..], b"{\"sha256\":\"", &[0; 512]] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(read(), ["first"]);
        }
        std::fs::write(path.with_extension("json.prev"), b"{}").unwrap();
        assert_eq!(State::load(&store, &lineage).unwrap(), State::default());
    }

    #[test]
    fn failures_are_counted_by_class_and_ca_until_a_success() {
        let mut state = State::default();
        for class in [Class::Transport, Class::Limited, Class::Transport] {
            state.fail(Failure {
                class,
                at: UnixTime(7),
                ..Failure::default()
            });
        }
        assert_eq!(state.consecutive_failures, 3);
        assert_eq!(state.failing_since, Some(UnixTime(7)));
        let counts: Vec<_> = state.totals.iter().map(|t| (t.class, t.count)).collect();
        assert_eq!(counts, [(Class::Transport, 2), (Class::Limited, 1)]);
        state.succeed(UnixTime(9));
        assert_eq!((state.consecutive_failures, state.failing_since), (0, None));
        assert_eq!(state.failure, None);
        assert_eq!(state.totals.len(), 2, "counters only grow");
    }

    #[test]
    fn waits_are_counted_below_each_bound() {
        let mut waits = Waits::default();
        for milliseconds in [300, 4_200, 400_000, 9_000_000] {
            waits.note(std::time::Duration::from_millis(milliseconds));
        }
        assert_eq!(waits.buckets, [1, 2, 2, 2, 2, 2, 2, 3]);
        assert_eq!((waits.count, waits.seconds), (4, 9406));
    }

    #[test]
    fn remembers_only_so_many_replaced_certificates() {
        let mut state = State::default();
        for number in 0..20 {
            state.remember_replaced(&number.to_string());
        }
        state.remember_replaced("15");
        assert_eq!(
            state.replaced,
            ["12", "13", "14", "16", "17", "18", "19", "15"]
        );
    }
}

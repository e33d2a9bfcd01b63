//! What is known of the database, and how good that is: written by the feed, read by requests without a lock.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::super::saved::Saved;
use super::error::FeedError;
use super::mail::Mail;
use super::spelling;
use crate::clock::UnixTime;
use crate::host::Host;
use crate::tenant::directory::live::Live;
use crate::tenant::directory::table::Table;
use crate::tenant::directory::{Answer, Health};

/// The rows, and what is to be told of them.
#[derive(Debug)]
pub(super) struct Known {
    /// The rows.
    pub(super) live: Live,
    /// Wakes the feed for a full comparison.
    pub(super) asked: Notify,
    /// Hosts that are to be read again because somebody has asked for that.
    pub(super) again: Mail,
    /// Whether the next comparison may delete as much as it likes.
    pub(super) forced: AtomicBool,
    /// Says that there is something to save.
    pub(super) changed: Notify,
    /// Whether there is anything to answer by: rows of the database, or those saved before.
    loaded: AtomicBool,
    max_stale: Option<Duration>,
    /// When the rows were the database's, in seconds of Unix time.
    fresh: AtomicI64,
    /// Whether the database answers.
    up: AtomicBool,
    /// Whether the last comparison was refused, so that what is known is not what the database says.
    refusing: AtomicBool,
    /// Whether a packing is under way.
    packing: AtomicBool,
    counts: Counts,
    /// What is wrong now. Held for a copy only, never on the request path.
    trouble: Mutex<Option<String>>,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Full tables put into service.
    pub(super) loads: AtomicU64,
    /// Connections and queries that have failed.
    pub(super) failures: AtomicU64,
    /// Comparisons that would have deleted too much.
    pub(super) refused: AtomicU64,
    /// Hosts read again because of a notification.
    pub(super) changes: AtomicU64,
    /// Rows of the last full table that could not be taken.
    pub(super) bad_rows: AtomicU64,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new(bases: &[Host], max_stale: Option<Duration>) -> Self {
        Self {
            live: Live::new(Table::new(bases)),
            asked: Notify::new(),
            again: Mail::new(0),
            forced: AtomicBool::new(false),
            changed: Notify::new(),
            loaded: AtomicBool::new(false),
            max_stale,
            fresh: AtomicI64::new(0),
            up: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            packing: AtomicBool::new(false),
            counts: Counts::default(),
            trouble: Mutex::new(Some("the database has not been read yet".to_owned())),
        }
    }

    /// What is known of a host.
    pub(super) fn answer(&self, host: &Host) -> Answer {
        if !self.loaded.load(Acquire) || self.is_too_old() {
            return Answer::Unavailable;
        }
        match self.live.tenant(host) {
            Some(tenant) => Answer::Tenant(tenant),
            // It may be new: a page that says "nobody's" would be believed by crawlers.
            None if !self.up.load(Relaxed) => Answer::Unavailable,
            None => Answer::Nobody,
        }
    }

    fn is_too_old(&self) -> bool {
        self.max_stale
            .is_some_and(|longest| self.age().is_none_or(|age| age > longest))
    }

    /// Takes the rows that were saved, if there are any.
    pub(super) fn restore(&self, saved: &Saved, bases: &[Host]) {
        match saved.load(bases) {
            Ok(None) => {}
            Ok(Some(rows)) => {
                tracing::info!(tenants = rows.table.tenants(), saved = %rows.at, "tenants as they were saved");
                self.live.replace(rows.table);
                self.has_rows_of(rows.at);
            }
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// Asks for a full comparison.
    pub(super) fn ask(&self, force: bool) {
        if force {
            self.forced.store(true, Relaxed);
        }
        self.asked.notify_one();
    }

    /// Has a host read again, or everything.
    pub(super) fn read_again(&self, host: Option<&Host>, bases: &[Host]) {
        let Some(host) = host else {
            return self.ask(false);
        };
        for name in spelling::of(host, bases) {
            // What is said of a label is said of all hosts that it names.
            for whole in spelling::hosts(&name, bases) {
                self.again.put(whole.as_str());
            }
            self.again.put(&name);
        }
    }

    /// Whether there is anything to answer by.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Acquire)
    }

    /// How many tenants there are, once that is known.
    pub(super) fn len(&self) -> Option<usize> {
        self.is_loaded().then(|| self.live.tenants())
    }

    /// How long ago the rows were the database's.
    pub(super) fn age(&self) -> Option<Duration> {
        let fresh = UnixTime(self.fresh.load(Relaxed));
        let seconds = UnixTime::now().seconds_since(fresh).max(0);
        self.is_loaded()
            .then(|| Duration::from_secs(seconds.unsigned_abs()))
    }

    /// How it is doing.
    pub(super) fn health(&self, source: &'static str) -> Health {
        let Counts {
            loads,
            failures,
            refused,
            changes,
            bad_rows,
        } = &self.counts;
        Health {
            source,
            up: self.up.load(Relaxed),
            age: self.age(),
            loads: loads.load(Relaxed),
            failures: failures.load(Relaxed),
            refused: refused.load(Relaxed),
            changes: changes.load(Relaxed),
            bad_rows: bad_rows.load(Relaxed),
        }
    }

    /// What is counted.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Rows are in service that were true at `at`.
    pub(super) fn has_rows_of(&self, at: UnixTime) {
        self.fresh.store(at.0, Relaxed);
        self.loaded.store(true, Release);
    }

    /// The database has answered for single hosts.
    pub(super) fn has_answered(&self) {
        if !self.refusing.load(Relaxed) {
            self.is_true_now();
        }
    }

    /// All rows are those of the database.
    pub(super) fn is_true_now(&self) {
        self.refusing.store(false, Relaxed);
        self.has_rows_of(UnixTime::now());
        if !self.up.swap(true, Relaxed) {
            tracing::info!(
                tenants = self.live.tenants(),
                "the tenants are those of the database"
            );
        }
        self.set_trouble(None);
    }

    /// The database does not answer, or says what cannot be taken.
    pub(super) fn failed(&self, error: &FeedError) {
        match error {
            FeedError::MassDelete { .. } => {
                self.refusing.store(true, Relaxed);
                self.up.store(true, Relaxed);
                &self.counts.refused
            }
            _ => {
                self.up.store(false, Relaxed);
                &self.counts.failures
            }
        }
        .fetch_add(1, Relaxed);
        tracing::error!("the tenants stay as they were: postgres: {error}");
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        self.set_trouble(Some(format!("postgres: {first}")));
    }

    /// Packs the rows, if nobody is at it already. Takes seconds for a million of them.
    pub(super) fn pack(&self) {
        if self.packing.swap(true, Relaxed) {
            return;
        }
        if let Err(error) = self.live.compact() {
            tracing::error!("the table of tenants cannot be packed: {error}");
        }
        self.packing.store(false, Relaxed);
    }

    /// What is wrong now, in one line.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, text: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

//! How the renewal is doing, as its files tell: for metrics and `/status`.
//!
//! The renewal is a process of its own that comes and goes, so nobody can ask it; the proxy reads what it leaves behind.
//! A look is kept for a second, so that scraping costs little however often it is done. Only read, never changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::acme::Class;
use crate::acme::health::{self, Health, Notes};
use crate::acme::limits::Scope;
use crate::acme::state::{Phase, Waits};
use crate::cert::lineage::Lineage;
use crate::cert::store::Store;
use crate::cert::store::file::FileStore;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::telemetry::metrics::{EngineFacts, RenewalFacts};

/// How long a look is good for.
const FRESH: Duration = Duration::from_secs(1);

/// What a lineage can be in: a phase of a run, or held back.
const STATES: &[&str] = &[
    "idle",
    "ordering",
    "presenting",
    "propagating",
    "validating",
    "finalizing",
    "downloading",
    "verifying",
    "installing",
    "deploying",
    "backoff",
    "blocked",
];

/// The renewal as seen from the proxy.
#[derive(Debug)]
pub struct Renewals {
    node: String,
    /// Replaced by a reload, read by the admin listener; held for a copy only.
    config: Mutex<Arc<Config>>,
    /// Held while the files are read: two scrapes at a time share one look.
    seen: Mutex<Option<(Instant, Arc<Look>)>>,
}

/// One look.
#[derive(Debug, Default)]
pub struct Look {
    /// What metrics show.
    pub engine: EngineFacts,
    /// The lineages; empty if the store cannot be read.
    pub health: Vec<Health>,
    /// Why the store cannot be read.
    pub error: Option<String>,
}

impl Renewals {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let node = rustix::system::uname();
        Self {
            node: node.nodename().to_string_lossy().into_owned(),
            config: Mutex::new(Arc::new(config.clone())),
            seen: Mutex::new(None),
        }
    }

    /// A reload has put another configuration into effect.
    pub fn set_config(&self, config: &Config) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config.clone());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Looks, or gives the look of a moment ago.
    #[must_use]
    pub fn look(&self) -> Arc<Look> {
        let config = Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, look)) = &*seen
            && at.elapsed() < FRESH
        {
            return Arc::clone(look);
        }
        let look = Arc::new(read(&config, self.node.clone(), UnixTime::now()));
        *seen = Some((Instant::now(), Arc::clone(&look)));
        look
    }
}

fn read(config: &Config, node: String, now: UnixTime) -> Look {
    let store = FileStore::new(&config.state_dir);
    let mut look = Look::default();
    look.engine.node = node;
    look.engine.states = STATES;
    let mut own_blocks = Vec::new();
    let mut buckets = [0_u64; Waits::BOUNDS.len()];
    for lineage in Lineage::all(config) {
        let (health, notes) = match health::look(config, &store, &lineage.name, now) {
            Ok(seen) => seen,
            Err(error) => {
                look.error = Some(error.to_string());
                continue;
            }
        };
        if let Some(notes) = &notes {
            look.engine.heartbeat = notes.heartbeat;
            // The same for every lineage.
            look.engine.blocked = notes
                .limits
                .blocks
                .iter()
                .filter(|block| block.until > now)
                .map(|block| (block.scope.to_string(), block.until))
                .collect();
            let waits = &notes.state.waits;
            for (sum, bucket) in buckets.iter_mut().zip(&waits.buckets) {
                *sum = sum.saturating_add(*bucket);
            }
            let (count, sum) = &mut look.engine.propagation_all;
            *count = count.saturating_add(waits.count);
            *sum = sum.saturating_add(waits.seconds);
        }
        let mut facts = facts(&health, notes.as_ref());
        if notes.is_some() {
            facts.current = store.current(&lineage.name);
            facts.lease_held = store.is_locked(&lineage.name);
        }
        look.engine.lineages.push(facts);
        own_blocks.extend(own_block(&health));
        look.health.push(health);
    }
    look.engine.blocked.append(&mut own_blocks);
    look.engine.blocked.sort();
    look.engine.blocked.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 = first.1.max(later.1);
        }
        same
    });
    look.engine.propagation = Waits::BOUNDS.into_iter().zip(buckets).collect();
    look
}

fn facts(health: &Health, notes: Option<&Notes>) -> RenewalFacts {
    let mut facts = RenewalFacts {
        lineage: health.domain.clone(),
        renew_at: health.renew_at,
        next_attempt: health.failure.as_ref().map(|failure| failure.until),
        state: state(health, notes),
        level: health.level.number(),
        ..RenewalFacts::default()
    };
    if let Some(notes) = notes {
        let state = &notes.state;
        facts.last_success = state.last_success;
        facts.last_attempt = state.last_attempt;
        facts.consecutive_failures = u64::from(state.consecutive_failures);
        facts.failures = state
            .totals
            .iter()
            .map(|total| (total.class.word(), total.directory.clone(), total.count))
            .collect();
        facts.txt_debt = u64::try_from(state.debts).unwrap_or(u64::MAX);
        facts.clock_skew = state.clock.map(|skew| skew.seconds);
        facts.deploy_failed = notes.notices.not_served().is_some();
    }
    facts
}

/// A limit that is about one lineage only is in its own notes.
fn own_block(health: &Health) -> Option<(String, UnixTime)> {
    let failure = health.failure.as_ref()?;
    (failure.class == Class::Limited).then(|| {
        let scope = if failure.scope == Scope::NameSet.to_string() {
            format!("the names of {}", health.domain)
        } else {
            failure.scope.clone()
        };
        (scope, failure.until)
    })
}

fn state(health: &Health, notes: Option<&Notes>) -> &'static str {
    let phase = notes.map_or(Phase::Idle, |notes| notes.state.phase);
    match &health.failure {
        Some(failure) if phase == Phase::Idle && failure.class == Class::Blocked => "blocked",
        Some(_) if phase == Phase::Idle => "backoff",
        _ => phase.word(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_a_state() {
        for phase in Phase::ALL {
            assert!(STATES.contains(&phase.word()), "{phase}");
        }
    }
}

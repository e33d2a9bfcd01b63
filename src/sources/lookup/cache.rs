//! What is remembered of hosts, and who waits for which: in shards, so that no lock is held for more than a few instructions
//! and never over an await. Everything about one host happens under the lock of its shard, which is why a purge and the answer
//! to an older question cannot pass each other.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::ring::Ring;
use super::{Reply, Said};
use crate::config::Lookup;
use crate::host::Host;
use crate::tenant::Tenant;
use crate::tenant::directory::{Answer, Kept};

const SHARDS: usize = 64;
/// After a failure, a tenant that should have been asked for is served for so long before the next try.
const RETRY: Duration = Duration::from_secs(1);
/// What a source may ask for with `max-age`.
const AGES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

/// The memory.
#[derive(Debug)]
pub(super) struct Cache {
    settings: Lookup,
    shards: Vec<RwLock<Shard>>,
    hasher: RandomState,
    flights: AtomicU64,
    /// The last question failed: who has something old need not wait for the next failure.
    failing: AtomicBool,
}

#[derive(Debug)]
struct Shard {
    known: Ring<Known>,
    nobody: Ring<Instant>,
    flights: HashMap<Host, Flight>,
}

/// A tenant's host.
#[derive(Debug)]
struct Known {
    tenant: Arc<Tenant>,
    /// The source's mark of this version.
    tag: Option<Box<str>>,
    /// When the source said so.
    asked: Instant,
    /// When to ask ahead of time.
    refresh: Instant,
    /// Until when nobody need ask.
    expires: Instant,
    /// Until when it is served if the source does not answer.
    last: Option<Instant>,
    /// Purged: the next request is to ask, even if the source fails.
    purged: bool,
}

/// A question under way.
#[derive(Debug)]
struct Flight {
    id: u64,
    answer: watch::Receiver<Option<Answer>>,
}

/// What is known at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Peek {
    /// Good; `true`: it is time to ask again, in the background.
    Tenant(Arc<Tenant>, bool),
    Nobody,
    Ask,
}

/// What asking comes to.
pub(super) enum Joined {
    /// It is known meanwhile.
    Known(Answer),
    /// Somebody asks already.
    Waits(watch::Receiver<Option<Answer>>),
    /// The caller has to ask.
    Starts(Box<Started>),
    /// It may not be asked now, and this is what is left.
    Refused(Answer),
}

/// A question that is to be asked.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) host: Host,
    id: u64,
    pub(super) since: Instant,
    /// What is known so far, should the source say that it is the same.
    before: Option<(Arc<Tenant>, Option<Box<str>>)>,
    pub(super) waits: watch::Receiver<Option<Answer>>,
    tells: watch::Sender<Option<Answer>>,
}

impl Started {
    /// The mark of the version that is known.
    pub(super) fn tag(&self) -> Option<&str> {
        self.before.as_ref()?.1.as_deref()
    }
}

impl Cache {
    pub(super) fn new(settings: Lookup) -> Self {
        let share = |most: u32| (most as usize).div_ceil(SHARDS);
        let shard = || Shard {
            known: Ring::new(share(settings.positive_max)),
            nobody: Ring::new(share(settings.negative_max)),
            flights: HashMap::new(),
        };
        Self {
            shards: std::iter::repeat_with(|| RwLock::new(shard()))
                .take(SHARDS)
                .collect(),
            settings,
            hasher: RandomState::new(),
            flights: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    fn read<T>(&self, host: &Host, look: impl FnOnce(&Shard) -> T) -> Option<T> {
        let shard = self.shards.get(self.shard(host))?;
        Some(look(&shard.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn write<T>(&self, host: &Host, change: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        let shard = self.shards.get(self.shard(host))?;
        Some(change(
            &mut shard.write().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    fn shard(&self, host: &Host) -> usize {
        // The remainder is below 64.
        usize::try_from(self.hasher.hash_one(host) % SHARDS as u64).unwrap_or_default()
    }

    /// What is known at once.
    pub(super) fn peek(&self, host: &Host, now: Instant) -> Peek {
        let failing = self.failing.load(Relaxed);
        self.read(host, |shard| shard.peek(host, failing, now))
            .unwrap_or(Peek::Ask)
    }

    /// Joins who asks for `host`, or begins. `may` is called under a lock, with whether the host is known to be somebody's.
    /// `ahead`: what is known is still good, and nobody is going to wait.
    pub(super) fn join(
        &self,
        host: &Host,
        ahead: bool,
        now: Instant,
        may: impl FnOnce(bool) -> bool,
    ) -> Joined {
        let failing = self.failing.load(Relaxed);
        let joined = self.write(host, |shard| {
            if let Some(flight) = shard.flights.get(host) {
                return Joined::Waits(flight.answer.clone());
            }
            match shard.peek(host, failing, now) {
                Peek::Tenant(tenant, false) => return Joined::Known(Answer::Tenant(tenant)),
                Peek::Tenant(tenant, true) if !ahead => {
                    return Joined::Known(Answer::Tenant(tenant));
                }
                Peek::Nobody => return Joined::Known(Answer::Nobody),
                Peek::Tenant(..) | Peek::Ask => {}
            }
            let known = shard.known.get(host);
            if !may(known.is_some()) {
                return Joined::Refused(shard.left(host, now));
            }
            let (tells, waits) = watch::channel(None);
            let started = Started {
                host: host.clone(),
                id: self.flights.fetch_add(1, Relaxed),
                since: now,
                before: known.map(|known| (Arc::clone(&known.tenant), known.tag.clone())),
                waits: waits.clone(),
                tells,
            };
            let flight = Flight {
                id: started.id,
                answer: waits,
            };
            shard.flights.insert(host.clone(), flight);
            Joined::Starts(Box::new(started))
        });
        joined.unwrap_or(Joined::Refused(Answer::Unavailable))
    }

    /// The end of a question: `None` if the source did not answer. Tells all who wait.
    pub(super) fn finish(&self, started: &mut Started, reply: Option<Reply>, now: Instant) {
        self.failing.store(reply.is_none(), Relaxed);
        let answer = self.write(&started.host, |shard| {
            let flight = shard.flights.get(&started.host);
            let in_time = flight.is_some_and(|flight| flight.id == started.id);
            if in_time {
                shard.flights.remove(&started.host);
            }
            let Some(reply) = reply else {
                return shard.failed(&started.host, in_time, now);
            };
            let age = reply.max_age.map(|age| age.clamp(AGES.0, AGES.1));
            let tenant = match reply.said {
                Said::Nobody if in_time => {
                    shard.known.remove(&started.host);
                    let ttl = age.unwrap_or(self.settings.negative_ttl);
                    shard.nobody.insert(&started.host, now + ttl);
                    return Answer::Nobody;
                }
                Said::Nobody => return Answer::Nobody,
                Said::Tenant(tenant) => tenant,
                Said::Same => match started.before.take() {
                    Some((tenant, _)) => tenant,
                    None => return shard.failed(&started.host, in_time, now),
                },
                Said::Unusable(_) => return shard.failed(&started.host, in_time, now),
            };
            // What was asked before a purge is for those who asked before it, and for nobody after.
            if in_time {
                let ttl = age.unwrap_or(self.settings.positive_ttl);
                let known = Known {
                    tenant: Arc::clone(&tenant),
                    tag: reply.tag,
                    asked: now,
                    refresh: now + ttl.mul_f32(0.8),
                    expires: now + ttl,
                    last: self.settings.max_stale.map(|stale| now + ttl + stale),
                    purged: false,
                };
                shard.nobody.remove(&started.host);
                shard.known.insert(&started.host, known);
            }
            Answer::Tenant(tenant)
        });
        started
            .tells
            .send_replace(Some(answer.unwrap_or(Answer::Unavailable)));
    }

    /// Lets the next request for `host` ask. What was known is kept for the case that the source does not answer.
    pub(super) fn forget(&self, host: &Host, now: Instant) {
        self.write(host, |shard| {
            shard.flights.remove(host);
            shard.nobody.remove(host);
            if let Some(known) = shard.known.get_mut(host) {
                known.purge(now);
            }
        });
    }

    /// As [`Self::forget`], for all hosts.
    pub(super) fn forget_all(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.flights.clear();
            shard.nobody.clear();
            for known in shard.known.values_mut() {
                known.purge(now);
            }
        }
    }

    /// What is kept of `host`, for people.
    pub(super) fn kept(&self, host: &Host, now: Instant) -> Kept {
        let failing = self.failing.load(Relaxed);
        let kept = self.read(host, |shard| {
            let peek = shard.peek(host, failing, now);
            match (shard.known.get(host), peek) {
                (Some(known), peek) => Kept::Remembered {
                    age: now.saturating_duration_since(known.asked),
                    fresh: peek != Peek::Ask && now < known.expires,
                },
                (None, Peek::Nobody) => Kept::Absent,
                (None, _) => Kept::Nothing,
            }
        });
        kept.unwrap_or(Kept::Nothing)
    }

    /// Hosts with and without a tenant.
    pub(super) fn sizes(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(known, nobody), shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            (known + shard.known.len(), nobody + shard.nobody.len())
        })
    }

    /// Calls `visit` with the hosts that have a tenant, until it says no.
    pub(super) fn each(&self, mut visit: impl FnMut(&Host, &Tenant) -> bool) {
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            for (host, known) in shard.known.iter() {
                if !visit(host, &known.tenant) {
                    return;
                }
            }
        }
    }
}

impl Known {
    fn purge(&mut self, now: Instant) {
        (self.refresh, self.expires) = (now, now);
        self.tag = None; // the whole row is wanted
        self.purged = true;
    }

    fn may_be_stale(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now < last)
    }
}

impl Shard {
    fn peek(&self, host: &Host, failing: bool, now: Instant) -> Peek {
        if let Some(known) = self.known.get(host) {
            let stale = failing && !known.purged && known.may_be_stale(now);
            if now < known.expires || stale {
                return Peek::Tenant(Arc::clone(&known.tenant), now >= known.refresh);
            }
            return Peek::Ask;
        }
        match self.nobody.get(host) {
            Some(expires) if now < *expires => Peek::Nobody,
            _ => Peek::Ask,
        }
    }

    /// What can be said without the source.
    fn left(&self, host: &Host, now: Instant) -> Answer {
        match self.known.get(host) {
            Some(known) if known.may_be_stale(now) => Answer::Tenant(Arc::clone(&known.tenant)),
            _ => Answer::Unavailable,
        }
    }

    fn failed(&mut self, host: &Host, in_time: bool, now: Instant) -> Answer {
        if in_time && let Some(known) = self.known.get_mut(host) {
            // Not before, or each request would be a question.
            known.refresh = now + RETRY;
            let until = known
                .last
                .map_or(known.refresh, |last| known.refresh.min(last));
            known.expires = known.expires.max(until);
        }
        self.left(host, now)
    }
}

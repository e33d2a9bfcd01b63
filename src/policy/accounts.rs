//! What each limited tenant has under way and how full its bucket is, shared by all workers.
//!
//! A worker keeps the accounts that it has met ([`Book`]), so a request usually touches atomics only; the map behind them
//! is locked, one part of it, where a worker first meets a tenant and where the control plane forgets idle accounts
//! ([`Accounts::sweep`]). An account that anybody holds is never forgotten, so a tenant never has two.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::addresses::Addresses;
use super::bucket;
use crate::net::quota::Quota;
use crate::tenant::TenantId;
use crate::units::Rate;

/// Accounts that a worker keeps at hand.
const MOST_AT_HAND: usize = 4096;

/// One tenant's.
#[derive(Debug, Default)]
pub struct Account {
    full_at: AtomicU64,
    /// Requests under way, to the end of their answers.
    pub running: Arc<Quota>,
    /// Places on servers of a pool.
    pub places: Arc<Quota>,
    /// Requests that wait for one.
    pub waiting: Arc<Quota>,
}

impl Account {
    fn is_idle(&self, now: u64) -> bool {
        self.full_at.load(Relaxed) <= now
            && self.running.taken() == 0
            && self.places.taken() == 0
            && self.waiting.taken() == 0
    }
}

/// All accounts.
#[derive(Debug)]
pub struct Accounts {
    known: DashMap<TenantId, Arc<Account>, foldhash::fast::RandomState>,
    addresses: OnceLock<Addresses>,
    began: Instant,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            known: DashMap::default(),
            addresses: OnceLock::new(),
            began: Instant::now(),
        }
    }
}

impl Accounts {
    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began).as_nanos();
        // A bucket that was never used is full from the first nanosecond.
        u64::try_from(since)
            .unwrap_or(u64::MAX >> 1)
            .saturating_add(1)
    }

    fn of(&self, tenant: &TenantId) -> Arc<Account> {
        Arc::clone(&self.known.entry(tenant.clone()).or_default())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets accounts that say nothing and that nobody holds. For the control plane, about once a second: so there are
    /// never more than the tenants of the last moments.
    pub fn sweep(&self) {
        let now = self.nanos(Instant::now());
        self.known
            .retain(|_, account| Arc::strong_count(account) > 1 || !account.is_idle(now));
    }
}

/// One worker's view of the accounts.
#[derive(Debug)]
pub struct Book {
    accounts: Arc<Accounts>,
    /// With the round in which each was last asked for.
    at_hand: RefCell<HashMap<TenantId, (Arc<Account>, u32), foldhash::fast::RandomState>>,
    round: Cell<u32>,
}

impl Book {
    /// An empty one.
    #[must_use]
    pub fn new(accounts: Arc<Accounts>) -> Self {
        Self {
            accounts,
            at_hand: RefCell::default(),
            round: Cell::new(0),
        }
    }

    /// The account of a tenant.
    #[must_use]
    pub fn account(&self, tenant: &TenantId) -> Arc<Account> {
        let mut at_hand = self.at_hand.borrow_mut();
        if let Some((account, round)) = at_hand.get_mut(tenant) {
            *round = self.round.get();
            return Arc::clone(account);
        }
        let account = self.accounts.of(tenant);
        if at_hand.len() < MOST_AT_HAND {
            let entry = (Arc::clone(&account), self.round.get());
            at_hand.insert(tenant.clone(), entry);
        }
        account
    }

    /// Takes one of the requests that a tenant has.
    ///
    /// # Errors
    /// How long until it has one again.
    pub fn take(&self, account: &Account, rate: Rate, now: Instant) -> Result<(), Duration> {
        bucket::take(&account.full_at, rate, self.accounts.nanos(now))
    }

    /// Takes one of the requests that a client address has with a tenant.
    ///
    /// # Errors
    /// How long until it has one again.
    pub fn take_address(
        &self,
        (tenant, client): (&TenantId, IpAddr),
        rate: Rate,
        now: Instant,
    ) -> Result<(), Duration> {
        let table = self.accounts.addresses.get_or_init(Addresses::default);
        table.take(tenant, client, rate, self.accounts.nanos(now))
    }

    /// Lets go of accounts that were not asked for since the last call. For the worker, about once a second.
    pub fn turn(&self) {
        let mut at_hand = self.at_hand.borrow_mut();
        if !at_hand.is_empty() {
            let before = self.round.get();
            at_hand.retain(|_, (_, round)| *round == before);
            self.round.set(before.wrapping_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    #[test]
    fn workers_share_a_tenants_rate_and_keep_tenants_apart() {
        let accounts = Arc::new(Accounts::default());
        let books = [
            Book::new(Arc::clone(&accounts)),
            Book::new(Arc::clone(&accounts)),
        ];
        let rate = Rate::parse("10/h").unwrap();
        let now = Instant::now();
        let take = |at: usize, tenant: &str| {
            let book = books.get(at % 2).unwrap();
            book.take(&book.account(&id(tenant)), rate, now).is_ok()
        };
        assert_eq!((0..20).filter(|at| take(*at, "a")).count(), 10);
        assert_eq!((0..20).filter(|at| take(*at, "b")).count(), 10);
    }

    #[test]
    fn idle_accounts_are_forgotten_and_those_in_use_are_not() {
        let accounts = Arc::new(Accounts::default());
        let book = Book::new(Arc::clone(&accounts));
        for number in 0..10_000 {
            let tenant = id(&format!("t{number}"));
            let account = book.account(&tenant);
            assert!(
                book.take(&account, Rate::parse("1000000/s").unwrap(), Instant::now())
                    .is_ok()
            );
        }
        let busy = book.account(&id("busy"));
        let taken = busy.running.take(1);
        let slow = book.account(&id("slow"));
        let hour = Rate::parse("1/h").unwrap();
        assert_eq!(book.take(&slow, hour, Instant::now()), Ok(()));
        drop((busy, slow));
        book.turn();
        book.turn();
        accounts.sweep();
        assert_eq!(accounts.len(), 2);
        assert!(book.account(&id("busy")).running.take(1).is_none());
        assert!(
            book.take(&book.account(&id("slow")), hour, Instant::now())
                .is_err()
        );
        drop(taken);
        book.turn();
        book.turn();
        accounts.sweep();
        assert_eq!(accounts.len(), 1);
    }
}

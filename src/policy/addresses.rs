//! Buckets of client addresses, for each tenant its own: a table of fixed size.
//!
//! Look-ups go to one set of eight entries and take no lock. An entry whose bucket is full again is free. When all eight
//! are in use, the one that is nearest to full is given up: a flood from more addresses than there are entries lets some of
//! them begin anew, and costs no memory. Which addresses meet in a set depends on a key of this process.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::bucket;
use crate::net::permit::network;
use crate::tenant::TenantId;
use crate::units::Rate;

/// Sets of the table, a power of two: with eight entries of 16 bytes, 1 MiB.
const SETS: usize = 8192;

/// A set fills two cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Set([Entry; 8]);

#[derive(Debug, Default)]
struct Entry {
    /// The hash of tenant and address; 0 is nobody's.
    owner: AtomicU64,
    full_at: AtomicU64,
}

/// The table.
#[derive(Debug)]
pub struct Addresses {
    sets: Box<[Set]>,
    hasher: foldhash::quality::RandomState,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Set::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
        }
    }
}

impl Addresses {
    /// Takes a token of the bucket of `client` (IPv6: its /64) with `tenant`; `now` as in [`bucket::take`].
    ///
    /// # Errors
    /// How long until there is a token again.
    pub fn take(
        &self,
        tenant: &TenantId,
        client: IpAddr,
        rate: Rate,
        now: u64,
    ) -> Result<(), Duration> {
        let hash = self
            .hasher
            .hash_one((tenant, network(client.to_canonical())));
        match self.entry(hash.max(1), now) {
            Some(entry) => bucket::take(&entry.full_at, rate, now),
            // Entries change hands faster than they can be taken: the table is under more than it can hold.
            None => Ok(()),
        }
    }

    fn entry(&self, owner: u64, now: u64) -> Option<&Entry> {
        let at = usize::try_from(owner >> 32).unwrap_or(0) & (SETS - 1);
        let set = self.sets.get(at)?;
        for _ in 0..set.0.len() {
            if let Some(own) = set.0.iter().find(|own| own.owner.load(Relaxed) == owner) {
                return Some(own);
            }
            let fullest = |entry: &&Entry| entry.full_at.load(Relaxed);
            let victim = set.0.iter().min_by_key(fullest)?;
            let before = victim.owner.load(Relaxed);
            // Emptied of its past before it changes hands: a mistake is one token too many, never one too few.
            if victim.full_at.load(Relaxed) > now {
                victim.full_at.store(0, Relaxed);
            }
            let mine = victim
                .owner
                .compare_exchange(before, owner, Relaxed, Relaxed);
            if mine.is_ok() {
                return Some(victim);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    #[test]
    fn each_address_of_each_tenant_has_its_own_bucket_and_ipv6_one_for_a_network() {
        let table = Addresses::default();
        let rate = Rate::parse("1/h").unwrap();
        let take = |tenant: &str, client: &str| {
            table
                .take(&id(tenant), client.parse().unwrap(), rate, 1)
                .is_ok()
        };
        assert!(take("a", "192.0.2.1") && !take("a", "192.0.2.1"));
        assert!(take("b", "192.0.2.1") && take("a", "192.0.2.2"));
        assert!(!take("a", "::ffff:192.0.2.1"), "the same client");
        assert!(take("a", "2001:db8::1") && !take("a", "2001:db8::ffff:2"));
        assert!(take("a", "2001:db8:0:1::1"));
    }

    #[test]
    fn a_flood_of_addresses_neither_grows_the_table_nor_frees_one_that_goes_on() {
        let table = Addresses::default();
        let rate = Rate::parse("100/h").unwrap();
        let tenant = id("a");
        let busy: IpAddr = "198.51.100.1".parse().unwrap();
        let mut passed = 0;
        for number in 0..400_000_u32 {
            let one = IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number));
            assert!(table.take(&tenant, one, rate, 5).is_ok());
            if number % 100 == 0 {
                passed += u32::from(table.take(&tenant, busy, rate, 5).is_ok());
            }
        }
        assert_eq!(passed, 100, "the busiest of its set is never given up");
    }
}

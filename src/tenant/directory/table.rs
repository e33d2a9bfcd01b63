//! Hosts and their tenants, packed: some 40 bytes for each of a million tenants, found without following pointers.
//!
//! Built once from rows, then immutable: a change is a new table. Hosts below a base domain are kept without it, a tenant with
//! several hosts is kept once, and places are 32-bit offsets into two arenas. Looking up allocates nothing; only what is
//! made of the row does. The hash is seeded for each table, and no client can put a name in, so its length of probing is ours.

use std::hash::BuildHasher;
use std::sync::Arc;

use thiserror::Error;

use super::super::id::{State, Tenant, TenantId};
use crate::host::Host;

/// Slots are kept at most this full, in percent.
const FULL: usize = 70;

/// Why a row is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TableError {
    /// The host is another tenant's already.
    #[error("a host belongs to two tenants")]
    TwoTenants,
    /// More than 4 GiB of names.
    #[error("there are too many tenants")]
    Full,
}

/// A tenant's place in a table that is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

/// The table.
#[derive(Debug)]
pub struct Table {
    /// Longest first; a host is kept as what stands before one of them, or whole.
    bases: Vec<Host>,
    /// Records of a host: number of the base (255: none), length of the rest, the rest, the tenant's offset.
    hosts: Vec<u8>,
    /// Records of a tenant: length of the id, the id, the state.
    tenants: Vec<u8>,
    by_host: Slots,
    /// Only while the table is being built.
    by_id: Slots,
    hasher: foldhash::fast::RandomState,
    tenant_count: usize,
}

/// A row as it lies in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'t> {
    /// The name by which the app knows the tenant.
    pub id: &'t str,
    /// Whether it is served.
    pub state: State,
}

const NO_BASE: u8 = u8::MAX;

impl Table {
    /// An empty table for hosts that mostly lie below `bases`.
    #[must_use]
    pub fn new(bases: &[Host]) -> Self {
        let mut bases = bases.to_vec();
        bases.sort_by_key(|base| std::cmp::Reverse(base.as_str().len()));
        bases.truncate(usize::from(NO_BASE));
        Self {
            bases,
            hosts: Vec::new(),
            tenants: Vec::new(),
            by_host: Slots::default(),
            by_id: Slots::default(),
            hasher: foldhash::fast::RandomState::default(),
            tenant_count: 0,
        }
    }

    /// The tenant of this id, if it has been added.
    #[must_use]
    pub fn place(&self, id: &TenantId) -> Option<Place> {
        let hash = self.hasher.hash_one(id.as_str());
        self.by_id
            .find(hash, |place| self.id_at(place) == Some(id.as_str()))
            .map(Place)
    }

    /// Adds a tenant, without hosts yet. The caller has looked that there is none of this id.
    ///
    /// # Errors
    /// [`TableError::Full`].
    pub fn add_tenant(&mut self, id: &TenantId, state: State) -> Result<Place, TableError> {
        let place = offset(self.tenants.len())?;
        // 63 characters of at most 4 bytes.
        let length = u8::try_from(id.as_str().len()).map_err(|_long| TableError::Full)?;
        self.tenants.push(length);
        self.tenants.extend_from_slice(id.as_str().as_bytes());
        self.tenants.push(state_code(state));
        self.tenant_count += 1;
        let mut by_id = std::mem::take(&mut self.by_id);
        let hash_of = |id: &str| self.hasher.hash_one(id);
        by_id.insert(hash_of(id.as_str()), place, |place| {
            hash_of(self.id_at(place).unwrap_or_default())
        });
        self.by_id = by_id;
        Ok(Place(place))
    }

    /// Gives `host` to a tenant. The same host for the same tenant twice is once.
    ///
    /// # Errors
    /// [`TableError`]; the table is as before.
    pub fn add_host(&mut self, host: &Host, tenant: Place) -> Result<(), TableError> {
        if let Some(found) = self.record(host) {
            return if found.tenant == tenant.0 {
                Ok(())
            } else {
                Err(TableError::TwoTenants)
            };
        }
        let place = offset(self.hosts.len())?;
        let (base, rest) = self.cut(host);
        let length = u8::try_from(rest.len()).map_err(|_long| TableError::Full)?;
        self.hosts.extend_from_slice(&[base, length]);
        self.hosts.extend_from_slice(rest.as_bytes());
        self.hosts.extend_from_slice(&tenant.0.to_le_bytes());
        let mut by_host = std::mem::take(&mut self.by_host);
        by_host.insert(self.hash(base, rest.as_bytes()), place, |place| {
            self.record_at(place)
                .map_or(0, |record| self.hash(record.base, record.rest))
        });
        self.by_host = by_host;
        Ok(())
    }

    /// Gives back the room that building has left over. To be called when all rows are in.
    pub fn finish(&mut self) {
        self.hosts.shrink_to_fit();
        self.tenants.shrink_to_fit();
        self.by_id = Slots::default();
    }

    /// The state of a tenant of this table.
    #[must_use]
    pub fn state(&self, place: Place) -> Option<State> {
        let id = self.id_at(place.0)?;
        let code = self.tenants.get(place.0 as usize + 1 + id.len())?;
        Some(state_of(*code))
    }

    /// The row of `host`.
    #[must_use]
    pub fn find(&self, host: &Host) -> Option<Found<'_>> {
        let tenant = self.record(host)?.tenant;
        let id = self.id_at(tenant)?;
        let state = self.state(Place(tenant))?;
        Some(Found { id, state })
    }

    /// The tenant of `host`, made of its row.
    #[must_use]
    pub fn tenant(&self, host: &Host) -> Option<Arc<Tenant>> {
        let found = self.find(host)?;
        let id = TenantId::new(found.id)?;
        Some(Arc::new(Tenant::new(id, found.state)))
    }

    /// How many tenants there are.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.tenant_count
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.by_host.used
    }

    /// Memory in use, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let slots = self.by_host.places.capacity() + self.by_id.places.capacity();
        self.hosts.capacity() + self.tenants.capacity() + slots * size_of::<u32>()
    }

    fn cut<'h>(&self, host: &'h Host) -> (u8, &'h str) {
        for (number, base) in (0..NO_BASE).zip(&self.bases) {
            if let Some(rest) = host.below(base) {
                return (number, rest);
            }
        }
        (NO_BASE, host.as_str())
    }

    fn hash(&self, base: u8, rest: &[u8]) -> u64 {
        self.hasher.hash_one((base, rest))
    }

    fn record(&self, host: &Host) -> Option<Record<'_>> {
        let (base, rest) = self.cut(host);
        let rest = rest.as_bytes();
        let is = |record: &Record<'_>| record.base == base && record.rest == rest;
        let place = self.by_host.find(self.hash(base, rest), |place| {
            self.record_at(place).is_some_and(|record| is(&record))
        })?;
        self.record_at(place)
    }

    fn id_at(&self, place: u32) -> Option<&str> {
        let (&length, rest) = self.tenants.get(place as usize..)?.split_first()?;
        // Only whole ids were put in.
        std::str::from_utf8(rest.get(..usize::from(length))?).ok()
    }

    fn record_at(&self, place: u32) -> Option<Record<'_>> {
        let record = self.hosts.get(place as usize..)?;
        let (&[base, length], record) = record.split_first_chunk::<2>()?;
        let (rest, record) = record.split_at_checked(usize::from(length))?;
        let tenant = u32::from_le_bytes(*record.first_chunk::<4>()?);
        Some(Record { base, rest, tenant })
    }
}

/// Finds places by hash: open addressing, step by step.
#[derive(Debug, Default)]
struct Slots {
    /// Places plus one; 0 is free. As many as a power of two, or none.
    places: Vec<u32>,
    used: usize,
}

impl Slots {
    fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.places.len().checked_sub(1)?;
        let mut slot = first(hash, mask);
        loop {
            let place = self.places.get(slot)?.checked_sub(1)?;
            if is(place) {
                return Some(place);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn insert(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.used + 1) * 100 > self.places.len() * FULL {
            let larger = vec![0; (self.places.len() * 2).max(16)];
            for old in std::mem::replace(&mut self.places, larger) {
                if let Some(place) = old.checked_sub(1) {
                    self.put(hash_of(place), old);
                }
            }
        }
        self.put(hash, place + 1);
        self.used += 1;
    }

    fn put(&mut self, hash: u64, value: u32) {
        let mask = self.places.len() - 1;
        let mut slot = first(hash, mask);
        while self.places.get(slot).is_some_and(|&taken| taken != 0) {
            slot = (slot + 1) & mask;
        }
        if let Some(slot) = self.places.get_mut(slot) {
            *slot = value;
        }
    }
}

struct Record<'t> {
    base: u8,
    rest: &'t [u8],
    tenant: u32,
}

/// The low bits, of which `mask` has as many as there are slots.
fn first(hash: u64, mask: usize) -> usize {
    usize::try_from(hash & mask as u64).unwrap_or_default()
}

fn offset(length: usize) -> Result<u32, TableError> {
    // One is kept free, because a slot holds the offset plus one.
    u32::try_from(length)
        .ok()
        .filter(|&offset| offset < u32::MAX)
        .ok_or(TableError::Full)
}

fn state_code(state: State) -> u8 {
    match state {
        State::Active => 0,
        State::Suspended => 1,
        State::Pending => 2,
        State::Maintenance => 3,
        State::Deleted => 4,
    }
}

fn state_of(code: u8) -> State {
    match code {
        0 => State::Active,
        1 => State::Suspended,
        2 => State::Pending,
        3 => State::Maintenance,
        _ => State::Deleted,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn bases() -> Vec<Host> {
        ["example.com", "eu.example.com", "example.org"]
            .map(host)
            .to_vec()
    }

    #[test]
    fn a_host_has_one_tenant_and_a_tenant_many_hosts() {
        let mut table = Table::new(&bases());
        let acme = table
            .add_tenant(&TenantId::new("acme").unwrap(), State::Active)
            .unwrap();
        let other = table
            .add_tenant(&TenantId::new("Büro").unwrap(), State::Suspended)
            .unwrap();
        for name in [
            "acme.example.com",
            "shop.eu.example.com",
            "www.customer.net",
            "example.com",
        ] {
            table.add_host(&host(name), acme).unwrap();
        }
        table.add_host(&host("acme.example.com"), acme).unwrap();
        table.add_host(&host("acme.example.org"), other).unwrap();
        assert_eq!(
            table.add_host(&host("www.customer.net"), other),
            Err(TableError::TwoTenants)
        );
        assert_eq!(table.place(&TenantId::new("acme").unwrap()), Some(acme));
        assert_eq!(table.place(&TenantId::new("Büro").unwrap()), Some(other));
        assert_eq!(table.place(&TenantId::new("acm").unwrap()), None);
        table.finish();
        assert_eq!((table.tenants(), table.hosts()), (2, 5));
        let found = |name: &str| table.find(&host(name));
        assert_eq!(found("acme.example.org").unwrap().id, "Büro");
        assert_eq!(found("acme.example.org").unwrap().state, State::Suspended);
        assert_eq!(found("example.com").unwrap().id, "acme");
        // Not the same as `shop` below another base, nor as the rest of a name.
        for name in [
            "shop.example.com",
            "acme.eu.example.com",
            "customer.net",
            "acme",
        ] {
            assert_eq!(found(name), None, "{name}");
        }
        assert_eq!(
            table
                .tenant(&host("acme.example.org"))
                .unwrap()
                .header_value,
            "B%C3%BCro"
        );
    }

    proptest! {
        #[test]
        fn says_the_same_as_a_map(names in prop::collection::vec("[a-c]{1,3}", 1..200), asked in prop::collection::vec("[a-c]{1,3}", 50)) {
            let mut table = Table::new(&bases());
            let mut map = HashMap::new();
            for (number, name) in names.iter().enumerate() {
                let base = match number % 3 {
                    0 => "example.com",
                    1 => "eu.example.com",
                    _ => "example.net",
                };
                let host = host(&format!("{name}.{base}"));
                let id = format!("t{number}");
                let place = table.add_tenant(&TenantId::new(&id).unwrap(), State::Active).unwrap();
                let added = table.add_host(&host, place);
                prop_assert_eq!(added.is_ok(), !map.contains_key(&host));
                map.entry(host).or_insert(id);
            }
            for name in asked {
                for base in ["example.com", "eu.example.com", "example.net", "example.org"] {
                    let host = host(&format!("{name}.{base}"));
                    let found = table.find(&host).map(|found| found.id.to_owned());
                    prop_assert_eq!(found.as_ref(), map.get(&host));
                }
            }
        }
    }
}

//! Hosts and their tenants, packed: some 40 bytes for each of a million tenants, found without following pointers.
//!
//! Built once from rows, then immutable: a change is a new table. Hosts below a base domain are kept without it, a tenant with
//! several hosts is kept once, and places are 32-bit offsets into two arenas. Looking up allocates nothing; only what is
//! made of the row does. The hash is seeded for each table, and no client can put a name in, so its length of probing is ours.

mod slots;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use thiserror::Error;

use self::slots::Slots;
use super::super::attributes::Attributes;
use super::super::id::{Name, State, Tenant, TenantId};
use crate::host::Host;

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

/// A tenant's place in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

/// The table.
#[derive(Debug)]
pub struct Table {
    /// Longest first; a host is kept as what stands before one of them, or whole.
    bases: Vec<Host>,
    /// Records of a host: number of the base (255: none), length of the rest, the rest, the tenant's offset.
    hosts: Vec<u8>,
    /// Records of a tenant: length of the id, the id, state and flags, the offset of its primary host's record; then, as the
    /// flags say, slug and schema with their lengths, and the number of its attributes.
    tenants: Vec<u8>,
    /// Each kind of attributes once; a plan's worth is shared by all that are on it.
    attributes: Vec<Arc<Attributes>>,
    /// Primary hosts that are no host of this table, by tenant.
    elsewhere: HashMap<u32, Host, foldhash::fast::RandomState>,
    by_host: Slots,
    /// Only while the table is being built.
    by_id: Slots,
    /// Only while the table is being built.
    kinds: HashMap<Arc<Attributes>, u32, foldhash::fast::RandomState>,
    hasher: foldhash::fast::RandomState,
    tenant_count: usize,
}

const NO_BASE: u8 = u8::MAX;
/// No primary host among those of the table.
const NO_HOST: u32 = u32::MAX;

/// The bits of the flags that are the state.
const STATE: u8 = 0x0f;
const HAS_SLUG: u8 = 0x10;
const HAS_SCHEMA: u8 = 0x20;
const HAS_ATTRIBUTES: u8 = 0x40;

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
            attributes: Vec::new(),
            elsewhere: HashMap::default(),
            by_host: Slots::default(),
            by_id: Slots::default(),
            kinds: HashMap::default(),
            hasher: foldhash::fast::RandomState::default(),
            tenant_count: 0,
        }
    }

    /// The tenant of this id, if it has been added and [`Self::finish`] has not been called.
    #[must_use]
    pub fn place(&self, id: &TenantId) -> Option<Place> {
        let hash = self.hasher.hash_one(id.as_str());
        self.by_id
            .find(hash, |place| self.id_at(place) == Some(id.as_str()))
            .map(Place)
    }

    /// Adds a tenant, without hosts yet. One of an id that is there already is counted as the same.
    ///
    /// # Errors
    /// [`TableError::Full`].
    pub fn add_tenant(&mut self, tenant: &Tenant) -> Result<Place, TableError> {
        let place = offset(self.tenants.len())?;
        let kind = if *tenant.attributes == Attributes::default() {
            None
        } else {
            Some(self.kind(&tenant.attributes)?)
        };
        let mut flags = state_code(tenant.state);
        for (flag, is) in [
            (HAS_SLUG, tenant.slug.is_some()),
            (HAS_SCHEMA, tenant.schema.is_some()),
            (HAS_ATTRIBUTES, kind.is_some()),
        ] {
            flags |= if is { flag } else { 0 };
        }
        push_name(&mut self.tenants, &tenant.id)?;
        self.tenants.push(flags);
        self.tenants.extend_from_slice(&NO_HOST.to_le_bytes());
        for name in [&tenant.slug, &tenant.schema].into_iter().flatten() {
            push_name(&mut self.tenants, name)?;
        }
        if let Some(kind) = kind {
            self.tenants.extend_from_slice(&kind.to_le_bytes());
        }
        self.tenant_count += usize::from(self.place(&tenant.id).is_none());
        let mut by_id = std::mem::take(&mut self.by_id);
        let hash_of = |id: &str| self.hasher.hash_one(id);
        by_id.insert(hash_of(tenant.id.as_str()), place, |place| {
            hash_of(self.id_at(place).unwrap_or_default())
        });
        self.by_id = by_id;
        if let Some(primary) = &tenant.primary {
            self.set_primary(Place(place), primary);
        }
        Ok(Place(place))
    }

    fn kind(&mut self, attributes: &Arc<Attributes>) -> Result<u32, TableError> {
        if let Some(kind) = self.kinds.get(attributes) {
            return Ok(*kind);
        }
        let kind = offset(self.attributes.len())?;
        self.attributes.push(Arc::clone(attributes));
        self.kinds.insert(Arc::clone(attributes), kind);
        Ok(kind)
    }

    /// Makes `host` the tenant's primary one, whether or not it is one of its hosts.
    pub fn set_primary(&mut self, tenant: Place, host: &Host) {
        let own = self.record(host).filter(|record| record.tenant == tenant.0);
        match own.map(|record| record.place) {
            Some(place) => self.write_primary(tenant, place),
            None => {
                self.elsewhere.insert(tenant.0, host.clone());
            }
        }
    }

    fn write_primary(&mut self, tenant: Place, host: u32) {
        self.elsewhere.remove(&tenant.0);
        let Some(id) = self.id_at(tenant.0) else {
            return;
        };
        let at = tenant.0 as usize + 1 + id.len() + 1;
        if let Some(field) = self.tenants.get_mut(at..at + size_of::<u32>()) {
            field.copy_from_slice(&host.to_le_bytes());
        }
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
        if self.elsewhere.get(&tenant.0) == Some(host) {
            self.write_primary(tenant, place);
        }
        Ok(())
    }

    /// Gives back the room that building has left over. To be called when all rows are in.
    pub fn finish(&mut self) {
        self.hosts.shrink_to_fit();
        self.tenants.shrink_to_fit();
        self.attributes.shrink_to_fit();
        self.elsewhere.shrink_to_fit();
        self.by_id = Slots::default();
        self.kinds = HashMap::default();
    }

    /// The tenant of `host`, made of its row.
    #[must_use]
    pub fn tenant(&self, host: &Host) -> Option<Arc<Tenant>> {
        let record = self.record(host)?;
        self.tenant_at(Place(record.tenant)).map(Arc::new)
    }

    /// The tenant at a place of this table.
    #[must_use]
    pub fn tenant_at(&self, place: Place) -> Option<Tenant> {
        let mut rest = self.tenants.get(place.0 as usize..)?;
        let id = Name::new(take_name(&mut rest)?)?;
        let (&flags, after) = rest.split_first()?;
        let (primary, after) = after.split_first_chunk::<4>()?;
        rest = after;
        let mut name = |flag| {
            (flags & flag != 0)
                .then(|| take_name(&mut rest).and_then(Name::new))
                .flatten()
        };
        let (slug, schema) = (name(HAS_SLUG), name(HAS_SCHEMA));
        let attributes = if flags & HAS_ATTRIBUTES == 0 {
            Arc::default()
        } else {
            let kind = u32::from_le_bytes(*rest.first_chunk::<4>()?);
            Arc::clone(self.attributes.get(kind as usize)?)
        };
        let primary = match u32::from_le_bytes(*primary) {
            NO_HOST => self.elsewhere.get(&place.0).cloned(),
            place => self.record_at(place).and_then(|record| self.whole(&record)),
        };
        Some(Tenant {
            id,
            slug,
            schema,
            state: state_of(flags),
            primary,
            attributes,
        })
    }

    /// Every host with its tenant's place, in the order in which they were added.
    pub fn rows(&self) -> impl Iterator<Item = (Host, Place)> {
        let mut place = 0;
        std::iter::from_fn(move || {
            let record = self.record_at(place)?;
            place += u32::try_from(2 + record.rest.len() + size_of::<u32>()).ok()?;
            Some((self.whole(&record)?, Place(record.tenant)))
        })
    }

    /// Hands each host that no wildcard of a base domain covers to `visit`. Only of those it makes hosts.
    pub fn custom_hosts(&self, visit: &mut dyn FnMut(&Host)) {
        let mut place = 0;
        while let Some(record) = self.record_at(place) {
            if is_custom(record.base, record.rest)
                && let Some(host) = self.whole(&record)
            {
                visit(&host);
            }
            let Ok(length) = u32::try_from(2 + record.rest.len() + size_of::<u32>()) else {
                return;
            };
            place += length;
        }
    }

    /// Whether no wildcard of a base domain covers `host`.
    #[must_use]
    pub fn is_custom(&self, host: &Host) -> bool {
        let (base, rest) = self.cut(host);
        is_custom(base, rest.as_bytes())
    }

    /// Whether `host` is somebody's. Cheaper than [`Self::tenant`].
    #[must_use]
    pub fn contains(&self, host: &Host) -> bool {
        self.record(host).is_some()
    }

    /// The base domains that it was made for.
    #[must_use]
    pub fn bases(&self) -> &[Host] {
        &self.bases
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
        let slots = self.by_host.bytes() + self.by_id.bytes();
        self.hosts.capacity() + self.tenants.capacity() + slots
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
        take_name(&mut self.tenants.get(place as usize..)?)
    }

    fn record_at(&self, place: u32) -> Option<Record<'_>> {
        let record = self.hosts.get(place as usize..)?;
        let (&[base, length], record) = record.split_first_chunk::<2>()?;
        let (rest, record) = record.split_at_checked(usize::from(length))?;
        let tenant = u32::from_le_bytes(*record.first_chunk::<4>()?);
        Some(Record {
            place,
            base,
            rest,
            tenant,
        })
    }

    fn whole(&self, record: &Record<'_>) -> Option<Host> {
        let rest = std::str::from_utf8(record.rest).ok()?;
        match self.bases.get(usize::from(record.base)) {
            None => Host::parse(rest).ok(),
            Some(base) if rest.is_empty() => Some(base.clone()),
            Some(base) => Host::parse(&format!("{rest}.{base}")).ok(),
        }
    }
}

/// Elsewhere, or more than one label below a base domain.
fn is_custom(base: u8, rest: &[u8]) -> bool {
    base == NO_BASE || rest.contains(&b'.')
}

struct Record<'t> {
    place: u32,
    base: u8,
    rest: &'t [u8],
    tenant: u32,
}

fn offset(length: usize) -> Result<u32, TableError> {
    // One is kept free, because a slot holds the offset plus one.
    u32::try_from(length)
        .ok()
        .filter(|&offset| offset < u32::MAX)
        .ok_or(TableError::Full)
}

fn push_name(to: &mut Vec<u8>, name: &Name) -> Result<(), TableError> {
    // 63 characters of at most 4 bytes.
    let length = u8::try_from(name.as_str().len()).map_err(|_long| TableError::Full)?;
    to.push(length);
    to.extend_from_slice(name.as_str().as_bytes());
    Ok(())
}

fn take_name<'t>(from: &mut &'t [u8]) -> Option<&'t str> {
    let (&length, rest) = from.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    *from = rest;
    // Only whole names were put in.
    std::str::from_utf8(name).ok()
}

fn state_code(state: State) -> u8 {
    let place = State::NAMES.iter().position(|(_, known)| *known == state);
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or_default()
}

fn state_of(code: u8) -> State {
    State::NAMES
        .get(usize::from(code & STATE))
        .map_or(State::Deleted, |(_, state)| *state)
}

#[cfg(test)]
mod tests;

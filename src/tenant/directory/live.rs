//! Rows that change while they are being asked: a packed table, and beside it the few hosts that have changed since.
//!
//! Asking takes no lock and is never held up by a change: both lie behind one atomic pointer. A change copies the few changed
//! hosts; when they are many, [`Live::compact`] packs them into a new table, aside and off the request path. A source calls
//! the methods that change from one task; they are safe from several.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::super::id::Tenant;
use super::table::{Place, Table, TableError};
use crate::host::Host;

/// Changed hosts beyond which [`Live::apply`] asks for [`Live::compact`]. Copying as many takes some 0.1 ms.
const MANY: usize = 4096;

type Changed = HashMap<Host, Option<Arc<Tenant>>, foldhash::fast::RandomState>;

/// A table that can be changed.
#[derive(Debug)]
pub struct Live {
    rows: ArcSwap<Rows>,
    /// Held by whoever changes.
    changing: Mutex<()>,
}

#[derive(Debug)]
struct Rows {
    table: Arc<Table>,
    /// What is otherwise than in the table; `None` is gone.
    changed: Changed,
}

/// What a host has become; `None` is gone.
pub type Change = (Host, Option<Arc<Tenant>>);

impl Live {
    /// Begins with these rows.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self {
            rows: ArcSwap::from_pointee(Rows {
                table: Arc::new(table),
                changed: Changed::default(),
            }),
            changing: Mutex::new(()),
        }
    }

    /// The tenant of `host`.
    #[must_use]
    pub fn tenant(&self, host: &Host) -> Option<Arc<Tenant>> {
        let rows = self.rows.load();
        if !rows.changed.is_empty()
            && let Some(changed) = rows.changed.get(host)
        {
            return changed.clone();
        }
        rows.table.tenant(host)
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        let rows = self.rows.load();
        let (mut added, mut gone) = (0, 0);
        for (host, tenant) in &rows.changed {
            match (rows.table.contains(host), tenant) {
                (false, Some(_)) => added += 1,
                (true, None) => gone += 1,
                _ => {}
            }
        }
        rows.table.hosts() + added - gone
    }

    /// How many tenants there were when the table was last built.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.rows.load().table.tenants()
    }

    /// Memory in use by the table, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.load().table.bytes()
    }

    /// Puts a whole new table in the place of all there is.
    pub fn replace(&self, table: Table) {
        self.replace_with(table, []);
    }

    /// The same, with single hosts put right in the new table before anybody sees it.
    pub fn replace_with(&self, table: Table, changes: impl IntoIterator<Item = Change>) {
        let changed = changes.into_iter().collect();
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.rows.store(Arc::new(Rows {
            table: Arc::new(table),
            changed,
        }));
    }

    /// Puts single hosts right, all at once. Says whether it is time for [`Self::compact`].
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.rows.load_full();
        let mut changed = rows.changed.clone();
        changed.extend(changes);
        let many = changed.len() > MANY;
        self.rows.store(Arc::new(Rows {
            table: Arc::clone(&rows.table),
            changed,
        }));
        many
    }

    /// Every host with its tenant, as of now. For saving and comparing; walks the whole table.
    pub fn each(&self, mut visit: impl FnMut(&Host, &Tenant)) {
        let rows = self.rows.load_full();
        for (host, place) in rows.table.rows() {
            if !rows.changed.contains_key(&host)
                && let Some(tenant) = rows.table.tenant_at(place)
            {
                visit(&host, &tenant);
            }
        }
        for (host, tenant) in &rows.changed {
            if let Some(tenant) = tenant {
                visit(host, tenant);
            }
        }
    }

    /// Every host that no wildcard of a base domain covers, as of now. Walks the whole table.
    pub fn custom_hosts(&self, visit: &mut dyn FnMut(&Host)) {
        let rows = self.rows.load_full();
        rows.table.custom_hosts(&mut |host| {
            if !rows.changed.contains_key(host) {
                visit(host);
            }
        });
        for (host, tenant) in &rows.changed {
            if tenant.is_some() && rows.table.is_custom(host) {
                visit(host);
            }
        }
    }

    /// Packs what has changed into a new table. Takes seconds for a million rows, so it is not for a thread that has other
    /// things to do; changes that come meanwhile are kept.
    ///
    /// # Errors
    /// [`TableError::Full`]; nothing has changed.
    pub fn compact(&self) -> Result<(), TableError> {
        let before = self.rows.load_full();
        let mut table = Table::new(before.table.bases());
        let mut failed = None;
        self.each(|host, tenant| {
            if failed.is_none() {
                failed = add(&mut table, host, tenant).err();
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        table.finish();
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.rows.load_full();
        if !Arc::ptr_eq(&now.table, &before.table) {
            return Ok(()); // replaced meanwhile: that is newer than all of this
        }
        // What has not changed since is in the new table. Whatever differs, is younger or equal, so it may stay.
        let changed = now
            .changed
            .iter()
            .filter(|(host, tenant)| match (before.changed.get(*host), tenant) {
                (Some(Some(old)), Some(new)) => !Arc::ptr_eq(old, new),
                (Some(None), None) => false,
                _ => true,
            })
            .map(|(host, tenant)| (host.clone(), tenant.clone()))
            .collect();
        self.rows.store(Arc::new(Rows {
            table: Arc::new(table),
            changed,
        }));
        Ok(())
    }
}

/// Adds one host with its tenant to a table that is being built. Hosts of which the same is said share one record; a source
/// may say another thing of one host of a tenant than of the others.
///
/// # Errors
/// [`TableError`].
pub fn add(table: &mut Table, host: &Host, tenant: &Tenant) -> Result<Place, TableError> {
    let known = table.place(&tenant.id);
    let same = known.filter(|place| table.tenant_at(*place).as_ref() == Some(tenant));
    let place = match same {
        Some(place) => place,
        // Before the tenant is there: one without a host would be counted.
        None if table.contains(host) => return Err(TableError::TwoTenants),
        None => table.add_tenant(tenant)?,
    };
    table.add_host(host, place)?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::super::id::{State, TenantId};
    use super::*;

    fn host(number: u8) -> Host {
        Host::parse(&format!("h{number}.example.com")).unwrap()
    }

    fn tenant(number: u8) -> Arc<Tenant> {
        let id = TenantId::new(&format!("t{number}")).unwrap();
        Arc::new(Tenant::new(id, State::Active))
    }

    fn rows(live: &Live) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        live.each(|host, tenant| {
            let before = all.insert(host.to_string(), tenant.id.to_string());
            assert_eq!(before, None, "each host once");
        });
        all
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u8),
        Remove(u8),
        Compact,
        Replace(Vec<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u8..20, 0_u8..9).prop_map(|(host, tenant)| Step::Put(host, tenant)),
            4 => (0_u8..20).prop_map(Step::Remove),
            1 => Just(Step::Compact),
            1 => prop::collection::vec(0_u8..20, 0..8).prop_map(Step::Replace),
        ]
    }

    proptest! {
        #[test]
        fn says_what_a_map_would_say_after_any_changes(steps in prop::collection::vec(step(), 0..60)) {
            let live = Live::new(Table::new(&[]));
            let mut map = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(number, of) => {
                        live.apply([(host(number), Some(tenant(of)))]);
                        map.insert(host(number).to_string(), tenant(of).id.to_string());
                    }
                    Step::Remove(number) => {
                        live.apply([(host(number), None)]);
                        map.remove(host(number).as_str());
                    }
                    Step::Compact => live.compact().unwrap(),
                    Step::Replace(numbers) => {
                        let mut table = Table::new(&[]);
                        map.clear();
                        for number in numbers {
                            add(&mut table, &host(number), &tenant(number)).unwrap();
                            map.insert(host(number).to_string(), tenant(number).id.to_string());
                        }
                        live.replace(table);
                    }
                }
                prop_assert_eq!(rows(&live), map.clone());
                prop_assert_eq!(live.hosts(), map.len());
                for number in 0..20 {
                    let found = live.tenant(&host(number)).map(|tenant| tenant.id.to_string());
                    prop_assert_eq!(found.as_ref(), map.get(host(number).as_str()));
                }
            }
        }
    }

    #[test]
    fn many_changes_ask_to_be_packed_and_then_are() {
        let live = Live::new(Table::new(&[]));
        let name = |number: usize| Host::parse(&format!("h{number}.example.com")).unwrap();
        for first in (0..MANY).step_by(64) {
            let batch = (first..first + 64).map(|number| (name(number), Some(tenant(1))));
            assert!(!live.apply(batch));
        }
        assert!(live.apply([(name(MANY), Some(tenant(2)))]));
        live.compact().unwrap();
        assert!(live.rows.load().changed.is_empty());
        assert_eq!((live.hosts(), live.tenants()), (MANY + 1, 2));
        assert_eq!(live.tenant(&name(7)).unwrap().id.as_str(), "t1");
    }
}

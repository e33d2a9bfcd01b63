//! What a worker remembers of the hosts that it is asked for.
//!
//! A host is asked for again and again, so what follows from it alone is made once: its checked form, whose it is where that
//! cannot change, what the app is told. It belongs to a [`View`](super::context::View), and so to one worker and one
//! generation: a reload forgets all of it. It is kept by worker rather than by connection, so that what all connections to
//! a host need lies in the processor's cache. Only hosts of tenants are remembered, in one spelling, and not too many. Where
//! every label is a tenant, clients can push hosts out: the next request for each then costs what it would cost without.

use std::borrow::Borrow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use crate::host::{Authority, HostError};
use crate::tenant::Tenant;

/// Most hosts that a worker remembers, about 2 MiB. A row that has been replaced stays in memory until its host is asked for
/// again, or pushed out.
const MOST: usize = 4096;

/// The hosts of a view.
#[derive(Debug, Default)]
pub struct Hosts(RefCell<HashSet<ByText, foldhash::fast::RandomState>>);

/// A host, as clients name it.
#[derive(Debug)]
pub struct Named {
    /// What `Host` or `:authority` says, letter by letter.
    text: Box<[u8]>,
    /// What that means.
    pub authority: Authority,
    /// Whether it is among those that are remembered, or was: a request need not look for it twice.
    remembered: Cell<bool>,
    tenant: OnceCell<Arc<Tenant>>,
    told: RefCell<Option<Told>>,
}

#[derive(Debug)]
struct Told {
    https: bool,
    tenant: Arc<Tenant>,
    values: Values,
}

/// Header values that the app gets.
#[derive(Debug, Clone)]
pub struct Values {
    /// `Host`.
    pub host: HeaderValue,
    /// What the tenant header says; `None` if the tenant cannot be told.
    pub tenant: Option<HeaderValue>,
}

/// Found by what clients say.
#[derive(Debug)]
struct ByText(Rc<Named>);

impl Borrow<[u8]> for ByText {
    fn borrow(&self) -> &[u8] {
        &self.0.text
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for ByText {}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As a slice is hashed, which it is looked for by.
        let text: &[u8] = &self.0.text;
        text.hash(state);
    }
}

impl Hosts {
    /// The host of this name, checked as [`Authority::from_bytes`] does it.
    ///
    /// # Errors
    /// The same.
    pub fn named(&self, text: &[u8]) -> Result<Rc<Named>, HostError> {
        if let Some(ByText(known)) = self.0.borrow().get(text) {
            return Ok(Rc::clone(known));
        }
        Ok(Rc::new(Named {
            authority: Authority::from_bytes(text)?,
            text: text.into(),
            remembered: Cell::new(false),
            tenant: OnceCell::new(),
            told: RefCell::new(None),
        }))
    }

    /// Remembers a host of a tenant, if it is spelled as most clients do: a host has thousands of other spellings.
    pub fn remember(&self, named: &Rc<Named>) {
        if named.remembered.get() || !named.is_plain() {
            return;
        }
        named.remembered.set(true);
        let mut known = self.0.borrow_mut();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(ByText(Rc::clone(named)));
    }
}

impl Named {
    /// Whether it is spelled in lower case, without a dot at the end and with no needless digit in the port.
    fn is_plain(&self) -> bool {
        let host = self.authority.host.as_str().as_bytes();
        match (self.text.strip_prefix(host), self.authority.port) {
            (Some(b""), None) => true,
            (Some([b':', digits @ ..]), Some(port)) => *digits == *port.to_string().as_bytes(),
            _ => false,
        }
    }

    /// Whose it is, if that has been [kept](Self::keep_tenant).
    #[must_use]
    pub fn tenant(&self) -> Option<&Arc<Tenant>> {
        self.tenant.get()
    }

    /// Keeps whose it is. For directories whose answers hold as long as the view lives, and no others.
    pub fn keep_tenant(&self, tenant: &Arc<Tenant>) {
        // The one that is there already is the same.
        let _same = self.tenant.get_or_init(|| Arc::clone(tenant));
    }

    /// The values for requests of `tenant`, over TLS or not; `make` makes them.
    pub fn values(
        &self,
        https: bool,
        tenant: &Arc<Tenant>,
        make: impl FnOnce() -> Values,
    ) -> Values {
        let mut last = self.told.borrow_mut();
        if let Some(told) = &*last
            && told.https == https
            && Arc::ptr_eq(&told.tenant, tenant)
        {
            return told.values.clone();
        }
        let values = make();
        *last = Some(Told {
            https,
            tenant: Arc::clone(tenant),
            values: values.clone(),
        });
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::{Name, State};

    #[test]
    fn what_is_remembered_changes_no_verdict() {
        let hosts = Hosts::default();
        let texts = [
            "a.x",
            "A.x",
            "a.x:8443",
            "a.x:08443",
            "a..x",
            "a.x",
            "b.x.",
            "b.x.:443",
            "1.2.3.4",
            "b.x",
            "",
        ];
        for text in texts.iter().chain(texts.iter().rev()) {
            let fresh = Authority::from_bytes(text.as_bytes());
            for _ in 0..2 {
                let named = hosts.named(text.as_bytes());
                if let Ok(named) = &named {
                    hosts.remember(named);
                }
                assert_eq!(named.map(|named| named.authority.clone()), fresh, "{text}");
            }
        }
        let mut kept: Vec<_> = hosts
            .0
            .borrow()
            .iter()
            .map(|known| known.0.text.clone())
            .collect();
        kept.sort();
        let plain: [&[u8]; 3] = [b"a.x", b"a.x:8443", b"b.x"];
        assert_eq!(kept, plain.map(Box::from));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let hosts = Hosts::default();
        for number in 0..3 * MOST {
            let text = format!("t{number}.example.com");
            hosts.remember(&hosts.named(text.as_bytes()).unwrap());
        }
        assert!((1..=MOST).contains(&hosts.0.borrow().len()));
    }

    #[test]
    fn values_are_those_of_the_very_tenant() {
        let hosts = Hosts::default();
        let named = hosts.named(b"acme.example.com").unwrap();
        let tenant = |id| Arc::new(Tenant::new(Name::new(id).unwrap(), State::Active));
        let (one, other) = (tenant("a"), tenant("b"));
        let told = |tenant: &Arc<Tenant>, https| {
            let values = named.values(https, tenant, || Values {
                host: HeaderValue::from_static(if https { "s" } else { "p" }),
                tenant: Some(tenant.id.header_value()),
            });
            (values.host, values.tenant.unwrap())
        };
        for _ in 0..2 {
            assert_eq!(
                told(&one, true),
                ("s".parse().unwrap(), "a".parse().unwrap())
            );
            assert_eq!(
                told(&one, true),
                ("s".parse().unwrap(), "a".parse().unwrap())
            );
            assert_eq!(
                told(&other, true),
                ("s".parse().unwrap(), "b".parse().unwrap())
            );
            assert_eq!(
                told(&other, false),
                ("p".parse().unwrap(), "b".parse().unwrap())
            );
        }
    }
}

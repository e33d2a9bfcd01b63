//! What a connection asked for last.
//!
//! Most connections name one host all their life, so what follows from the host alone need not be made again for each of
//! their requests. Nothing is remembered that a request, a row or a reload could have changed: an answer of a directory only
//! if it holds as long as the configuration does, and a value only for the very tenant, and the generation, that it was made
//! for.

use std::cell::RefCell;
use std::sync::Arc;

use http::HeaderValue;

use crate::host::{Authority, Host, HostError};
use crate::snapshot::Snapshot;
use crate::tenant::Tenant;

/// The last host of a connection, and what was made of it.
#[derive(Debug, Default)]
pub struct Recent {
    named: RefCell<Option<(Box<[u8]>, Authority)>>,
    resolved: RefCell<Option<Resolved>>,
    told: RefCell<Option<Told>>,
}

#[derive(Debug)]
struct Resolved {
    generation: u64,
    host: Host,
    tenant: Arc<Tenant>,
}

#[derive(Debug)]
struct Told {
    generation: u64,
    authority: Authority,
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

impl Recent {
    /// As [`Authority::from_bytes`].
    ///
    /// # Errors
    /// The same.
    pub fn authority(&self, bytes: &[u8]) -> Result<Authority, HostError> {
        let mut last = self.named.borrow_mut();
        if let Some((text, authority)) = &*last
            && **text == *bytes
        {
            return Ok(authority.clone());
        }
        let authority = Authority::from_bytes(bytes)?;
        *last = Some((bytes.into(), authority.clone()));
        Ok(authority)
    }

    /// The tenant of `host`, if it was found in this generation in a directory whose answers hold as long.
    #[must_use]
    pub fn tenant(&self, host: &Host, snapshot: &Snapshot) -> Option<Arc<Tenant>> {
        let last = self.resolved.borrow();
        let known = last.as_ref()?;
        let same = known.generation == snapshot.generation && known.host == *host;
        same.then(|| Arc::clone(&known.tenant))
    }

    /// Remembers whose `host` is, if that can be said for as long as the generation lasts.
    pub fn resolved(&self, host: &Host, tenant: &Arc<Tenant>, snapshot: &Snapshot) {
        if snapshot.resolver.is_constant() {
            *self.resolved.borrow_mut() = Some(Resolved {
                generation: snapshot.generation,
                host: host.clone(),
                tenant: Arc::clone(tenant),
            });
        }
    }

    /// The values for requests to `authority` of `tenant`; `make` makes them, out of these and the snapshot alone.
    pub fn values(
        &self,
        authority: &Authority,
        tenant: &Arc<Tenant>,
        snapshot: &Snapshot,
        make: impl FnOnce() -> Values,
    ) -> Values {
        let mut last = self.told.borrow_mut();
        if let Some(told) = &*last
            && told.generation == snapshot.generation
            && Arc::ptr_eq(&told.tenant, tenant)
            && told.authority == *authority
        {
            return told.values.clone();
        }
        let values = make();
        *last = Some(Told {
            generation: snapshot.generation,
            authority: authority.clone(),
            tenant: Arc::clone(tenant),
            values: values.clone(),
        });
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_last_changes_no_verdict() {
        let last = Recent::default();
        let texts = [
            "a.x", "A.x", "a.x:8443", "a..x", "a.x", "b.x.", "1.2.3.4", "b.x", "",
        ];
        for text in texts.iter().chain(texts.iter().rev()) {
            let fresh = Authority::from_bytes(text.as_bytes());
            assert_eq!(last.authority(text.as_bytes()), fresh, "{text}");
            assert_eq!(last.authority(text.as_bytes()), fresh, "{text}");
        }
    }
}

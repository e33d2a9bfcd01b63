//! How the app is told the tenant: which of its names in which headers.

use http::{HeaderName, HeaderValue};

use super::id::{Name, Tenant};
use crate::config::{TenantValue, Tenants};
use crate::header_name::Fold;

/// The headers that carry names of the tenant. No client can set one of them, in whatever spelling.
#[derive(Debug, Clone)]
pub struct Naming {
    header: HeaderName,
    value: TenantValue,
    further: Vec<(HeaderName, TenantValue)>,
    folds: Vec<Fold>,
}

impl Naming {
    /// As configured.
    #[must_use]
    pub fn new(tenants: &Tenants) -> Self {
        let headers = &tenants.identity.headers;
        let further: Vec<_> = [
            (&headers.id, TenantValue::Id),
            (&headers.slug, TenantValue::Slug),
            (&headers.schema, TenantValue::Schema),
        ]
        .into_iter()
        .filter_map(|(header, value)| Some((header.clone()?, value)))
        .collect();
        let names = std::iter::once(&tenants.header).chain(further.iter().map(|(name, _)| name));
        Self {
            folds: names
                .map(|name| Fold::new(name.as_str().as_bytes()))
                .collect(),
            header: tenants.header.clone(),
            value: tenants.identity.value,
            further,
        }
    }

    /// The one header that an app goes by.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// What it carries; `None` if the tenant has no such name, and so cannot be told.
    #[must_use]
    pub fn told(&self, tenant: &Tenant) -> Option<HeaderValue> {
        name(tenant, self.value).map(Name::header_value)
    }

    /// The headers beside it that this tenant has a name for.
    pub fn further(&self, tenant: &Tenant) -> impl Iterator<Item = (&HeaderName, HeaderValue)> {
        self.further.iter().filter_map(|(header, value)| {
            let name = name(tenant, *value)?;
            Some((header, name.header_value()))
        })
    }

    /// Whether an app may take a header of this name for one of these.
    #[must_use]
    pub fn covers(&self, name: &Fold) -> bool {
        self.folds.iter().any(|fold| name.reads_as(fold))
    }
}

/// Schemas are never made up here: a tenant whose source names none has none.
fn name(tenant: &Tenant, value: TenantValue) -> Option<&Name> {
    match value {
        TenantValue::Id => Some(&tenant.id),
        TenantValue::Slug => Some(tenant.slug.as_ref().unwrap_or(&tenant.id)),
        TenantValue::Schema => tenant.schema.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::State;
    use super::*;

    #[test]
    fn a_tenant_is_told_by_the_name_that_is_wished() {
        let mut tenants = Tenants::default();
        let mut tenant = Tenant::new(Name::new("42").unwrap(), State::Active);
        for (value, bare, full) in [
            (TenantValue::Id, Some("42"), Some("42")),
            (TenantValue::Slug, Some("42"), Some("big-corp")),
            (TenantValue::Schema, None, Some("Big%20Corp")),
        ] {
            tenants.identity.value = value;
            tenants.identity.headers.schema = Some(HeaderName::from_static("x-schema"));
            let naming = Naming::new(&tenants);
            (tenant.slug, tenant.schema) = (None, None);
            assert_eq!(
                naming.told(&tenant).as_ref().map(|v| v.to_str().unwrap()),
                bare
            );
            assert_eq!(naming.further(&tenant).count(), 0);
            tenant.slug = Name::new("big-corp");
            tenant.schema = Name::new("Big Corp");
            assert_eq!(
                naming.told(&tenant).as_ref().map(|v| v.to_str().unwrap()),
                full
            );
            let further: Vec<_> = naming.further(&tenant).collect();
            assert_eq!(further.len(), 1);
            assert!(further.iter().all(|(_, value)| *value == "Big%20Corp"));
            for (name, covered) in [("X_Schema", true), ("http.x-tenant", true), ("x-id", false)] {
                assert_eq!(
                    naming.covers(&Fold::new(name.as_bytes())),
                    covered,
                    "{name}"
                );
            }
        }
    }
}

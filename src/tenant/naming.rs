//! How the app is told the tenant: which of its names in which headers, and what else rows and plans may add.
//!
//! All names are those of the configuration, so they are known before the first request: what one tenant's row or plan adds
//! is taken from the clients of all, whichever plan theirs has. A row is heard only in these names, because any other one could
//! come from a client of another tenant.

use http::{HeaderName, HeaderValue};

use super::id::{Name, Tenant};
use crate::config::{Plans, TenantValue, Tenants};
use crate::header_name::{FirstLetters, Fold};

/// The headers that carry names of the tenant. No client can set one of them, in whatever spelling.
#[derive(Debug, Clone)]
pub struct Naming {
    header: HeaderName,
    value: TenantValue,
    further: Vec<(HeaderName, TenantValue)>,
    folds: Vec<Fold>,
    /// Of the managed names and of all names here.
    letters: FirstLetters,
    /// Of the names that speak of tenants.
    tenant_letters: FirstLetters,
    /// What rows and plans may add, sorted by fold.
    extra: Vec<(Fold, HeaderName)>,
}

impl Naming {
    /// As configured.
    #[must_use]
    pub fn new(tenants: &Tenants, plans: &Plans) -> Self {
        let headers = &tenants.identity.headers;
        let further: Vec<_> = [
            (&headers.id, TenantValue::Id),
            (&headers.slug, TenantValue::Slug),
            (&headers.schema, TenantValue::Schema),
        ]
        .into_iter()
        .filter_map(|(header, value)| Some((header.clone()?, value)))
        .collect();
        let planned = plans.values().flat_map(|plan| &plan.headers);
        let extra = headers.rows.iter().chain(planned.map(|(name, _)| name));
        let mut extra: Vec<_> = extra
            .map(|name| (Fold::new(name.as_str().as_bytes()), name.clone()))
            .collect();
        extra.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        extra.dedup_by(|(one, _), (other, _)| one.as_bytes() == other.as_bytes());
        let names = std::iter::once(&tenants.header).chain(further.iter().map(|(name, _)| name));
        let folds: Vec<_> = names
            .map(|name| Fold::new(name.as_str().as_bytes()))
            .collect();
        let all = folds.iter().chain(extra.iter().map(|(fold, _)| fold));
        let letters = all.map(Fold::as_bytes);
        let tenant_letters = folds.iter().map(Fold::as_bytes);
        Self {
            tenant_letters: tenant_letters.fold(FirstLetters::TENANT, FirstLetters::with),
            letters: letters.fold(FirstLetters::MANAGED, FirstLetters::with),
            folds,
            header: tenants.header.clone(),
            value: tenants.identity.value,
            further,
            extra,
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

    /// Whether a header of this name may be managed, or one of those that tell the tenant, or one that rows or plans add.
    /// Rather yes than no; most names of a message are none of these.
    #[must_use]
    pub fn may_cover(&self, name: &[u8]) -> bool {
        self.letters.may_be(name)
    }

    /// Whether a header of this name may be one that speaks of tenants. Rather yes than no.
    #[must_use]
    pub fn may_tell(&self, name: &[u8]) -> bool {
        self.tenant_letters.may_be(name)
    }

    /// Whether an app may take a header of this name for one of these.
    #[must_use]
    pub fn covers(&self, name: &Fold) -> bool {
        self.folds.iter().any(|fold| name.reads_as(fold))
    }

    /// Whether an app may take a header of this name for one that rows or plans add.
    #[must_use]
    pub fn covers_extra(&self, name: &Fold) -> bool {
        !self.extra.is_empty()
            && (self.find_extra(name.as_bytes()).is_some()
                || self.find_extra(name.without_http()).is_some())
    }

    /// The name, as the configuration spells it, under which a row's header of this name is sent. `None`: it may not be.
    #[must_use]
    pub fn extra(&self, name: &Fold) -> Option<&HeaderName> {
        self.find_extra(name.as_bytes())
    }

    fn find_extra(&self, folded: &[u8]) -> Option<&HeaderName> {
        let at = self
            .extra
            .binary_search_by(|(fold, _)| fold.as_bytes().cmp(folded));
        self.extra.get(at.ok()?).map(|(_, name)| name)
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
    use crate::config::Plan;
    use crate::header_name::extra;

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
            let naming = Naming::new(&tenants, &Plans::new());
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
    #[test]
    fn what_any_plan_or_row_may_add_is_known_in_every_spelling() {
        let mut tenants = Tenants::default();
        tenants.identity.headers.rows = vec![HeaderName::from_static("x-theme")];
        let gold = Plan {
            headers: vec![
                extra("X-Feature: gold").unwrap(),
                extra("X-Theme: gold").unwrap(),
            ],
            ..Plan::default()
        };
        let naming = Naming::new(&tenants, &Plans::from([("gold".to_owned(), gold)]));
        let fold = |name: &str| Fold::new(name.as_bytes());
        for name in [
            "X-Feature",
            "x_feature",
            "X.Theme",
            "http_x_theme",
            "HTTP-X-FEATURE",
        ] {
            assert!(naming.covers_extra(&fold(name)), "{name}");
        }
        for name in ["x-features", "feature", "x-tenant", "http"] {
            assert!(!naming.covers_extra(&fold(name)), "{name}");
        }
        assert_eq!(naming.extra(&fold("X_THEME")).unwrap(), "x-theme");
        assert_eq!(naming.extra(&fold("http-x-theme")), None);
        assert!(!Naming::new(&Tenants::default(), &Plans::new()).covers_extra(&fold("x-theme")));
    }
}

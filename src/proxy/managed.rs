//! Which header names a client may never set, in whatever spelling, and taking them away.
//!
//! What is folded and listed for every configuration stands in [`crate::header_name`]; here come the names that the
//! configuration adds: those that tell the tenant, and those that the rows and plans of any tenant may set.

use http::{HeaderMap, HeaderName};

use crate::header_name::Fold;
use crate::tenant::naming::Naming;

/// How a request header is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Forwarded.
    Pass,
    /// Removed: only the edge sets it, or apps may take it for such a one.
    Managed,
    /// Removed: `_` in the name. Gateways make it the same variable as the name with `-`.
    Underscore,
}

/// The names that the edge sets beside those of every configuration.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    naming: &'a Naming,
    /// Whether those that rows and plans set are among them.
    extra: bool,
}

impl<'a> Names<'a> {
    /// Those that no client may set.
    #[must_use]
    pub fn of_requests(naming: &'a Naming) -> Self {
        Self {
            naming,
            extra: true,
        }
    }

    /// Those that no app may set. What rows and plans add is no secret between app and edge: an app may answer with a header
    /// of the same name.
    #[must_use]
    pub fn of_answers(naming: &'a Naming) -> Self {
        Self {
            naming,
            extra: false,
        }
    }

    /// Whether only the edge may set this name, in any spelling.
    #[must_use]
    pub fn cover(&self, name: &[u8]) -> bool {
        if !self.naming.may_cover(name) {
            return false;
        }
        let fold = Fold::new(name);
        fold.is_managed()
            || self.naming.covers(&fold)
            || (self.extra && self.naming.covers_extra(&fold))
    }

    /// Classifies a header name.
    #[must_use]
    pub fn classify(&self, name: &[u8]) -> Class {
        if self.cover(name) {
            return Class::Managed;
        }
        if name.contains(&b'_') {
            Class::Underscore
        } else {
            Class::Pass
        }
    }
}

/// Removes every line of every header whose name is `unwanted`: one look at each name that is there, which is less than
/// one for each name that might be.
pub fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| unwanted(name.as_str()))
        .cloned()
        .collect();
    for name in &found {
        headers.remove(name);
    }
}

/// Whether apps use this name to speak of tenants among themselves and with the edge: a tenant header in any spelling, or
/// one beside it (`x-tenant-id`).
#[must_use]
pub fn is_tenant(name: &[u8], naming: &Naming) -> bool {
    if !naming.may_tell(name) {
        return false;
    }
    let fold = Fold::new(name);
    let folded = fold.as_bytes();
    folded == b"x-tenant" || folded.starts_with(b"x-tenant-") || naming.covers(&fold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Plans, Tenants};
    use crate::header_name::LONGEST;

    fn naming(header: &str) -> Naming {
        let mut tenants = Tenants {
            header: header.parse().unwrap(),
            ..Tenants::default()
        };
        tenants.identity.headers.schema = Some(HeaderName::from_static("db-schema"));
        tenants.identity.headers.rows = vec![HeaderName::from_static("x-theme")];
        Naming::new(&tenants, &Plans::new())
    }

    #[test]
    fn every_spelling_of_a_managed_name_is_caught() {
        let naming = naming("x-tenant");
        let names = Names::of_requests(&naming);
        for name in [
            "x-tenant",
            "X_Tenant",
            "x.tenant",
            "x~tenant",
            "http_x_tenant",
            "x-tenant-id",
            "x_tenant_signature",
            "DB_Schema",
            "db.schema",
            "http-db-schema",
            "X_Theme",
            "x.theme",
            "http_x_theme",
            "x-forwarded-for",
            "X_Forwarded_Proto",
            "x.real.ip",
            "script_name",
            "path-info",
            "proxy",
            "forwarded",
        ] {
            assert_eq!(names.classify(name.as_bytes()), Class::Managed, "{name}");
        }
        let plain = Names::of_answers(&naming);
        assert_eq!(plain.classify(b"x-theme"), Class::Pass);
        assert_eq!(plain.classify(b"my_header"), Class::Underscore);
        for name in [
            "accept",
            "x-tenants",
            "x-request-ids",
            "x.dotted",
            "sec-websocket-key",
        ] {
            assert_eq!(names.classify(name.as_bytes()), Class::Pass, "{name}");
        }
    }

    #[test]
    fn a_tenant_name_is_known_in_every_spelling() {
        let custom = naming("abp.tenant_id");
        for name in [
            "x-tenant",
            "x_tenant",
            "x-tenant-id",
            "abp-tenant-id",
            "db_schema",
            "http_db_schema",
            "HTTP-Abp.Tenant_Id",
        ] {
            assert!(is_tenant(name.as_bytes(), &custom), "{name}");
        }
        for name in ["x-tenants", "x-request-id", "tenant", "content-type"] {
            assert!(!is_tenant(name.as_bytes(), &custom), "{name}");
        }
        for (header, name) in [("_org", ".org"), ("1org", "1ORG"), ("http_org", "Http.Org")] {
            assert!(is_tenant(name.as_bytes(), &naming(header)), "{name}");
        }
    }

    #[test]
    fn a_configured_header_is_managed_too() {
        let (custom, default) = (naming("abp.tenant_id"), naming("x-tenant"));
        let managed =
            |naming: &Naming, name: &str| Names::of_requests(naming).cover(name.as_bytes());
        assert!(managed(&custom, "abp-tenant-id") && !managed(&default, "abp-tenant-id"));
        let prefixed = naming("http_org");
        for name in ["http-org", "Http_Org", "http.org"] {
            assert!(managed(&prefixed, name), "{name}");
        }
        let longest = naming(&"x".repeat(LONGEST));
        assert!(managed(&longest, &"X".repeat(LONGEST)));
    }
}

//! Which header names a client may never set, in whatever spelling.
//!
//! Apps behind CGI-like gateways (WSGI, Rack, PHP) fold `-`, `_` and more into one character, so `X_Tenant`,
//! `x.tenant` and `X-Tenant` may be one variable to the app. A name is therefore judged by its *fold*: lower case,
//! every byte that is not a letter or digit is `-` (design: header hygiene).

use http::{HeaderMap, HeaderName};

/// Names that only the edge may set, folded and sorted.
const MANAGED: &[&str] = &[
    "cf-connecting-ip",
    "client-ip",
    "forwarded",
    "front-end-https",
    "path-info",
    "proxy",
    "remote-addr",
    "remote-user",
    "script-name",
    "server-name",
    "server-port",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-edge-reason",
    "x-forwarded",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-tenant",
    "x-url-scheme",
];

/// Every name that begins so is managed too.
const MANAGED_PREFIXES: &[&str] = &["x-tenant-", "x-forwarded-", "x-auth-request-"];

/// Longest name that is looked up; a longer one can only match a prefix.
const LONGEST: usize = 64;

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

/// The fold of a name, cut at [`LONGEST`] bytes.
struct Fold {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Fold {
    fn new(name: &[u8]) -> Self {
        let mut fold = Self {
            bytes: [0; LONGEST],
            len: name.len().min(LONGEST),
        };
        for (to, from) in fold.bytes.iter_mut().zip(name) {
            *to = match from {
                b'a'..=b'z' | b'0'..=b'9' => *from,
                b'A'..=b'Z' => from.to_ascii_lowercase(),
                _ => b'-',
            };
        }
        fold
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Classifies a header name. `tenant` is the configured tenant header.
#[must_use]
pub fn classify(name: &[u8], tenant: &HeaderName) -> Class {
    if is_managed(name, tenant) {
        return Class::Managed;
    }
    if name.contains(&b'_') {
        Class::Underscore
    } else {
        Class::Pass
    }
}

/// Whether only the edge may set this name, in any spelling.
#[must_use]
pub fn is_managed(name: &[u8], tenant: &HeaderName) -> bool {
    let fold = Fold::new(name);
    let whole = fold.as_bytes();
    // A gateway that also prefixes (`HTTP_X_TENANT`) would show such a name as `HTTP_HTTP_X_TENANT`; it is removed
    // all the same, since it can have no honest use.
    let folded = whole.strip_prefix(b"http-").unwrap_or(whole);
    let tenant = Fold::new(tenant.as_str().as_bytes());
    let listed = name.len() <= LONGEST
        && MANAGED
            .binary_search_by(|managed| managed.as_bytes().cmp(folded))
            .is_ok();
    listed
        || MANAGED_PREFIXES
            .iter()
            .any(|prefix| folded.starts_with(prefix.as_bytes()))
        // Both ways: the configured name may itself begin with `http-`.
        || folded == tenant.as_bytes()
        || whole == tenant.as_bytes()
}

/// Removes every header of `headers` that is not [`Class::Pass`], and says how many lines went.
pub fn strip(headers: &mut HeaderMap, tenant: &HeaderName) -> usize {
    let unwanted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| classify(name.as_str().as_bytes(), tenant) != Class::Pass)
        .cloned()
        .collect();
    let before = headers.len();
    for name in &unwanted {
        headers.remove(name);
    }
    before - headers.len()
}

/// Whether apps use this name to speak of tenants among themselves and with the edge: the tenant header in any
/// spelling, or one beside it (`x-tenant-id`). `tenant` is the configured tenant header.
#[must_use]
pub fn is_tenant(name: &[u8], tenant: &HeaderName) -> bool {
    let fold = Fold::new(name);
    let folded = fold.as_bytes();
    folded == b"x-tenant"
        || folded.starts_with(b"x-tenant-")
        || folded == Fold::new(tenant.as_str().as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: HeaderName = HeaderName::from_static("x-tenant");

    #[test]
    fn the_list_is_sorted_and_folded() {
        assert!(MANAGED.is_sorted());
        for name in MANAGED {
            assert_eq!(Fold::new(name.as_bytes()).as_bytes(), name.as_bytes());
        }
    }

    #[test]
    fn every_spelling_of_a_managed_name_is_caught() {
        for name in [
            "x-tenant",
            "X_Tenant",
            "x.tenant",
            "x~tenant",
            "http_x_tenant",
            "x-tenant-id",
            "x_tenant_signature",
            "x-forwarded-for",
            "X_Forwarded_Proto",
            "x.real.ip",
            "script_name",
            "path-info",
            "proxy",
            "forwarded",
        ] {
            assert_eq!(classify(name.as_bytes(), &TENANT), Class::Managed, "{name}");
        }
        let long = format!("x-tenant-{}", "a".repeat(200));
        assert_eq!(classify(long.as_bytes(), &TENANT), Class::Managed);
    }

    #[test]
    fn a_tenant_name_is_known_in_every_spelling() {
        let custom = HeaderName::from_static("abp.tenant_id");
        for name in ["x-tenant", "x_tenant", "x-tenant-id", "abp-tenant-id"] {
            assert!(is_tenant(name.as_bytes(), &custom), "{name}");
        }
        for name in ["x-tenants", "x-request-id", "tenant", "content-type"] {
            assert!(!is_tenant(name.as_bytes(), &custom), "{name}");
        }
    }

    #[test]
    fn a_configured_header_is_managed_too_and_others_pass() {
        let custom = HeaderName::from_static("abp.tenant_id");
        assert_eq!(classify(b"abp-tenant-id", &custom), Class::Managed);
        assert_eq!(classify(b"abp-tenant-id", &TENANT), Class::Pass);
        let prefixed = HeaderName::from_static("http_org");
        for name in ["http-org", "Http_Org", "http.org"] {
            assert_eq!(
                classify(name.as_bytes(), &prefixed),
                Class::Managed,
                "{name}"
            );
        }
        let longest = HeaderName::from_bytes("x".repeat(LONGEST).as_bytes()).unwrap();
        assert_eq!(
            classify("X".repeat(LONGEST).as_bytes(), &longest),
            Class::Managed
        );
        assert_eq!(classify(b"my_header", &TENANT), Class::Underscore);
        for name in [
            "accept",
            "x-tenants",
            "x-request-ids",
            "x.dotted",
            "sec-websocket-key",
        ] {
            assert_eq!(classify(name.as_bytes(), &TENANT), Class::Pass, "{name}");
        }
    }
}

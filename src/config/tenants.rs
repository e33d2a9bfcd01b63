//! `[tenants]`: how a host becomes a tenant, and how the app is told.

use std::path::PathBuf;

use http::HeaderName;

/// Tenant resolution settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants {
    /// The header that carries the tenant to the app. Default `X-Tenant`.
    pub header: HeaderName,
    /// Where tenants are looked up. Default [`TenantSource::Pattern`].
    pub source: TenantSource,
    /// What the bare domain answers. Default [`Apex::Reject`].
    pub apex: Apex,
    /// What `www.` answers. Default [`Www::Redirect`] if the apex has a tenant, else 404.
    pub www: Www,
    /// Labels that are never tenants under `source = "pattern"`; `@default` stands for the built-in list.
    /// Default `["@default"]`.
    pub reserved: Vec<String>,
}

/// Where tenants are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSource {
    /// `"pattern"`: every well-formed label below a domain is a tenant.
    Pattern,
    /// `"file"`: the tenants that a TOML file lists (`file = "/etc/portico/tenants.toml"`); read again when it changes.
    File(PathBuf),
}

/// What the bare domain answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apex {
    /// `"reject"`: 404 page.
    Reject,
    /// A tenant name, as in `"public"`: the app is told that tenant.
    Tenant(String),
}

/// What `www.` + domain answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Www {
    /// `"redirect"`: 308 to the bare domain.
    Redirect,
    /// `"same"`: as the bare domain.
    Same,
    /// `"reject"`: 404 page.
    Reject,
}

impl Default for Tenants {
    fn default() -> Self {
        Self {
            header: HeaderName::from_static("x-tenant"),
            source: TenantSource::Pattern,
            apex: Apex::Reject,
            www: Www::Redirect,
            reserved: vec!["@default".to_owned()],
        }
    }
}

//! `[tenants]`: how a host becomes a tenant, and how the app is told.

mod postgres;

use std::fmt;
use std::path::PathBuf;

use http::HeaderName;

use super::problem::Flaw;
use super::reader::Reader;
use crate::host::Host;

pub use self::postgres::{CHANNEL, Postgres, Preset, TableName};

/// Tenant resolution settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants {
    /// The header that carries the tenant to the app. Default `X-Tenant`.
    pub header: HeaderName,
    /// Where tenants are looked up, one after the other. Never empty. Default [`TenantSource::Pattern`] alone.
    pub sources: Vec<TenantSource>,
    /// Whether a tenant's other hosts are redirected to its primary one. Default: no.
    pub redirect_to_primary: bool,
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
    /// `"file"`: the tenants that a TOML, JSON or CSV file lists (`file = "/etc/portico/tenants.toml"`); read again when it
    /// changes.
    File(PathBuf),
    /// `"postgres"`: the tenants in the app's database (`[tenants.postgres]`), told of changes as they are made.
    Postgres(Box<Postgres>),
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
            sources: vec![TenantSource::Pattern],
            redirect_to_primary: false,
            apex: Apex::Reject,
            www: Www::Redirect,
            reserved: vec!["@default".to_owned()],
        }
    }
}

/// Headers that HTTP or the edge gives a meaning of their own, with `-` for `_` (see [`parse_header`]). A name that
/// ends in `-` stands for all that begin with it.
const TAKEN: &[&str] = &[
    "accept",
    "accept-",
    "authorization",
    "cache-control",
    "connection",
    "content-",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "if-",
    "keep-alive",
    "origin",
    "path-info",
    "pragma",
    "proxy",
    "proxy-",
    "range",
    "referer",
    "remote-",
    "script-name",
    "sec-",
    "server-",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-",
    "x-real-ip",
    "x-request-id",
];

/// Longest value of the tenant header that can be configured.
const LONGEST_TENANT: usize = 128;

#[derive(Clone, Copy, PartialEq)]
enum SourceName {
    Pattern,
    File,
    Postgres,
}

const SOURCES: &[(&str, SourceName)] = &[
    ("pattern", SourceName::Pattern),
    ("file", SourceName::File),
    ("postgres", SourceName::Postgres),
];
const WWW: &[(&str, Www)] = &[
    ("redirect", Www::Redirect),
    ("same", Www::Same),
    ("reject", Www::Reject),
];

impl Tenants {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("tenants");
        let mut tenants = Self::default();
        section.text(
            "header",
            &mut tenants.header,
            "The header that carries the tenant to the app",
            parse_header,
        );
        let mut names = vec![SourceName::Pattern];
        let clear = section.choices(
            "source",
            &mut names,
            SOURCES,
            "Where tenants are looked up, or a list to ask in turn: `pattern` takes every well-formed label, `file` those that \
             `file` lists, `postgres` those in a database",
        );
        let file = section.maybe_path(
            "file",
            "required for `source = \"file\"`",
            "The list of tenants (TOML, or JSON or CSV by its name); read again when it changes",
        );
        let wanted = |name| names.contains(&name);
        if clear {
            if wanted(SourceName::File) && file.is_none() && !section.has("file") {
                section.missing("file", "write `file = \"tenants.toml\"` below `[tenants]`");
            }
            if !wanted(SourceName::File) && file.is_some() {
                section.refuse(
                    "file",
                    "the key has no use without `source = \"file\"`",
                    "remove it, or set `source = \"file\"`",
                );
            }
        }
        section.flag(
            "redirect_to_primary",
            &mut tenants.redirect_to_primary,
            "Whether a tenant's other hosts are redirected (308) to the primary one that the source names",
        );
        section.text(
            "apex",
            &mut tenants.apex,
            "What the bare domain is: `reject` (404), or the name of a tenant",
            Apex::parse,
        );
        section.choice(
            "www",
            &mut tenants.www,
            WWW,
            "What `www.` answers: `redirect` to the bare domain, `same` as it, or `reject`",
        );
        section.list(
            "reserved",
            &mut tenants.reserved,
            "Labels that are never tenants under `source = \"pattern\"`; `@default` is the built-in list",
            parse_reserved,
        );
        if clear && !wanted(SourceName::Pattern) && section.has("reserved") {
            section.refuse(
                "reserved",
                "the key has no use without `source = \"pattern\"`",
                "remove it: the source lists every tenant there is",
            );
        }
        let postgres = Postgres::read(reader, names.contains(&SourceName::Postgres));
        if clear {
            tenants.sources = names
                .iter()
                .filter_map(|name| match name {
                    SourceName::Pattern => Some(TenantSource::Pattern),
                    SourceName::File => file.clone().map(TenantSource::File),
                    SourceName::Postgres => {
                        postgres.clone().map(Box::new).map(TenantSource::Postgres)
                    }
                })
                .collect();
        }
        tenants
    }
}

/// A header name that is free. Apps behind CGI and WSGI read `_` and `-` as the same, so `X_Forwarded_For` is taken.
fn parse_header(text: &str) -> Result<HeaderName, Flaw> {
    let Ok(header) = HeaderName::from_bytes(text.as_bytes()) else {
        return Err(Flaw::new(
            "not a header name",
            "write letters, digits and `-`, as in `X-Tenant`",
        ));
    };
    let folded = header.as_str().replace('_', "-");
    if TAKEN
        .iter()
        .any(|taken| folded == *taken || (taken.ends_with('-') && folded.starts_with(taken)))
    {
        return Err(Flaw::new(
            "this header has a meaning of its own",
            "choose another one, as in `X-Tenant`",
        ));
    }
    Ok(header)
}

impl Apex {
    fn parse(text: &str) -> Result<Self, Flaw> {
        if text == "reject" {
            return Ok(Self::Reject);
        }
        if text.is_empty()
            || text.len() > LONGEST_TENANT
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(Flaw::new(
                format!(
                    "a tenant's name has 1 to {LONGEST_TENANT} printable ASCII characters without spaces"
                ),
                "write the name, as in `\"public\"`, or `\"reject\"`",
            ));
        }
        Ok(Self::Tenant(text.to_owned()))
    }
}

impl fmt::Display for Apex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reject => f.write_str("reject"),
            Self::Tenant(name) => f.write_str(name),
        }
    }
}

fn parse_reserved(text: &str) -> Result<String, Flaw> {
    if text == "@default" {
        return Ok(text.to_owned());
    }
    if text.starts_with('@') {
        return Err(Flaw::new(
            "there is no such list",
            "the one built-in list is `@default`",
        ));
    }
    if text.contains('.') || Host::parse(&format!("{text}.example")).is_err() {
        return Err(Flaw::new(
            "not one label of a host name",
            "write `blog` for `blog.example.com`",
        ));
    }
    Ok(text.to_ascii_lowercase())
}

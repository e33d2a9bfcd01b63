//! `[tenants]`: how a host becomes a tenant, and how the app is told.

mod http;
mod lookup;
mod postgres;

use std::fmt;
use std::path::PathBuf;

use ::http::HeaderName;

pub use self::http::{Contract, HttpAsk};
pub use self::lookup::Lookup;
use super::answers::Answers;
use super::identity::{Identity, parse_header};
use super::problem::Flaw;
use super::reader::Reader;
use super::section::Section;
use crate::host::Host;

pub use self::postgres::{CHANNEL, Mode, Postgres, Preset, TableName};

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
    /// What else the app is told, and how it can be sure.
    pub identity: Identity,
    /// What tenants that are not served answer.
    pub answers: Answers,
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
    /// `"http"`: an address is asked for each host.
    Http(Box<HttpAsk>),
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
            identity: Identity::default(),
            answers: Answers::default(),
        }
    }
}

/// Longest value of the tenant header that can be configured.
const LONGEST_TENANT: usize = 128;

#[derive(Clone, Copy, PartialEq)]
enum SourceName {
    Pattern,
    File,
    Postgres,
    Http,
}

const SOURCES: &[(&str, SourceName)] = &[
    ("pattern", SourceName::Pattern),
    ("file", SourceName::File),
    ("postgres", SourceName::Postgres),
    ("http", SourceName::Http),
];
const WWW: &[(&str, Www)] = &[
    ("redirect", Www::Redirect),
    ("same", Www::Same),
    ("reject", Www::Reject),
];

impl Tenants {
    /// `on_demand`: custom domains are to get certificates.
    pub(super) fn read(reader: &mut Reader<'_>, on_demand: bool) -> Self {
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
             `file` lists, `postgres` those in a database, `http` those that the app knows, asked host by host",
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
        tenants.read_apex(&mut section);
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
        let pattern = clear.then(|| wanted(SourceName::Pattern));
        tenants.identity = Identity::read(&mut section, pattern);
        tenants.read_sections(reader, clear && names == [SourceName::Pattern]);
        if on_demand && clear && names == [SourceName::Pattern] {
            reader.section("on_demand").refuse(
                "enabled",
                "`tenants.source = \"pattern\"` knows no custom domains, so none could ever get a certificate",
                "set `tenants.source` to `file`, `postgres` or `http`, or remove the line",
            );
        }
        let postgres = Postgres::read(reader, names.contains(&SourceName::Postgres));
        let http = HttpAsk::read(reader, clear && names.contains(&SourceName::Http));
        if clear {
            tenants.sources = names
                .iter()
                .filter_map(|name| match name {
                    SourceName::Pattern => Some(TenantSource::Pattern),
                    SourceName::File => file.clone().map(TenantSource::File),
                    SourceName::Postgres => {
                        postgres.clone().map(Box::new).map(TenantSource::Postgres)
                    }
                    SourceName::Http => http.clone().map(Box::new).map(TenantSource::Http),
                })
                .collect();
        }
        tenants
    }

    fn read_apex(&mut self, section: &mut Section<'_, '_>) {
        section.text(
            "apex",
            &mut self.apex,
            "What the bare domain is: `reject` (404), or the name of a tenant",
            Apex::parse,
        );
        section.choice(
            "www",
            &mut self.www,
            WWW,
            "What `www.` answers: `redirect` to the bare domain, `same` as it, or `reject`",
        );
    }

    fn read_sections(&mut self, reader: &mut Reader<'_>, only_pattern: bool) {
        let identity = &mut self.identity;
        identity.read_sections(reader, &self.header, only_pattern);
        self.answers = Answers::read(reader);
    }
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

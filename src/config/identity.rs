//! `[tenants]` and `[tenants.headers]`: how the app is told the tenant.

use std::fmt;

use http::HeaderName;

use super::problem::Flaw;
use super::reader::Reader;
use super::section::Section;
use super::signature::Signature;
use crate::header_name::{Fold, NoExtra, extra_name};

/// What the app is told, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Which name of the tenant `tenants.header` carries. Default [`TenantValue::Id`].
    pub value: TenantValue,
    /// The schema of tenants of `source = "pattern"`, made of their label. Default: they have none.
    pub schema: Option<SchemaTemplate>,
    /// Further headers with names of the tenant. Default: none.
    pub headers: TenantHeaders,
    /// What proves to the app that the edge has spoken. Default: nothing.
    pub signature: Option<Signature>,
    /// What becomes of `Domain=` in cookies that an app sets. Default [`CookieScope::Host`].
    pub cookie_scope: CookieScope,
}

/// Which name of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TenantValue {
    /// `"id"`: the one that stays.
    #[default]
    Id,
    /// `"slug"`: the one in host names; the id, if the source knows no slug.
    Slug,
    /// `"schema"`: the one of its schema in the database. A tenant without is not served.
    Schema,
}

/// Headers beside `tenants.header`: those with names of the tenant, and those that rows may add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantHeaders {
    /// For the id, as in `X-Tenant-Id`.
    pub id: Option<HeaderName>,
    /// For the slug.
    pub slug: Option<HeaderName>,
    /// For the schema; left out for a tenant that has none.
    pub schema: Option<HeaderName>,
    /// What rows may add beside the headers of plans. No client of any tenant can set one of these. Default: none.
    pub rows: Vec<HeaderName>,
}

/// How a schema is made of a label: `app_{slug}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaTemplate {
    /// What stands before the label.
    pub before: String,
    /// What stands behind it.
    pub after: String,
    /// Whether each `-` of the label becomes `_`. No label has `_`, so no two labels share a schema.
    pub underscore: bool,
}

/// What becomes of `Domain=` in `Set-Cookie`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CookieScope {
    /// `"host"`: it is removed.
    #[default]
    Host,
    /// `"warn"`: it stays, and the log says so.
    Warn,
    /// `"off"`: it stays.
    Off,
}

const VALUES: &[(&str, TenantValue)] = &[
    ("id", TenantValue::Id),
    ("slug", TenantValue::Slug),
    ("schema", TenantValue::Schema),
];
pub(super) const SCOPES: &[(&str, CookieScope)] = &[
    ("host", CookieScope::Host),
    ("warn", CookieScope::Warn),
    ("off", CookieScope::Off),
];

impl CookieScope {
    /// From the word of a configuration or row.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let word = SCOPES.iter().find(|(word, _)| *word == text);
        word.map(|(_, scope)| *scope)
    }
}

impl fmt::Display for CookieScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = SCOPES.iter().find(|(_, scope)| scope == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// Where the label stands in a template.
const LABEL: &str = "{slug}";

impl Identity {
    /// The keys that stand in `[tenants]` itself. `pattern`: the source that knows labels only is among the sources; `None`
    /// if that is not clear.
    pub(super) fn read(section: &mut Section<'_, '_>, pattern: Option<bool>) -> Self {
        let mut identity = Self::default();
        section.choice(
            "value",
            &mut identity.value,
            VALUES,
            "Which name of the tenant that header carries: `id`, `slug` (the id, if there is none) or `schema`",
        );
        identity.schema = section.maybe_text(
            "schema",
            "no schema",
            "The schema of a tenant of `source = \"pattern\"`, as in `{slug}` or `app_{slug}`",
            SchemaTemplate::parse,
        );
        let mut underscore = false;
        section.flag(
            "schema_underscore",
            &mut underscore,
            "Whether each `-` of the label becomes `_` in that schema",
        );
        if pattern == Some(false) && section.has("schema") {
            section.refuse(
                "schema",
                "the key has no use without `source = \"pattern\"`",
                "remove it: the source says each tenant's schema",
            );
        }
        match &mut identity.schema {
            Some(schema) => schema.underscore = underscore,
            None if underscore && !section.has("schema") => section.refuse(
                "schema_underscore",
                "the key has no use without `schema`",
                "write `schema = \"{slug}\"` above it",
            ),
            None => {}
        }
        section.choice(
            "cookie_scope",
            &mut identity.cookie_scope,
            SCOPES,
            "What becomes of `Domain=` in cookies that apps set: `host` removes it, `warn` logs it, `off` lets it pass",
        );
        identity
    }

    /// The sections below. `header` is the one of `[tenants]`; `pattern` is whether that is the only source.
    pub(super) fn read_sections(
        &mut self,
        reader: &mut Reader<'_>,
        header: &HeaderName,
        only_pattern: bool,
    ) {
        self.headers = TenantHeaders::read(reader, header);
        self.signature = Signature::read(reader);
        let mut section = reader.section("tenants");
        if only_pattern && self.schema.is_none() && !section.has("schema") {
            let hint = "write `schema = \"{slug}\"` below `[tenants]`, or another template";
            if self.value == TenantValue::Schema {
                let message = "`source = \"pattern\"` knows no schema by itself";
                section.refuse("value", message, hint);
            }
            if self.headers.schema.is_some() {
                let mut section = reader.section("tenants.headers");
                let message = "the key has no use without `schema` in `[tenants]`";
                section.refuse("schema", message, hint);
            }
        }
    }
}

impl TenantHeaders {
    fn read(reader: &mut Reader<'_>, header: &HeaderName) -> Self {
        let mut section = reader.section("tenants.headers");
        let mut taken = vec![Fold::new(header.as_str().as_bytes())];
        let mut one = |name: &'static str, meaning: &'static str| {
            let found = section.maybe_text(name, "not sent", meaning, parse_header)?;
            let fold = Fold::new(found.as_str().as_bytes());
            if taken
                .iter()
                .any(|other| other.as_bytes() == fold.as_bytes())
            {
                let message = "another tenant header has this name, or reads like it";
                section.refuse(name, message, "choose another one, as in `X-Tenant-Id`");
                return None;
            }
            taken.push(fold);
            Some(found)
        };
        let id = one(
            "id",
            "A further header with the tenant's id, as in `X-Tenant-Id`",
        );
        let slug = one(
            "slug",
            "A further header with the tenant's slug (the id, if there is none)",
        );
        let schema = one(
            "schema",
            "A further header with the tenant's schema, if it has one",
        );
        let mut rows = Vec::new();
        section.list(
            "rows",
            &mut rows,
            "Names of the headers that rows may add beside those of plans; what a client of any tenant sends under them is removed",
            |text| extra_name(text).map_err(no_extra),
        );
        Self {
            id,
            slug,
            schema,
            rows,
        }
    }

    /// Every name of the tenant's, `header` the one of `[tenants]`.
    pub(super) fn told<'h>(
        &'h self,
        header: &'h HeaderName,
    ) -> impl Iterator<Item = &'h HeaderName> {
        let further = [&self.id, &self.slug, &self.schema].into_iter().flatten();
        std::iter::once(header).chain(further)
    }
}

/// What is wrong with a header that rows or plans add.
pub(super) fn no_extra(wrong: NoExtra) -> Flaw {
    match wrong {
        NoExtra::Form => Flaw::new(
            "not a header",
            "write letters, digits and `-` for a name, as in `X-Theme`, and `X-Theme: dark` for a header",
        ),
        NoExtra::Taken => Flaw::new(
            "this header has a meaning of its own",
            "choose another name, as in `X-Theme`",
        ),
    }
}

impl SchemaTemplate {
    fn parse(text: &str) -> Result<Self, Flaw> {
        let flaw = |message: &str| Flaw::new(message.to_owned(), "write `{slug}` or `app_{slug}`");
        let (before, after) = text
            .split_once(LABEL)
            .ok_or_else(|| flaw("not a template for a schema: `{slug}` is not in it"))?;
        let plain = |part: &str| {
            part.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !plain(before) || !plain(after) {
            return Err(flaw(
                "beside `{slug}` there are letters, digits and `_` only",
            ));
        }
        Ok(Self {
            before: before.to_owned(),
            after: after.to_owned(),
            underscore: false,
        })
    }

    /// The schema of a label.
    #[must_use]
    pub fn fill(&self, label: &str) -> String {
        let label = if self.underscore {
            label.replace('-', "_")
        } else {
            label.to_owned()
        };
        format!("{}{label}{}", self.before, self.after)
    }
}

impl fmt::Display for SchemaTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{LABEL}{}", self.before, self.after)
    }
}

/// A header name that is free. Apps behind CGI and WSGI read `_` and `-` as the same, so `X_Forwarded_For` is taken.
pub(super) fn parse_header(text: &str) -> Result<HeaderName, Flaw> {
    let Ok(header) = HeaderName::from_bytes(text.as_bytes()) else {
        return Err(Flaw::new(
            "not a header name",
            "write letters, digits and `-`, as in `X-Tenant`",
        ));
    };
    let fold = Fold::new(header.as_str().as_bytes());
    if fold.is_taken() || SIGNED.contains(&fold.as_bytes()) {
        return Err(Flaw::new(
            "this header has a meaning of its own",
            "choose another one, as in `X-Tenant`",
        ));
    }
    Ok(header)
}

/// Where signatures stand.
const SIGNED: [&[u8]; 2] = [b"x-tenant-signature", b"x-tenant-token"];

//! `[tenants.limits]` and `[plans.NAME]`: what one tenant may use.
//!
//! A row's own value wins over its plan's, and that over `[tenants.limits]`: each key for itself. Headers of a plan are added
//! one by one, and no client of any tenant can set one that any plan has.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use http::HeaderName;
use ipnet::IpNet;

use super::identity::{CookieScope, SCOPES, no_extra};
use super::reader::Reader;
use super::section::Section;
use super::tenants::Tenants;
use super::value;
use crate::header_name::{Extra, Fold, extra};
use crate::units::{ByteSize, Rate};

/// What one tenant may use; what is `None` or empty, nobody has limited here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The pool that serves the tenant. `None`: `[upstream]`. Not a key of `[tenants.limits]`.
    pub pool: Option<String>,
    /// What its requests carry to the app beside the headers of all: feature flags, a theme. Not a key of
    /// `[tenants.limits]`.
    pub headers: Vec<Extra>,
    /// What becomes of `Domain=` in cookies that its app sets. `None`: as in `[tenants]`. Not a key of `[tenants.limits]`.
    pub cookie_scope: Option<CookieScope>,
    /// Requests of all its clients together.
    pub rate: Option<Rate>,
    /// Requests of each client address (IPv6: each /64).
    pub address_rate: Option<Rate>,
    /// Requests under way at once, tunnels and streamed answers included.
    pub concurrency: Option<u32>,
    /// The most that it may hold of a pool's places, in percent.
    pub share: Option<u32>,
    /// Largest body of a request.
    pub body_size: Option<ByteSize>,
    /// If there are any: no other client may come.
    pub allow: Vec<IpNet>,
    /// No client of these may come.
    pub deny: Vec<IpNet>,
}

/// Plans by name.
pub type Plans = BTreeMap<String, Plan>;

const MANY: RangeInclusive<u32> = 1..=1_000_000;

impl Plan {
    /// `[tenants.limits]`.
    pub(super) fn read_defaults(reader: &mut Reader<'_>) -> Self {
        Self::default().read(&mut reader.section("tenants.limits"), "no limit")
    }

    /// All `[plans.NAME]`. Without any, the keys of one are made known.
    pub(super) fn read_all(reader: &mut Reader<'_>) -> Plans {
        let names = reader.names("plans");
        if names.is_empty() {
            Self::read_plan(&mut reader.section("plans.NAME"));
        }
        let plans = names.into_iter().map(|name| {
            let plan = Self::read_plan(&mut reader.section(format!("plans.{name}")));
            (name, plan)
        });
        plans.collect()
    }

    fn read_plan(section: &mut Section<'_, '_>) -> Self {
        let pool = section.maybe_text(
            "pool",
            "`[upstream]`",
            "The pool (`[pools.NAME]`) that serves tenants of this plan",
            |text| Ok(text.to_owned()),
        );
        let headers = section.maybe_list(
            "headers",
            "none",
            "Headers for the app, as in `X-Feature: gold`; what a client of any tenant sends under their names is removed",
            |text| extra(text).map_err(no_extra),
        );
        let cookie_scope = section.maybe_choice(
            "cookie_scope",
            "as in `[tenants]`",
            SCOPES,
            "What becomes of `Domain=` in cookies that apps set: `host` removes it, `warn` logs it, `off` lets it pass",
        );
        Self {
            pool,
            headers: headers.unwrap_or_default(),
            cookie_scope,
            ..Self::default()
        }
        .read(section, "as in `[tenants.limits]`")
    }

    fn read(mut self, section: &mut Section<'_, '_>, absent: &'static str) -> Self {
        self.rate = section.maybe_rate(
            "rate",
            absent,
            "Requests of a tenant: `50/s`, `600/m`, `10000/h`; beyond it, 429. So many may come at once",
        );
        self.address_rate = section.maybe_rate(
            "address_rate",
            absent,
            "Requests of one client address (/64 for IPv6) to a tenant; beyond it, 429",
        );
        self.concurrency = section.maybe_number(
            "concurrency",
            absent,
            MANY,
            "Requests of a tenant under way at once, WebSockets and streamed answers included; beyond it, 429",
        );
        self.share = section.maybe_number(
            "share",
            absent,
            1..=100,
            "Percent of a pool's `server_requests` and `queue` that one tenant may hold; more of its requests wait",
        );
        self.body_size = section.maybe_size(
            "body_size",
            absent,
            ByteSize(1)..=ByteSize(1 << 40),
            "Largest request body, in place of `limits.body_size`",
        );
        section.list(
            "allow",
            &mut self.allow,
            "Networks of the only clients that may come to a tenant, others get 403; empty says nothing",
            value::network,
        );
        section.list(
            "deny",
            &mut self.deny,
            "Networks of clients that get 403 from a tenant, whatever `allow` says; empty says nothing",
            value::network,
        );
        self
    }
}

/// Headers that are added: none of them reads like one that tells the tenant, no section has one twice, and each has one
/// spelling, so that no app gets two that it reads as one.
pub(super) fn check_headers(reader: &mut Reader<'_>, tenants: &Tenants, plans: &Plans) {
    let headers = &tenants.identity.headers;
    let told: Vec<Fold> = headers.told(&tenants.header).map(fold).collect();
    let mut spelled: Vec<&HeaderName> = Vec::new();
    let rows = (
        "tenants.headers".to_owned(),
        "rows",
        headers.rows.iter().collect::<Vec<_>>(),
    );
    let plans = plans.iter().map(|(name, plan)| {
        let names = plan.headers.iter().map(|(name, _)| name).collect();
        (format!("plans.{name}"), "headers", names)
    });
    for (path, key, names) in std::iter::once(rows).chain(plans) {
        let mut section = reader.section(path);
        for (at, name) in names.iter().enumerate() {
            let own = fold(name);
            let tells = |told: &Fold| own.reads_as(told) || told.reads_as(&own);
            if told.iter().any(tells) {
                let message = format!("`{name}` reads like a header that tells the tenant");
                section.refuse(key, &message, "choose another name, as in `X-Theme`");
            }
            let mut before = names.iter().take(at);
            if before.any(|other| fold(other).as_bytes() == own.as_bytes()) {
                let message = format!("`{name}` stands there twice");
                section.refuse(key, &message, "remove one of the two");
                continue;
            }
            let other = spelled
                .iter()
                .find(|other| fold(other).as_bytes() == own.as_bytes());
            match other {
                Some(other) if *other != *name => {
                    let message = format!("`{name}` reads like `{other}`, which stands elsewhere");
                    section.refuse(key, &message, "write it the same everywhere");
                }
                Some(_) => {}
                None => spelled.push(name),
            }
        }
    }
}

fn fold(name: &HeaderName) -> Fold {
    Fold::new(name.as_str().as_bytes())
}

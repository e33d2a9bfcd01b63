//! `[tenants.limits]` and `[plans.NAME]`: what one tenant may use.
//!
//! A row's own value wins over its plan's, and that over `[tenants.limits]`: each key for itself.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::reader::Reader;
use super::section::Section;
use super::value;
use crate::units::{ByteSize, Rate};

/// What one tenant may use; what is `None` or empty, nobody has limited here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The pool that serves the tenant. `None`: `[upstream]`. Not a key of `[tenants.limits]`.
    pub pool: Option<String>,
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
        Self {
            pool,
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

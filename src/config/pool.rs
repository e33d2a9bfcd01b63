//! `[pools.NAME]` and `[canary]`: further groups of app servers, and who is served by which.

use std::collections::BTreeMap;

use super::listen::Listen;
use super::plan::{Plan, Plans};
use super::problem::Flaw;
use super::reader::Reader;
use super::upstream::Upstream;

/// Further groups of app servers by name, each with the keys of `[upstream]`.
pub type Pools = BTreeMap<String, Upstream>;

/// The name of the group that `[upstream]` is.
pub const APP: &str = "app";

/// Longest name of a pool or plan, in bytes: that of a tenant's column.
const LONGEST_NAME: usize = 63;

/// Tenants that another pool serves, to try a new version of the app with some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The pool. Without it there is no canary.
    pub pool: Option<String>,
    /// Ids of tenants that it serves.
    pub tenants: Vec<String>,
    /// How many of all other tenants it serves, in percent, chosen by a hash of the id.
    pub percent: u32,
    /// Goes into that hash: another salt chooses other tenants. Default `portico`.
    pub salt: String,
}

impl Default for Canary {
    fn default() -> Self {
        Self {
            pool: None,
            tenants: Vec::new(),
            percent: 0,
            salt: "portico".to_owned(),
        }
    }
}

/// All `[pools.NAME]`. Without any, the one key that each must have is made known.
pub(super) fn read_all(reader: &mut Reader<'_>, listen: &Listen, upstream: &Upstream) -> Pools {
    let names = reader.names("pools");
    if names.is_empty() {
        let mut section = reader.section("pools.NAME");
        section.maybe_list(
            "servers",
            "required",
            "The app servers of a further pool, for tenants whose row or plan names it; a pool takes all keys of \
             `[upstream]`, `[upstream.probe]` and `[upstream.tls]`",
            |text| Ok(text.to_owned()),
        );
    }
    let mut pools = Pools::new();
    for name in names {
        let path = format!("pools.{name}");
        let pool = Upstream::read_group(reader, &path, listen);
        let mut section = reader.section(path);
        if name == APP || name.len() > LONGEST_NAME {
            let message = format!("a pool cannot have this name: `{name}`");
            section.refuse(
                "servers",
                &message,
                "`app` is `[upstream]`; others have up to 63 letters",
            );
        }
        for server in &pool.servers {
            let here = |other: &Upstream| {
                let mut servers = other.servers.iter();
                servers.any(|other| other.address == server.address)
            };
            if here(upstream) || pools.values().any(here) {
                // Its health and its limits would be those of two pools.
                let message = format!("`{}` stands in another pool too", server.address);
                section.refuse(
                    "servers",
                    &message,
                    "a server belongs to one pool: remove one of the two",
                );
            }
        }
        pools.insert(name, pool);
    }
    pools
}

impl Canary {
    pub(super) fn read(reader: &mut Reader<'_>, pools: &Pools) -> Self {
        let mut canary = Self::default();
        let mut section = reader.section("canary");
        canary.pool = section.maybe_text(
            "pool",
            "no canary",
            "The pool (`[pools.NAME]`) that serves the tenants chosen below; a pool that row or plan names wins",
            |text| known(text, pools),
        );
        section.list(
            "tenants",
            &mut canary.tenants,
            "Ids of tenants that it serves",
            |text| Ok(text.to_owned()),
        );
        section.number(
            "percent",
            &mut canary.percent,
            0..=100,
            "How many of the other tenants it serves; every node with the same `salt` chooses the same ones, and more \
             percent only adds to them",
        );
        section.text(
            "salt",
            &mut canary.salt,
            "Goes into the choice: another salt chooses other tenants",
            |text| Ok(text.to_owned()),
        );
        let used = canary.percent > 0 || !canary.tenants.is_empty();
        if used && canary.pool.is_none() && !section.has("pool") {
            section.missing("pool", "write `pool = \"NAME\"` below `[canary]`");
        }
        canary
    }
}

/// What plans say of pools: each is there, and what a share is a share of is known.
pub(super) fn check(
    reader: &mut Reader<'_>,
    defaults: &Plan,
    plans: &Plans,
    (upstream, pools): (&Upstream, &Pools),
) {
    for (name, plan) in plans {
        if let Some(Err(flaw)) = plan.pool.as_deref().map(|pool| known(pool, pools)) {
            let mut section = reader.section(format!("plans.{name}"));
            section.refuse("pool", &flaw.message, &flaw.hint);
        }
    }
    // A row may name any pool, so each has to say how many places it has.
    let bounded = |upstream: &Upstream| upstream.server_requests.is_some();
    let unbounded = if bounded(upstream) {
        let mut pools = pools.iter();
        pools
            .find(|(_, pool)| !bounded(pool))
            .map(|(name, _)| format!("pools.{name}"))
    } else {
        Some("upstream".to_owned())
    };
    let Some(group) = unbounded else {
        return;
    };
    let hint = format!(
        "set `{group}.server_requests`: a row may name any pool, and a share is a part of that"
    );
    let all = std::iter::once(("tenants.limits".to_owned(), defaults)).chain(
        plans
            .iter()
            .map(|(name, plan)| (format!("plans.{name}"), plan)),
    );
    for (path, plan) in all {
        if plan.share.is_some() {
            let mut section = reader.section(path);
            let message = format!("the key has no use without `{group}.server_requests`");
            section.refuse("share", &message, &hint);
        }
    }
}

fn known(name: &str, pools: &Pools) -> Result<String, Flaw> {
    if name == APP || pools.contains_key(name) {
        return Ok(name.to_owned());
    }
    Err(Flaw::new(
        format!("there is no pool `{name}`"),
        format!("write `[pools.{name}]` and its servers below it"),
    ))
}

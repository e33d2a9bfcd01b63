//! What holds for a tenant: its row, then its plan, then `[tenants.limits]`, each value for itself.
//!
//! A row may name what the configuration does not have. An unknown plan says nothing, and the rest holds. An unknown pool
//! is no pool: whoever was to be kept apart is not served by others' servers. So it is with an unknown plan where plans
//! choose pools. The operator is told of each name once in a generation.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use http::HeaderName;
use ipnet::IpNet;

use super::canary::Canary;
use crate::config::{APP, Config, CookieScope, Plan};
use crate::header_name::Extra;
use crate::net::access::Networks;
use crate::tenant::Tenant;
use crate::units::{ByteSize, Rate};

/// The rules of a configuration.
#[derive(Debug)]
pub struct Policy {
    defaults: Rules,
    plans: HashMap<String, Rules>,
    /// Whether any plan chooses a pool.
    plans_choose: bool,
    pools: HashSet<String>,
    cookie_scope: CookieScope,
    canary: Option<Canary>,
    told: Told,
}

/// A plan, ready for use.
#[derive(Debug)]
struct Rules {
    plan: Plan,
    allow: Networks,
    deny: Networks,
}

/// What holds for one tenant. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms<'p> {
    /// The pool that serves it, [`APP`] for `[upstream]`; `None`: one that is not known.
    pub pool: Option<&'p str>,
    /// What its plan adds to its requests.
    pub headers: &'p [Extra],
    /// What becomes of `Domain=` in cookies that its app sets.
    pub cookie_scope: CookieScope,
    /// Requests of all its clients together.
    pub rate: Option<Rate>,
    /// Requests of each client address.
    pub address_rate: Option<Rate>,
    /// Requests under way.
    pub concurrency: Option<u32>,
    /// The most that it may hold of a pool, in percent.
    pub share: Option<u32>,
    /// Largest body, where it is another than that of all.
    pub body_size: Option<ByteSize>,
    /// Whether the client may come.
    pub admitted: bool,
    /// Whether its row names a plan that is not known.
    pub unknown_plan: bool,
}

impl Rules {
    fn new(plan: &Plan) -> Self {
        Self {
            allow: Networks::new(&plan.allow),
            deny: Networks::new(&plan.deny),
            plan: plan.clone(),
        }
    }
}

impl Policy {
    /// The rules of `config`.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut pools: HashSet<String> = config.pools.keys().cloned().collect();
        pools.insert(APP.to_owned());
        Self {
            defaults: Rules::new(&config.tenant_limits),
            plans: config
                .plans
                .iter()
                .map(|(name, plan)| (name.clone(), Rules::new(plan)))
                .collect(),
            plans_choose: config.plans.values().any(|plan| plan.pool.is_some()),
            pools,
            cookie_scope: config.tenants.identity.cookie_scope,
            canary: Canary::new(&config.canary),
            told: Told::default(),
        }
    }

    /// What holds for `tenant` and a client of it.
    #[must_use]
    pub fn terms(&self, tenant: &Tenant, client: IpAddr) -> Terms<'_> {
        let row = &*tenant.attributes;
        let plan = row.plan.as_deref().and_then(|name| self.plans.get(name));
        let unknown_plan = row.plan.as_deref().filter(|_| plan.is_none());
        if let Some(name) = unknown_plan
            && self.told.is_news(("plan", name))
        {
            tracing::warn!(
                plan = name,
                tenant = %tenant.id,
                "a tenant names a plan that is not known\nhint: write `[plans.{name}]`, or correct the tenant's row"
            );
        }
        let (given, base) = (plan.unwrap_or(&self.defaults), &self.defaults);
        Terms {
            pool: self.pool(tenant, plan, unknown_plan.is_some()),
            headers: plan.map_or(&[], |rules| &rules.plan.headers),
            cookie_scope: row
                .cookie_scope
                .or(given.plan.cookie_scope)
                .unwrap_or(self.cookie_scope),
            rate: row.rate.or(given.plan.rate).or(base.plan.rate),
            address_rate: row
                .address_rate
                .or(given.plan.address_rate)
                .or(base.plan.address_rate),
            concurrency: row
                .concurrency
                .or(given.plan.concurrency)
                .or(base.plan.concurrency),
            share: row.share.or(given.plan.share).or(base.plan.share),
            body_size: row
                .body_size
                .or(given.plan.body_size)
                .or(base.plan.body_size),
            admitted: !listed(&row.deny, [&given.deny, &base.deny], client).unwrap_or(false)
                && listed(&row.allow, [&given.allow, &base.allow], client).unwrap_or(true),
            unknown_plan: unknown_plan.is_some(),
        }
    }

    fn pool<'p>(
        &'p self,
        tenant: &Tenant,
        plan: Option<&'p Rules>,
        unknown_plan: bool,
    ) -> Option<&'p str> {
        let planned = || plan.and_then(|rules| rules.plan.pool.as_deref());
        match tenant.attributes.pool.as_deref().or_else(planned) {
            Some(pool) => {
                let known = self.pools.get(pool);
                if known.is_none() && self.told.is_news(("pool", pool)) {
                    tracing::error!(
                        pool,
                        tenant = %tenant.id,
                        "a tenant names a pool that is not known; it gets 503\nhint: write `[pools.{pool}]` and its \
                         servers, or correct the tenant's row"
                    );
                }
                known.map(String::as_str)
            }
            None if unknown_plan && self.plans_choose => None,
            None => match &self.canary {
                Some(canary) if canary.chooses(tenant.id.as_str()) => Some(&canary.pool),
                _ => Some(APP),
            },
        }
    }

    /// Says that a header of the tenant's row does not reach the app, once for each name.
    pub fn refuse_header(&self, tenant: &Tenant, name: &HeaderName) {
        if self.told.is_news(("header", name.as_str())) {
            tracing::error!(
                header = %name,
                tenant = %tenant.id,
                "a tenant's row sets a header that is not listed; the app does not get it, since a client of another tenant \
                 could send it too\nhint: add `{name}` to `rows` in `[tenants.headers]`, or remove it from the row"
            );
        }
    }

    /// Says that a tenant's share is one of a pool whose places nobody counts, once for each pool.
    pub fn refuse_share(&self, tenant: &Tenant, pool: &str) {
        if self.told.is_news(("share", pool)) {
            tracing::warn!(
                pool,
                tenant = %tenant.id,
                "a tenant's row has a share of a pool whose places are not limited; it says nothing\nhint: set \
                 `server_requests` of that pool"
            );
        }
    }
}

/// Whether `client` is on the list that holds: the row's, or the first of `others` that is not empty. `None`: all are empty.
fn listed(row: &[IpNet], others: [&Networks; 2], client: IpAddr) -> Option<bool> {
    if !row.is_empty() {
        let client = client.to_canonical();
        return Some(row.iter().any(|network| network.contains(&client)));
    }
    let list = others.into_iter().find(|list| !list.is_empty())?;
    Some(list.contains(client))
}

/// Names that were told of, as bits at their hashes: two that meet in one bit are told of as one.
#[derive(Debug)]
struct Told {
    bits: [AtomicU64; 64],
    hasher: foldhash::quality::RandomState,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            bits: std::array::from_fn(|_| AtomicU64::new(0)),
            hasher: foldhash::quality::RandomState::default(),
        }
    }
}

impl Told {
    fn is_news(&self, name: (&str, &str)) -> bool {
        let hash = self.hasher.hash_one(name);
        let at = usize::try_from((hash >> 6) & 63).unwrap_or(0);
        let bit = 1 << (hash & 63);
        let word = self.bits.get(at);
        word.is_some_and(|word| {
            word.load(Relaxed) & bit == 0 && word.fetch_or(bit, Relaxed) & bit == 0
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Upstream;
    use crate::header_name::extra;
    use crate::tenant::row::Row;

    fn tenant(columns: &[(&str, &str)]) -> Tenant {
        let mut row = Row::default();
        for (column, value) in [("id", "acme")].iter().chain(columns) {
            assert_eq!(row.set(column, value), Ok(true), "{column}");
        }
        row.tenant().unwrap()
    }

    fn policy(plan_pool: Option<&str>) -> Policy {
        let mut config = Config::for_domains(Vec::new());
        config.tenant_limits.rate = Rate::parse("1/s");
        config.tenant_limits.concurrency = Some(7);
        config.tenant_limits.deny = vec!["192.0.2.0/24".parse().unwrap()];
        let gold = Plan {
            rate: Rate::parse("10/s"),
            share: Some(40),
            pool: plan_pool.map(str::to_owned),
            headers: vec![extra("X-Feature: gold").unwrap()],
            cookie_scope: Some(CookieScope::Off),
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            ..Plan::default()
        };
        config.plans.insert("gold".to_owned(), gold);
        config.pools.insert("eu".to_owned(), Upstream::default());
        Policy::new(&config)
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_row_wins_over_its_plan_and_that_over_the_defaults() {
        let policy = policy(None);
        let anywhere = at("198.51.100.1");
        let plain = tenant(&[]);
        let terms = policy.terms(&plain, anywhere);
        assert_eq!(terms.rate.unwrap().count, 1);
        assert_eq!(
            (terms.pool, terms.share, terms.admitted),
            (Some(APP), None, true)
        );
        assert_eq!(
            (terms.headers, terms.cookie_scope),
            (&[][..], CookieScope::Host)
        );
        assert!(!policy.terms(&plain, at("192.0.2.9")).admitted);
        assert!(!policy.terms(&plain, at("::ffff:192.0.2.9")).admitted);
        let gold = tenant(&[("plan", "gold")]);
        let terms = policy.terms(&gold, anywhere);
        assert_eq!(
            (terms.rate.unwrap().count, terms.concurrency),
            (10, Some(7))
        );
        assert_eq!((terms.share, terms.admitted), (Some(40), false));
        assert_eq!(
            (terms.headers.len(), terms.cookie_scope),
            (1, CookieScope::Off)
        );
        let own = tenant(&[
            ("plan", "gold"),
            ("rate", "3/m"),
            ("allow", "198.51.100.0/24"),
            ("deny", "198.51.100.7"),
            ("share", "5"),
            ("cookie_scope", "warn"),
            ("body_size", "1MiB"),
        ]);
        let terms = policy.terms(&own, anywhere);
        assert_eq!((terms.rate.unwrap().count, terms.admitted), (3, true));
        assert_eq!(terms.body_size, Some(ByteSize(1 << 20)));
        assert_eq!(
            (terms.share, terms.cookie_scope),
            (Some(5), CookieScope::Warn)
        );
        assert!(!policy.terms(&own, at("198.51.100.7")).admitted);
    }

    #[test]
    fn an_unknown_pool_is_nobodys_and_an_unknown_plan_says_nothing() {
        let client = at("198.51.100.1");
        let strict = policy(Some("eu"));
        let terms = |columns: &[(&str, &str)]| {
            let tenant = tenant(columns);
            let terms = strict.terms(&tenant, client);
            (terms.pool.map(str::to_owned), terms.unknown_plan)
        };
        let some = |pool: &str| Some(pool.to_owned());
        assert_eq!(terms(&[("pool", "eu")]), (some("eu"), false));
        assert_eq!(terms(&[("pool", "us")]), (None, false));
        assert_eq!(terms(&[("plan", "gold")]), (some("eu"), false));
        assert_eq!(
            terms(&[("plan", "gold"), ("pool", "app")]),
            (some(APP), false)
        );
        // Plans choose pools here, so a plan that is not known may have chosen one.
        assert_eq!(terms(&[("plan", "lead")]), (None, true));
        assert_eq!(
            terms(&[("plan", "lead"), ("pool", "eu")]),
            (some("eu"), true)
        );
        let mild = policy(None);
        let lead = tenant(&[("plan", "lead")]);
        let terms = mild.terms(&lead, client);
        assert_eq!((terms.pool, terms.unknown_plan), (Some(APP), true));
        assert_eq!(terms.rate.unwrap().count, 1, "the defaults hold");
    }

    #[test]
    fn names_are_told_of_once() {
        let told = Arc::new(Told::default());
        assert!(told.is_news(("pool", "eu")) && !told.is_news(("pool", "eu")));
        assert!(told.is_news(("plan", "eu")));
    }
}

//! `portico cert plan`: everything that an order needs, tried without one.
//!
//! Each [`Finding`] is one thing that was looked at, with what to do if it is wrong. What is tried depends on the kind of
//! challenge: a TXT record of our own is published, seen at every authoritative server and removed; a standing record is
//! looked for; an answer is handed to the proxy and asked for where the CA will ask. Such a record is in the ledger
//! meanwhile, and nothing of it stays. No account is made and no order is placed.

mod answers;
mod ca;
mod records;

use std::collections::BTreeMap;

use serde::Serialize;

use super::account;
use super::caa::Wish;
use super::dns::Output;
use super::limits::Limits;
use super::renew;
use crate::cert::lineage::Lineage;
use crate::cert::live::CertName;
use crate::cert::store::Store;
use crate::clock::UnixTime;
use crate::config::{Ca, Challenge, Config};
use crate::host::Host;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Good,
    /// It may work, or works for now.
    Doubtful,
    /// An order would fail.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was seen, and what to do.
    pub detail: String,
}

impl Finding {
    fn new(what: &'static str, grade: Grade, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            what,
            grade,
            detail,
        }
    }
}

/// The ports that a CA comes to; others are for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// For http-01.
    pub http: u16,
    /// For tls-alpn-01.
    pub tls: u16,
}

impl Default for Ports {
    /// 80 (RFC 8555 §8.3) and 443 (RFC 8737 §3).
    fn default() -> Self {
        Self { http: 80, tls: 443 }
    }
}

/// What is wanted of one name.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    exact: bool,
    wildcard: bool,
}

/// The plan of one lineage.
struct Plan<'a> {
    config: &'a Config,
    store: &'a dyn Store,
    lineage: Lineage,
    hosts: BTreeMap<Host, Wanted>,
    /// The URL of our account at the first CA; none if there is none.
    account: Option<String>,
    /// The names that the first CA goes by; empty if it does not tell.
    identities: Vec<String>,
    found: Vec<Finding>,
}

/// Looks at everything that an order for the lineage `domain` needs. A CA comes to `ports`.
pub async fn plan(
    config: &Config,
    store: &dyn Store,
    domain: &Host,
    ports: Ports,
    out: Output<'_>,
) -> Vec<Finding> {
    let lineage = Lineage::of(config, domain);
    let mut hosts: BTreeMap<Host, Wanted> = BTreeMap::new();
    for name in &lineage.names {
        match name {
            CertName::Exact(host) => hosts.entry(host.clone()).or_default().exact = true,
            CertName::Wildcard(host) => hosts.entry(host.clone()).or_default().wildcard = true,
        }
    }
    let mut plan = Plan {
        config,
        store,
        lineage,
        hosts,
        account: None,
        identities: Vec::new(),
        found: Vec::new(),
    };
    match store.probe() {
        Ok(()) => plan.note(
            "state",
            Grade::Good,
            "the state directory takes and keeps files",
        ),
        Err(error) => plan.note("state", Grade::Bad, error.to_string()),
    }
    let names = (domain, &plan.hosts);
    budgets(config, store, names, &mut plan.found);
    for ca in config.acme.cas() {
        plan.ask(&ca).await;
    }
    match plan.lineage.challenge {
        Challenge::Dns01 | Challenge::DnsAccount01 => plan.records(out).await,
        Challenge::DnsPersist01 => plan.standing().await,
        Challenge::Http01 => plan.answers(ports.http).await,
        Challenge::TlsAlpn01 => plan.answers(ports.tls).await,
    }
    plan.found
}

impl Plan<'_> {
    fn note(&mut self, what: &'static str, grade: Grade, detail: impl Into<String>) {
        self.found.push(Finding::new(what, grade, detail));
    }

    /// Looks at one CA. What is wrong with the second one fails no order, as long as the first one works.
    async fn ask(&mut self, ca: &Ca) {
        let first = *ca == self.config.acme.first();
        let mut found = Vec::new();
        let account = account::show(&self.config.state_dir, ca).ok().flatten();
        let account = account.and_then(|known| known.url);
        if let Some(meta) = ca::ask(ca, &mut found).await {
            let dns = self.config.acme.dns.clone().unwrap_or_default();
            for (host, wanted) in &self.hosts {
                let wish = Wish {
                    identities: &meta.caa_identities,
                    account: account.as_deref(),
                    method: self.lineage.challenge.name(),
                    exact: wanted.exact,
                    wildcard: wanted.wildcard,
                };
                found.push(ca::authorization(&dns, host, &wish).await);
            }
            if first {
                self.identities = meta.caa_identities;
            }
        }
        if first {
            self.account = account;
        } else {
            for finding in &mut found {
                finding.grade = finding.grade.min(Grade::Doubtful);
                finding.detail = format!("second CA (`acme.fallback`): {}", finding.detail);
            }
        }
        self.found.append(&mut found);
    }
}

/// What holds an order back.
fn budgets(
    config: &Config,
    store: &dyn Store,
    (domain, hosts): (&Host, &BTreeMap<Host, Wanted>),
    found: &mut Vec<Finding>,
) {
    let now = UnixTime::now();
    let what = "budget";
    let limits = match Limits::load(store) {
        Ok(limits) => limits,
        Err(error) => return found.push(Finding::new(what, Grade::Bad, error.to_string())),
    };
    if let Some(block) = limits.block(&config.acme.directory, domain, now) {
        let detail = format!(
            "the CA wants no request for {} before {}: {}",
            block.scope, block.until, block.detail
        );
        found.push(Finding::new(what, Grade::Bad, detail));
    } else if let Some(at) = next_validation(&limits, &config.acme.directory, hosts, now) {
        let detail = format!("too many failed validations; the next may be asked for at {at}");
        found.push(Finding::new(what, Grade::Bad, detail));
    } else {
        match renew::view(config, store, domain, now).map(|view| view.waiting) {
            Ok(Some(waiting)) => {
                let detail = format!(
                    "an earlier failure holds the next try back until {}: {}",
                    waiting.until, waiting.detail
                );
                found.push(Finding::new(what, Grade::Doubtful, detail));
            }
            Ok(None) => found.push(Finding::new(
                what,
                Grade::Good,
                "no limit of the CA that we know of, and no failure, holds an order back",
            )),
            Err(error) => found.push(Finding::new(what, Grade::Bad, error.to_string())),
        }
    }
}

/// When all names may be validated once more: none if now.
fn next_validation(
    limits: &Limits,
    directory: &str,
    hosts: &BTreeMap<Host, Wanted>,
    now: UnixTime,
) -> Option<UnixTime> {
    let next = hosts.iter().filter_map(|(host, wanted)| {
        let count = usize::from(wanted.exact) + usize::from(wanted.wildcard);
        limits.next_validation(directory, host.as_str(), count, now)
    });
    next.max()
}

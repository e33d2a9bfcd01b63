//! What the admin listener and systemd are told.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::Bound;
use super::admin::{AdminSource, Question, Told};
use super::certs::{self, Faults};
use super::control::Outcome;
use super::on_demand::explain::Explainer;
use super::on_demand::{Counted, Counters};
use super::renewals::Renewals;
use super::{tenants, upstreams};
use crate::cert::live::Live;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::snapshot::Current;
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::{CertificateFacts, DirectoryFacts, DomainFacts, Facts, Metrics};
use crate::telemetry::tenants::Collector;
use crate::tenant::directory::Health;

/// Everything there is to tell.
#[derive(Debug)]
pub struct Status {
    metrics: Metrics,
    current: Arc<Current>,
    live: Arc<Live>,
    faults: Arc<Faults>,
    renewals: Renewals,
    access_log: Arc<AccessLog>,
    domains: Option<Domains>,
    usage: Arc<Collector>,
    started: UnixTime,
    workers: usize,
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    acme: &'static str,
    draining: AtomicBool,
    reloads_ok: AtomicU64,
    reloads_failed: AtomicU64,
    tenants_ok: AtomicU64,
    tenants_failed: AtomicU64,
    /// Written by the control plane, read by the admin listener; held for a copy only.
    last_reload: Mutex<Option<Value>>,
}

/// Custom domains.
#[derive(Debug)]
struct Domains {
    counters: Counters,
    orders_allowed: u64,
    explainer: Arc<Explainer>,
}

impl Status {
    pub(super) fn new(
        config: &Config,
        workers: usize,
        bound: &Bound,
        metrics: Metrics,
        current: Arc<Current>,
        (live, faults, domains): (Arc<Live>, Arc<Faults>, Option<Counters>),
        (access_log, usage): (Arc<AccessLog>, Arc<Collector>),
    ) -> Self {
        Self {
            metrics,
            current,
            live,
            faults,
            renewals: Renewals::new(config),
            access_log,
            domains: domains.map(|counters| Domains {
                counters,
                orders_allowed: u64::from(config.on_demand.orders_per_hour),
                explainer: Arc::new(Explainer::new(config)),
            }),
            usage,
            started: UnixTime::now(),
            workers,
            https: bound.https.clone(),
            http: bound.http.clone(),
            acme: match config.acme.run {
                crate::config::AcmeRun::Timer => "timer",
                crate::config::AcmeRun::Daemon => "daemon",
                crate::config::AcmeRun::Off => "off",
            },
            draining: AtomicBool::new(false),
            reloads_ok: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            tenants_ok: AtomicU64::new(0),
            tenants_failed: AtomicU64::new(0),
            last_reload: Mutex::new(None),
        }
    }

    /// Whether clients can be served.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready().is_ok()
    }

    /// Whether there is a certificate to serve with at all: what systemd is told. One domain of several without its
    /// certificate, or one that has expired, is a reason for an alarm and none for keeping the others down.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.live
            .table()
            .all()
            .iter()
            .any(|served| !served.placeholder)
    }

    /// The state in one line, for `systemctl status`.
    #[must_use]
    pub fn line(&self) -> String {
        if let Err(reasons) = self.ready() {
            return reasons.join("; ");
        }
        let table = self.live.table();
        let soonest = table.all().iter().map(|served| served.not_after).min();
        let generation = self.current.load().generation;
        match soonest {
            Some(end) => {
                format!("serving; configuration {generation}, certificates valid until {end}")
            }
            None => format!("serving; configuration {generation}"),
        }
    }

    /// The drain has begun.
    pub fn note_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// A changed list of tenants was read; a bad one changes nothing.
    pub fn note_tenants(&self, ok: bool) {
        let counter = if ok {
            &self.tenants_ok
        } else {
            &self.tenants_failed
        };
        counter.fetch_add(1, Relaxed);
    }

    /// A reload is over.
    pub fn note_reload(&self, outcome: &Outcome) {
        let counter = if outcome.is_ok() {
            &self.reloads_ok
        } else {
            &self.reloads_failed
        };
        counter.fetch_add(1, Relaxed);
        let at = UnixTime::now().to_string();
        let value = match outcome {
            Ok(restart) => json!({ "ok": true, "at": at, "needs_restart": restart }),
            Err(error) => json!({ "ok": false, "at": at, "error": error.to_string() }),
        };
        *self
            .last_reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// A reload has put another configuration into effect.
    pub fn note_config(&self, config: &Config) {
        self.renewals.set_config(config);
    }

    /// The renewal as `portico cert status --json` shows it, and what all lineages share.
    fn acme(&self) -> Value {
        let look = self.renewals.look();
        let time = |at: Option<UnixTime>| at.map(|at| at.to_string());
        json!({
            "run": self.acme,
            "heartbeat": time(look.engine.heartbeat),
            "error": look.error,
            "lineages": look.health,
        })
    }

    /// Custom domains in numbers; none if they are off.
    fn domain_facts(&self) -> Option<DomainFacts> {
        let domains = self.domains.as_ref()?;
        let counts = self.live.on_demand()?.shelf().counts();
        let counters = domains.counters.lock();
        let Counted {
            totals,
            orders,
            wished,
            refused,
        } = counters.unwrap_or_else(PoisonError::into_inner).clone();
        let standings = counts.standings.into_iter();
        Some(DomainFacts {
            standings: standings
                .map(|(standing, count)| (standing.word(), count))
                .collect(),
            issued: totals.issued,
            failed: totals.failed,
            orders: u64::try_from(orders.len()).unwrap_or(u64::MAX),
            orders_allowed: domains.orders_allowed,
            wished,
            refused,
            loaded: counts.loaded,
            loads: counts.loads,
            load_failures: counts.failed,
            evicted: counts.evicted,
        })
    }

    fn domains(&self) -> Value {
        let Some(facts) = self.domain_facts() else {
            return Value::Null;
        };
        let standings = facts.standings.iter();
        let standings: serde_json::Map<String, Value> = standings
            .map(|(standing, count)| ((*standing).to_owned(), json!(count)))
            .collect();
        json!({
            "names": standings,
            "issued": facts.issued,
            "failed": facts.failed,
            "budget_left": facts.orders_allowed.saturating_sub(facts.orders),
            "in_memory": facts.loaded,
        })
    }

    fn directories(&self) -> Vec<Health> {
        self.current.load().resolver.directory().health()
    }

    fn tenants(&self) -> Value {
        let snapshot = self.current.load();
        let directory = snapshot.resolver.directory();
        let sources: Vec<_> = directory
            .health()
            .iter()
            .map(|health| {
                json!({
                    "source": health.source,
                    "up": health.up,
                    "age_seconds": health.age.map(|age| age.as_secs()),
                    "loads": health.loads,
                    "failures": health.failures,
                    "resyncs_refused": health.refused,
                    "changes": health.changes,
                    "bad_rows": health.bad_rows,
                })
            })
            .collect();
        json!({
            "source": directory.source(),
            "count": directory.len(),
            "trouble": directory.trouble(),
            "sources": sources,
        })
    }

    fn certificates(&self) -> Vec<Value> {
        let now = UnixTime::now();
        let table = self.live.table();
        let rows = table.all().iter().map(|served| {
            json!({
                "lineage": served.lineage,
                "names": served.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "serial": served.serial,
                "not_before": served.not_before.to_string(),
                "not_after": served.not_after.to_string(),
                "seconds_left": served.not_after.seconds_since(now),
                "generation": served.generation,
                "placeholder": served.placeholder,
                "fault": self.faults.of(&served.lineage),
            })
        });
        rows.collect()
    }
}

impl AdminSource for Status {
    fn ready(&self) -> Result<(), Vec<String>> {
        let domains = &self.current.load().domains;
        let mut reasons = certs::missing(&self.live, domains, UnixTime::now(), |lineage| {
            let look = self.renewals.look();
            let health = look.health.iter().find(|health| health.domain == lineage);
            health.map_or_else(
                || "run `portico cert status`".to_owned(),
                |health| health.next.clone(),
            )
        });
        if self.live.table().all().is_empty() {
            reasons.push("no certificate is loaded".to_owned());
        }
        for health in self.directories() {
            if health.age.is_none() {
                reasons.push(format!("no tenant is known yet: {}", health.source));
            }
        }
        if self.draining.load(Relaxed) {
            reasons.push("draining".to_owned());
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    fn degraded(&self) -> Vec<String> {
        let trouble = self.current.load().resolver.directory().trouble();
        trouble.into_iter().collect()
    }

    fn resync(&self, force: bool) -> bool {
        self.current.load().resolver.directory().resync(force)
    }

    fn status(&self) -> Value {
        let snapshot = self.current.load();
        let now = UnixTime::now();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "state": self.line(),
            "generation": snapshot.generation,
            "started": self.started.to_string(),
            "uptime_seconds": now.seconds_since(self.started),
            "workers": self.workers,
            "listeners": {
                "https": self.https.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "http": self.http.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "domains": snapshot.domains.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "certificates": self.certificates(),
            "acme": self.acme(),
            "custom_domains": self.domains(),
            "upstreams": upstreams::status(&snapshot),
            "tenants": self.tenants(),
            "last_reload": *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    fn jwks(&self) -> Value {
        self.current.load().signers.jwks()
    }

    fn about_tenants(&self, question: Question) -> Told {
        let (current, live) = (Arc::clone(&self.current), Arc::clone(&self.live));
        let explainer = self.domains.as_ref();
        let explainer = explainer.map(|domains| Arc::clone(&domains.explainer));
        Box::pin(tenants::answer(question, current, live, explainer))
    }

    fn metrics(&self) -> String {
        let look = self.renewals.look();
        let table = self.live.table();
        let certificates: Vec<_> = table
            .all()
            .iter()
            .map(|served| CertificateFacts {
                lineage: &served.lineage,
                serial: &served.serial,
                not_before: served.not_before,
                not_after: served.not_after,
                placeholder: served.placeholder,
                load_failed: self.faults.of(&served.lineage).is_some(),
                generation: (served.generation > 0).then_some(served.generation),
            })
            .collect();
        let upstream = upstreams::facts(&self.current.load());
        let directories: Vec<_> = self
            .directories()
            .into_iter()
            .map(|health| DirectoryFacts {
                source: health.source,
                up: health.up,
                age: health.age.map(|age| age.as_secs()),
                loads: health.loads,
                failures: health.failures,
                refused: health.refused,
                changes: health.changes,
                bad_rows: health.bad_rows,
            })
            .collect();
        let mut out = String::new();
        self.metrics.render(
            &mut out,
            &Facts {
                version: env!("CARGO_PKG_VERSION"),
                started: self.started,
                ready: self.is_ready(),
                generation: self.current.load().generation,
                reloads_ok: self.reloads_ok.load(Relaxed),
                reloads_failed: self.reloads_failed.load(Relaxed),
                tenants: self.current.load().resolver.directory().len(),
                tenants_ok: self.tenants_ok.load(Relaxed),
                tenants_failed: self.tenants_failed.load(Relaxed),
                directories: &directories,
                access_log_lost: self.access_log.lost(),
                certificates: &certificates,
                engine: &look.engine,
                upstream: &upstream,
                used: &self.usage.rows(),
                used_lost: self.usage.lost(),
            },
        );
        if let Some(facts) = self.domain_facts() {
            facts.render(&mut out);
        }
        // Prometheus' text format ends with a line feed.
        if !out.ends_with('\n') {
            let _infallible = writeln!(out);
        }
        out
    }
}

//! What the admin listener tells of tenants. For people: nothing here is on the request path.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::admin::Question;
use super::on_demand::explain::{Explainer, told};
use super::on_demand::may_have;
use crate::cert::live::{Live, Served};
use crate::host::Host;
use crate::policy::terms::Terms;
use crate::proxy::error::RequestError;
use crate::proxy::route::refusal;
use crate::snapshot::{Current, Snapshot};
use crate::tenant::directory::Kept;
use crate::tenant::states::Asked;
use crate::tenant::{Resolution, Tenant};

/// Hosts of one tenant that are shown.
const HOSTS: usize = 1000;
/// A client of no network that is on a list.
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Answers a question.
pub(super) async fn answer(
    question: Question,
    current: Arc<Current>,
    live: Arc<Live>,
    explainer: Option<Arc<Explainer>>,
) -> (StatusCode, Value) {
    let snapshot = Arc::clone(&current.load());
    let broken = |_panicked| {
        let error = json!({ "error": "the list could not be made" });
        (StatusCode::INTERNAL_SERVER_ERROR, error)
    };
    match question {
        Question::Explain(host) => {
            let told = explain(&host, &snapshot, &live, explainer).await;
            (StatusCode::OK, told)
        }
        // A walk over a million rows is not for the thread of the control plane.
        Question::List(limit) => tokio::task::spawn_blocking(move || list(limit, &snapshot))
            .await
            .unwrap_or_else(broken),
        Question::Show(name) => tokio::task::spawn_blocking(move || show(&name, &snapshot))
            .await
            .unwrap_or_else(broken),
        Question::Purge(host) => purge(host.as_ref(), &snapshot),
    }
}

fn list(limit: usize, snapshot: &Snapshot) -> (StatusCode, Value) {
    let directory = snapshot.resolver.directory();
    let (mut hosts, mut more) = (Vec::new(), false);
    directory.each(&mut |host, tenant| {
        more = hosts.len() >= limit;
        if !more {
            hosts.push(json!({
                "host": host.as_str(),
                "id": tenant.id.as_str(),
                "state": tenant.state.name(),
            }));
        }
        !more
    });
    let answer = json!({
        "source": directory.source(),
        "count": directory.len(),
        // Whether the hosts in memory are all that there are.
        "complete": directory.len().is_some(),
        "hosts": hosts,
        "more": more,
    });
    (StatusCode::OK, answer)
}

fn show(name: &str, snapshot: &Snapshot) -> (StatusCode, Value) {
    let directory = snapshot.resolver.directory();
    let host = Host::parse(name).ok();
    let mut found: Option<Tenant> = None;
    directory.each(&mut |at, tenant| {
        let named = tenant.id.as_str() == name
            || tenant
                .slug
                .as_ref()
                .is_some_and(|slug| slug.as_str() == name)
            || host.as_ref() == Some(at);
        if named {
            found = Some(tenant.clone());
        }
        !named
    });
    let Some(found) = found else {
        let mut error = format!(
            "no tenant in memory has this id, slug or host (source `{}`)",
            directory.source()
        );
        if directory.len().is_none() {
            error.push_str("; who is not in memory is found by host alone: `portico tenant explain HOST` asks the source");
        }
        return (StatusCode::NOT_FOUND, json!({ "error": error }));
    };
    let mut hosts = BTreeSet::new();
    directory.each(&mut |host, tenant| {
        if tenant.id == found.id {
            hosts.insert(host.to_string());
        }
        hosts.len() < HOSTS
    });
    let mut answer = tenant(&found);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("hosts".to_owned(), json!(hosts));
    }
    (StatusCode::OK, answer)
}

fn purge(host: Option<&Host>, snapshot: &Snapshot) -> (StatusCode, Value) {
    let directory = snapshot.resolver.directory();
    if directory.forget(host) {
        let what = host.map_or("all", Host::as_str);
        tracing::info!(
            host = what,
            "what the source of tenants has said is forgotten"
        );
        return (StatusCode::OK, json!({ "purged": what }));
    }
    let error = format!(
        "the source `{}` is held in memory whole: there are no answers to forget",
        directory.source()
    );
    (StatusCode::CONFLICT, json!({ "error": error }))
}

/// What a request for `host` gets. Asks the source as a request would, so it may wait as long.
async fn explain(
    host: &Host,
    snapshot: &Snapshot,
    live: &Live,
    explainer: Option<Arc<Explainer>>,
) -> Value {
    let resolver = &snapshot.resolver;
    // As it is before this question changes it.
    let (source, kept) = resolver.directory().kept(host);
    let resolution = match resolver.resolve(host) {
        Resolution::Ask => resolver.ask(host).await,
        known => known,
    };
    let configured = live.table().find(Some(host)).cloned();
    let (custom, stored) = match &configured {
        Some(_) => (
            told(
                "covered",
                "no custom domain: a certificate of the configuration covers it",
            ),
            None,
        ),
        None => custom_domain(host, snapshot, live, explainer).await,
    };
    let covered = match &configured {
        Some(served) => !served.placeholder,
        None => stored.is_some(),
    };
    let answer = if covered {
        outcome(&resolution, host, snapshot)
    } else {
        json!({
            "status": null,
            "reason": "no certificate covers this host: a handshake ends with unrecognized_name",
        })
    };
    json!({
        "host": host.as_str(),
        "source": source,
        "cache": cache(kept),
        "trouble": resolver.directory().trouble(),
        "tenant": match &resolution {
            Resolution::Tenant(found) => tenant(found),
            _ => Value::Null,
        },
        "terms": match &resolution {
            Resolution::Tenant(found) => terms(&snapshot.policy.terms(found, ANYBODY)),
            _ => Value::Null,
        },
        "certificate": configured.map(|served| certificate(&served)).or(stored),
        "custom_domain": custom,
        "https": answer,
        "http": plain(&resolution, host, snapshot),
    })
}

/// What becomes of a host that no certificate of the configuration covers, and its certificate, if it has one.
async fn custom_domain(
    host: &Host,
    snapshot: &Snapshot,
    live: &Live,
    explainer: Option<Arc<Explainer>>,
) -> (Value, Option<Value>) {
    let (Some(explainer), Some(on_demand)) = (explainer, live.on_demand()) else {
        let off = "custom domains are off (`on_demand.enabled`)";
        return (told("off", off), None);
    };
    let (name, row) = (host.clone(), may_have(snapshot, host));
    let explained = tokio::task::spawn_blocking(move || explainer.explain(&name, &row)).await;
    let explained =
        explained.unwrap_or_else(|_panicked| told("unreadable", "it could not be looked up"));
    let stored = on_demand.is_stored(host).then(|| {
        let in_memory = on_demand.shelf().peek(host);
        // Of one that no client has asked for lately, the register knows the end.
        in_memory.map_or_else(
            || {
                json!({
                    "lineage": host.as_str(),
                    "names": [host.as_str()],
                    "serial": null,
                    "not_after": explained.get("not_after"),
                    "placeholder": false,
                })
            },
            |served| certificate(&served),
        )
    });
    (explained, stored)
}

fn certificate(served: &Served) -> Value {
    json!({
        "lineage": served.lineage,
        "names": served.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "serial": served.serial,
        "not_after": served.not_after.to_string(),
        "placeholder": served.placeholder,
    })
}

fn cache(kept: Kept) -> Value {
    match kept {
        Kept::Listed => json!({ "state": "listed" }),
        Kept::Remembered { age, fresh } => json!({
            "state": if fresh { "fresh" } else { "stale" },
            "age_seconds": age.as_secs(),
        }),
        Kept::Absent => json!({ "state": "nobody" }),
        Kept::Nothing => json!({ "state": "unknown" }),
    }
}

/// The answer over https.
fn outcome(resolution: &Resolution, host: &Host, snapshot: &Snapshot) -> Value {
    let refused = |error: RequestError| {
        json!({
            "status": error.status().as_u16(),
            "reason": error.label(),
        })
    };
    match resolution {
        Resolution::Tenant(tenant) => {
            // A client of no network that passes, without a cookie, at the root.
            let asked = Asked {
                host: host.as_str(),
                path: "/",
                client: ANYBODY,
                cookie: None,
            };
            let refusal = refusal(snapshot.states.judge(tenant.state, &asked));
            match refusal {
                Some(error) => refused(error),
                None if snapshot.policy.terms(tenant, ANYBODY).pool.is_none() => {
                    refused(RequestError::UnknownPool)
                }
                None if snapshot.naming.told(tenant).is_none() => refused(RequestError::Unnamed),
                None => json!({ "status": null, "reason": "passed on to the app" }),
            }
        }
        Resolution::Redirect(to) => redirect(to),
        Resolution::Unknown => refused(RequestError::UnknownTenant),
        Resolution::Ask | Resolution::Unavailable => refused(RequestError::DirectoryDown),
    }
}

/// The answer of the plain listener: the way to https, for hosts that are somebody's.
fn plain(resolution: &Resolution, host: &Host, snapshot: &Snapshot) -> Value {
    match resolution {
        Resolution::Tenant(_) => json!({ "status": 308, "reason": "redirect to https" }),
        other => outcome(other, host, snapshot),
    }
}

fn redirect(to: &Host) -> Value {
    json!({
        "status": 308,
        "reason": format!("redirect to {to}"),
    })
}

/// What holds for the tenant, of whatever says it: its row, its plan, the canary or the configuration.
fn terms(terms: &Terms<'_>) -> Value {
    json!({
        "pool": terms.pool,
        "known_plan": !terms.unknown_plan,
        "rate": terms.rate.map(|rate| rate.to_string()),
        "address_rate": terms.address_rate.map(|rate| rate.to_string()),
        "concurrency": terms.concurrency,
        "share": terms.share,
        "body_size": terms.body_size.map(|size| size.to_string()),
    })
}

/// What its row says.
fn tenant(tenant: &Tenant) -> Value {
    let attributes = &tenant.attributes;
    json!({
        "id": tenant.id.as_str(),
        "slug": tenant.slug.as_ref().map(|slug| slug.as_str()),
        "schema": tenant.schema.as_ref().map(|schema| schema.as_str()),
        "state": tenant.state.name(),
        "primary": tenant.primary.as_ref().map(Host::as_str),
        "plan": attributes.plan,
        "pool": attributes.pool,
        "rate": attributes.rate.map(|rate| rate.to_string()),
        "address_rate": attributes.address_rate.map(|rate| rate.to_string()),
        "concurrency": attributes.concurrency,
        "share": attributes.share,
        "body_size": attributes.body_size.map(|size| size.to_string()),
        "allow": attributes.allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "deny": attributes.deny.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cookie_scope": attributes.cookie_scope.map(|scope| scope.to_string()),
        "headers": attributes.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        "access_log": attributes.access_log,
        "verified": attributes.verified,
    })
}

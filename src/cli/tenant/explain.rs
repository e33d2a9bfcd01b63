//! `portico tenant explain`: what a request for a host gets, and of a custom domain what its certificate waits for.
//!
//! The proxy answers. What a tenant has to publish for a domain it cannot say, because the key of that is the engine's; so it
//! is read here, where this user may.

use serde_json::{Value, json};

use super::super::args::TenantHost;
use super::super::{Exit, load, say};
use super::ask::{Method, ask};
use super::{failed, table, text};
use crate::acme::on_demand::ownership::OwnershipKey;
use crate::config::{Config, Ownership};
use crate::host::Host;

/// Asks, and prints the answer.
pub(super) fn explain(options: &TenantHost) -> Exit {
    let config = match load(&options.file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let path = format!("/tenants/explain?host={}", options.host);
    let mut answer = match ask(&config.listen.admin, Method::Get, &path) {
        Ok(answer) => answer,
        Err(error) => return failed(&error),
    };
    let record = record(&config, &options.host, &answer);
    if let (Some(record), Some(custom)) = (
        record,
        answer
            .get_mut("custom_domain")
            .and_then(Value::as_object_mut),
    ) {
        custom.insert("record".to_owned(), json!(record));
    }
    say(if options.json {
        format!("{answer:#}")
    } else {
        explained(&answer)
    });
    Exit::Done
}

/// The record that the tenant has to publish, if its proof is missing; or the command that prints it.
fn record(config: &Config, host: &Host, answer: &Value) -> Option<String> {
    let custom = answer.get("custom_domain")?;
    let state = custom.get("state").and_then(Value::as_str)?;
    let wanted = [
        "queued", "failing", "unproven", "wanted", "unasked", "full", "served",
    ];
    let shown = custom.get("proven").and_then(Value::as_bool) == Some(true);
    if config.on_demand.proof == Ownership::None || shown || !wanted.contains(&state) {
        return None;
    }
    let tenant = custom.get("tenant").and_then(Value::as_str)?;
    let key = OwnershipKey::read(&config.state_dir);
    match key {
        Ok(Some(key)) => key.record(config, tenant, host).line(host),
        // Never made here: it has to be the engine's own.
        Ok(None) | Err(_) => Some(format!(
            "printed by: portico cert ownership --domain {host} --tenant {tenant}"
        )),
    }
}

fn explained(answer: &Value) -> String {
    let part = |key: &str| answer.get(key).unwrap_or(&Value::Null);
    let (cache, tenant, certificate) = (part("cache"), part("tenant"), part("certificate"));
    let cached = match text(cache, "state").as_str() {
        "listed" => "in memory, whole".to_owned(),
        "fresh" => format!("asked {} s ago, fresh", text(cache, "age_seconds")),
        "stale" => format!(
            "asked {} s ago, to be asked again",
            text(cache, "age_seconds")
        ),
        "nobody" => "asked lately: nobody's".to_owned(),
        _ => "not known before this question".to_owned(),
    };
    let mut lines = vec![
        ("host", text(answer, "host")),
        ("source", format!("{}: {cached}", text(answer, "source"))),
    ];
    if !part("trouble").is_null() {
        lines.push(("trouble", text(answer, "trouble")));
    }
    lines.push((
        "tenant",
        if tenant.is_null() {
            "none".to_owned()
        } else {
            format!("{} ({})", text(tenant, "id"), text(tenant, "state"))
        },
    ));
    let terms = part("terms");
    if !terms.is_null() {
        lines.extend(policy(tenant, terms));
    }
    lines.push((
        "certificate",
        if certificate.is_null() {
            "none".to_owned()
        } else {
            format!(
                "{}, valid until {}, serial {}",
                text(certificate, "lineage"),
                text(certificate, "not_after"),
                text(certificate, "serial")
            )
        },
    ));
    let custom = part("custom_domain");
    lines.push((
        "custom domain",
        // A hint is a line of its own.
        format!(
            "{}: {}",
            text(custom, "state"),
            text(custom, "reason").replace('\n', "\n  ")
        ),
    ));
    if !custom.get("record").unwrap_or(&Value::Null).is_null() {
        lines.push(("record", text(custom, "record")));
    }
    for listener in ["https", "http"] {
        let answer = part(listener);
        lines.push((
            listener,
            match answer.get("status") {
                Some(Value::Number(status)) => format!("{status} {}", text(answer, "reason")),
                _ => text(answer, "reason"),
            },
        ));
    }
    table(&lines)
}

/// By what rules the tenant is served.
fn policy(tenant: &Value, terms: &Value) -> Vec<(&'static str, String)> {
    let known = terms.get("known_plan") != Some(&Value::Bool(false));
    let plan = match tenant.get("plan") {
        Some(Value::String(plan)) if known => plan.clone(),
        Some(Value::String(plan)) => format!("{plan}, which the configuration does not have"),
        _ => "none".to_owned(),
    };
    let pool = match terms.get("pool") {
        Some(Value::String(pool)) => pool.clone(),
        _ => "none: the row or its plan names one that the configuration does not have".to_owned(),
    };
    let limits = [
        ("rate", ""),
        ("address_rate", " for each address"),
        ("concurrency", " at once"),
        ("share", " % of the pool"),
        ("body_size", " for a body"),
    ];
    let limits: Vec<String> = limits
        .into_iter()
        .filter(|(key, _)| terms.get(key).is_some_and(|value| !value.is_null()))
        .map(|(key, unit)| text(terms, key) + unit)
        .collect();
    let limits = if limits.is_empty() {
        "none of its own".to_owned()
    } else {
        limits.join(", ")
    };
    vec![("plan", plan), ("pool", pool), ("limits", limits)]
}

//! Certificates and their renewal: what is served, what is stored, and how the engine is doing.
//!
//! Plain values, gathered by the caller from files; nothing is counted here. Each lineage of the configuration has one
//! sample in a family (and one for each state of the engine), so their number does not depend on clients or on the CA.
//! A value that is not known has no sample: a made-up 0 would look like a date.

use super::text::{Kind, Text};
use crate::clock::UnixTime;

/// A certificate in service.
#[derive(Debug, Clone, Copy)]
pub struct CertificateFacts<'a> {
    /// Its lineage.
    pub lineage: &'a str,
    /// Its serial number.
    pub serial: &'a str,
    /// When it begins.
    pub not_before: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
    /// Whether it is a stand-in that no client trusts.
    pub placeholder: bool,
    /// Whether what is stored could not be loaded at the last look.
    pub load_failed: bool,
    /// Its generation in the store; none if another program keeps it.
    pub generation: Option<u64>,
}

/// How the renewal of a lineage is doing.
#[derive(Debug, Clone, Default)]
pub struct RenewalFacts {
    /// The lineage.
    pub lineage: String,
    /// The generation that is meant to be served.
    pub current: Option<u64>,
    /// When the renewal is or was due.
    pub renew_at: Option<UnixTime>,
    /// The next try, while a failure holds it back.
    pub next_attempt: Option<UnixTime>,
    /// When a certificate was last stored.
    pub last_success: Option<UnixTime>,
    /// When a run last asked a CA for one.
    pub last_attempt: Option<UnixTime>,
    /// Failures since the last success.
    pub consecutive_failures: u64,
    /// Failures ever, by class and CA.
    pub failures: Vec<(&'static str, String, u64)>,
    /// Where the engine is: one of [`EngineFacts::states`].
    pub state: &'static str,
    /// Whether an engine of this machine is at work on it.
    pub lease_held: bool,
    /// TXT records still to be removed.
    pub txt_debt: u64,
    /// Seconds by which this machine's clock is ahead of the CA's.
    pub clock_skew: Option<i64>,
    /// Whether the newest certificate was not served when it was looked for.
    pub deploy_failed: bool,
    /// 0 fine, 1 warning, 2 page, 3 critical.
    pub level: u8,
}

/// What all lineages share.
#[derive(Debug, Clone, Default)]
pub struct EngineFacts {
    /// The name of this machine.
    pub node: String,
    /// When the engine was last at work; none if it never was.
    pub heartbeat: Option<UnixTime>,
    /// Times before which the CA wants no request, by scope.
    pub blocked: Vec<(String, UnixTime)>,
    /// Every state that a lineage can be in.
    pub states: &'static [&'static str],
    /// Waits for the authoritative servers: upper bound in seconds and how many took at most that long.
    pub propagation: Vec<(u64, u64)>,
    /// All waits: how many, and seconds in all.
    pub propagation_all: (u64, u64),
    /// The lineages.
    pub lineages: Vec<RenewalFacts>,
}

/// Appends what is in service.
pub(super) fn render_served(
    text: &mut Text<'_>,
    node: &str,
    certificates: &[CertificateFacts<'_>],
) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&CertificateFacts<'_>) -> i64| {
        text.family(name, Kind::Gauge, help);
        for certificate in certificates {
            text.sample(
                name,
                &[("lineage", certificate.lineage)],
                value(certificate),
            );
        }
    };
    each(
        "portico_cert_not_after_seconds",
        "When the certificate in service ends, as Unix time.",
        &|certificate| certificate.not_after.0,
    );
    each(
        "portico_cert_not_before_seconds",
        "When the certificate in service begins, as Unix time.",
        &|certificate| certificate.not_before.0,
    );
    each(
        "portico_cert_placeholder",
        "1 if the certificate is a stand-in that no client trusts.",
        &|certificate| i64::from(certificate.placeholder),
    );
    each(
        "portico_cert_load_failed",
        "1 if what is stored cannot be loaded; the last good one stays in service.",
        &|certificate| i64::from(certificate.load_failed),
    );
    let name = "portico_cert_served_info";
    text.family(
        name,
        Kind::Gauge,
        "Always 1; serial number and machine are in the labels.",
    );
    for certificate in certificates {
        let labels = [
            ("lineage", certificate.lineage),
            ("serial", certificate.serial),
            ("node", node),
        ];
        text.sample(name, &labels, 1);
    }
}

/// Appends how the engine is doing.
pub(super) fn render_engine(
    text: &mut Text<'_>,
    engine: &EngineFacts,
    certificates: &[CertificateFacts<'_>],
) {
    render_dates(text, engine);
    render_counts(text, engine);
    let name = "portico_acme_state";
    text.family(
        name,
        Kind::Gauge,
        "1 for the state that the engine is in for a lineage, 0 for the others.",
    );
    for lineage in &engine.lineages {
        for state in engine.states {
            let labels = [("lineage", lineage.lineage.as_str()), ("state", *state)];
            text.sample(name, &labels, u8::from(lineage.state == *state));
        }
    }
    let name = "portico_cert_gen_lag";
    text.family(
        name,
        Kind::Gauge,
        "Generations that the certificate in service is behind the one that is current in the store.",
    );
    for lineage in &engine.lineages {
        let served = certificates
            .iter()
            .find(|certificate| certificate.lineage == lineage.lineage)
            .and_then(|certificate| certificate.generation);
        if let (Some(current), Some(served)) = (lineage.current, served) {
            let labels = [
                ("lineage", lineage.lineage.as_str()),
                ("node", engine.node.as_str()),
            ];
            text.sample(name, &labels, current.saturating_sub(served));
        }
    }
    let name = "portico_acme_heartbeat_seconds";
    text.family(
        name,
        Kind::Gauge,
        "When the engine last looked what is due, as Unix time.",
    );
    if let Some(at) = engine.heartbeat {
        text.sample(name, &[], at.0);
    }
    let name = "portico_acme_blocked_until_seconds";
    text.family(
        name,
        Kind::Gauge,
        "Before this time, as Unix time, the CA wants no request of the scope.",
    );
    for (scope, until) in &engine.blocked {
        text.sample(name, &[("scope", scope)], until.0);
    }
    let name = "portico_acme_propagation_seconds";
    text.family(
        name,
        Kind::Histogram,
        "From publishing TXT records until every authoritative server showed them.",
    );
    let bucket = format!("{name}_bucket");
    for (bound, count) in &engine.propagation {
        text.sample(&bucket, &[("le", &bound.to_string())], count);
    }
    let (count, sum) = engine.propagation_all;
    text.sample(&bucket, &[("le", "+Inf")], count);
    text.sample(&format!("{name}_sum"), &[], sum);
    text.sample(&format!("{name}_count"), &[], count);
}

/// Dates of each lineage, as far as they are known.
fn render_dates(text: &mut Text<'_>, engine: &EngineFacts) {
    let mut each = |name: &str, help: &str, date: &dyn Fn(&RenewalFacts) -> Option<UnixTime>| {
        text.family(name, Kind::Gauge, help);
        for lineage in &engine.lineages {
            if let Some(date) = date(lineage) {
                text.sample(name, &[("lineage", &lineage.lineage)], date.0);
            }
        }
    };
    each(
        "portico_cert_renew_at_seconds",
        "When the renewal is or was due, as Unix time.",
        &|lineage| lineage.renew_at,
    );
    each(
        "portico_cert_next_attempt_seconds",
        "When it is tried again after a failure, as Unix time.",
        &|lineage| lineage.next_attempt,
    );
    each(
        "portico_cert_last_success_seconds",
        "When a certificate was last obtained, as Unix time.",
        &|lineage| lineage.last_success,
    );
    each(
        "portico_cert_last_attempt_seconds",
        "When the CA was last asked for a certificate, as Unix time.",
        &|lineage| lineage.last_attempt,
    );
}

/// Numbers of each lineage.
fn render_counts(text: &mut Text<'_>, engine: &EngineFacts) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&RenewalFacts) -> Option<i64>| {
        text.family(name, Kind::Gauge, help);
        for lineage in &engine.lineages {
            if let Some(value) = value(lineage) {
                text.sample(name, &[("lineage", &lineage.lineage)], value);
            }
        }
    };
    let number = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
    each(
        "portico_cert_level",
        "How near the end is and whether anything is wrong: 0 fine, 1 warning, 2 page, 3 critical.",
        &|lineage| Some(i64::from(lineage.level)),
    );
    each(
        "portico_cert_deploy_failed",
        "1 if the newest certificate was not served when the renewal looked for it.",
        &|lineage| Some(i64::from(lineage.deploy_failed)),
    );
    each(
        "portico_acme_lease_held",
        "1 while a process of this machine has the right to work on the lineage, and is at it.",
        &|lineage| Some(i64::from(lineage.lease_held)),
    );
    each(
        "portico_acme_consecutive_failures",
        "Failed tries since the last success.",
        &|lineage| number(lineage.consecutive_failures),
    );
    each(
        "portico_acme_txt_debt",
        "TXT records of ours that are still to be removed.",
        &|lineage| number(lineage.txt_debt),
    );
    each(
        "portico_acme_clock_skew_seconds",
        "Seconds by which this machine's clock was ahead of the CA's at the last contact.",
        &|lineage| lineage.clock_skew,
    );
    let name = "portico_acme_failures_total";
    text.family(name, Kind::Counter, "Failed tries, by class and CA.");
    let mut sums: std::collections::BTreeMap<(&str, &str), u64> = std::collections::BTreeMap::new();
    for (class, ca, count) in engine.lineages.iter().flat_map(|lineage| &lineage.failures) {
        let sum = sums.entry((*class, ca.as_str())).or_default();
        *sum = sum.saturating_add(*count);
    }
    for ((class, ca), count) in sums {
        text.sample(name, &[("class", class), ("ca", ca)], count);
    }
}

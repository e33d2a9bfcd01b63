//! Metrics of the sources of tenants that keep themselves true.

use super::text::{Kind, Text};

/// How one of them is doing.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryFacts {
    /// Its name as in the configuration.
    pub source: &'static str,
    /// Whether it answers.
    pub up: bool,
    /// Seconds since what is known was what it says; `None` if nothing is known.
    pub age: Option<u64>,
    /// Full lists that were put into service.
    pub loads: u64,
    /// Connections and questions that have failed.
    pub failures: u64,
    /// Lists that were refused because they lack most of what is known.
    pub refused: u64,
    /// Hosts put right one by one.
    pub changes: u64,
    /// Rows of the last list that could not be taken.
    pub bad_rows: u64,
}

type Of = fn(&DirectoryFacts) -> Option<u64>;

/// Name, kind, help and value.
const FAMILIES: &[(&str, Kind, &str, Of)] = &[
    (
        "portico_directory_up",
        Kind::Gauge,
        "Whether the source of tenants answers.",
        |facts| Some(u64::from(facts.up)),
    ),
    (
        "portico_directory_age_seconds",
        Kind::Gauge,
        "Time since what is known of tenants was what their source says.",
        |facts| facts.age,
    ),
    (
        "portico_directory_loads_total",
        Kind::Counter,
        "Full lists of tenants that were put into service.",
        |facts| Some(facts.loads),
    ),
    (
        "portico_directory_failures_total",
        Kind::Counter,
        "Connections to the source of tenants and questions that have failed.",
        |facts| Some(facts.failures),
    ),
    (
        "portico_directory_resyncs_refused_total",
        Kind::Counter,
        "Lists of tenants that were refused because they lack most of what is known.",
        |facts| Some(facts.refused),
    ),
    (
        "portico_directory_changes_total",
        Kind::Counter,
        "Hosts of tenants that were put right one by one.",
        |facts| Some(facts.changes),
    ),
    (
        "portico_directory_bad_rows",
        Kind::Gauge,
        "Rows of the last list of tenants that could not be taken.",
        |facts| Some(facts.bad_rows),
    ),
];

pub(super) fn render(text: &mut Text<'_>, sources: &[DirectoryFacts]) {
    if sources.is_empty() {
        return;
    }
    for (name, kind, help, of) in FAMILIES {
        text.family(name, *kind, help);
        for facts in sources {
            if let Some(value) = of(facts) {
                text.sample(name, &[("source", facts.source)], value);
            }
        }
    }
}

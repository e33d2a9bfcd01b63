//! Custom domains in numbers. No family has a name of a domain or a tenant as a label, so the number of series is fixed.

use super::text::{Kind, Text};

/// How custom domains are doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainFacts {
    /// Names by how they are doing.
    pub standings: Vec<(&'static str, u64)>,
    /// Certificates issued since the register began.
    pub issued: u64,
    /// Tries that failed since the register began.
    pub failed: u64,
    /// Orders in the last hour.
    pub orders: u64,
    /// Orders that any hour may have.
    pub orders_allowed: u64,
    /// Names that the proxy has asked the engine for.
    pub wished: u64,
    /// Names that found no room.
    pub refused: u64,
    /// Certificates in memory.
    pub loaded: u64,
    /// Certificates read from disk.
    pub loads: u64,
    /// Certificates that could not be read.
    pub load_failures: u64,
    /// Certificates that went from memory for others.
    pub evicted: u64,
}

impl DomainFacts {
    /// Appends them in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        let mut text = Text::new(out);
        let name = "portico_domains";
        text.family(
            name,
            Kind::Gauge,
            "Custom domains by how they are doing; `queued` is the length of the queue for a first certificate.",
        );
        for (standing, count) in &self.standings {
            text.sample(name, &[("standing", standing)], count);
        }
        for (name, kind, help, value) in [
            (
                "portico_domains_issued_total",
                Kind::Counter,
                "Certificates of custom domains that were issued.",
                self.issued,
            ),
            (
                "portico_domains_failed_total",
                Kind::Counter,
                "Tries for certificates of custom domains that failed.",
                self.failed,
            ),
            (
                "portico_domains_budget_left",
                Kind::Gauge,
                "Orders for custom domains that this hour still allows.",
                self.orders_allowed.saturating_sub(self.orders),
            ),
            (
                "portico_domains_wished_total",
                Kind::Counter,
                "Custom domains for which this proxy has asked the engine.",
                self.wished,
            ),
            (
                "portico_domains_refused_total",
                Kind::Counter,
                "Custom domains beyond `on_demand.names`.",
                self.refused,
            ),
            (
                "portico_domains_loaded",
                Kind::Gauge,
                "Certificates of custom domains in memory.",
                self.loaded,
            ),
            (
                "portico_domains_loads_total",
                Kind::Counter,
                "Certificates of custom domains read from disk.",
                self.loads,
            ),
            (
                "portico_domains_load_failures_total",
                Kind::Counter,
                "Certificates of custom domains that could not be read.",
                self.load_failures,
            ),
            (
                "portico_domains_evicted_total",
                Kind::Counter,
                "Certificates of custom domains that went from memory for others.",
                self.evicted,
            ),
        ] {
            text.plain(name, kind, help, value);
        }
    }
}

//! App servers: what the workers counted, and how each server is.

use super::Metrics;
use super::text::{Kind, Text};

/// The states that a server can be in.
const STATES: [&str; 4] = ["up", "warming", "ejected", "down"];

/// One app server of the configuration.
#[derive(Debug, Clone, Default)]
pub struct ServerFacts {
    /// Its address as configured.
    pub server: String,
    /// The pool it belongs to.
    pub pool: String,
    /// `up`, `warming`, `ejected` or `down`.
    pub state: &'static str,
    /// Requests under way.
    pub requests: u32,
    /// Open connections.
    pub connections: u32,
    /// Times it was left alone.
    pub ejected_total: u64,
    /// Failed probes.
    pub probes_failed: u64,
}

/// The app servers.
#[derive(Debug, Clone, Default)]
pub struct UpstreamFacts {
    /// The servers of the configuration.
    pub servers: Vec<ServerFacts>,
    /// Requests that wait for a server, by pool.
    pub queued: Vec<(String, u32)>,
}

impl UpstreamFacts {
    pub(super) fn render(&self, text: &mut Text<'_>) {
        let name = "portico_upstream_server_state";
        text.family(
            name,
            Kind::Gauge,
            "1 for the state that the app server is in: down by probes, ejected after failures, warming up after that.",
        );
        for server in &self.servers {
            for state in STATES {
                text.sample(
                    name,
                    &[
                        ("server", &server.server),
                        ("pool", &server.pool),
                        ("state", state),
                    ],
                    u64::from(server.state == state),
                );
            }
        }
        let mut each = |name: &str, kind, help: &str, value: &dyn Fn(&ServerFacts) -> u64| {
            text.family(name, kind, help);
            for server in &self.servers {
                let labels = [("server", &*server.server), ("pool", &*server.pool)];
                text.sample(name, &labels, value(server));
            }
        };
        each(
            "portico_upstream_requests_in_flight",
            Kind::Gauge,
            "Requests and tunnels under way with an app server.",
            &|server| u64::from(server.requests),
        );
        each(
            "portico_upstream_connections_open",
            Kind::Gauge,
            "Open connections to an app server, unused ones included.",
            &|server| u64::from(server.connections),
        );
        each(
            "portico_upstream_ejections_total",
            Kind::Counter,
            "Times that an app server was left alone after failures.",
            &|server| server.ejected_total,
        );
        each(
            "portico_upstream_probe_failures_total",
            Kind::Counter,
            "Probes of an app server that failed.",
            &|server| server.probes_failed,
        );
        let name = "portico_upstream_queued";
        text.family(
            name,
            Kind::Gauge,
            "Requests that wait because every app server of a pool is at its limit.",
        );
        for (pool, queued) in &self.queued {
            text.sample(name, &[("pool", pool)], queued);
        }
    }
}

impl Metrics {
    pub(super) fn render_upstream(&self, text: &mut Text<'_>) {
        let name = "portico_upstream_connects_total";
        text.family(name, Kind::Counter, "Attempts to connect to an app server.");
        text.sample(
            name,
            &[("result", "ok")],
            self.sum(|cells| &cells.connects_ok),
        );
        text.sample(
            name,
            &[("result", "failed")],
            self.sum(|cells| &cells.connects_failed),
        );
        text.plain(
            "portico_upstream_reused_total",
            Kind::Counter,
            "Requests sent over a connection that was open already.",
            self.sum(|cells| &cells.reused),
        );
        text.plain(
            "portico_upstream_retries_total",
            Kind::Counter,
            "Requests that were sent again, or to another app server.",
            self.sum(|cells| &cells.retries),
        );
        text.plain(
            "portico_upstream_retry_budget_exhausted_total",
            Kind::Counter,
            "Requests that were not sent again because too many others had been.",
            self.sum(|cells| &cells.budget_spent),
        );
        text.plain(
            "portico_upstream_queued_total",
            Kind::Counter,
            "Requests that had to wait because every app server was at its limit.",
            self.sum(|cells| &cells.queued),
        );
        self.render_labelled(
            text,
            ("portico_upstream_failures_total", "kind"),
            "Exchanges with an app server that failed.",
            self.labels.upstream,
            |cells| &cells.upstream_failures,
        );
        self.render_histogram(
            text,
            "portico_upstream_first_byte_seconds",
            "From sending a request to the head of the app server's answer.",
            |cells| &cells.first_byte,
        );
    }
}

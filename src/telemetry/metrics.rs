//! Counts and durations, one shard per worker, printed for a scraper.
//!
//! A [`Shard`] is written by one thread only, which its type proves (it is neither `Sync` nor `Clone`). So an update
//! is a plain load and store on a cache line that no other core writes; the scraper adds the shards up. Every series
//! has a fixed set of label values, present from the start with 0: nothing a client sends can make a new one.
//!
//! A scrape reads without stopping the workers, so two figures of one scrape may be a few events apart; a histogram is
//! always consistent with itself.

mod certs;
mod directory;
mod domains;
mod shard;
mod text;
mod upstream;
mod used;

use std::sync::Arc;

pub use self::certs::{CertificateFacts, EngineFacts, RenewalFacts};
pub use self::directory::DirectoryFacts;
pub use self::domains::DomainFacts;
use self::shard::{BUCKETS, CLASSES, Cells, Counter, Histogram, Row};
pub use self::shard::{Shard, UpstreamCost};
use self::text::{Kind, Text};
pub use self::upstream::{ServerFacts, UpstreamFacts};
use super::Protocol;
use super::tenants::Tally;
use crate::clock::UnixTime;

/// Where a label goes that was not registered.
const OTHER: &str = "other";

/// The values that labels can have, none of them twice and none `other`: what is not among them counts as that.
#[derive(Debug, Clone, Copy)]
pub struct Labels {
    /// Why connections are refused.
    pub refused: &'static [&'static str],
    /// How handshakes fail.
    pub handshake: &'static [&'static str],
    /// How app servers fail.
    pub upstream: &'static [&'static str],
    /// Errors that Portico answers itself.
    pub errors: &'static [&'static str],
}

/// What the metrics cannot know themselves.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Portico's version.
    pub version: &'a str,
    /// When the process started.
    pub started: UnixTime,
    /// Whether the proxy takes new work.
    pub ready: bool,
    /// Generation of the configuration in service.
    pub generation: u64,
    /// Reloads that took effect.
    pub reloads_ok: u64,
    /// Reloads that changed nothing because something was wrong.
    pub reloads_failed: u64,
    /// Tenants of the directory, if they are counted.
    pub tenants: Option<usize>,
    /// Changed lists of tenants that took effect.
    pub tenants_ok: u64,
    /// Changed lists of tenants that changed nothing because something was wrong.
    pub tenants_failed: u64,
    /// The sources of tenants that keep themselves true.
    pub directories: &'a [DirectoryFacts],
    /// Records of the access log that could not be written.
    pub access_log_lost: u64,
    /// The certificates in service.
    pub certificates: &'a [CertificateFacts<'a>],
    /// How the renewal is doing.
    pub engine: &'a EngineFacts,
    /// How the app servers are doing.
    pub upstream: &'a UpstreamFacts,
    /// What the busiest tenants and all others have used.
    pub used: &'a [(Arc<str>, Tally)],
    /// Requests that are in no sum of a tenant.
    pub used_lost: u64,
}

/// All shards. Shared with the admin listener.
#[derive(Debug)]
pub struct Metrics {
    labels: Labels,
    shards: Vec<Arc<Cells>>,
}

impl Metrics {
    /// Metrics for a number of workers, with the shard for each.
    #[must_use]
    pub fn new(workers: usize, labels: Labels) -> (Self, Vec<Shard>) {
        let shards: Vec<_> = (0..workers).map(|_| Arc::new(Cells::new(labels))).collect();
        // The one place that makes a `Shard`, so each set of cells has one writer.
        let writers = shards
            .iter()
            .map(|cells| Shard::new(Arc::clone(cells)))
            .collect();
        (Self { labels, shards }, writers)
    }

    /// Appends everything in Prometheus' text format 0.0.4.
    pub fn render(&self, out: &mut String, facts: &Facts<'_>) {
        let mut text = Text::new(out);
        facts.render(&mut text);
        self.render_connections(&mut text);
        self.render_requests(&mut text);
        self.render_upstream(&mut text);
        text.plain(
            "portico_access_log_dropped_total",
            Kind::Counter,
            "Records dropped because the writer of the access log was behind.",
            self.sum(|cells| &cells.access_log_dropped),
        );
    }

    fn render_connections(&self, text: &mut Text<'_>) {
        text.plain(
            "portico_connections_accepted_total",
            Kind::Counter,
            "Connections taken from the listeners and let in.",
            self.sum(|cells| &cells.accepted),
        );
        text.plain(
            "portico_connections_open",
            Kind::Gauge,
            "Client connections open now.",
            self.sum(|cells| &cells.open),
        );
        text.plain(
            "portico_http2_abuse_total",
            Kind::Counter,
            "HTTP/2 connections ended because their client only kept the edge busy.",
            self.sum(|cells| &cells.http2_ended),
        );
        self.render_labelled(
            text,
            ("portico_connections_refused_total", "reason"),
            "Connections closed at once because of a limit.",
            self.labels.refused,
            |cells| &cells.refused,
        );
        self.render_labelled(
            text,
            ("portico_tls_handshake_failures_total", "class"),
            "TLS handshakes that failed.",
            self.labels.handshake,
            |cells| &cells.handshake_failures,
        );
        self.render_histogram(
            text,
            "portico_tls_handshake_duration_seconds",
            "From the first byte to the end of a TLS handshake that succeeded.",
            |cells| &cells.handshakes,
        );
        text.plain(
            "portico_received_bytes_total",
            Kind::Counter,
            "Bytes of request bodies and tunnels read from clients.",
            self.sum(|cells| &cells.received),
        );
        text.plain(
            "portico_sent_bytes_total",
            Kind::Counter,
            "Bytes of response bodies and tunnels written to clients.",
            self.sum(|cells| &cells.sent),
        );
        text.plain(
            "portico_tunnels_open",
            Kind::Gauge,
            "Upgraded connections (WebSocket and the like) open now.",
            self.sum(|cells| &cells.tunnels),
        );
    }

    fn render_requests(&self, text: &mut Text<'_>) {
        let name = "portico_requests_total";
        text.family(
            name,
            Kind::Counter,
            "Requests answered, by status class; `none`: the client left first.",
        );
        for (row, protocol) in Protocol::ALL.iter().enumerate() {
            for (column, class) in CLASSES.iter().enumerate() {
                let sum = self.sum(|cells| cells.requests.at(row * CLASSES.len() + column));
                text.sample(
                    name,
                    &[("protocol", protocol.as_str()), ("status", class)],
                    sum,
                );
            }
        }
        text.plain(
            "portico_unknown_plan_total",
            Kind::Counter,
            "Requests of tenants that name a plan which is not known.",
            self.sum(|cells| &cells.unknown_plan),
        );
        self.render_histogram(
            text,
            "portico_request_duration_seconds",
            "From the end of a request's head to the end of its response.",
            |cells| &cells.request_duration,
        );
        self.render_labelled(
            text,
            ("portico_errors_total", "error"),
            "Requests that Portico answered with an error of its own.",
            self.labels.errors,
            |cells| &cells.errors,
        );
    }

    fn render_labelled(
        &self,
        text: &mut Text<'_>,
        (name, label): (&str, &str),
        help: &str,
        values: &'static [&'static str],
        pick: impl Fn(&Cells) -> &Row,
    ) {
        text.family(name, Kind::Counter, help);
        for (at, value) in values.iter().chain([&OTHER]).enumerate() {
            text.sample(
                name,
                &[(label, value)],
                self.sum(|cells| pick(cells).at(at)),
            );
        }
    }

    fn render_histogram(
        &self,
        text: &mut Text<'_>,
        name: &str,
        help: &str,
        pick: impl Fn(&Cells) -> &Histogram,
    ) {
        let mut buckets = [0; BUCKETS];
        for cells in &self.shards {
            for (sum, bucket) in buckets.iter_mut().zip(&pick(cells).buckets) {
                *sum += bucket.get();
            }
        }
        let sum_us = self.sum(|cells| &pick(cells).sum_us);
        text.histogram(name, help, &buckets, sum_us);
    }

    fn sum<'a>(&'a self, pick: impl Fn(&'a Cells) -> &'a Counter) -> u64 {
        self.shards
            .iter()
            .fold(0, |sum, cells| sum.wrapping_add(pick(cells).get()))
    }
}

impl Facts<'_> {
    fn render(&self, text: &mut Text<'_>) {
        let name = "portico_build_info";
        text.family(name, Kind::Gauge, "Always 1; the version is in the label.");
        text.sample(name, &[("version", self.version)], 1_u64);
        text.plain(
            "portico_start_time_seconds",
            Kind::Gauge,
            "When the process started, as Unix time.",
            self.started.0,
        );
        text.plain(
            "portico_ready",
            Kind::Gauge,
            "1 if the proxy takes new work, as /readyz says.",
            u64::from(self.ready),
        );
        text.plain(
            "portico_config_generation",
            Kind::Gauge,
            "Number of the configuration in service; each reload that takes effect adds 1.",
            self.generation,
        );
        let name = "portico_config_reloads_total";
        text.family(name, Kind::Counter, "Reloads of the configuration.");
        text.sample(name, &[("result", "ok")], self.reloads_ok);
        text.sample(name, &[("result", "failed")], self.reloads_failed);
        if let Some(tenants) = self.tenants {
            text.plain(
                "portico_tenants",
                Kind::Gauge,
                "Tenants in the directory.",
                tenants as u64,
            );
        }
        let name = "portico_tenants_reloads_total";
        text.family(
            name,
            Kind::Counter,
            "Changed lists of tenants that were read.",
        );
        text.sample(name, &[("result", "ok")], self.tenants_ok);
        text.sample(name, &[("result", "failed")], self.tenants_failed);
        directory::render(text, self.directories);
        certs::render_served(text, &self.engine.node, self.certificates);
        certs::render_engine(text, self.engine, self.certificates);
        self.upstream.render(text);
        used::render(text, self.used, self.used_lost);
        text.plain(
            "portico_access_log_lost_total",
            Kind::Counter,
            "Records of the access log that could not be written.",
            self.access_log_lost,
        );
    }
}

#[cfg(test)]
mod tests;

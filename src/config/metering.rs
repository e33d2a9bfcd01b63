//! `[metrics]` and `[usage]`: what is counted of each tenant.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;

/// Metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// How many tenants have series of their own; 0 is none. Default 50.
    pub tenants: usize,
}

/// The record of what each tenant has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The file. Default: none, nothing is recorded.
    pub file: Option<PathBuf>,
    /// How often it is written. Default `30s`.
    pub interval: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { tenants: 50 }
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            file: None,
            interval: Duration::from_secs(30),
        }
    }
}

impl Metrics {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut metrics = Self::default();
        let mut section = reader.section("metrics");
        section.number(
            "tenants",
            &mut metrics.tenants,
            0..=1000,
            "Tenants with series of their own, those with most requests; all others are `other`; 0 counts none apart",
        );
        metrics
    }
}

impl Usage {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut usage = Self::default();
        let mut section = reader.section("usage");
        usage.file = section.maybe_path(
            "file",
            "nothing is recorded",
            "Requests, bytes and errors of each tenant, one line of JSON for each tenant and interval",
        );
        section.duration(
            "interval",
            &mut usage.interval,
            Duration::from_secs(1)..=Duration::from_secs(3600),
            "How often it is written and synced to disk; a crash loses no more than that and a second",
        );
        usage
    }
}

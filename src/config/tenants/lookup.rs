//! How long answers of a source are kept that is asked host by host.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::section::Section;
use super::super::value;

/// Settings of a look-up cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// How long a tenant is served without asking again. Default `60s`.
    pub positive_ttl: Duration,
    /// How long "nobody" is believed. Default `5s`.
    pub negative_ttl: Duration,
    /// How long after that a tenant goes on being served while the source does not answer. Default: without end.
    pub max_stale: Option<Duration>,
    /// Most hosts with a tenant that are remembered. Default 262,144.
    pub positive_max: u32,
    /// Most hosts without one that are remembered. Default 65,536.
    pub negative_max: u32,
    /// Most questions to the source in a second, on the whole. Default 200.
    pub lookup_qps: u32,
    /// Longest wait for the source's answer. Default `1s`.
    pub timeout: Duration,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            positive_ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(5),
            max_stale: None,
            positive_max: 262_144,
            negative_max: 65_536,
            lookup_qps: 200,
            timeout: Duration::from_secs(1),
        }
    }
}

const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const STALE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(366 * 86_400);
/// A request waits for it.
const WAIT: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(30);

impl Lookup {
    /// The keys but `max_stale`.
    pub(super) const KEYS: &'static [&'static str] = &[
        "timeout",
        "positive_ttl",
        "negative_ttl",
        "positive_max",
        "negative_max",
        "lookup_qps",
    ];

    /// Reads the keys, which stand among those of the source.
    pub(in super::super) fn read(section: &mut Section<'_, '_>) -> Self {
        let mut lookup = Self::default();
        lookup.read_times(section);
        lookup.max_stale = section.maybe_text(
            "max_stale",
            "without end",
            "How long beyond its time a tenant is served while the source does not answer",
            |text| value::duration(text, &STALE, "without the key it is without end"),
        );
        lookup.read_bounds(section);
        lookup
    }

    /// The same for a source that has a `max_stale` of its own.
    pub(super) fn read_beside(section: &mut Section<'_, '_>, max_stale: Option<Duration>) -> Self {
        let mut lookup = Self {
            max_stale,
            ..Self::default()
        };
        lookup.read_times(section);
        lookup.read_bounds(section);
        lookup
    }

    fn read_times(&mut self, section: &mut Section<'_, '_>) {
        section.duration(
            "timeout",
            &mut self.timeout,
            WAIT,
            "Longest wait for the answer of the source; a request waits as long",
        );
        section.duration(
            "positive_ttl",
            &mut self.positive_ttl,
            TTL,
            "How long a tenant is served without asking again",
        );
        section.duration(
            "negative_ttl",
            &mut self.negative_ttl,
            TTL,
            "How long the answer that a host is nobody's is believed",
        );
    }

    fn read_bounds(&mut self, section: &mut Section<'_, '_>) {
        section.number(
            "positive_max",
            &mut self.positive_max,
            64..=16_777_216,
            "Hosts with a tenant that are remembered; those not asked for lately make room",
        );
        section.number(
            "negative_max",
            &mut self.negative_max,
            64..=16_777_216,
            "Hosts without a tenant that are remembered",
        );
        section.number(
            "lookup_qps",
            &mut self.lookup_qps,
            1..=1_000_000,
            "Questions to the source in a second; beyond it a host that was never seen gets 503, never 404",
        );
    }
}

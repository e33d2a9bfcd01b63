//! Prometheus' text format, version 0.0.4: families, samples, histograms.
//!
//! Knows nothing of what is counted. Assumes that the caller names a family once and gives its samples right after.

use std::fmt::{Display, Write};

use super::shard::BUCKETS;

/// The upper bounds of `BOUNDS_US` in seconds and the one above all, as values of the label `le`.
const BOUNDS: [&str; BUCKETS] = [
    "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1",
    "2.5", "5", "10", "30", "60", "+Inf",
];

/// What a number means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// Text being written.
pub(super) struct Text<'a> {
    out: &'a mut String,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// A family of one sample without labels.
    pub(super) fn plain(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Begins a family. `help` has neither line breaks nor backslashes.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One number of the family.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(name);
        let mut before = '{';
        for (label, value) in labels {
            self.out.push(before);
            self.out.push_str(label);
            self.out.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
            before = ',';
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.push(format_args!(" {value}\n"));
    }

    /// A family with one histogram. `buckets` count for themselves; the format wants each with all below it.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        buckets: &[u64; BUCKETS],
        sum_us: u64,
    ) {
        self.family(name, Kind::Histogram, help);
        let mut count = 0;
        for (bound, bucket) in BOUNDS.iter().zip(buckets) {
            count += bucket;
            self.sample(&format!("{name}_bucket"), &[("le", bound)], count);
        }
        // Not by way of a float: the sum of months in microseconds has more digits than an f64 keeps.
        let (seconds, micros) = (sum_us / 1_000_000, sum_us % 1_000_000);
        self.push(format_args!("{name}_sum {seconds}.{micros:06}\n"));
        self.push(format_args!("{name}_count {count}\n"));
    }

    fn push(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing into a `String` cannot fail.
        if self.out.write_fmt(arguments).is_err() {
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::BOUNDS_US;
    use super::*;

    #[test]
    fn bounds_in_seconds_are_the_bounds_in_microseconds() {
        for (text, micros) in BOUNDS.iter().zip(BOUNDS_US) {
            let seconds: f64 = text.parse().unwrap();
            assert!((seconds * 1e6 - micros as f64).abs() < 1e-6, "{text}");
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let mut out = String::new();
        Text::new(&mut out).sample("name", &[("a", "x\"y\\z\n"), ("b", "ü")], -1_i64);
        assert_eq!(out, "name{a=\"x\\\"y\\\\z\\n\",b=\"ü\"} -1\n");
    }

    #[test]
    fn histograms_add_up_and_keep_every_microsecond() {
        let mut out = String::new();
        let mut buckets = [0; BUCKETS];
        buckets[0] = 2;
        buckets[3] = 1;
        buckets[16] = 4;
        Text::new(&mut out).histogram("h", "Help.", &buckets, 9_007_199_254_740_993_001);
        assert!(out.starts_with("# HELP h Help.\n# TYPE h histogram\nh_bucket{le=\"0.0005\"} 2\n"));
        assert!(out.contains("h_bucket{le=\"0.0025\"} 2\nh_bucket{le=\"0.005\"} 3\n"));
        assert!(out.contains("h_bucket{le=\"60\"} 3\nh_bucket{le=\"+Inf\"} 7\n"));
        assert!(
            out.ends_with("h_sum 9007199254740.993001\nh_count 7\n"),
            "{out}"
        );
    }
}

//! Tests of the metrics: what a strict reader of the format makes of them.
#![expect(
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use super::*;

const LABELS: Labels = Labels {
    refused: &["per_address", "total"],
    handshake: &["alert", "deadline", "no_certificate"],
    upstream: &["reset", "timeout"],
    errors: &[
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p",
    ],
};

fn engine() -> EngineFacts {
    EngineFacts {
        node: "edge-1".to_owned(),
        heartbeat: Some(UnixTime(1_795_219_000)),
        blocked: vec![("account".to_owned(), UnixTime(1_795_300_000))],
        states: &["idle", "backoff"],
        propagation: vec![(1, 1), (5, 3)],
        propagation_all: (4, 21),
        lineages: vec![
            RenewalFacts {
                lineage: "example.com".to_owned(),
                current: Some(6),
                renew_at: Some(UnixTime(1_798_000_000)),
                failures: vec![("dns", "https://ca.test/dir".to_owned(), 2)],
                consecutive_failures: 2,
                state: "backoff",
                txt_debt: 1,
                clock_skew: Some(-7),
                deploy_failed: true,
                level: 1,
                ..RenewalFacts::default()
            },
            RenewalFacts {
                lineage: "exa\"mple.net".to_owned(),
                failures: vec![("dns", "https://ca.test/dir".to_owned(), 3)],
                state: "idle",
                ..RenewalFacts::default()
            },
        ],
    }
}

fn upstream() -> UpstreamFacts {
    UpstreamFacts {
        servers: vec![
            ServerFacts {
                server: "http://app\"1:8000".to_owned(),
                pool: "app".to_owned(),
                state: "ejected",
                requests: 4,
                connections: 9,
                ejected_total: 2,
                probes_failed: 1,
            },
            ServerFacts {
                server: "unix:/run/app.sock".to_owned(),
                pool: "eu".to_owned(),
                state: "up",
                ..ServerFacts::default()
            },
        ],
        queued: vec![("app".to_owned(), 3)],
    }
}

fn facts<'a>(engine: &'a EngineFacts, upstream: &'a UpstreamFacts) -> Facts<'a> {
    Facts {
        engine,
        upstream,
        used: &[],
        used_lost: 0,
        version: "1.2.3",
        started: UnixTime(1_795_219_200),
        ready: true,
        generation: 3,
        reloads_ok: 2,
        reloads_failed: 1,
        tenants: Some(7),
        tenants_ok: 3,
        tenants_failed: 1,
        directories: &[DirectoryFacts {
            source: "postgres",
            up: true,
            age: Some(4),
            loads: 2,
            failures: 3,
            refused: 1,
            changes: 9,
            bad_rows: 0,
        }],
        access_log_lost: 5,
        certificates: &[
            CertificateFacts {
                lineage: "example.com",
                serial: "0a1b",
                not_before: UnixTime(1_790_000_000),
                load_failed: false,
                generation: Some(4),
                not_after: UnixTime(1_800_000_000),
                placeholder: false,
            },
            CertificateFacts {
                lineage: "exa\"mple.net",
                serial: "ff",
                not_before: UnixTime(-2),
                load_failed: true,
                generation: None,
                not_after: UnixTime(-1),
                placeholder: true,
            },
        ],
    }
}

/// Family → its kind; sample with labels → value. Panics at anything the format forbids.
type Parsed = (BTreeMap<String, String>, BTreeMap<String, f64>);

fn parse(text: &str) -> Parsed {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let mut finished = BTreeSet::new();
    let mut family = String::new();
    let mut helped = None;
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(
                is_name(name) && !help.is_empty() && !help.contains('\\'),
                "{line}"
            );
            helped = Some(name.to_owned());
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(
                helped.as_deref(),
                Some(name),
                "HELP stands right before TYPE"
            );
            assert!(finished.insert(family), "one block for each family");
            family = name.to_owned();
            assert!(
                kinds.insert(family.clone(), kind.to_owned()).is_none(),
                "{line}"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let name = series.split('{').next().unwrap();
        let base = if kinds[&family] == "histogram" {
            let suffixes = ["_bucket", "_sum", "_count"];
            suffixes
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap()
        } else {
            name
        };
        assert_eq!(base, family, "samples stand in their family");
        if let Some(labels) = series
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('{'))
        {
            let mut rest = labels.strip_suffix('}').unwrap();
            while !rest.is_empty() {
                let (label, tail) = rest.split_once("=\"").unwrap();
                assert!(is_name(label), "{line}");
                let mut escaped = false;
                let end = tail.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                let (_value, tail) = tail.split_at(end.unwrap());
                rest = tail.strip_prefix('"').unwrap();
                rest = rest.strip_prefix(',').unwrap_or(rest);
            }
        }
        assert!(
            samples.insert(series.to_owned(), value).is_none(),
            "twice: {line}"
        );
    }
    (kinds, samples)
}

fn scrape(metrics: &Metrics) -> BTreeMap<String, f64> {
    let mut out = String::new();
    metrics.render(&mut out, &facts(&engine(), &upstream()));
    let (kinds, samples) = parse(&out);
    let timed = |name: &str| name != "portico_acme_propagation_seconds";
    let histograms = kinds.iter().filter(|(_, kind)| *kind == "histogram");
    for (name, _kind) in histograms.filter(|(name, _)| timed(name)) {
        let mut last = 0.0;
        for bound in text_bounds() {
            let bucket = samples[&format!("{name}_bucket{{le=\"{bound}\"}}")];
            assert!(bucket >= last, "{name} {bound}");
            last = bucket;
        }
        assert_eq!(
            last.to_bits(),
            samples[&format!("{name}_count")].to_bits(),
            "{name}"
        );
    }
    samples
}

fn text_bounds() -> Vec<String> {
    let seconds = shard::BOUNDS_US
        .iter()
        .map(|us| (*us as f64 / 1e6).to_string());
    seconds.chain(["+Inf".to_owned()]).collect()
}

#[test]
fn every_series_is_there_from_the_start() {
    let (metrics, _shards) = Metrics::new(2, LABELS);
    let samples = scrape(&metrics);
    for series in [
        "portico_connections_accepted_total",
        "portico_connections_refused_total{reason=\"per_address\"}",
        "portico_connections_refused_total{reason=\"other\"}",
        "portico_requests_total{protocol=\"HTTP/2\",status=\"5xx\"}",
        "portico_errors_total{error=\"p\"}",
        "portico_errors_total{error=\"other\"}",
        "portico_tunnels_open",
    ] {
        assert_eq!(samples.get(series), Some(&0.0), "{series}");
    }
    assert_eq!(samples["portico_build_info{version=\"1.2.3\"}"], 1.0);
    assert_eq!(samples["portico_tenants_reloads_total{result=\"ok\"}"], 3.0);
    assert_eq!(samples["portico_tenants"], 7.0);
    for (name, value) in [
        ("up", 1.0),
        ("age_seconds", 4.0),
        ("loads_total", 2.0),
        ("failures_total", 3.0),
        ("resyncs_refused_total", 1.0),
        ("changes_total", 9.0),
        ("bad_rows", 0.0),
    ] {
        let name = format!("portico_directory_{name}{{source=\"postgres\"}}");
        assert_eq!(samples[name.as_str()], value, "{name}");
    }
    assert_eq!(
        samples["portico_config_reloads_total{result=\"failed\"}"],
        1.0
    );
    let lineage = "portico_cert_not_after_seconds{lineage=\"exa\\\"mple.net\"}";
    assert_eq!(samples[lineage], -1.0);
}

#[test]
fn the_engine_is_told_as_far_as_it_is_known() {
    let (metrics, _shards) = Metrics::new(1, LABELS);
    let samples = scrape(&metrics);
    for (series, value) in [
        (
            "portico_cert_served_info{lineage=\"example.com\",serial=\"0a1b\",node=\"edge-1\"}",
            1.0,
        ),
        (
            "portico_cert_not_before_seconds{lineage=\"example.com\"}",
            1_790_000_000.0,
        ),
        ("portico_cert_load_failed{lineage=\"exa\\\"mple.net\"}", 1.0),
        (
            "portico_cert_renew_at_seconds{lineage=\"example.com\"}",
            1_798_000_000.0,
        ),
        (
            "portico_cert_gen_lag{lineage=\"example.com\",node=\"edge-1\"}",
            2.0,
        ),
        ("portico_cert_level{lineage=\"example.com\"}", 1.0),
        ("portico_cert_deploy_failed{lineage=\"example.com\"}", 1.0),
        (
            "portico_acme_state{lineage=\"example.com\",state=\"backoff\"}",
            1.0,
        ),
        (
            "portico_acme_state{lineage=\"example.com\",state=\"idle\"}",
            0.0,
        ),
        (
            "portico_acme_failures_total{class=\"dns\",ca=\"https://ca.test/dir\"}",
            5.0,
        ),
        (
            "portico_acme_consecutive_failures{lineage=\"example.com\"}",
            2.0,
        ),
        ("portico_acme_txt_debt{lineage=\"example.com\"}", 1.0),
        (
            "portico_acme_clock_skew_seconds{lineage=\"example.com\"}",
            -7.0,
        ),
        ("portico_acme_heartbeat_seconds", 1_795_219_000.0),
        (
            "portico_acme_blocked_until_seconds{scope=\"account\"}",
            1_795_300_000.0,
        ),
        ("portico_acme_propagation_seconds_bucket{le=\"5\"}", 3.0),
        ("portico_acme_propagation_seconds_count", 4.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    for absent in [
        "portico_cert_renew_at_seconds{lineage=\"exa\\\"mple.net\"}",
        "portico_cert_next_attempt_seconds{lineage=\"example.com\"}",
        "portico_acme_clock_skew_seconds{lineage=\"exa\\\"mple.net\"}",
    ] {
        assert_eq!(samples.get(absent), None, "{absent}");
    }
}

/// One request that cost a lot, and one that cost nothing.
fn send_two(shard: &Shard) {
    shard.upstream_sent(&UpstreamCost {
        connects: 1,
        connects_failed: 1,
        retries: 2,
        budget_spent: true,
        queued: true,
        reused: false,
    });
    shard.upstream_sent(&UpstreamCost {
        reused: true,
        ..UpstreamCost::default()
    });
}

#[test]
fn app_servers_have_their_figures() {
    let (metrics, shards) = Metrics::new(1, LABELS);
    for shard in &shards {
        send_two(shard);
    }
    let mut out = String::new();
    metrics.render(&mut out, &facts(&engine(), &upstream()));
    let (_, samples) = parse(&out);
    for (series, value) in [
        ("portico_upstream_retries_total", 2.0),
        ("portico_upstream_retry_budget_exhausted_total", 1.0),
        ("portico_upstream_queued_total", 1.0),
        ("portico_upstream_queued{pool=\"app\"}", 3.0),
        (
            "portico_upstream_server_state{server=\"unix:/run/app.sock\",pool=\"eu\",state=\"up\"}",
            1.0,
        ),
        (
            "portico_upstream_requests_in_flight{server=\"unix:/run/app.sock\",pool=\"eu\"}",
            0.0,
        ),
    ] {
        assert_eq!(samples[series].to_bits(), f64::to_bits(value), "{series}");
    }
    assert_eq!(out.matches("portico_upstream_ejections_total{").count(), 2);
}

#[test]
fn shards_add_up_and_unknown_labels_count_as_other() {
    let (metrics, shards) = Metrics::new(3, LABELS);
    let before = scrape(&metrics).len();
    thread::scope(|scope| {
        for shard in shards {
            scope.spawn(move || {
                for _ in 0..1000 {
                    shard.connection_opened();
                    shard.request(Protocol::Http2, 204, 700);
                    shard.request(Protocol::Http11, 0, 61_000_000);
                    shard.edge_error("p");
                    shard.edge_error("chosen by a client");
                    shard.upstream_first_byte(500);
                    shard.moved(10, 20);
                    shard.tunnel_opened();
                }
                shard.refused("total");
                shard.handshake_failed("deadline");
                shard.handshake(2_000);
                shard.upstream_failed("reset");
                send_two(&shard);
                shard.access_log_dropped(7);
                shard.connection_closed();
                shard.tunnel_closed();
            });
        }
    });
    let samples = scrape(&metrics);
    assert_eq!(samples.len(), before, "no event makes a series");
    for (series, value) in [
        ("portico_connections_accepted_total", 3000.0),
        ("portico_connections_open", 2997.0),
        ("portico_connections_refused_total{reason=\"total\"}", 3.0),
        (
            "portico_tls_handshake_failures_total{class=\"deadline\"}",
            3.0,
        ),
        ("portico_tls_handshake_duration_seconds_count", 3.0),
        ("portico_tls_handshake_duration_seconds_sum", 0.006),
        (
            "portico_requests_total{protocol=\"HTTP/2\",status=\"2xx\"}",
            3000.0,
        ),
        (
            "portico_requests_total{protocol=\"HTTP/1.1\",status=\"none\"}",
            3000.0,
        ),
        (
            "portico_request_duration_seconds_bucket{le=\"0.0005\"}",
            0.0,
        ),
        (
            "portico_request_duration_seconds_bucket{le=\"0.001\"}",
            3000.0,
        ),
        ("portico_request_duration_seconds_bucket{le=\"60\"}", 3000.0),
        ("portico_request_duration_seconds_count", 6000.0),
        ("portico_request_duration_seconds_sum", 183_002.1),
        (
            "portico_upstream_first_byte_seconds_bucket{le=\"0.0005\"}",
            3000.0,
        ),
        ("portico_errors_total{error=\"p\"}", 3000.0),
        ("portico_errors_total{error=\"other\"}", 3000.0),
        ("portico_received_bytes_total", 30_000.0),
        ("portico_sent_bytes_total", 60_000.0),
        ("portico_upstream_connects_total{result=\"ok\"}", 3.0),
        ("portico_upstream_connects_total{result=\"failed\"}", 3.0),
        ("portico_upstream_reused_total", 3.0),
        ("portico_upstream_failures_total{kind=\"reset\"}", 3.0),
        ("portico_tunnels_open", 2997.0),
        ("portico_access_log_dropped_total", 21.0),
    ] {
        assert_eq!(samples[series].to_bits(), f64::to_bits(value), "{series}");
    }
}

#[test]
fn a_scrape_while_workers_write_is_consistent() {
    let (metrics, shards) = Metrics::new(2, LABELS);
    thread::scope(|scope| {
        for shard in shards {
            scope.spawn(move || {
                for us in 0..200_000 {
                    shard.request(Protocol::Http2, 200, us);
                }
            });
        }
        for _ in 0..20 {
            scrape(&metrics);
        }
    });
    assert_eq!(
        scrape(&metrics)["portico_request_duration_seconds_count"],
        400_000.0
    );
}

#[test]
fn shards_share_no_cache_line() {
    let (metrics, _shards) = Metrics::new(4, LABELS);
    for cells in &metrics.shards {
        assert_eq!(Arc::as_ptr(cells).addr() % 128, 0);
        assert_eq!(size_of::<Cells>() % 128, 0);
        assert_eq!(std::ptr::from_ref(cells.errors.at(0)).addr() % 128, 0);
    }
}

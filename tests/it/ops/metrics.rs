//! Metrics that must move when what they count happens.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use super::TIMER;
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::pki::Ca;
use crate::support::port;
use crate::support::portico::Portico;
use crate::support::site::Site;
use crate::support::wait;

#[tokio::test]
async fn a_connect_that_fails_is_counted() {
    let closed = port::local(port::free()).to_string();
    let site = Site::before(&[&closed]).start();
    let failed = "portico_upstream_connects_total{result=\"failed\"}";
    assert_eq!(site.portico.metric(failed), 0.0);
    let answer = site
        .edge
        .get(Protocol::Http1, "acme.example.test", "/")
        .await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    wait::until("the failed connect is counted", || {
        (site.portico.metric(failed) >= 1.0).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_the_log_cannot_take_are_counted_as_dropped() {
    let origin = Origin::hello();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("access");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    // Held open and not read: the writer of the log is stuck as soon as the pipe is full.
    let mut reader = fs::OpenOptions::new()
        .read(true)
        .custom_flags(0o4000) // O_NONBLOCK
        .open(&pipe)
        .unwrap();
    let site = Site::before(&[origin.address()])
        .set("log", &format!("access = \"{}\"", pipe.display()))
        .set("server", "workers = 1")
        .start();
    let dropped = "portico_access_log_dropped_total";
    assert_eq!(site.portico.metric(dropped), 0.0);
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let long = format!("/{}", "x".repeat(7_000));
    let mut sent = 0;
    while site.portico.metric(dropped) == 0.0 {
        for _ in 0..100 {
            connection.request("GET", &long).send().await;
        }
        sent += 100;
        assert!(sent < 8000, "{sent} long records and none dropped");
    }
    let mut some = [0; 4096];
    assert!(
        reader.read(&mut some).unwrap() > 0,
        "what was not dropped is in the pipe"
    );
}

/// A proxy whose renewal is another process's business, which has left nothing yet.
fn proxy() -> Portico {
    Portico::with(TIMER).start_unready()
}

#[tokio::test]
async fn the_renewals_files_are_told_as_metrics_and_status() {
    let portico = proxy();
    let lineage = "{lineage=\"example.test\"}";
    let metric = |name: &str| portico.metric(&format!("{name}{lineage}"));
    assert_eq!(metric("portico_cert_placeholder"), 1.0);
    assert_eq!(metric("portico_cert_level"), 3.0);
    assert!(
        !portico
            .admin("/metrics")
            .1
            .contains("\nportico_acme_heartbeat_seconds ")
    );

    // The renewal unit runs and cannot reach its CA.
    let file = portico.config_file().display().to_string();
    let failed = crate::support::portico::portico_cmd(&["cert", "reconcile", "--config", &file]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    wait::until("the failure shows", || {
        (metric("portico_acme_consecutive_failures") == 1.0).then_some(())
    });
    let (_, text) = portico.admin("/metrics");
    let has = |series: &str| assert!(text.contains(series), "{series}\n{text}");
    has("portico_acme_failures_total{class=\"transport\",ca=\"https://127.0.0.1:1/dir\"} 1");
    has("portico_acme_state{lineage=\"example.test\",state=\"backoff\"} 1");
    has("portico_acme_state{lineage=\"example.test\",state=\"idle\"} 0");
    has("\nportico_acme_heartbeat_seconds ");
    assert!(
        metric("portico_cert_next_attempt_seconds") > metric("portico_cert_last_attempt_seconds")
    );
    let status: serde_json::Value = serde_json::from_str(&portico.admin("/status").1).unwrap();
    let health = &status["acme"]["lineages"][0];
    assert_eq!(health["failure"]["class"], "transport", "{status}");
    assert!(
        health["next"].as_str().unwrap().contains("next try at"),
        "{status}"
    );
    let (code, ready) = portico.admin("/readyz");
    assert_eq!(code, 503);
    assert!(
        ready.contains("next try at"),
        "the reason says what happens next: {ready}"
    );

    // A certificate comes from elsewhere.
    let leaf = super::aged(&Ca::new(), 800);
    let (cert, key) = leaf.write(&portico.folder().join("import"));
    let [cert, key] = [cert, key].map(|path| path.display().to_string());
    let done = crate::support::portico::portico_cmd(&[
        "cert", "import", "--config", &file, "--cert", &cert, "--key", &key,
    ]);
    assert!(done.status.success(), "{done:?}");
    wait::until("it is in service", || {
        (metric("portico_cert_placeholder") == 0.0).then_some(())
    });
    let (_, text) = portico.admin("/metrics");
    let has = |series: &str| assert!(text.contains(series), "{series}\n{text}");
    has("portico_cert_served_info{lineage=\"example.test\",serial=\"");
    has("portico_cert_gen_lag{lineage=\"example.test\",node=\"");
    assert!(metric("portico_cert_not_after_seconds") > metric("portico_cert_renew_at_seconds"));
    // A fifth is left: past its renewal by more than a tenth.
    assert_eq!(metric("portico_cert_level"), 1.0);
}

#[tokio::test]
async fn the_number_of_series_depends_on_the_lineages_only() {
    let portico = proxy();
    let count = || {
        portico
            .admin("/metrics")
            .1
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    };
    let before = count();
    let file = portico.config_file().display().to_string();
    for _ in 0..3 {
        crate::support::portico::portico_cmd(&["cert", "renew", "--force", "--config", &file]);
    }
    wait::until("the failures show", || {
        (portico.metric("portico_acme_consecutive_failures") == 3.0).then_some(())
    });
    // Last attempt, next attempt, one class at one CA, the heartbeat.
    assert_eq!(count(), before + 4);
}

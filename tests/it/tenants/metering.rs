//! What is counted of each tenant.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::Rows;
use crate::support::body;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::site::Site;
use crate::support::wait;

fn host(tenant: &str) -> String {
    format!("{tenant}.example.test")
}

/// The samples of a metric by tenant.
fn by_tenant(site: &Site, name: &str) -> BTreeMap<String, u64> {
    let (_, text) = site.portico.admin("/metrics");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix("{tenant=\""));
    lines
        .map(|line| {
            let (tenant, value) = line.split_once("\"} ").unwrap();
            (tenant.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn metrics_bounded_under_random_hosts() {
    const HOSTS: u64 = 3000;
    let origin = Origin::hello();
    // Under `pattern` every label is somebody's; and everybody has limits.
    let site = Site::before(&[origin.address()])
        .set("metrics", "tenants = 5")
        .set("tenants.limits", "rate = \"1000/s\"")
        .start();
    let metric = "portico_tenant_requests_total";
    let mut busy = 0;
    let mut connection = site.edge.connect(Protocol::Http2, &host("acme")).await;
    for number in 0..HOSTS {
        let random = host(&format!("r{number}"));
        assert_eq!(
            connection
                .request("GET", "/")
                .host(&random)
                .send()
                .await
                .status,
            200
        );
        if number % 10 == 0 {
            assert_eq!(connection.request("GET", "/").send().await.status, 200);
            busy += 1;
        }
    }
    // No Host of a client that the directory does not know.
    let nobody = connection
        .request("GET", "/")
        .host("a.b.example.test")
        .send()
        .await;
    assert_eq!(nobody.status, 421);
    let rows = wait::until_async("all to be counted", async || {
        let rows = by_tenant(&site, metric);
        let sum: u64 = rows.values().sum();
        assert!(rows.len() <= 6, "{rows:?}");
        // What a series had when it was given up is not counted again.
        (sum + 50 >= HOSTS + busy && rows.contains_key("acme")).then_some(rows)
    })
    .await;
    assert!(rows["other"] > HOSTS - 100, "{rows:?}");
    assert!(rows.values().sum::<u64>() <= HOSTS + busy);
    assert_eq!(connection.request("GET", "/").send().await.status, 200);
    wait::until_async("its bytes", async || {
        let sent = by_tenant(&site, "portico_tenant_sent_bytes_total");
        sent.get("acme").is_some_and(|sent| *sent > 0).then_some(())
    })
    .await;
    let (_, text) = site.portico.admin("/metrics");
    // The certificate's own names are labels (`*.example.test`), a client's Host never is.
    let is_host = |value: &str| value.ends_with(".example.test") && !value.starts_with("*.");
    let labels: Vec<&str> = text.split('"').filter(|value| is_host(value)).collect();
    assert!(labels.is_empty(), "a host is a label: {labels:?}");
}

/// The lines of a file of JSON lines, each whole.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(line).collect()
}

/// Requests, errors, refusals and bytes by tenant.
type Sums = BTreeMap<String, [u64; 5]>;

fn add(sums: &mut Sums, tenant: &Value, values: [u64; 5]) {
    let sum = sums.entry(tenant.as_str().unwrap().to_owned()).or_default();
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

fn of_usage(lines: &[Value]) -> Sums {
    let mut sums = Sums::new();
    for line in lines {
        let keys = ["requests", "errors", "limited", "bytes_in", "bytes_out"];
        add(
            &mut sums,
            &line["tenant"],
            keys.map(|key| line[key].as_u64().unwrap()),
        );
    }
    sums
}

fn of_access(lines: &[Value]) -> Sums {
    let mut sums = Sums::new();
    for line in lines.iter().filter(|line| line.get("tenant").is_some()) {
        let number = |key: &str| line[key].as_u64().unwrap();
        let status = number("status");
        let values = [
            1,
            u64::from(status >= 500),
            u64::from(status == 429),
            number("bytes_in"),
            number("bytes_out"),
        ];
        add(&mut sums, &line["tenant"], values);
    }
    sums
}

#[tokio::test]
async fn usage_adds_up_to_the_access_log_under_load_and_over_rotation() {
    let origin = Origin::tcp(async |seen: origin::Seen| match &*seen.target {
        "/bad" => origin::text(500, "no"),
        _ => origin::text(
            200,
            vec![b'y'; usize::try_from(seen.body_len % 900).unwrap()],
        ),
    });
    let rows = Rows::new("id,rate,state\na,,\nb,,\nc,50/h,\nd,,suspended\n");
    let folder = tempfile::tempdir().unwrap();
    let (access, usage) = (
        folder.path().join("access.log"),
        folder.path().join("usage.jsonl"),
    );
    let mut site = rows
        .site(&[origin.address()])
        .set(
            "log",
            &format!("access = {:?}", access.display().to_string()),
        )
        .set(
            "usage",
            &format!("file = {:?}", usage.display().to_string()),
        )
        .set("usage", "interval = \"1s\"")
        .set("server", "workers = 2")
        .start();
    let edge = site.edge.clone();
    let load = |round: usize| {
        let edge = edge.clone();
        tokio::spawn(async move {
            let tenant = ["a", "b", "c", "d"][round % 4];
            let protocol = Protocol::BOTH[round % 2];
            let mut connection = edge.connect(protocol, &host(tenant)).await;
            for number in 0..60 {
                let target = if number % 7 == 0 { "/bad" } else { "/" };
                // What is refused is asked without a body: its connection goes on.
                if round % 4 < 2 {
                    let body = body::full(vec![b'x'; number * 31]);
                    connection.request("POST", target).body(body).send().await;
                } else {
                    connection.request("GET", target).send().await;
                }
            }
        })
    };
    let first: Vec<_> = (0..8).map(load).collect();
    for one in first {
        one.await.unwrap();
    }
    wait::until_async("an interval in the file", async || {
        (!lines(&usage).is_empty()).then_some(())
    })
    .await;
    let old = folder.path().join("usage.jsonl.1");
    std::fs::rename(&usage, &old).unwrap();
    site.portico.sighup();
    site.portico.wait_log("configuration reloaded");
    let second: Vec<_> = (0..8).map(load).collect();
    for one in second {
        one.await.unwrap();
    }
    site.portico.sigterm();
    assert!(site.portico.wait_exit().success());
    let recorded = [lines(&old), lines(&usage)].concat();
    assert!(
        !lines(&usage).is_empty(),
        "the record goes on in the new file"
    );
    let (used, logged) = (of_usage(&recorded), of_access(&lines(&access)));
    assert_eq!(used, logged);
    assert_eq!(used["a"][0], 240);
    assert!(
        used["a"][1] > 0 && used["c"][2] > 0 && used["b"][3] > 0,
        "{used:?}"
    );
    // Every line once, in order, all of one run.
    let seqs: Vec<u64> = recorded
        .iter()
        .map(|line| line["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
    assert!(
        recorded
            .iter()
            .all(|line| line["instance"] == recorded[0]["instance"])
    );
}

#[tokio::test]
async fn usage_survives_a_crash_but_for_the_last_interval() {
    let origin = Origin::hello();
    let folder = tempfile::tempdir().unwrap();
    let usage = folder.path().join("usage.jsonl");
    let site = || {
        Site::before(&[origin.address()])
            .set(
                "usage",
                &format!("file = {:?}", usage.display().to_string()),
            )
            .set("usage", "interval = \"1s\"")
            .start()
    };
    let mut one = site();
    for _ in 0..5 {
        one.edge.get(Protocol::Http2, &host("acme"), "/").await;
    }
    wait::until_async("the interval", async || {
        let sums = of_usage(&lines(&usage));
        (sums.get("acme").is_some_and(|sum| sum[0] == 5)).then_some(())
    })
    .await;
    one.portico.sigkill();
    one.portico.wait_exit();
    assert_eq!(of_usage(&lines(&usage))["acme"][0], 5);
    // A line that the crash of a machine has torn.
    let whole = std::fs::read_to_string(&usage).unwrap();
    std::fs::write(&usage, format!("{whole}{{\"seq\":99,\"instance\":\"12")).unwrap();
    let mut two = site();
    two.edge.get(Protocol::Http1, &host("acme"), "/").await;
    two.portico.sigterm();
    assert!(two.portico.wait_exit().success());
    let all = lines(&usage);
    assert_eq!(of_usage(&all)["acme"][0], 6);
    assert_ne!(all[0]["instance"], all[all.len() - 1]["instance"]);
    assert_eq!(all[all.len() - 1]["seq"], 1);
}

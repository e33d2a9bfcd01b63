//! Probes, ejection, and what a reload keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;

use super::{HOST, state_of, wait_state};
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;
use crate::support::wait;

#[tokio::test]
async fn upstream_probes_take_a_server_out_and_bring_it_back() {
    let well = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&well);
    let shaky = Origin::tcp(move |seen| {
        let status = match seen.target.as_str() {
            "/healthz?deep" if !asked.load(Ordering::SeqCst) => 500,
            _ => 200,
        };
        async move { origin::text(status, "shaky") }
    });
    let steady = Origin::tcp(async |_| origin::text(200, "steady"));
    let mut site = Site::before(&[shaky.address(), steady.address()])
        .set("upstream", "slow_start = \"0s\"")
        .set("upstream.probe", "path = \"/healthz?deep\"")
        .set("upstream.probe", "host = \"probe.example.test\"")
        .set("upstream.probe", "interval = \"250ms\"")
        .set("upstream.probe", "timeout = \"1s\"")
        .set("upstream.probe", "rise = 2")
        .set("upstream.probe", "fall = 2")
        .set("upstream.probe", "status = \"200-299\"")
        .start();
    let probe = shaky.wait_requests(1).remove(0);
    assert_eq!(probe.one("host"), "probe.example.test");
    assert_eq!(
        (probe.method.as_str(), probe.all("x-tenant")),
        ("GET", vec![])
    );
    assert_eq!(state_of(&site, shaky.address())["state"], "up");

    well.store(false, Ordering::SeqCst);
    wait_state(&site, shaky.address(), "down");
    site.portico
        .wait_log("probes fail, the server gets no requests");
    let text = state_of(&site, shaky.address())["probe_error"].to_string();
    assert!(text.contains("it answers 500"), "{text}");
    let mut connection = site.edge.connect(Protocol::Http1, HOST).await;
    for _ in 0..30 {
        assert_eq!(connection.request("GET", "/").send().await.text(), "steady");
    }
    // A reload forgets nothing: the new configuration finds the server down.
    site.portico.reload();
    assert_eq!(state_of(&site, shaky.address())["state"], "down");
    assert_eq!(connection.request("GET", "/").send().await.text(), "steady");
    let down = "portico_upstream_server_state{server=\"http://";
    let down = format!("{down}{}\",pool=\"app\",state=\"down\"}}", shaky.address());
    assert!(site.portico.metric(&down) > 0.5);

    well.store(true, Ordering::SeqCst);
    wait_state(&site, shaky.address(), "up");
    wait::until_async("a request at the server that is back", async || {
        let answer = connection.request("GET", "/").send().await;
        (answer.text() == "shaky").then_some(())
    })
    .await;
}

#[tokio::test]
async fn upstream_probes_that_all_fail_do_not_take_the_site_down() {
    let origin = Origin::tcp(async |seen| {
        origin::text(if seen.target == "/healthz" { 500 } else { 200 }, "app")
    });
    let other = Origin::tcp(async |seen| {
        origin::text(if seen.target == "/healthz" { 500 } else { 200 }, "app")
    });
    let site = Site::before(&[origin.address(), other.address()])
        .set("upstream.probe", "path = \"/healthz\"")
        .set("upstream.probe", "interval = \"250ms\"")
        .set("upstream.probe", "timeout = \"1s\"")
        .set("upstream.probe", "fall = 1")
        .start();
    wait_state(&site, origin.address(), "down");
    wait_state(&site, other.address(), "down");
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, HOST, "/").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "app"));
    }
}

#[tokio::test]
async fn upstream_failures_eject_a_server_and_it_comes_back() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let shaky = RawOrigin::new(move |connection| {
        while connection.read_head().is_some() {
            if is_broken.load(Ordering::SeqCst) {
                return;
            }
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshaky");
        }
    });
    let steady = Origin::tcp(async |_| origin::text(200, "steady"));
    let mut site = Site::before(&[&shaky.address(), steady.address()])
        .set("upstream", "eject_failures = 3")
        .set("upstream", "eject_time = \"1s\"")
        .set("upstream", "slow_start = \"0s\"")
        .start();
    let mut connection = site.edge.connect(Protocol::Http2, HOST).await;
    // A POST that broke off is never sent again, so each failure shows.
    let failed = wait::until_async("the ejection", async || {
        connection.request("POST", "/").send().await;
        let state = state_of(&site, &shaky.address());
        (state["state"] == "ejected").then(|| shaky.heard().len())
    })
    .await;
    assert_eq!(failed, 3);
    site.portico
        .wait_log("the server fails and is left alone for 1s");
    for _ in 0..30 {
        let answer = connection.request("POST", "/").send().await;
        if answer.text() != "steady" {
            // The second was over: it was tried again, and one failure is enough now.
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
            assert_eq!(shaky.heard().len(), failed + 1);
            break;
        }
    }
    assert!(site.portico.metric("portico_upstream_ejections_total") > 0.5);
    broken.store(false, Ordering::SeqCst);
    wait::until_async("a request at the server that is back", async || {
        let answer = connection.request("POST", "/").send().await;
        (answer.text() == "shaky").then_some(())
    })
    .await;
    site.portico
        .wait_log("the server is used again after its failures");
}

#[tokio::test]
async fn upstream_of_two_broken_servers_one_is_never_ejected() {
    let (one, two) = (
        RawOrigin::new(|connection| drop(connection.read_head())),
        RawOrigin::new(|connection| drop(connection.read_head())),
    );
    let site = Site::before(&[&one.address(), &two.address()])
        .set("upstream", "eject_failures = 1")
        .start();
    for _ in 0..20 {
        let mut connection = site.edge.connect(Protocol::Http1, HOST).await;
        let answer = connection.request("POST", "/").send().await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    }
    let states = [&one, &two].map(|server| state_of(&site, &server.address())["state"].clone());
    assert_eq!(
        states.iter().filter(|&state| state == "ejected").count(),
        1,
        "{states:?}"
    );
    assert_eq!(one.heard().len() + two.heard().len(), 20);
}

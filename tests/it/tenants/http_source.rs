//! `source = "http"`: both contracts, and how often the app is asked.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;

use super::ask_app::AskApp;
use crate::support::http::{Answer, Protocol};
use crate::support::origin::{self, Origin};
use crate::support::site::Site;
use crate::support::wait;

pub(super) async fn get(site: &Site, host: &str) -> Answer {
    site.edge.get(Protocol::Http1, host, "/").await
}

/// Status, and why.
pub(super) async fn outcome(site: &Site, host: &str) -> String {
    let answer = get(site, host).await;
    let reason = answer.header("x-edge-reason").unwrap_or("app");
    format!("{} {reason}", answer.status.as_u16())
}

#[tokio::test]
async fn http_ask_contract() {
    let mut app = AskApp::start();
    let origin = Origin::hello();
    for host in ["acme.example.test", "example.test"] {
        app.put(host, json!({ "status": 200 }));
    }
    app.put("globex.example.test", json!({ "status": 204 }));
    app.put("refused.example.test", json!({ "status": 403 }));
    app.put("broken.example.test", json!({ "status": 500 }));
    let site = app
        .site(&origin, "/ask")
        .set("tenants.http", "contract = \"caddy-ask\"")
        .start();
    for (host, expected, tenant) in [
        ("acme.example.test", "200 app", Some("acme")),
        ("globex.example.test", "200 app", Some("globex")),
        ("example.test", "200 app", Some("example.test")),
        ("refused.example.test", "404 unknown-tenant", None),
        ("nobody.example.test", "404 unknown-tenant", None),
        ("broken.example.test", "503 directory-down", None),
    ] {
        let before = origin.requests().len();
        assert_eq!(outcome(&site, host).await, expected, "{host}");
        let seen = origin.requests();
        let told = seen.get(before).map(|seen| seen.one("x-tenant"));
        assert_eq!(told, tenant, "{host}");
    }
    let calls = app.calls();
    assert_eq!(calls.len(), 6, "{calls:?}");
    assert_eq!(calls[0], "/ask domain acme.example.test - 200");
}

#[tokio::test]
async fn http_portico_contract_and_a_404_is_believed_for_a_while() {
    let mut app = AskApp::start();
    let origin = Origin::hello();
    app.put(
        "acme.example.test",
        json!({ "row": { "id": 42, "schema": "acme", "state": "active" } }),
    );
    app.put(
        "late.example.test",
        json!({ "row": { "id": "late", "state": "suspended" } }),
    );
    app.put(
        "stranger.example.test",
        json!({ "row": { "id": "x", "hosts": ["other.example.test"] } }),
    );
    app.put(
        "odd.example.test",
        json!({ "row": { "id": "odd", "stat": "suspended" } }),
    );
    app.put("text.example.test", json!({ "status": 200 }));
    let site = app
        .site(&origin, "/tenant")
        .set("tenants.http", "negative_ttl = \"600s\"")
        .set("tenants.http", "positive_ttl = \"600s\"")
        .start();
    for (host, expected) in [
        ("acme.example.test", "200 app"),
        ("late.example.test", "402 suspended"),
        ("stranger.example.test", "503 directory-down"),
        ("odd.example.test", "503 directory-down"),
        ("text.example.test", "503 directory-down"),
        ("nobody.example.test", "404 unknown-tenant"),
    ] {
        assert_eq!(outcome(&site, host).await, expected, "{host}");
    }
    assert_eq!(origin.only_request().one("x-tenant"), "42");
    let log = site.portico.stderr();
    assert!(log.contains("the row is of another host"), "{log}");
    // What has been said is not asked for again, by either protocol, and not after it has changed.
    let asked = app.calls().len();
    app.put_tenant("nobody.example.test", "somebody");
    for protocol in Protocol::BOTH {
        for (host, status) in [("nobody.example.test", 404), ("acme.example.test", 200)] {
            let answer = site.edge.get(protocol, host, "/").await;
            assert_eq!(answer.status.as_u16(), status, "{host}");
        }
    }
    assert_eq!(app.calls().len(), asked, "{:?}", app.calls());
}

#[tokio::test]
async fn an_answer_is_good_as_long_as_the_app_says_and_its_mark_saves_the_row() {
    let mut app = AskApp::start();
    let origin = Origin::hello();
    let rule = |id: &str, tag: &str| json!({ "row": { "id": id }, "etag": tag, "max_age": 1 });
    app.put("acme.example.test", rule("one", "\"v1\""));
    let site = app
        .site(&origin, "/tenant")
        .set("tenants.http", "positive_ttl = \"24h\"")
        .start();
    let edge = site.edge.clone();
    wait::until_async("the row to be asked for by its mark", async || {
        edge.get(Protocol::Http1, "acme.example.test", "/").await;
        let same = "/tenant host acme.example.test \"v1\" 304";
        app.calls().iter().any(|call| call == same).then_some(())
    })
    .await;
    assert!(
        origin
            .requests()
            .iter()
            .all(|seen| seen.one("x-tenant") == "one")
    );
    app.put("acme.example.test", rule("two", "\"v2\""));
    wait::until_async("the new row to be served", async || {
        edge.get(Protocol::Http1, "acme.example.test", "/").await;
        (origin.requests().last()?.one("x-tenant") == "two").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hundred_first_requests_are_one_question() {
    let mut app = AskApp::start();
    let origin = Origin::hello();
    app.put(
        "acme.example.test",
        json!({ "row": { "id": "acme" }, "delay": 1.0 }),
    );
    let site = app.site(&origin, "/tenant").start();
    let mut connections = Vec::new();
    for protocol in Protocol::BOTH {
        for _ in 0..50 {
            connections.push(site.edge.connect(protocol, "acme.example.test").await);
        }
    }
    let asking = connections
        .iter_mut()
        .map(|connection| connection.request("GET", "/").send());
    for answer in join_all(asking).await {
        assert_eq!(answer.status.as_u16(), 200);
    }
    assert_eq!(app.calls(), ["/tenant host acme.example.test - 200"]);
    assert_eq!(origin.requests().len(), 100);
}

#[tokio::test]
async fn made_up_hosts_cost_the_app_no_more_than_the_budget() {
    let mut app = AskApp::start();
    let origin = Origin::hello();
    app.put_tenant("acme.example.test", "acme");
    let began = Instant::now();
    let site = app
        .site(&origin, "/tenant")
        .set("tenants.http", "lookup_qps = 10")
        .set("tenants.http", "negative_ttl = \"600s\"")
        .start();
    assert_eq!(outcome(&site, "acme.example.test").await, "200 app");
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let (mut nobody, mut unknown) = (0, 0);
    for number in 0..300 {
        let host = format!("random-{number}.example.test");
        let answer = connection.request("GET", "/").host(&host).send().await;
        match answer.header("x-edge-reason") {
            Some("unknown-tenant") => nobody += 1,
            Some("directory-down") => unknown += 1,
            other => panic!("{host}: {other:?}"),
        }
    }
    let calls = app.calls().len();
    let most = 1.0 + 5.0 + 10.0 * began.elapsed().as_secs_f64();
    assert_eq!(nobody + 1, calls, "a no is said by the app only");
    let within = calls as f64 <= most;
    assert!(within, "{calls} questions, {most} allowed");
    assert!(unknown > 0, "{nobody} questions for 300 hosts");
    // The flood has not pushed out what is known, and no app has seen any of it.
    assert_eq!(outcome(&site, "acme.example.test").await, "200 app");
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn a_file_may_come_first_and_only_the_rest_is_asked_for() {
    let mut app = AskApp::start();
    let origin =
        Origin::tcp(async |seen: origin::Seen| origin::text(200, seen.one("x-tenant").to_owned()));
    app.put_tenant("acme.example.test", "of-the-app");
    app.put_tenant("globex.example.test", "globex");
    let list = app.path("tenants.toml");
    std::fs::write(&list, "[[tenant]]\nid = \"acme\"\n").unwrap();
    let site = app
        .site(&origin, "/tenant")
        .set("tenants", "source = [\"file\", \"http\"]")
        .set(
            "tenants",
            &format!("file = {:?}", list.display().to_string()),
        )
        .start();
    for (host, tenant) in [
        ("acme.example.test", "acme"),
        ("globex.example.test", "globex"),
    ] {
        assert_eq!(get(&site, host).await.text(), tenant);
    }
    assert_eq!(app.calls(), ["/tenant host globex.example.test - 200"]);
    assert_eq!(
        outcome(&site, "nobody.example.test").await,
        "404 unknown-tenant"
    );
    // A reload reads the file again and forgets nothing of what the app has said.
    site.portico.sighup();
    wait::until("the reload", || {
        (site.portico.metric("portico_config_generation") >= 2.0).then_some(())
    });
    assert_eq!(get(&site, "globex.example.test").await.text(), "globex");
    assert_eq!(app.calls().len(), 2, "{:?}", app.calls());
}

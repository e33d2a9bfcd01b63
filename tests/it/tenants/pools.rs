//! Which servers a tenant is served by.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};

use super::Rows;
use super::tool::{json_of, told};
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::site::{Site, SiteBuilder, servers_line};
use crate::support::wait;

fn named(name: &'static str) -> Origin {
    Origin::tcp(move |_| async move { origin::text(200, name) })
}

fn host(tenant: &str) -> String {
    format!("{tenant}.example.test")
}

#[tokio::test]
async fn pool_region_pin() {
    let (app, eu) = (named("app"), named("eu"));
    let rows = Rows::new(
        "id,pool,plan\nhome,,\nparis,eu,\nrome,,europe\nnice,app,europe\nmars,red,\nlost,,rocket\nboth,eu,rocket\n",
    );
    let mut site = rows
        .site(&[app.address()])
        .set("pools.eu", &servers_line(&[eu.address()]))
        .set("plans.europe", "pool = \"eu\"")
        .start();
    for protocol in Protocol::BOTH {
        for (tenant, expected) in [
            ("home", "app"),
            ("paris", "eu"),
            ("rome", "eu"),
            ("nice", "app"),
            ("both", "eu"),
        ] {
            let answer = site.edge.get(protocol, &host(tenant), "/").await;
            assert_eq!(answer.text(), expected, "{tenant}");
        }
        // Whoever was to be kept apart is never served by others' servers.
        for tenant in ["mars", "lost"] {
            let answer = site.edge.get(protocol, &host(tenant), "/").await;
            assert_eq!(answer.status, 503, "{tenant}");
            assert_eq!(answer.header("x-edge-reason"), Some("unknown-pool"));
            assert!(answer.header("retry-after").is_some());
        }
    }
    let seen = app.requests().into_iter().chain(eu.requests());
    let tenants: Vec<String> = seen.map(|seen| seen.one("x-tenant").to_owned()).collect();
    assert_eq!(tenants.len(), 10);
    assert!(!tenants.iter().any(|one| one == "mars" || one == "lost"));
    // Told once, counted always.
    site.portico.wait_log("a plan that is not known");
    let log = site.portico.stderr();
    assert_eq!(log.matches("a pool that is not known").count(), 1, "{log}");
    assert_eq!(log.matches("a plan that is not known").count(), 1, "{log}");
    assert!(site.portico.metric("portico_unknown_plan_total") > 3.5);
    let unknown = site
        .portico
        .metric("portico_errors_total{error=\"unknown-pool\"}");
    assert!((3.5..4.5).contains(&unknown), "{unknown}");
    let states = "portico_upstream_server_state";
    for (server, pool) in [(&app, "app"), (&eu, "eu")] {
        let labels = format!(
            "{states}{{server=\"http://{}\",pool=\"{pool}\",state=\"up\"}}",
            server.address()
        );
        assert!(site.portico.metric(&labels) > 0.5, "{labels}");
    }
    // A tenant moves when its row says so.
    rows.write("id,pool,plan\nhome,eu,\n");
    wait::until_async("the tenant to move", async || {
        let answer = site.edge.get(Protocol::Http2, &host("home"), "/").await;
        (answer.text() == "eu").then_some(())
    })
    .await;
}

/// What the documentation says of the choice.
fn chosen(tenants: &[String], percent: u64) -> BTreeSet<String> {
    let place = |tenant: &String| {
        let digest = digest(&SHA256, format!("portico:{tenant}").as_bytes());
        u64::from_be_bytes(digest.as_ref()[..8].try_into().unwrap()) % 10_000
    };
    let chosen = tenants.iter().filter(|one| place(one) < percent * 100);
    chosen.cloned().collect()
}

async fn served_by_next(site: &Site, tenants: &[String]) -> BTreeSet<String> {
    let mut connection = site.edge.connect(Protocol::Http2, &host("t0")).await;
    let mut found = BTreeSet::new();
    for tenant in tenants {
        let answer = connection
            .request("GET", "/")
            .host(&host(tenant))
            .send()
            .await;
        match answer.text() {
            "next" => assert!(found.insert(tenant.clone())),
            other => assert_eq!(other, "stable"),
        }
    }
    found
}

#[tokio::test]
async fn canary_sticky_same_on_two_nodes() {
    let (stable, next) = (named("stable"), named("next"));
    let node = || -> SiteBuilder {
        Site::before(&[stable.address()])
            .set("pools.next", &servers_line(&[next.address()]))
            .set("canary", "pool = \"next\"")
            .set("canary", "tenants = [\"early\"]")
            .set("canary", "percent = 20")
    };
    let mut one = node().start();
    let two = node().set("server", "workers = 3").start();
    let tenants: Vec<String> = (0..60).map(|at| format!("t{at}")).collect();
    let expected = chosen(&tenants, 20);
    assert!(!expected.is_empty() && expected.len() < 30, "{expected:?}");
    for _ in 0..2 {
        assert_eq!(served_by_next(&one, &tenants).await, expected);
        assert_eq!(served_by_next(&two, &tenants).await, expected);
    }
    for site in [&one, &two] {
        let early = site.edge.get(Protocol::Http1, &host("early"), "/").await;
        assert_eq!(early.text(), "next");
    }
    // More percent only adds.
    one.portico
        .rewrite_config(|config| config.replace("percent = 20", "percent = 50"));
    one.portico.sighup();
    one.portico.wait_log("configuration reloaded");
    let more = served_by_next(&one, &tenants).await;
    assert_eq!(more, chosen(&tenants, 50));
    assert!(more.is_superset(&expected) && more.len() > expected.len());
}

#[tokio::test]
async fn explain_tells_the_pool_that_serves_and_the_limits_that_hold() {
    let (app, eu) = (named("app"), named("eu"));
    let rows = Rows::new(
        "id,pool,plan,rate\nhome,,,\nrome,,europe,\nnice,app,europe,7/s\nmars,red,,\nlost,,rocket,\ntried,,,\n",
    );
    let site = rows
        .site(&[app.address()])
        .set("pools.eu", &servers_line(&[eu.address()]))
        .set("plans.europe", "pool = \"eu\"")
        .set("plans.europe", "concurrency = 5")
        .set("tenants.limits", "rate = \"1000/s\"")
        .set("canary", "pool = \"eu\"")
        .set("canary", "tenants = [\"tried\"]")
        .start();
    for (tenant, pool, limits, answer) in [
        ("home", "app", "1000/s", "passed on to the app"),
        ("rome", "eu", "1000/s, 5 at once", "passed on to the app"),
        ("nice", "app", "7/s, 5 at once", "passed on to the app"),
        ("tried", "eu", "1000/s", "passed on to the app"),
        ("mars", "none: ", "1000/s", "503 unknown-pool"),
        ("lost", "none: ", "1000/s", "503 unknown-pool"),
    ] {
        let text = told(&site, &["explain", &host(tenant)]);
        let line = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.unwrap_or_else(|| panic!("no {name}: {text}"))[name.len()..]
                .trim()
                .to_owned()
        };
        assert!(line("pool").starts_with(pool), "{tenant}: {text}");
        assert_eq!(
            (line("limits").as_str(), line("https").as_str()),
            (limits, answer),
            "{tenant}"
        );
        // And so it is.
        let status = site
            .edge
            .get(Protocol::Http1, &host(tenant), "/")
            .await
            .status;
        assert_eq!(status == 503, answer.starts_with("503"), "{tenant}");
    }
    assert!(
        told(&site, &["explain", &host("lost")])
            .contains("rocket, which the configuration does not have")
    );
    assert_eq!(
        json_of(&site, &["explain", &host("rome")])["terms"]["concurrency"],
        5
    );
}

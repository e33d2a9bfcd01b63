//! How much a tenant may use: rates, requests under way, its share of a pool, bodies, networks.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::Rows;
use crate::support::body;
use crate::support::http::{Answer, Protocol};
use crate::support::origin::{self, Origin};
use crate::support::site::Site;
use crate::support::wait;
use crate::support::websocket::{Client, EchoApp};

fn host(tenant: &str) -> String {
    format!("{tenant}.example.test")
}

/// A request of `client`, as a load balancer names it.
async fn from(site: &Site, protocol: Protocol, tenant: &str, client: &str) -> Answer {
    let mut connection = site.edge.connect(protocol, &host(tenant)).await;
    let request = connection.request("GET", "/");
    request.header("x-forwarded-for", client).send().await
}

#[tokio::test]
async fn tenant_rate_and_ip_rate() {
    let origin = Origin::hello();
    let rows = Rows::new("id,rate,address_rate,plan\nsmall,6/h,2/h,\nbig,,,gold\nfree,,,\n");
    let site = rows
        .site(&[origin.address()])
        .set("http", "trusted_proxies = [\"127.0.0.1/32\"]")
        .set("plans.gold", "rate = \"12/h\"")
        .set("tenants.limits", "rate = \"3/h\"")
        // A rate is one for all workers.
        .set("server", "workers = 2")
        .start();
    // An address spends its own two, whatever protocol and worker.
    for (round, protocol) in Protocol::BOTH.into_iter().enumerate() {
        assert_eq!(
            from(&site, protocol, "small", "192.0.2.1").await.status,
            200,
            "{round}"
        );
    }
    for protocol in Protocol::BOTH {
        let refused = from(&site, protocol, "small", "192.0.2.1").await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("x-edge-reason"), Some("address-rate"));
        assert_eq!(
            refused.header("ratelimit-policy"),
            Some("\"address\";q=2;w=3600")
        );
        let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1800).contains(&wait), "{wait}");
        let left = format!("\"address\";r=0;t={wait}");
        assert_eq!(refused.header("ratelimit"), Some(left.as_str()));
    }
    // One network of IPv6 is one client; another address has its own.
    for (client, status) in [
        ("2001:db8:0:1::1", 200),
        ("2001:db8:0:1:ffff::2", 200),
        ("2001:db8:0:1::3", 429),
        ("198.51.100.1", 200),
        ("198.51.100.2", 200),
    ] {
        let answer = from(&site, Protocol::Http2, "small", client).await;
        assert_eq!(answer.status, status, "{client}");
    }
    // Six have passed: the tenant's own rate is spent, which what addresses were refused took nothing of.
    let refused = from(&site, Protocol::Http1, "small", "203.0.113.1").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("x-edge-reason"), Some("tenant-rate"));
    assert_eq!(
        refused.header("ratelimit-policy"),
        Some("\"tenant\";q=6;w=3600")
    );
    assert!(
        refused.text().contains("That was too much at once"),
        "{}",
        refused.text()
    );
    let mut connection = site.edge.connect(Protocol::Http2, &host("small")).await;
    let request = connection
        .request("GET", "/")
        .header("accept", "application/json");
    let problem = request
        .header("x-forwarded-for", "203.0.113.9")
        .send()
        .await;
    assert_eq!(
        problem.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(problem.json()["status"], 429);
    // Row before plan before defaults; and no tenant pays for another.
    for (tenant, passes) in [("big", 12), ("free", 3)] {
        let mut passed = 0;
        let mut connection = site.edge.connect(Protocol::Http2, &host(tenant)).await;
        for _ in 0..passes + 4 {
            let answer = connection.request("GET", "/").send().await;
            passed += u32::from(answer.status == 200);
        }
        assert_eq!(passed, passes, "{tenant}");
    }
    assert_eq!(origin.requests().len(), 6 + 12 + 3);
    assert!(
        site.portico
            .metric("portico_errors_total{error=\"address-rate\"}")
            > 2.5
    );
}

/// An origin whose answers wait until `gate` lets them go, one permit each; those of `quick` do not wait.
fn gated(gate: &Arc<Semaphore>) -> Origin {
    let gate = Arc::clone(gate);
    Origin::tcp(move |seen| {
        let gate = Arc::clone(&gate);
        async move {
            if seen.one("x-tenant") != "quick" {
                gate.acquire().await.unwrap().forget();
            }
            origin::text(200, "through")
        }
    })
}

fn ask(site: &Site, tenant: &'static str) -> JoinHandle<Answer> {
    let edge = site.edge.clone();
    tokio::spawn(async move { edge.get(Protocol::Http1, &host(tenant), "/").await })
}

async fn arrived(origin: &Origin, tenant: &str, count: usize) {
    let of = || {
        origin
            .requests()
            .iter()
            .filter(|seen| seen.one("x-tenant") == tenant)
            .count()
    };
    wait::until_async("requests at the origin", async || {
        (of() >= count).then_some(())
    })
    .await;
    assert_eq!(of(), count, "{tenant}");
}

#[tokio::test]
async fn noisy_neighbour_share() {
    let rows = Rows::new("id\nnoisy\nquick\n");
    share_is_kept(&rows, &["tenants.limits", "share = 50"]).await;
}

#[tokio::test]
async fn a_share_in_the_row_wins_over_that_of_all() {
    let rows = Rows::new("id,share\nnoisy,50\nquick,\n");
    share_is_kept(&rows, &["tenants.limits", "share = 100"]).await;
}

#[tokio::test]
async fn a_share_of_a_pool_without_places_says_nothing_and_is_told_of() {
    let origin = Origin::hello();
    let rows = Rows::new("id,share\nnoisy,50\n");
    let mut site = rows.site(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, &host("noisy"), "/").await;
        assert_eq!(answer.status, 200);
    }
    site.portico
        .wait_log("a share of a pool whose places are not limited");
    let log = site.portico.stderr();
    assert_eq!(log.matches("whose places are not").count(), 1, "{log}");
}

/// With half of four places and of a queue of six for `noisy`.
async fn share_is_kept(rows: &Rows, share: &[&str; 2]) {
    let gate = Arc::new(Semaphore::new(0));
    let origin = gated(&gate);
    let site = rows
        .site(&[origin.address()])
        .set("upstream", "server_requests = 4")
        .set("upstream", "queue = 6")
        .set("upstream", "queue_timeout = \"60s\"")
        .set(share[0], share[1])
        .set("server", "workers = 1")
        .start();
    // Two on the server, three in the queue; the rest is told to come back.
    let mut held: Vec<_> = (0..5).map(|_| ask(&site, "noisy")).collect();
    arrived(&origin, "noisy", 2).await;
    wait::until_async("three in the queue", async || {
        (site.portico.metric("portico_upstream_queued{") > 2.5).then_some(())
    })
    .await;
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, &host("noisy"), "/").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("x-edge-reason"), Some("tenant-share"));
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    // The neighbour overtakes those who only wait for their own tenant.
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, &host("quick"), "/").await;
        assert_eq!(answer.text(), "through");
    }
    arrived(&origin, "noisy", 2).await;
    gate.add_permits(5);
    for answer in held.drain(..) {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    arrived(&origin, "noisy", 5).await;
}

#[tokio::test]
async fn d13_a_noisy_tenant_is_held_back_and_its_neighbour_is_not() {
    let gate = Arc::new(Semaphore::new(0));
    let origin = gated(&gate);
    let rows = Rows::new("id,concurrency\nnoisy,3\nquick,\n");
    let site = rows
        .site(&[origin.address()])
        .set("server", "workers = 2")
        .start();
    let held: Vec<_> = (0..3).map(|_| ask(&site, "noisy")).collect();
    arrived(&origin, "noisy", 3).await;
    for round in 0..30 {
        let protocol = Protocol::BOTH[round % 2];
        let refused = site.edge.get(protocol, &host("noisy"), "/").await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("x-edge-reason"), Some("tenant-concurrency"));
        assert_eq!(refused.header("retry-after"), Some("1"));
        let neighbour = site.edge.get(protocol, &host("quick"), "/").await;
        assert_eq!(neighbour.status, 200);
    }
    arrived(&origin, "noisy", 3).await;
    gate.add_permits(4);
    for answer in held {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    wait::until_async("a place for the tenant", async || {
        let answer = site.edge.get(Protocol::Http1, &host("noisy"), "/").await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_under_way_count_until_their_tunnel_ends() {
    let app = EchoApp::start();
    let site = Site::before(&[&app.address()])
        .set("tenants.limits", "concurrency = 1")
        .start();
    let client = Client::open(&site).await;
    let refused = site.edge.get(Protocol::Http2, &host("acme"), "/").await;
    assert_eq!(refused.header("x-edge-reason"), Some("tenant-concurrency"));
    client.close().await;
    wait::until_async("the tunnel's place", async || {
        let answer = site.edge.get(Protocol::Http2, &host("acme"), "/").await;
        (answer.header("x-edge-reason") != Some("tenant-concurrency")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bodies_and_networks_are_the_tenants_own() {
    let origin = Origin::hello();
    let rows = Rows::new(
        "id,body_size,allow,deny\nsmall,10B,,\nlarge,100KiB,,\noffice,,198.51.100.0/24,198.51.100.7\nhome,,,\n",
    );
    let site = rows
        .site(&[origin.address()])
        .set("http", "trusted_proxies = [\"127.0.0.1/32\"]")
        .set("limits", "body_size = \"1KiB\"")
        .start();
    for protocol in Protocol::BOTH {
        for (tenant, length, status) in [
            ("small", 10, 200),
            ("small", 11, 413),
            ("home", 1024, 200),
            ("home", 1025, 413),
            ("large", 100 << 10, 200),
            ("large", (100 << 10) + 1, 413),
        ] {
            let mut connection = site.edge.connect(protocol, &host(tenant)).await;
            let request = connection
                .request("POST", "/")
                .body(body::full(vec![b'x'; length]));
            assert_eq!(
                request.send().await.status,
                status,
                "{tenant} {length} {protocol:?}"
            );
        }
        for (tenant, client, status) in [
            ("office", "198.51.100.1", 200),
            ("office", "198.51.100.7", 403),
            ("office", "192.0.2.1", 403),
            ("office", "::ffff:198.51.100.1", 200),
            ("home", "192.0.2.1", 200),
        ] {
            let answer = from(&site, protocol, tenant, client).await;
            assert_eq!(answer.status, status, "{tenant} {client}");
            let reason = answer.header("x-edge-reason");
            assert_eq!(reason, (status == 403).then_some("network-denied"));
        }
    }
}

//! The directory follows the database.

use std::time::{Duration, Instant};

use super::rig::{
    DATABASE, ROLE, add, answer, before, connections, database, free, hold, until, waiting,
};
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::portico::portico_cmd;
use crate::support::postgres::Postgres;
use crate::support::wait;

/// From the commit on, for a test on a busy machine; the promise is a second.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn pg_notify_add_under_1s() {
    let postgres = Postgres::start();
    database(&postgres);
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site.start();
    until(&site, "acme", 200).await;
    assert_eq!(origin.requests().pop().unwrap().one("x-tenant"), "1");
    assert_eq!(answer(&site, "initech").await.0, 404);

    // The connections are open before, so that the time is that of the directory alone.
    let mut client = site
        .edge
        .connect(Protocol::Http2, "initech.example.test")
        .await;
    add(&postgres, "initech");
    let committed = Instant::now();
    loop {
        let answer = client.request("GET", "/").send().await;
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.status, 404);
        assert!(committed.elapsed() < SOON, "still unknown");
    }
    assert_eq!(origin.requests().pop().unwrap().one("x-tenant"), "3");

    // Suspended from the app's own columns, and back.
    let seen = origin.requests().len();
    let pay = |until: &str| {
        let set = format!(
            "UPDATE customers_client SET paid_until = '{until}' WHERE schema_name = 'initech'"
        );
        postgres.psql(DATABASE, &set);
    };
    pay("2020-01-01");
    until(&site, "initech", 402).await;
    let while_active = origin.requests().len();
    assert_eq!(
        answer(&site, "initech").await.1.as_deref(),
        Some("suspended")
    );
    assert_eq!(
        origin.requests().len(),
        while_active,
        "the app sees nothing"
    );
    assert!(while_active >= seen);
    pay("2999-01-01");
    until(&site, "initech", 200).await;

    // A new name takes the place of the old one, and a deleted tenant is nobody.
    postgres.psql(
        DATABASE,
        "UPDATE customers_domain SET domain = 'Intertrode.example.test' WHERE domain = 'initech.example.test'",
    );
    until(&site, "intertrode", 200).await;
    until(&site, "initech", 404).await;
    postgres.psql(
        DATABASE,
        "DELETE FROM customers_domain WHERE tenant_id = 3; DELETE FROM customers_client WHERE id = 3",
    );
    until(&site, "intertrode", 404).await;
    assert_eq!(answer(&site, "acme").await.0, 200);
}

#[tokio::test]
async fn pg_reconnect_resync() {
    let mut postgres = Postgres::start();
    database(&postgres);
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site.start();
    assert_eq!(answer(&site, "acme").await.0, 200);
    // Nobody listens while this changes: the role may not come in.
    postgres.psql(DATABASE, &format!("ALTER ROLE {ROLE} NOLOGIN"));
    postgres.restart();
    add(&postgres, "initech");
    postgres.psql(
        DATABASE,
        "UPDATE customers_client SET paid_until = '2020-01-01' WHERE schema_name = 'globex'",
    );
    until(&site, "initech", 503).await;
    assert_eq!(answer(&site, "globex").await.0, 200, "as far as is known");
    postgres.psql(DATABASE, &format!("ALTER ROLE {ROLE} LOGIN"));
    until(&site, "initech", 200).await;
    assert_eq!(answer(&site, "globex").await.0, 402);
    // Listening again, and not only having compared.
    let loads = site.portico.metric("portico_directory_loads_total");
    add(&postgres, "hooli");
    until(&site, "hooli", 200).await;
    assert_eq!(site.portico.metric("portico_directory_loads_total"), loads);
    // Connections that end at any time, too.
    for name in ["umbrella", "soylent"] {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
        );
        postgres.psql(DATABASE, &end);
        add(&postgres, name);
        until(&site, name, 200).await;
    }
}

#[tokio::test]
async fn resync_mass_delete_refused() {
    let postgres = Postgres::start();
    database(&postgres);
    add(&postgres, "initech");
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let mut site = site.start();
    postgres.psql(DATABASE, "TRUNCATE customers_client CASCADE");
    site.portico.wait_log("3 of 3 tenants would be gone");
    assert_eq!(answer(&site, "acme").await.0, 200);
    assert!(
        site.portico
            .metric("portico_directory_resyncs_refused_total")
            >= 1.0
    );
    let (code, body) = site.portico.admin("/readyz");
    assert_eq!(code, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(
        body["degraded"][0].as_str().unwrap().contains("3 of 3"),
        "{body}"
    );
    let (_, status) = site.portico.admin("/status");
    assert!(status.contains("3 of 3 tenants would be gone"), "{status}");

    // Asking again does not help; saying that it is meant does.
    let config = site.portico.config_file().display().to_string();
    let resync = |more: &[&str]| {
        let done = portico_cmd(&[&["tenant", "resync", "--config", &config], more].concat());
        assert!(done.status.success(), "{done:?}");
    };
    let refused = site
        .portico
        .metric("portico_directory_resyncs_refused_total");
    resync(&[]);
    wait::until_async("the second refusal", async || {
        let now = site
            .portico
            .metric("portico_directory_resyncs_refused_total");
        (now > refused).then_some(())
    })
    .await;
    assert_eq!(answer(&site, "acme").await.0, 200);
    resync(&["--force"]);
    until(&site, "acme", 404).await;
    add(&postgres, "acme");
    until(&site, "acme", 200).await;
}

#[tokio::test]
async fn states_that_depend_on_the_time_change_without_a_change_of_a_row() {
    let postgres = Postgres::start();
    database(&postgres);
    let end = postgres.psql(DATABASE, "SELECT now() + interval '3 seconds'");
    let state = format!(
        "state_sql = \"CASE WHEN c.schema_name = 'acme' AND now() > '{end}' THEN 'suspended' END\""
    );
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site
        .set("tenants.postgres", &state)
        .set("tenants.postgres", "resync = \"1s\"")
        .start();
    until(&site, "acme", 402).await;
    assert_eq!(answer(&site, "globex").await.0, 200);
    assert_eq!(site.portico.metric("portico_directory_changes_total"), 0.0);
}

#[tokio::test]
async fn hosts_of_nobody_lead_to_no_query_and_no_request() {
    let postgres = Postgres::with().set("log_statement", "all").start();
    database(&postgres);
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site.start();
    // The check of the notifications is over.
    until(&site, "acme", 200).await;
    let statements = || postgres.log().matches("LOG:  ").count();
    let before = wait::until("the start's statements", || {
        let first = statements();
        std::thread::sleep(Duration::from_millis(200));
        (statements() == first).then_some(first)
    });
    let seen = origin.requests().len();
    let mut client = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    for number in 0..5000_u32 {
        let label = number.wrapping_mul(2_654_435_761);
        let host = format!("x{label:x}.example.test");
        let answer = client.request("GET", "/").host(&host).send().await;
        assert_eq!(answer.status, 404, "{host}");
    }
    assert_eq!(origin.requests().len(), seen, "the app sees nothing");
    assert_eq!(statements(), before, "{}", postgres.log());
}

#[tokio::test]
async fn a_reading_that_takes_long_has_no_second_one_beside_it() {
    let postgres = Postgres::with()
        .set("max_prepared_transactions", "1")
        .start();
    database(&postgres);
    hold(&postgres);
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let mut site = site.start_unready();
    let one_reads = || (waiting(&postgres) == 1).then_some(());
    wait::until("the first reading", one_reads);
    let config = site.portico.config_file().display().to_string();
    for _ in 0..2 {
        site.portico.reload();
        for verb in [&["resync"][..], &["purge", "--all"]] {
            let done = portico_cmd(&[&["tenant"], verb, &["--config", &config]].concat());
            assert!(done.status.success(), "{done:?}");
        }
        // The one that listens and the one that reads.
        assert_eq!((waiting(&postgres), connections(&postgres)), (1, 2));
    }
    free(&postgres);
    until(&site, "acme", 200).await;
    // What was asked for meanwhile is compared after it, and is the same.
    assert_eq!(site.portico.metric("portico_directory_loads_total"), 1.0);
    assert_eq!(site.portico.metric("portico_directory_failures_total"), 0.0);
}

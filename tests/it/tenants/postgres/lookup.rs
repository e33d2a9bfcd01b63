//! `mode = "lookup"`: how often the database is asked, and when a change is seen.

use futures_util::future::join_all;
use tempfile::TempDir;

use super::rig::{
    DATABASE, ROLE, add, answer, before, connections, database, free, hold, until, waiting,
};
use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Postgres, PostgresBuilder};
use crate::support::raw::Raw;
use crate::support::site::{Site, SiteBuilder};
use crate::support::tls::Alpn;
use crate::support::wait;

/// A server that tells every statement with its parameters, and lets a lock be held by nobody.
fn telling() -> PostgresBuilder {
    Postgres::with()
        .set("log_statement", "all")
        .set("max_prepared_transactions", "1")
}

/// Time for an answer on a busy machine.
pub(super) const PATIENT: &str = "timeout = \"10s\"";

/// A site that looks hosts up by this connection string.
pub(super) fn lookup(origin: &Origin, dsn: &str, settings: &[&str]) -> (SiteBuilder, TempDir) {
    let (mut site, folder) = before(origin, dsn);
    // On a busy machine an answer may take long, unless that is what the test is about.
    let patience = (!settings.iter().any(|line| line.starts_with("timeout"))).then_some(PATIENT);
    for line in ["mode = \"lookup\""]
        .iter()
        .chain(settings)
        .chain(&patience)
    {
        site = site.set("tenants.postgres", line);
    }
    (site, folder)
}

/// The statements that the server has been given, by what they and their parameters are, up to now.
fn statements(postgres: &Postgres) -> Vec<String> {
    // It writes a statement before it answers it; the last one is known by its mark.
    let mark = format!("mark {}", postgres.log().len());
    postgres.psql(DATABASE, &format!("SELECT '{mark}'"));
    wait::until("the statements in the server's log", || {
        let log = postgres.log();
        let whole = log.contains(&mark);
        whole.then(|| log.lines().map(str::to_owned).collect())
    })
}

/// How often hosts with this in their name were asked for.
fn asked(postgres: &Postgres, part: &str) -> usize {
    let lines = statements(postgres);
    let parameters = lines
        .iter()
        .filter(|line| line.contains("parameters: $1 = '{"));
    parameters.map(|line| line.matches(part).count()).sum()
}

#[tokio::test]
async fn lookup_asks_once_and_a_change_is_seen_at_once() {
    let postgres = telling().start();
    database(&postgres);
    let origin = Origin::hello();
    let ttl = ["positive_ttl = \"24h\"", "negative_ttl = \"24h\""];
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &ttl);
    let site = site.start();
    for _ in 0..10 {
        for protocol in Protocol::BOTH {
            for (name, status) in [("acme", 200), ("initech", 404), ("ACME", 200)] {
                let host = format!("{name}.example.test");
                let answer = site.edge.get(protocol, &host, "/").await;
                assert_eq!(answer.status, status, "{host}");
            }
        }
    }
    assert_eq!(origin.requests().pop().unwrap().one("x-tenant"), "1");
    assert_eq!(asked(&postgres, "acme.example.test"), 1);
    assert_eq!(
        asked(&postgres, "initech.example.test"),
        1,
        "a no is believed"
    );

    // By notifications, a day before anything would be asked again.
    add(&postgres, "initech");
    until(&site, "initech", 200).await;
    let pay = |date: &str| {
        let set = format!(
            "UPDATE customers_client SET paid_until = '{date}' WHERE schema_name = 'initech'"
        );
        postgres.psql(DATABASE, &set);
    };
    pay("2020-01-01");
    until(&site, "initech", 402).await;
    pay("2999-01-01");
    until(&site, "initech", 200).await;
    postgres.psql(
        DATABASE,
        "UPDATE customers_domain SET domain = 'intertrode.example.test' WHERE domain = 'initech.example.test'",
    );
    until(&site, "intertrode", 200).await;
    until(&site, "initech", 404).await;
    postgres.psql(DATABASE, "DELETE FROM customers_domain WHERE tenant_id = 3");
    until(&site, "intertrode", 404).await;
    postgres.psql(DATABASE, "TRUNCATE customers_domain");
    until(&site, "globex", 404).await;
    until(&site, "acme", 404).await;
}

#[tokio::test]
async fn lookup_hears_of_what_changed_while_it_was_away() {
    let postgres = telling().start();
    database(&postgres);
    let origin = Origin::hello();
    let ttl = ["positive_ttl = \"24h\"", "negative_ttl = \"24h\""];
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &ttl);
    let site = site.start();
    assert_eq!(answer(&site, "acme").await.0, 200);
    assert_eq!(answer(&site, "initech").await.0, 404);
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'");
    postgres.psql(DATABASE, &format!("ALTER ROLE {ROLE} NOLOGIN; {end}"));
    until(&site, "hooli", 503).await;
    add(&postgres, "initech");
    postgres.psql(
        DATABASE,
        "UPDATE customers_client SET paid_until = '2020-01-01' WHERE schema_name = 'acme'",
    );
    let left = answer(&site, "acme").await;
    assert_eq!(left.0, 200, "as far as is known: {left:?}");
    postgres.psql(DATABASE, &format!("ALTER ROLE {ROLE} LOGIN"));
    until(&site, "initech", 200).await;
    until(&site, "acme", 402).await;
    // A connection that ends is made anew before anybody notices, and listens again.
    postgres.psql(DATABASE, &end);
    assert_eq!(answer(&site, "umbrella").await.0, 404);
    add(&postgres, "umbrella");
    until(&site, "umbrella", 200).await;
}

#[tokio::test]
async fn lookup_of_one_host_by_many_requests_is_one_question() {
    let postgres = telling().start();
    database(&postgres);
    let origin = Origin::hello();
    let (site, _dsn) = lookup(
        &origin,
        &postgres.dsn(ROLE, DATABASE),
        &["timeout = \"30s\""],
    );
    let site = site.start();
    let mut clients = Vec::new();
    for protocol in Protocol::BOTH {
        for _ in 0..30 {
            clients.push(site.edge.connect(protocol, "acme.example.test").await);
        }
    }
    hold(&postgres);
    let all = join_all(clients.iter_mut().map(|it| it.request("GET", "/").send()));
    let release = wait::until_async("the question to wait", async || {
        (waiting(&postgres) == 1).then(|| free(&postgres))
    });
    let (answers, ()) = tokio::join!(all, release);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(asked(&postgres, "acme.example.test"), 1);
    assert_eq!(origin.requests().len(), 60);
}

#[tokio::test]
async fn lookup_refresh_is_ahead_and_nobody_waits_for_it() {
    let postgres = telling().start();
    database(&postgres);
    let origin = Origin::hello();
    let settings = ["positive_ttl = \"8s\"", "timeout = \"30s\""];
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &settings);
    let site = site.start();
    assert_eq!(answer(&site, "acme").await.0, 200);
    assert_eq!(asked(&postgres, "acme.example.test"), 1);
    hold(&postgres);
    // The next question is asked while the answer is still good: all are served, though it gets no answer.
    wait::until_async("the question ahead of time", async || {
        assert_eq!(answer(&site, "acme").await.0, 200);
        (waiting(&postgres) == 1).then_some(())
    })
    .await;
    assert_eq!(answer(&site, "acme").await.0, 200);
    free(&postgres);
    assert_eq!(asked(&postgres, "acme.example.test"), 2);
}

#[tokio::test]
async fn lookup_over_budget_is_503_and_the_known_are_served() {
    let postgres = telling().start();
    database(&postgres);
    let origin = Origin::hello();
    let settings = ["lookup_qps = 10", "negative_ttl = \"600s\""];
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &settings);
    let began = std::time::Instant::now();
    let site = site.start();
    assert_eq!(answer(&site, "acme").await.0, 200);
    let mut client = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let (mut nobody, mut refused) = (0, 0);
    for number in 0..300 {
        let host = format!("made-up-{number}.example.test");
        let answer = client.request("GET", "/").host(&host).send().await;
        match (answer.status.as_u16(), answer.header("x-edge-reason")) {
            (404, Some("unknown-tenant")) => nobody += 1,
            (503, Some("directory-down")) => refused += 1,
            other => panic!("{host}: {other:?}"),
        }
    }
    let most = 6.0 + 10.0 * began.elapsed().as_secs_f64();
    let questions = asked(&postgres, "made-up-");
    // The whole host and its label.
    assert_eq!(questions, 2 * nobody, "a no is the database's own");
    assert!(questions as f64 / 2.0 <= most, "{nobody} of {most}");
    assert!(refused > 0, "{nobody}");
    assert_eq!(answer(&site, "acme").await.0, 200);
    assert_eq!(origin.requests().len(), 2, "the app sees none of it");
}

#[tokio::test]
async fn lookup_remembers_no_more_than_it_may() {
    let postgres = telling().start();
    database(&postgres);
    let origin = Origin::hello();
    let settings = [
        "negative_max = 64",
        "negative_ttl = \"24h\"",
        "lookup_qps = 1000000",
    ];
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &settings);
    let site = site.start();
    let mut client = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    for _ in 0..2 {
        for number in 0..400 {
            let host = format!("made-up-{number}.example.test");
            let answer = client.request("GET", "/").host(&host).send().await;
            assert_eq!(answer.status, 404, "{host}");
        }
    }
    let again = asked(&postgres, "made-up-") / 2 - 400;
    assert!(again >= 400 - 64, "64 may be remembered: {again}");
}

#[tokio::test]
async fn lookup_hosts_stay_parameters() {
    let postgres = telling().start();
    database(&postgres);
    let origin = Origin::hello();
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &[]);
    let site = site.start();
    for host in [
        "x' OR '1'='1.example.test",
        "x';DROP TABLE customers_domain;--.example.test",
        "{acme}.example.test",
        "acme\\.example.test",
        "acme%.example.test",
        "a\u{0}b.example.test",
        "\"acme\".example.test",
        "$1.example.test",
        "acme,globex.example.test",
    ] {
        let mut raw: Raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = raw.write(&head).await.response().await.unwrap();
        assert_eq!(answer.status, 400, "{host}");
    }
    for name in ["null", "or-1-1", "drop--table", "select", "xn--bcher-kva"] {
        assert_eq!(answer(&site, name).await.0, 404, "{name}");
    }
    assert_eq!(answer(&site, "acme").await.0, 200);
    // Payloads, which anybody who may connect can send.
    for payload in [
        "''; DROP TABLE customers_domain; --",
        "{x}",
        "acme.example.test, y",
    ] {
        postgres.psql(DATABASE, &format!("NOTIFY portico_tenants, '{payload}'"));
    }
    assert_eq!(answer(&site, "globex").await.0, 200);
    let lines = statements(&postgres);
    let ours: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("execute") && line.contains("row_to_json(q)"))
        .filter(|line| !line.contains("EXPLAIN"))
        .collect();
    assert_eq!(ours.len(), 7, "{ours:#?}");
    assert!(
        ours.iter()
            .all(|line| line.split("LOG:").nth(1) == ours[0].split("LOG:").nth(1))
    );
    // The server's own spelling of a list of texts, in which `null` is one of them and no NULL.
    for (part, questions) in [
        ("{\"null\",null.example.test}", 1),
        ("{drop--table,drop--table.example.test}", 1),
        ("x'", 0),
        ("DROP", 0),
    ] {
        assert_eq!(asked(&postgres, part), questions, "{part}");
    }
}

#[tokio::test]
async fn lookup_when_the_table_is_locked_does_not_heap_up_statements() {
    let postgres = telling().start();
    database(&postgres);
    let origin = Origin::hello();
    let settings = [
        "timeout = \"200ms\"",
        "positive_ttl = \"1s\"",
        "lookup_qps = 1000",
    ];
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &settings);
    let site = site.start();
    assert_eq!(answer(&site, "acme").await.0, 200);
    hold(&postgres);
    let mut clients = Vec::new();
    for number in 0..40 {
        clients.push((
            number,
            site.edge
                .connect(Protocol::Http2, "acme.example.test")
                .await,
        ));
    }
    let asking = clients.iter_mut().map(async |(number, client)| {
        let host = format!("made-up-{number}.example.test");
        client.request("GET", "/").host(&host).send().await
    });
    for answer in join_all(asking).await {
        assert_eq!(answer.status, 503, "it cannot be known");
    }
    assert!(waiting(&postgres) <= 1);
    // The one that is stuck is given up, at the server too, and what is known is served all the while.
    wait::until_async("the statement to be cancelled", async || {
        assert_eq!(answer(&site, "acme").await.0, 200);
        let log = postgres.log();
        log.contains("canceling statement due to user request")
            .then_some(())
    })
    .await;
    assert!(connections(&postgres) <= 2, "{}", connections(&postgres));
    free(&postgres);
    until(&site, "globex", 200).await;
    until(&site, "made-up-1", 404).await;
}

#[tokio::test]
async fn lookup_by_way_of_pgbouncer() {
    let postgres = Postgres::start();
    database(&postgres);
    let bouncer = PgBouncer::before(&postgres, ROLE, DATABASE);
    let origin = Origin::hello();
    let settings = ["positive_ttl = \"1s\"", "negative_ttl = \"1s\""];
    let (site, _dsn) = lookup(&origin, &bouncer.dsn(ROLE, DATABASE), &settings);
    let mut untold = site.start();
    let quiet = [&settings[..], &["listen = \"\""]].concat();
    let (site, _dsn_told) = lookup(&origin, &bouncer.dsn(ROLE, DATABASE), &quiet);
    let told = site.start();
    for site in [&untold, &told] {
        assert_eq!(answer(site, "acme").await.0, 200);
        assert_eq!(answer(site, "initech").await.0, 404);
    }
    add(&postgres, "initech");
    postgres.psql(
        DATABASE,
        "UPDATE customers_client SET paid_until = '2020-01-01' WHERE schema_name = 'acme'",
    );
    for site in [&untold, &told] {
        until(site, "initech", 200).await;
        until(site, "acme", 402).await;
    }
    untold
        .portico
        .wait_log("notifications of the database do not arrive");
    assert!(!told.portico.stderr().contains("do not arrive"));
    assert_eq!(told.portico.metric("portico_directory_failures_total"), 0.0);
}

#[tokio::test]
async fn lookup_without_an_index_is_said() {
    let postgres = Postgres::start();
    database(&postgres);
    let origin = Origin::hello();
    let dsn = postgres.dsn(ROLE, DATABASE);
    postgres.psql(
        DATABASE,
        "ALTER TABLE customers_domain DISABLE TRIGGER USER;
         INSERT INTO customers_domain (domain, is_primary, tenant_id) SELECT 'h' || n, false, 1 FROM generate_series(1, 100000) AS n;
         ANALYZE customers_domain",
    );
    let start = || lookup(&origin, &dsn, &[]);
    let (site, _dsn) = start();
    let indexed: Site = site.start();
    assert_eq!(answer(&indexed, "h7").await.0, 200);
    assert!(
        !indexed.portico.stderr().contains("reads much"),
        "{}",
        indexed.portico.stderr()
    );
    postgres.psql(
        DATABASE,
        "ALTER TABLE customers_domain DROP CONSTRAINT customers_domain_domain_key",
    );
    let (site, _dsn) = start();
    let mut bare = site.start();
    bare.portico
        .wait_log("CREATE INDEX ON \"public\".\"customers_domain\" (domain)");
    assert_eq!(answer(&bare, "h7").await.0, 200);
}

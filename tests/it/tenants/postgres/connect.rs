//! How the proxy comes to the database, and what it may do there.

use super::rig::{DATABASE, ROLE, add, answer, before, database, until};
use crate::support::origin::Origin;
use crate::support::pgbouncer::PgBouncer;
use crate::support::pki::Ca;
use crate::support::postgres::Postgres;

#[tokio::test]
async fn pgbouncer_poll_mode() {
    let postgres = Postgres::start();
    database(&postgres);
    let bouncer = PgBouncer::before(&postgres, ROLE, DATABASE);
    let origin = Origin::hello();
    let dsn = bouncer.dsn(ROLE, DATABASE);
    let (told, _dsn_told) = before(&origin, &dsn);
    let told = told
        .set("tenants.postgres", "listen = \"\"")
        .set("tenants.postgres", "poll = \"1s\"")
        .start();
    // Who has not heard of the key: it is found out that nothing arrives.
    let (untold, _dsn_untold) = before(&origin, &dsn);
    let mut untold = untold.set("tenants.postgres", "poll = \"1s\"").start();
    untold
        .portico
        .wait_log("notifications of the database do not arrive");
    for site in [&told, &untold] {
        assert_eq!(answer(site, "acme").await.0, 200);
    }
    add(&postgres, "initech");
    postgres.psql(
        DATABASE,
        "UPDATE customers_client SET paid_until = '2020-01-01' WHERE schema_name = 'globex'",
    );
    for site in [&told, &untold] {
        until(site, "initech", 200).await;
        until(site, "globex", 402).await;
    }
    // What has not changed is not loaded again.
    let loads = told.portico.metric("portico_directory_loads_total");
    assert!(loads <= 4.0, "{loads}");
    assert_eq!(told.portico.metric("portico_directory_failures_total"), 0.0);
}

#[tokio::test]
async fn role_least_privilege() {
    let postgres = Postgres::start();
    database(&postgres);
    postgres.psql(
        DATABASE,
        "CREATE SCHEMA acme; CREATE TABLE acme.notes_note (id int, text text); INSERT INTO acme.notes_note VALUES (1, 'x')",
    );
    for (sql, refused) in [
        (
            "SELECT id, schema_name, paid_until, on_trial FROM customers_client",
            false,
        ),
        (
            "SELECT domain, tenant_id, is_primary FROM customers_domain",
            false,
        ),
        ("SELECT * FROM customers_client", true),
        ("SELECT name FROM customers_client", true),
        ("SELECT * FROM customers_domain", true),
        ("SELECT * FROM acme.notes_note", true),
        ("UPDATE customers_client SET schema_name = 'x'", true),
        (
            "INSERT INTO customers_domain (domain, tenant_id) VALUES ('x', 1)",
            true,
        ),
        ("DELETE FROM customers_domain", true),
        ("TRUNCATE customers_domain", true),
        ("CREATE TABLE public.mine (id int)", true),
    ] {
        match postgres.psql_as(ROLE, DATABASE, sql) {
            Ok(_) => assert!(!refused, "{sql}"),
            Err(error) => assert!(
                refused && error.contains("permission denied"),
                "{sql}: {error}"
            ),
        }
    }
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site.start();
    assert_eq!(answer(&site, "acme").await.0, 200);
    add(&postgres, "initech");
    until(&site, "initech", 200).await;

    // Without a grant it says what to do, and keeps what it knows.
    let (mut blind, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    blind = blind.set("tenants.postgres", "columns = [\"c.name AS plan\"]");
    let mut blind = blind.start_unready();
    blind
        .portico
        .wait_log("permission denied for table customers_client");
    blind.portico.wait_log("portico tenant sql");
    assert_eq!(answer(&blind, "acme").await.0, 503);
    postgres.psql(
        DATABASE,
        &format!("GRANT SELECT (name) ON customers_client TO {ROLE}"),
    );
    until(&blind, "acme", 200).await;
}

#[tokio::test]
async fn tls_and_password_and_who_is_not_the_server() {
    let ca = Ca::new();
    let postgres = Postgres::with()
        .tcp()
        .tls(&ca.leaf(&["127.0.0.1"]))
        .hba("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256")
        .start();
    database(&postgres);
    postgres.psql(DATABASE, &format!("ALTER ROLE {ROLE} PASSWORD 'hunter2'"));
    let folder = tempfile::tempdir().unwrap();
    let roots = |ca: &Ca, name: &str| {
        let file = folder.path().join(name);
        std::fs::copy(ca.trust().file(), &file).unwrap();
        file.display().to_string()
    };
    let right = roots(&ca, "right.pem");
    let wrong = roots(&Ca::new(), "wrong.pem");
    let origin = Origin::hello();
    let port = postgres.port();
    let dsn = |password: &str, roots: &str| {
        format!(
            "postgresql://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}?sslmode=verify-full&sslrootcert={roots}"
        )
    };
    let (site, _dsn) = before(&origin, &dsn("hunter2", &right));
    let site = site.start();
    assert_eq!(answer(&site, "acme").await.0, 200);
    let tls = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'edge'";
    assert_eq!(postgres.psql(DATABASE, tls), "t");
    for (dsn, complaint) in [
        (dsn("hunter2", &wrong), "invalid peer certificate"),
        (dsn("hunter3", &right), "password authentication failed"),
    ] {
        let (site, _dsn) = before(&origin, &dsn);
        let mut site = site.start_unready();
        site.portico.wait_log(complaint);
        assert!(
            !site.portico.stderr().contains("hunter"),
            "{}",
            site.portico.stderr()
        );
        assert_eq!(answer(&site, "acme").await.0, 503);
    }
}

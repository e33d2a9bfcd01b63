//! The throw-away PostgreSQL.

use crate::support::pki::Ca;
use crate::support::postgres::Postgres;
use crate::support::probe;

/// Rows survive an orderly stop and a crash; the address stays; a role gets what it was granted.
#[test]
fn postgres_keeps_its_rows_over_a_crash() {
    let mut postgres = Postgres::with().tcp().start();
    postgres.psql("postgres", "CREATE DATABASE saas");
    postgres.psql(
        "saas",
        "CREATE TABLE t (host text, secret text); INSERT INTO t VALUES ('a.test', 'x'), ('b.test', 'y');
         CREATE ROLE edge LOGIN; GRANT SELECT (host) ON t TO edge;",
    );
    let hosts = |postgres: &Postgres| postgres.psql_as("edge", "saas", "SELECT host FROM t");
    assert_eq!(hosts(&postgres), Ok("a.test\nb.test".to_owned()));
    let denied = postgres.psql_as("edge", "saas", "SELECT secret FROM t");
    assert!(denied.unwrap_err().contains("permission denied"));

    let address = postgres.address();
    assert!(probe::accepts(address));
    postgres.stop();
    assert!(!probe::accepts(address));
    assert!(hosts(&postgres).unwrap_err().contains("No such file"));
    postgres.start_again();
    postgres.kill();
    assert!(!probe::accepts(address));
    postgres.start_again();
    assert!(postgres.log().contains("not properly shut down"));
    assert_eq!(postgres.address(), address);
    assert_eq!(hosts(&postgres), Ok("a.test\nb.test".to_owned()));
    postgres.restart();
    assert_eq!(postgres.psql("saas", "SELECT 6 * 7, 'x'"), "42|x");
}

/// TLS and passwords as on a server of its own; a copy of a stopped cluster has its rows.
#[test]
fn postgres_asks_for_tls_and_a_password() {
    let mut first = Postgres::start();
    first.psql(
        "postgres",
        "CREATE ROLE edge LOGIN PASSWORD 'sesame'; CREATE TABLE t AS SELECT 7 AS n; GRANT SELECT ON t TO edge",
    );
    first.stop();

    let ca = Ca::new();
    let postgres = Postgres::with()
        .tcp()
        .data(&first.data())
        .tls(&ca.leaf(&["db.test", "127.0.0.1"]))
        .hba("hostssl all all 127.0.0.1/32 scram-sha-256")
        .start();
    assert_eq!(postgres.psql("postgres", "SELECT n FROM t"), "7");
    let ask = |extra: &str| {
        let port = postgres.port();
        let dsn = format!("host=127.0.0.1 port={port} user=edge dbname=postgres {extra}");
        let mut psql = std::process::Command::new(crate::support::postgres::program("psql"));
        psql.args([
            "--no-psqlrc",
            "--no-password",
            "-Atc",
            "SELECT n FROM t",
            &dsn,
        ])
        .output()
        .expect("psql runs")
    };
    let open = ask("password=sesame sslmode=disable");
    assert!(String::from_utf8_lossy(&open.stderr).contains("no encryption"));
    let wrong = ask("password=simsim sslmode=require");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("password authentication failed"));
    let right = ask("password=sesame sslmode=require");
    assert_eq!(String::from_utf8_lossy(&right.stdout), "7\n");
}

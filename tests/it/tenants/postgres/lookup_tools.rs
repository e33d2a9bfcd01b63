//! `mode = "lookup"` when the database is away, with other presets, and what the tools say of it.

use serde_json::{Value, json};

use super::lookup::{PATIENT, lookup};
use super::presets::Case;
use super::rig::{DATABASE, ROLE, add, answer, before, database, until};
use crate::support::origin::Origin;
use crate::support::portico::portico_cmd;
use crate::support::postgres::Postgres;
use crate::support::site::Site;
use crate::support::wait;

/// Exit code, output and errors of `portico tenant`.
fn tool(site: &Site, args: &[&str]) -> (Option<i32>, String, String) {
    let config = site.portico.config_file().display().to_string();
    let done = portico_cmd(&[&["tenant"], args, &["--config", &config]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

fn told(site: &Site, args: &[&str]) -> String {
    let (code, out, errors) = tool(site, args);
    assert_eq!(code, Some(0), "{args:?}: {errors}");
    out
}

fn cache(site: &Site, host: &str) -> (Value, Value) {
    let answer: Value = serde_json::from_str(&told(site, &["explain", host, "--json"])).unwrap();
    assert_eq!(answer["source"], "postgres");
    (
        answer["cache"]["state"].clone(),
        answer["tenant"]["id"].clone(),
    )
}

#[tokio::test]
async fn lookup_database_down_known_are_served_and_unknown_503() {
    let mut postgres = Postgres::start();
    database(&postgres);
    postgres.stop();
    let origin = Origin::hello();
    let ttl = ["positive_ttl = \"1s\"", "negative_ttl = \"1s\""];
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &ttl);
    let site = site.start_unready();
    // A start needs the database: nothing is saved.
    assert_eq!(answer(&site, "acme").await.0, 503);
    let (code, body) = site.portico.admin("/readyz");
    assert_eq!(code, 503);
    assert!(body.contains("no tenant is known yet: postgres"), "{body}");
    postgres.start_again();
    until(&site, "acme", 200).await;
    // What was asked before the connection stood is answered but not remembered.
    assert_eq!(answer(&site, "acme").await.0, 200);
    assert_eq!(site.portico.admin("/readyz").0, 200);
    assert_eq!(answer(&site, "initech").await.0, 404);

    postgres.kill();
    until(&site, "initech", 503).await;
    wait::until("the source to be missed", || {
        (site.portico.metric("portico_directory_up") == 0.0).then_some(())
    });
    // Long after its time, and at once.
    assert_eq!(cache(&site, "acme.example.test").1, json!("1"));
    for _ in 0..20 {
        assert_eq!(answer(&site, "acme").await.0, 200);
    }
    let (status, reason) = answer(&site, "globex").await;
    assert_eq!(
        (status.as_u16(), reason.as_deref()),
        (503, Some("directory-down"))
    );
    let (code, body) = site.portico.admin("/readyz");
    assert_eq!(code, 200, "it serves who is known: {body}");
    assert!(
        body.contains("\"degraded\":[\"the source `postgres` does not answer"),
        "{body}"
    );
    let explained = told(&site, &["explain", "acme.example.test"]);
    assert!(explained.contains("trouble"), "{explained}");

    postgres.start_again();
    until(&site, "globex", 200).await;
    assert_eq!(site.portico.metric("portico_directory_up"), 1.0);
    add(&postgres, "initech");
    until(&site, "initech", 200).await;
}

#[tokio::test]
async fn lookup_is_explained_listed_and_purged() {
    let postgres = Postgres::start();
    database(&postgres);
    let origin = Origin::hello();
    let settings = [
        "positive_ttl = \"24h\"",
        "negative_ttl = \"24h\"",
        "listen = \"\"",
    ];
    let (site, _dsn) = lookup(&origin, &postgres.dsn(ROLE, DATABASE), &settings);
    let site = site.start();
    let acme = "acme.example.test";
    assert_eq!(cache(&site, acme), (json!("unknown"), json!("1")));
    assert_eq!(cache(&site, acme), (json!("fresh"), json!("1")));
    assert_eq!(
        cache(&site, "initech.example.test"),
        (json!("unknown"), Value::Null)
    );
    assert_eq!(
        cache(&site, "initech.example.test"),
        (json!("nobody"), Value::Null)
    );
    let text = told(&site, &["explain", acme]);
    assert!(
        text.contains("postgres: asked ") && text.contains("fresh"),
        "{text}"
    );
    // Only who was asked for is listed, and that is said.
    let list = told(&site, &["list"]);
    assert!(list.contains(acme) && !list.contains("globex"), "{list}");
    assert!(list.contains("these are not all tenants"), "{list}");
    let list: Value = serde_json::from_str(&told(&site, &["list", "--json"])).unwrap();
    assert_eq!(
        (&list["complete"], &list["count"]),
        (&json!(false), &Value::Null)
    );
    let (code, _, error) = tool(&site, &["show", "globex"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("portico tenant explain HOST"), "{error}");
    let (code, _, error) = tool(&site, &["resync"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("portico tenant purge"), "{error}");
    // Without notifications a purge is what has it asked for again.
    add(&postgres, "initech");
    postgres.psql(
        DATABASE,
        "UPDATE customers_client SET paid_until = '2020-01-01'",
    );
    assert_eq!(answer(&site, "initech").await.0, 404);
    assert_eq!(answer(&site, "acme").await.0, 200);
    told(&site, &["purge", "initech.example.test"]);
    assert_eq!(answer(&site, "initech").await.0, 402);
    assert_eq!(answer(&site, "acme").await.0, 200);
    told(&site, &["purge", "--all"]);
    assert_eq!(answer(&site, "acme").await.0, 402);
}

#[tokio::test]
async fn a_purge_has_a_host_read_again_where_all_rows_are_in_memory() {
    let postgres = Postgres::start();
    database(&postgres);
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site.set("tenants.postgres", "resync = \"24h\"").start();
    assert_eq!(answer(&site, "acme").await.0, 200);
    postgres.psql(
        DATABASE,
        "ALTER TABLE customers_client DISABLE TRIGGER USER;
         UPDATE customers_client SET paid_until = '2020-01-01'",
    );
    told(&site, &["purge", "acme.example.test"]);
    until(&site, "acme", 402).await;
    assert_eq!(answer(&site, "globex").await.0, 200, "the one host only");
    told(&site, &["purge", "--all"]);
    until(&site, "globex", 402).await;
}

#[tokio::test]
async fn lookup_by_label_and_two_tenants_of_one_host() {
    let mut case = Case::start(
        "laravel-tenancy",
        "CREATE TABLE tenants (id varchar(255) PRIMARY KEY);
         CREATE TABLE domains (id serial PRIMARY KEY, domain varchar(255) NOT NULL UNIQUE,
            tenant_id varchar(255) NOT NULL REFERENCES tenants (id) ON UPDATE CASCADE ON DELETE CASCADE);
         INSERT INTO tenants (id) VALUES ('foo'), ('bar');
         INSERT INTO domains (domain, tenant_id) VALUES ('acme', 'foo'), ('shop.example.test', 'foo')",
        &["mode = \"lookup\"", PATIENT, "positive_ttl = \"24h\"", "negative_ttl = \"24h\""],
    );
    assert_eq!(case.served("acme").await, "foo");
    assert_eq!(case.served("shop").await, "foo");
    case.unknown("globex").await;
    case.sql("INSERT INTO domains (domain, tenant_id) VALUES ('globex', 'bar')");
    assert_eq!(case.served("globex").await, "bar");
    case.sql("DELETE FROM domains WHERE domain = 'globex'");
    case.unknown("globex").await;
    // Another tenant takes hosts that are somebody's label: who is known stays, and nobody is given to a stranger.
    case.sql("INSERT INTO domains (domain, tenant_id) VALUES ('acme.example.test', 'bar'), ('shop', 'bar'), ('both', 'foo')");
    case.sql("INSERT INTO domains (domain, tenant_id) VALUES ('both.example.test', 'bar')");
    until(&case.site, "both", 503).await;
    assert_eq!(case.served("acme").await, "foo");
    assert_eq!(case.served("shop").await, "foo");
    case.site.portico.wait_log("two tenants have it");
    assert_eq!(case.site.portico.metric("portico_directory_up"), 1.0);
    case.sql("DELETE FROM domains WHERE domain = 'both'");
    assert_eq!(case.served("both").await, "bar");
}

#[tokio::test]
async fn lookup_by_a_query_of_ones_own_and_rails() {
    let case = Case::start(
        "rails",
        "CREATE TABLE accounts (id bigserial PRIMARY KEY, subdomain varchar UNIQUE, domain varchar UNIQUE);
         INSERT INTO accounts (id, subdomain, domain) VALUES (7, 'acme', 'shop.example.test'), (8, 'globex', NULL)",
        &["mode = \"lookup\"", PATIENT],
    );
    assert_eq!(case.served("acme").await, "7");
    assert_eq!(case.served("shop").await, "7");
    assert_eq!(case.served("globex").await, "8");
    case.unknown("initech").await;
    drop(case);
    let mut case = Case::start(
        "custom",
        "CREATE TABLE sites (name text PRIMARY KEY, owner int NOT NULL, kind text NOT NULL DEFAULT 'active');
         GRANT SELECT ON sites TO edge;
         INSERT INTO sites VALUES ('acme', 1, 'active'), ('odd', 2, 'asleep')",
        &[
            "mode = \"lookup\"",
            PATIENT,
            "negative_ttl = \"24h\"",
            "query = \"SELECT s.name AS host, s.owner AS id, s.kind AS state FROM public.sites AS s\"",
        ],
    );
    assert_eq!(case.served("acme").await, "1");
    case.unknown("globex").await;
    case.sql("INSERT INTO sites VALUES ('globex', 3); NOTIFY portico_tenants, 'globex'");
    assert_eq!(case.served("globex").await, "3");
    // A row that cannot be taken is no answer, and no trouble of the others.
    until(&case.site, "odd", 503).await;
    case.site.portico.wait_log("not a state");
    assert_eq!(case.site.portico.metric("portico_directory_up"), 1.0);
}

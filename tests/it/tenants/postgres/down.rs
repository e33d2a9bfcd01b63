//! The database is away.

use super::rig::{DATABASE, ROLE, add, answer, before, database, until};
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::wait;

#[tokio::test]
async fn directory_down_known_ok_unknown_503() {
    let mut postgres = Postgres::start();
    database(&postgres);
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site.start();
    assert_eq!(answer(&site, "initech").await.0, 404);
    assert_eq!(site.portico.metric("portico_directory_up"), 1.0);
    postgres.kill();
    until(&site, "initech", 503).await;
    assert_eq!(
        answer(&site, "initech").await.1.as_deref(),
        Some("directory-down")
    );
    assert_eq!(answer(&site, "acme").await.0, 200);
    assert_eq!(site.portico.metric("portico_directory_up"), 0.0);
    let (code, body) = site.portico.admin("/readyz");
    assert_eq!(code, 200, "it serves who is known: {body}");
    assert!(body.contains("\"degraded\":[\"postgres: "), "{body}");
    postgres.start_again();
    until(&site, "initech", 404).await;
    assert_eq!(site.portico.metric("portico_directory_up"), 1.0);
    add(&postgres, "initech");
    until(&site, "initech", 200).await;
}

#[tokio::test]
async fn a_database_that_was_never_there_makes_nobody_unknown() {
    let mut postgres = Postgres::start();
    database(&postgres);
    postgres.stop();
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site.start_unready();
    for name in ["acme", "initech"] {
        let (status, reason) = answer(&site, name).await;
        assert_eq!(
            (status.as_u16(), reason.as_deref()),
            (503, Some("directory-down"))
        );
    }
    let (code, body) = site.portico.admin("/readyz");
    assert_eq!(code, 503);
    assert!(body.contains("no tenant is known yet: postgres"), "{body}");
    postgres.start_again();
    until(&site, "acme", 200).await;
    assert_eq!(site.portico.admin("/readyz").0, 200);
}

#[tokio::test]
async fn restart_with_directory_down_uses_snapshot() {
    let mut postgres = Postgres::start();
    database(&postgres);
    add(&postgres, "initech");
    let folder = tempfile::tempdir().unwrap();
    let snapshot = format!("snapshot = {:?}", folder.path());
    let file = folder.path().join("postgres.rows");
    let origin = Origin::hello();
    let (site, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let site = site.set("tenants.postgres", &snapshot).start();
    assert_eq!(answer(&site, "globex").await.0, 200);
    // What has come by a notification is saved as well as what was loaded.
    postgres.psql(
        DATABASE,
        "UPDATE customers_client SET paid_until = '2020-01-01' WHERE schema_name = 'globex'",
    );
    until(&site, "globex", 402).await;
    wait::until("the change to be saved", || {
        let saved = std::fs::read_to_string(&file).unwrap_or_default();
        saved.contains("suspended").then_some(())
    });
    drop(site);
    postgres.stop();

    let (again, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let again = again.set("tenants.postgres", &snapshot).start();
    assert_eq!(answer(&again, "acme").await.0, 200);
    assert_eq!(origin.requests().pop().unwrap().one("x-tenant"), "1");
    assert_eq!(answer(&again, "globex").await.0, 402);
    assert_eq!(answer(&again, "hooli").await.0, 503);
    drop(again);

    // A file that is damaged is not believed: nobody is served by it, and nobody is called unknown.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("initech", "hooli12")).unwrap();
    let (damaged, _dsn) = before(&origin, &postgres.dsn(ROLE, DATABASE));
    let mut damaged = damaged.set("tenants.postgres", &snapshot).start_unready();
    for name in ["acme", "hooli12"] {
        assert_eq!(answer(&damaged, name).await.0, 503);
    }
    damaged.portico.wait_log("its checksum does not fit");
    postgres.start_again();
    until(&damaged, "acme", 200).await;
}

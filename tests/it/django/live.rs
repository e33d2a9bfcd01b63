//! The tenant's life in the app's own tables, seen at the edge within a second: created, unpaid, paid, deleted. The
//! certificate is a wildcard of Pebble's, the directory is the app's PostgreSQL, and the app is not changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::stage::Stage;
use super::{ACME, GLOBEX, env, isolation};
use crate::support::django::{App, DATABASE, Django, Package};
use crate::support::http::{Answer, Protocol};
use crate::support::portico::portico_cmd;
use crate::support::wait;

/// From a row's commit to the edge's first answer by it.
const PROMISED: Duration = Duration::from_secs(1);
/// The tutorial's columns, as an operator says what they mean.
const STATE_SQL: &str =
    "CASE WHEN c.paid_until < current_date AND NOT c.on_trial THEN 'suspended' ELSE 'active' END";
const INITECH: &str = "initech.example.test";

/// The proxy, the site, and the site's database as the proxy's directory.
struct Play {
    django: Django,
    app: App,
    stage: Stage,
}

impl Play {
    async fn set(package: Package) -> Self {
        let django = Django::with(package);
        let app = django.gunicorn_unix();
        let preset = match package {
            Package::Tenants => "django-tenants",
            Package::Schemas => "django-tenant-schemas",
        };
        let sql = portico_cmd(&[
            "tenant",
            "sql",
            "--preset",
            preset,
            "--column=c.paid_until",
            "--column=c.on_trial",
        ]);
        assert!(sql.status.success(), "{sql:?}");
        django.sql(&String::from_utf8_lossy(&sql.stdout));
        let tenants = format!(
            "source = \"postgres\"\n[tenants.postgres]\npreset = \"{preset}\"\ndsn_file = \"{{dir}}/pg.dsn\"\n\
             state_sql = \"{STATE_SQL}\""
        );
        let dsn = django.postgres.dsn("portico", DATABASE);
        let stage = Stage::set(&app, &tenants, |folder| {
            let file = folder.join("pg.dsn");
            fs::write(&file, dsn).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        })
        .await;
        Self { django, app, stage }
    }

    /// Asks on one connection until the answer is this; how long after `since` that was, and how many others came before.
    async fn until(
        &self,
        host: &str,
        mark: &str,
        wanted: u16,
        since: impl Fn(&Django) -> SystemTime,
    ) -> (Duration, usize) {
        let mut connection = self.stage.edge.connect(Protocol::Http2, host).await;
        let mut before = 0;
        wait::within(&format!("{host} answers {wanted}"), async {
            loop {
                let target = format!("/env/?{mark}");
                let answer = connection.request("GET", &target).send().await;
                let now = SystemTime::now();
                if answer.status == wanted {
                    let past = now.duration_since(since(&self.django));
                    return (past.unwrap_or_default(), before);
                }
                before += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    async fn get(&self, host: &str, path: &str) -> Answer {
        self.stage.edge.get(Protocol::Http1, host, path).await
    }
}

/// When PostgreSQL committed the row that this query finds.
fn commit_of(django: &Django, row: &str) -> SystemTime {
    let seconds = django.sql(&format!(
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM {row}"
    ));
    UNIX_EPOCH + Duration::from_secs_f64(seconds.parse().expect("a time of commit"))
}

async fn lives_and_dies(package: Package) {
    let play = Play::set(package).await;
    let (django, app, edge) = (&play.django, &play.app, &play.stage.edge);
    for (host, tenant) in [
        (ACME, "acme"),
        (GLOBEX, "globex"),
        ("example.test", "public"),
    ] {
        assert_eq!(env(edge, Protocol::Http2, host).await["tenant"], tenant);
    }
    isolation::notes_stay_apart(edge).await;

    // Created by the package's own command, while somebody asks for it all the time.
    let unknown = play.get(INITECH, "/env/?early").await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.header("x-edge-reason")),
        (404, Some("unknown-tenant"))
    );
    let row = match package {
        Package::Tenants => "customers_domain WHERE domain = 'initech.example.test'",
        Package::Schemas => "customers_client WHERE domain_url = 'initech.example.test'",
    };
    let (created, before) = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let create = scope.spawn(|| django.create_tenant("initech", INITECH));
            let asked = play.until(INITECH, "new", 200, |django| commit_of(django, row));
            let asked = tokio::runtime::Handle::current().block_on(asked);
            create.join().expect("the command ends well");
            asked
        })
    });
    assert!(before > 0, "nobody asked before it was there");
    assert!(created < PROMISED, "known {created:?} after the commit");
    assert_eq!(app.requests("?early"), 0);
    app.wait_request("?new");
    assert_eq!(
        app.requests("?new"),
        1,
        "what came before the row has not reached the app"
    );

    // Unpaid: the page of 402, and nothing for the app. Everybody else goes on.
    let acme = "customers_client WHERE schema_name = 'acme'";
    let set = |column: &str| {
        django.sql(&format!(
            "UPDATE customers_client SET {column} WHERE schema_name = 'acme'"
        ))
    };
    set("paid_until = '2020-01-01'");
    let (suspended, _) = play
        .until(ACME, "unpaid", 402, |django| commit_of(django, acme))
        .await;
    assert!(
        suspended < PROMISED,
        "suspended {suspended:?} after the commit"
    );
    let page = play.get(ACME, "/env/?silent").await;
    assert_eq!(
        (page.status.as_u16(), page.header("x-edge-reason")),
        (402, Some("suspended"))
    );
    assert_eq!(play.get(GLOBEX, "/env/?others").await.status, 200);
    app.wait_request("?others");
    assert_eq!(app.requests("?silent"), 0);
    // On trial nobody has to have paid.
    set("on_trial = true");
    let (resumed, _) = play
        .until(ACME, "trial", 200, |django| commit_of(django, acme))
        .await;
    assert!(resumed < PROMISED, "resumed {resumed:?} after the commit");

    // Deleted: gone for the edge, and for the app.
    match package {
        Package::Tenants => drop(django.manage(&["delete_tenant", "--schema=initech", "--noinput"])),
        Package::Schemas => drop(django.manage(&[
            "shell",
            "--command",
            "from schemas.customers.models import Client; Client.objects.get(schema_name='initech').delete()",
        ])),
    }
    let done = SystemTime::now();
    wait::until_async("initech is gone", async || {
        let status = play.get(INITECH, "/env/?late").await.status.as_u16();
        matches!(status, 404 | 410).then_some(())
    })
    .await;
    let deleted = done.elapsed().unwrap_or_default();
    assert!(deleted < PROMISED, "gone {deleted:?} after the command");
    assert!(matches!(
        play.get(INITECH, "/env/?gone").await.status.as_u16(),
        404 | 410
    ));
    assert_eq!(play.get(GLOBEX, "/env/?last").await.status, 200);
    app.wait_request("?last");
    assert_eq!(app.requests("?gone"), 0);
    assert!(
        !play
            .stage
            .portico
            .stderr()
            .contains("configuration reloaded")
    );
    eprintln!(
        "after the commit: created {created:?}, suspended {suspended:?}, resumed {resumed:?}, gone {deleted:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_of_django_tenants_lives_and_dies_without_a_reload() {
    lives_and_dies(Package::Tenants).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_of_django_tenant_schemas_lives_and_dies_without_a_reload() {
    lives_and_dies(Package::Schemas).await;
}

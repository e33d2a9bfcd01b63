//! `source = "http"` when the app does not answer, refuses, or is reached by TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::ask_app::AskApp;
use super::http_source::{get, outcome};
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::pki::Ca;
use crate::support::site::Site;
use crate::support::wait;

const UP: &str = "portico_directory_up{source=\"http\"}";

fn tenants(site: &Site) -> Value {
    let (code, body) = site.portico.admin("/status");
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&body).unwrap();
    status["tenants"].clone()
}

#[tokio::test]
async fn http_down_known_ok_unknown_503() {
    let mut app = AskApp::start();
    let origin = Origin::hello();
    app.put_tenant("acme.example.test", "acme");
    app.put_tenant("globex.example.test", "globex");
    let site = app
        .site(&origin, "/tenant")
        .set("tenants.http", "positive_ttl = \"1s\"")
        .start();
    assert_eq!(outcome(&site, "acme.example.test").await, "200 app");
    assert_eq!(tenants(&site)["trouble"], Value::Null);
    app.down();
    // Long after its time, over both protocols.
    wait::until_async("the source to be missed", async || {
        assert_eq!(outcome(&site, "acme.example.test").await, "200 app");
        (site.portico.metric(UP) == 0.0).then_some(())
    })
    .await;
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "acme.example.test", "/").await;
        assert_eq!(answer.status.as_u16(), 200);
        let answer = site.edge.get(protocol, "globex.example.test", "/").await;
        assert_eq!(
            answer.status.as_u16(),
            503,
            "never 404: it would be believed"
        );
        assert_eq!(answer.header("x-edge-reason"), Some("directory-down"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("retry-after").is_some());
    }
    let trouble = tenants(&site)["trouble"].to_string();
    assert!(trouble.contains("`http` does not answer"), "{trouble}");
    assert_eq!(site.portico.admin("/readyz").0, 200, "degraded is not down");
    app.up();
    assert_eq!(outcome(&site, "globex.example.test").await, "200 app");
    assert_eq!(tenants(&site)["trouble"], Value::Null);
    assert_eq!(site.portico.metric(UP), 1.0);
    app.remove("acme.example.test");
    wait::until_async("the tenant to be gone", async || {
        (outcome(&site, "acme.example.test").await == "404 unknown-tenant").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_token_goes_to_the_app_and_nowhere_else() {
    let mut app = AskApp::with_token("first-s3cret");
    let origin = Origin::hello();
    for host in ["acme", "globex", "initech"] {
        app.put_tenant(&format!("{host}.example.test"), host);
    }
    let file = app.path("token");
    let write = |token: &str| {
        fs::write(&file, format!("{token}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("first-s3cret");
    let site = app
        .site(&origin, "/tenant")
        .set(
            "tenants.http",
            &format!("token_file = {:?}", file.display().to_string()),
        )
        .set("log", "level = \"trace\"")
        .start();
    assert_eq!(outcome(&site, "acme.example.test").await, "200 app");
    // The app has another one now: its refusal is no "no".
    app.set_token("second-s3cret");
    assert_eq!(
        outcome(&site, "globex.example.test").await,
        "503 directory-down"
    );
    let trouble = tenants(&site)["trouble"].to_string();
    assert!(trouble.contains("401"), "{trouble}");
    // The file is read again after a refusal, without a reload.
    write("second-s3cret");
    assert_eq!(
        outcome(&site, "initech.example.test").await,
        "503 directory-down"
    );
    assert_eq!(outcome(&site, "globex.example.test").await, "200 app");
    let seen = origin.requests();
    let told = [
        site.portico.stderr(),
        site.portico.stdout(),
        site.portico.admin("/status").1,
        site.portico.admin("/metrics").1,
        format!("{seen:?}"),
        trouble,
    ];
    for text in told {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn the_app_may_be_reached_by_tls_and_is_verified() {
    let ca = Ca::named("the app's own CA");
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, ca.pem()).unwrap();
    let asked = Origin::tls(&ca.leaf(&["localhost"]), async |seen: origin::Seen| {
        let known = seen.target == "/tenant?host=acme.example.test";
        let status = if known { 200 } else { 404 };
        origin::text(status, json!({ "id": "acme" }).to_string())
    });
    let port = asked.socket().port();
    let origin = Origin::hello();
    for (roots, expected) in [(Some(&roots), "200 app"), (None, "503 directory-down")] {
        let mut site = Site::before(&[origin.address()])
            .set("tenants", "source = \"http\"")
            .set(
                "tenants.http",
                &format!("url = \"https://localhost:{port}/tenant\""),
            )
            .set("tenants.http", "timeout = \"20s\"");
        if let Some(roots) = roots {
            site = site.set(
                "tenants.http",
                &format!("ca_file = {:?}", roots.display().to_string()),
            );
        }
        let site = site.start();
        assert_eq!(outcome(&site, "acme.example.test").await, expected);
        if roots.is_some() {
            assert_eq!(
                outcome(&site, "nobody.example.test").await,
                "404 unknown-tenant"
            );
            assert_eq!(get(&site, "acme.example.test").await.status.as_u16(), 200);
        } else {
            let trouble = tenants(&site)["trouble"].to_string();
            assert!(trouble.contains("certificate"), "{trouble}");
        }
    }
    let seen = asked.requests();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0].one("accept"), "application/json");
}

//! Pools with keys and an audience of their own: what one cell holds is of no use before another.

use std::process::Command;

use base64::Engine as _;
use http::StatusCode;
use serde_json::Value;

use super::Rows;
use super::signature::verifying_app;
use super::token::verify;
use crate::support::gunicorn::Gunicorn;
use crate::support::http::{Connection, Protocol};
use crate::support::key_file::KeyFile;
use crate::support::origin::Origin;
use crate::support::site::servers_line;
use crate::support::wait;

const ROWS: &str = "id,pool\nhome,\nparis,eu\ndallas,us\n";

/// What the app was sent, sent to `app` again.
async fn replayed(app: &Gunicorn, host: &str, seen: &Value) -> StatusCode {
    let mut connection = Connection::tcp(app.address().parse().unwrap(), host).await;
    let mut request = connection.request("GET", "/");
    for (name, key) in [
        ("x-tenant", "HTTP_X_TENANT"),
        ("x-tenant-signature", "HTTP_X_TENANT_SIGNATURE"),
        ("x-real-ip", "HTTP_X_REAL_IP"),
        ("x-request-id", "HTTP_X_REQUEST_ID"),
    ] {
        request = request.header(name, seen["headers"][key].as_str().unwrap());
    }
    request.send().await.status
}

#[tokio::test]
async fn a_cell_with_keys_of_its_own_believes_no_others() {
    // Of the same name, so that nothing but the key itself can tell them apart.
    let all = KeyFile::new(&format!("k1 = {}\n", "1".repeat(64)));
    let own = KeyFile::new(&format!("k1 = {}\n", "2".repeat(64)));
    let (app, eu, us) = (
        verifying_app(&all),
        verifying_app(&own),
        verifying_app(&all),
    );
    let rows = Rows::new(ROWS);
    let site = rows
        .site(&[app.address()])
        .set("tenants.signature", &all.line())
        .set("pools.eu", &servers_line(&[eu.address()]))
        .set("pools.eu.signature", &own.line())
        .set("pools.us", &servers_line(&[us.address()]))
        .start();
    for protocol in Protocol::BOTH {
        for (tenant, here, elsewhere) in [
            ("home", &app, &eu),
            ("paris", &eu, &app),
            ("dallas", &us, &eu),
        ] {
            let host = format!("{tenant}.example.test");
            let answer = site.edge.get(protocol, &host, "/").await;
            assert_eq!(answer.status, 200, "{tenant}: the app has verified it");
            let seen = answer.json();
            assert_eq!(seen["tenant"], tenant);
            assert_eq!(replayed(here, &host, &seen).await, 200, "{tenant}");
            assert_eq!(replayed(elsewhere, &host, &seen).await, 403, "{tenant}");
        }
    }
}

fn private() -> String {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-outform", "DER"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    base64::engine::general_purpose::STANDARD.encode(made.stdout)
}

#[tokio::test]
async fn tokens_are_for_one_pool_and_all_public_keys_are_published() {
    let (app, eu, us) = (Origin::hello(), Origin::hello(), Origin::hello());
    let all = KeyFile::new(&format!("all = {}\n", private()));
    let own = KeyFile::new(&format!("eu-2 = {}\neu-1 = {}\n", private(), private()));
    let rows = Rows::new(ROWS);
    let site = rows
        .site(&[app.address()])
        .set("tenants.signature", &all.line())
        .set("tenants.signature", "form = \"jwt-eddsa\"")
        .set("tenants.signature", "issuer = \"edge-1\"")
        .set("pools.eu", &servers_line(&[eu.address()]))
        .set("pools.eu.signature", &own.line())
        .set("pools.eu.signature", "audience = \"eu\"")
        .set("pools.us", &servers_line(&[us.address()]))
        .set("pools.us.signature", "audience = \"us\"")
        .start();
    let (_, jwks) = site.portico.admin("/jwks.json");
    let keys: Value = serde_json::from_str(&jwks).unwrap();
    let names: Vec<&str> = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["all", "eu-2", "eu-1"], "each once");
    for (tenant, origin, audience) in [
        ("home", &app, "app"),
        ("paris", &eu, "eu"),
        ("dallas", &us, "us"),
    ] {
        let host = format!("{tenant}.example.test");
        assert_eq!(site.edge.get(Protocol::Http2, &host, "/").await.status, 200);
        let token = origin.requests().pop().unwrap();
        let token = token.one("x-tenant-token");
        for other in ["app", "eu", "us"] {
            let claims = verify(token, "EdDSA", &jwks, other);
            if other == audience {
                assert_eq!(claims["sub"], tenant, "{claims}");
            } else {
                assert_eq!(claims, "InvalidAudienceError", "{tenant} {other}");
            }
        }
    }
    // A tenant that moves takes no token along.
    rows.write("id,pool\nhome,eu\n");
    let before = eu.requests().len();
    wait::until_async("the tenant to move", async || {
        let host = "home.example.test";
        assert_eq!(site.edge.get(Protocol::Http2, host, "/").await.status, 200);
        (eu.requests().len() > before).then_some(())
    })
    .await;
    for seen in eu.requests().drain(before..) {
        let claims = verify(seen.one("x-tenant-token"), "EdDSA", &jwks, "eu");
        assert_eq!(claims["sub"], "home", "{claims}");
    }
}

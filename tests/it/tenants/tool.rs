//! `portico tenant …` against a running proxy.

use std::process::Output;

use serde_json::{Value, json};

use super::ask_app::AskApp;
use super::http_source::outcome;
use crate::support::origin::Origin;
use crate::support::portico::portico_cmd;
use crate::support::site::Site;

fn tool(site: &Site, args: &[&str]) -> Output {
    let config = site.portico.config_file().display().to_string();
    portico_cmd(&[&["tenant"], args, &["--config", &config]].concat())
}

/// What it prints, done without error.
pub(super) fn told(site: &Site, args: &[&str]) -> String {
    let output = tool(site, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn json_of(site: &Site, args: &[&str]) -> Value {
    serde_json::from_str(&told(site, &[args, &["--json"]].concat())).unwrap()
}

/// Exit code and errors of what it refuses.
fn refused(site: &Site, args: &[&str]) -> (Option<i32>, String) {
    let output = tool(site, args);
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn explain_says_what_a_request_gets() {
    let mut app = AskApp::start();
    let origin = Origin::hello();
    let row = json!({ "id": "42", "slug": "acme", "pool": "eu" });
    app.put("acme.example.test", json!({ "row": row }));
    app.put(
        "late.example.test",
        json!({ "row": { "id": "late", "state": "suspended" } }),
    );
    app.put("broken.example.test", json!({ "status": 500 }));
    app.put_tenant("www.customer.test", "acme");
    // Of the region's servers nobody is asked here.
    let region = Origin::hello();
    let site = app
        .site(&origin, "/tenant")
        .set("tenants.http", "positive_ttl = \"600s\"")
        .set("tenants.http", "negative_ttl = \"600s\"")
        .set(
            "pools.eu",
            &format!("servers = [{:?}]", format!("http://{}", region.address())),
        )
        .start();
    for (host, cache, id, https, http) in [
        (
            "acme.example.test",
            "unknown",
            json!("42"),
            json!(null),
            json!(308),
        ),
        (
            "acme.example.test",
            "fresh",
            json!("42"),
            json!(null),
            json!(308),
        ),
        (
            "late.example.test",
            "unknown",
            json!("late"),
            json!(402),
            json!(308),
        ),
        (
            "nobody.example.test",
            "unknown",
            json!(null),
            json!(404),
            json!(404),
        ),
        (
            "nobody.example.test",
            "nobody",
            json!(null),
            json!(404),
            json!(404),
        ),
        (
            "broken.example.test",
            "unknown",
            json!(null),
            json!(503),
            json!(503),
        ),
        (
            "www.example.test",
            "unknown",
            json!(null),
            json!(308),
            json!(308),
        ),
        (
            "www.acme.example.test",
            "unknown",
            json!(null),
            json!(null),
            json!(308),
        ),
        (
            "www.customer.test",
            "unknown",
            json!("acme"),
            json!(null),
            json!(308),
        ),
    ] {
        let answer = json_of(&site, &["explain", host]);
        let got = (&answer["cache"]["state"], &answer["tenant"]["id"]);
        assert_eq!(got, (&json!(cache), &id), "{host}: {answer}");
        let got = (&answer["https"]["status"], &answer["http"]["status"]);
        assert_eq!(got, (&https, &http), "{host}: {answer}");
        assert_eq!(answer["source"], "http");
    }
    let inside = json_of(&site, &["explain", "acme.example.test"]);
    assert_eq!(inside["custom_domain"]["state"], "covered");
    let outside = json_of(&site, &["explain", "www.customer.test"]);
    assert_eq!(outside["custom_domain"]["state"], "off");
    assert_eq!(outside["certificate"], Value::Null);
    assert!(
        outside["https"]["reason"]
            .to_string()
            .contains("unrecognized_name")
    );
    let text = told(&site, &["explain", "acme.example.test"]);
    for part in [
        "42 (active)",
        "eu",
        "passed on to the app",
        "example.test, valid until",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // And that is what requests get.
    assert_eq!(outcome(&site, "late.example.test").await, "402 suspended");
    assert_eq!(
        outcome(&site, "nobody.example.test").await,
        "404 unknown-tenant"
    );
    assert_eq!(
        outcome(&site, "broken.example.test").await,
        "503 directory-down"
    );
    assert!(origin.requests().is_empty(), "explaining is no request");
}

#[tokio::test]
async fn list_show_and_purge_see_what_is_in_memory() {
    let mut app = AskApp::start();
    let origin = Origin::hello();
    for host in ["acme", "globex"] {
        app.put_tenant(&format!("{host}.example.test"), host);
    }
    let site = app
        .site(&origin, "/tenant")
        .set("tenants.http", "positive_ttl = \"1h\"")
        .set("tenants.http", "negative_ttl = \"1h\"")
        .start();
    assert_eq!(json_of(&site, &["list"])["hosts"], json!([]));
    let (code, error) = refused(&site, &["show", "acme"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("hint: "), "{error}");
    for host in ["acme.example.test", "globex.example.test"] {
        assert_eq!(outcome(&site, host).await, "200 app");
    }
    let list = told(&site, &["list"]);
    assert!(
        list.starts_with("acme.example.test  acme  active\nglobex.example.test  globex"),
        "{list}"
    );
    let one = json_of(&site, &["list", "--limit", "1"]);
    assert_eq!(
        (one["hosts"].as_array().unwrap().len(), &one["more"]),
        (1, &json!(true))
    );
    for name in ["acme", "ACME.example.test."] {
        let shown = json_of(&site, &["show", name]);
        assert_eq!(shown["hosts"], json!(["acme.example.test"]), "{name}");
    }
    // A change is taken at once after a purge, and no other host is asked for.
    app.put(
        "acme.example.test",
        json!({ "row": { "id": "acme", "state": "suspended" } }),
    );
    app.put_tenant("new.example.test", "new");
    assert_eq!(outcome(&site, "acme.example.test").await, "200 app");
    told(&site, &["purge", "acme.example.test"]);
    assert_eq!(outcome(&site, "acme.example.test").await, "402 suspended");
    assert_eq!(outcome(&site, "globex.example.test").await, "200 app");
    assert_eq!(app.calls().len(), 3, "{:?}", app.calls());
    told(&site, &["purge", "--all"]);
    assert_eq!(outcome(&site, "globex.example.test").await, "200 app");
    assert_eq!(app.calls().len(), 4, "{:?}", app.calls());
    // Where a tenant is suspended, it says, and changes nothing.
    let (code, error) = refused(&site, &["suspend", "globex"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("\"state\": \"suspended\""), "{error}");
    assert_eq!(outcome(&site, "globex.example.test").await, "200 app");
    assert_eq!(refused(&site, &["purge"]).0, Some(2), "one host or all");
    assert_eq!(refused(&site, &["explain", "a_b.example.test"]).0, Some(2));
}

#[tokio::test]
async fn a_file_is_held_whole_and_a_proxy_that_is_not_there_is_said() {
    let origin = Origin::hello();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("tenants.toml");
    std::fs::write(
        &list,
        "[[tenant]]\nid = \"Big Corp\"\nhosts = [\"big.example.test\"]\n",
    )
    .unwrap();
    let mut site = Site::before(&[origin.address()])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", list.display().to_string()),
        )
        .start();
    let shown = told(&site, &["show", "Big Corp"]);
    assert!(shown.contains("big.example.test"), "{shown}");
    assert_eq!(
        json_of(&site, &["explain", "big.example.test"])["cache"]["state"],
        "listed"
    );
    let (code, error) = refused(&site, &["purge", "--all"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("held in memory"), "{error}");
    site.portico.sigterm();
    site.portico.wait_exit();
    let (code, error) = refused(&site, &["list"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("does not answer") && error.contains("hint: "),
        "{error}"
    );
}

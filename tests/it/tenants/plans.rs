//! What a plan adds to requests, and that no client can claim it: by what a real app gets.

use serde_json::{Map, Value};

use super::Rows;
use crate::support::gunicorn::Gunicorn;
use crate::support::http::Protocol;
use crate::support::site::Site;

/// Spellings that some app reads as a header of [`site`].
const FOLDS: &[&str] = &[
    "x-feature",
    "X-FEATURE",
    "x_feature",
    "x.feature",
    "x~feature",
    "http_x_feature",
    "http-x-feature",
    "x-theme",
    "x_theme",
    "x.theme",
    "x-flag",
    "x_flag",
    "x!flag",
];

fn host(tenant: &str) -> String {
    format!("{tenant}.example.test")
}

fn rows() -> Rows {
    Rows::new(
        "id,plan,header\nbare,,\nsilver,silver,\ngold,gold,\nlost,platinum,\nown,gold,X_Theme: its own\nflag,silver,X-Flag: on\n\
         other,gold,X-Other: 1\n",
    )
}

fn site(rows: &Rows, app: &Gunicorn) -> Site {
    rows.site(&[app.address()])
        .set(
            "plans.gold",
            "headers = [\"X-Feature: gold\", \"X-Theme: gold\"]",
        )
        .set("plans.silver", "headers = [\"X-Theme: silver\"]")
        .set("tenants.headers", "rows = [\"X-Flag\"]")
        .start()
}

/// What the app got under the names of [`FOLDS`] and of `X-Other`, in whatever spelling.
fn got(seen: &Value) -> Map<String, Value> {
    let headers = seen["headers"].as_object().unwrap().iter();
    let about = headers.filter(|(name, _)| {
        let name = name.to_lowercase();
        ["feature", "theme", "flag", "other"]
            .iter()
            .any(|part| name.contains(part))
    });
    about
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[tokio::test]
async fn no_client_can_claim_the_features_of_another_plan() {
    let app = Gunicorn::worker("gthread").tcp();
    let rows = rows();
    let mut site = site(&rows, &app);
    for protocol in Protocol::BOTH {
        for (tenant, expected) in [
            ("bare", "{}"),
            ("lost", "{}"),
            ("silver", r#"{"HTTP_X_THEME": "silver"}"#),
            (
                "gold",
                r#"{"HTTP_X_FEATURE": "gold", "HTTP_X_THEME": "gold"}"#,
            ),
            (
                "own",
                r#"{"HTTP_X_FEATURE": "gold", "HTTP_X_THEME": "its own"}"#,
            ),
            ("flag", r#"{"HTTP_X_THEME": "silver", "HTTP_X_FLAG": "on"}"#),
            // Its row's header is in no list, so any client could send it.
            (
                "other",
                r#"{"HTTP_X_FEATURE": "gold", "HTTP_X_THEME": "gold"}"#,
            ),
        ] {
            let expected: Map<String, Value> = serde_json::from_str(expected).unwrap();
            let mut connection = site.edge.connect(protocol, &host(tenant)).await;
            let mut all = connection.request("GET", "/");
            for name in FOLDS {
                all = all.header(name, "evil").header(name, "evil too");
            }
            let answer = all.send().await;
            assert_eq!(answer.status, 200, "{tenant}");
            assert_eq!(got(&answer.json()), expected, "{tenant} {protocol:?}");
            for name in FOLDS {
                let answer = connection
                    .request("GET", "/")
                    .header(name, "evil")
                    .send()
                    .await;
                assert_eq!(got(&answer.json()), expected, "{tenant} {name}");
            }
        }
    }
    // Nor can it take one away.
    let mut connection = site.edge.connect(Protocol::Http1, &host("gold")).await;
    let request = connection
        .request("GET", "/")
        .header("connection", "x-feature");
    assert_eq!(request.send().await.status, 400);
    site.portico
        .wait_log("a tenant's row sets a header that is not listed");
    let log = site.portico.stderr();
    assert_eq!(log.matches("header that is not listed").count(), 1, "{log}");
    assert!(log.contains("x-other"), "{log}");
}

#[tokio::test]
async fn a_reload_gives_a_name_to_a_plan_and_takes_it_from_every_client() {
    let app = Gunicorn::worker("gthread").tcp();
    let rows = rows();
    let mut site = site(&rows, &app);
    let seen = async |site: &Site, tenant: &str| {
        let mut connection = site.edge.connect(Protocol::Http2, &host(tenant)).await;
        let request = connection.request("GET", "/").header("x-other", "evil");
        let answer = request.send().await;
        assert_eq!(answer.status, 200);
        got(&answer.json()).get("HTTP_X_OTHER").cloned()
    };
    // Nobody's so far.
    assert_eq!(seen(&site, "bare").await, Some("evil".into()));
    site.portico.rewrite_config(|text| {
        text.replace(
            "\"X-Theme: silver\"",
            "\"X-Theme: silver\", \"X-Other: silver\"",
        )
    });
    site.portico.reload();
    assert_eq!(seen(&site, "bare").await, None);
    assert_eq!(seen(&site, "gold").await, None);
    assert_eq!(seen(&site, "silver").await, Some("silver".into()));
    assert_eq!(seen(&site, "other").await, Some("1".into()), "its row's");
}

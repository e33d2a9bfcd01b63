//! The real apps of a multi-tenant SaaS behind the proxy: django-tenants, django-tenant-schemas and allauth on gunicorn,
//! uvicorn and Apache, with PostgreSQL. What they are is in `tests/django`.

mod accounts;
mod browser;
mod cookies;
mod headers;
mod isolation;
mod live;
mod servers;
mod signed;
mod stage;
mod tutorials;

use crate::support::django::{App, Django};
use crate::support::http::{Answer, Edge, Protocol};
use crate::support::site::{Site, SiteBuilder};

const ACME: &str = "acme.example.test";
const GLOBEX: &str = "globex.example.test";

/// A site before this app with a certificate of the test's own authority.
fn before(app: &App) -> SiteBuilder {
    Site::before(&[app.address()]).set("tenants", "source = \"pattern\"")
}

/// What the app has understood of a GET.
async fn env(edge: &Edge, protocol: Protocol, host: &str) -> serde_json::Value {
    understood(&edge.get(protocol, host, "/env/").await)
}

fn understood(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The set of requests that every server and package must pass.
async fn request_set(django: &Django, app: &App, edge: &Edge) {
    isolation::notes_stay_apart(edge).await;
    isolation::no_spoof_moves_a_request(app, edge).await;
    accounts::sign_up_and_in(django, edge, ACME).await;
    accounts::forged_forms_fail(edge).await;
}

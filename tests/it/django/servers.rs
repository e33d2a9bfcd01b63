//! The same requests with other servers and with the older package.

use super::{before, isolation, request_set};
use crate::support::django::{Django, Package};

#[tokio::test]
async fn django_tenants_on_uvicorn() {
    let django = Django::new();
    let app = django.uvicorn();
    let site = before(&app).start();
    request_set(&django, &app, &site.edge).await;
}

#[tokio::test]
async fn django_tenants_on_apache_with_the_tutorials_vhost() {
    // With the middleware's name of the tutorials too, which is an alias today.
    let django = Django::new().env("SAAS_OLD_NAME", "1");
    let app = django.apache();
    let site = before(&app).start();
    request_set(&django, &app, &site.edge).await;
    assert!(app.requests("/accounts/confirm-email/") > 1);
    drop((site, app));

    let app = django.apache_with(&["WSGIChunkedRequest On"]);
    let site = before(&app).start();
    isolation::no_spoof_moves_a_request(&app, &site.edge).await;
}

#[tokio::test]
async fn django_tenant_schemas_on_gunicorn() {
    let django = Django::with(Package::Schemas);
    let app = django.gunicorn();
    let site = before(&app).start();
    request_set(&django, &app, &site.edge).await;
}

#[tokio::test]
async fn django_tenant_schemas_on_a_unix_socket() {
    let django = Django::with(Package::Schemas);
    let app = django.gunicorn_unix();
    let site = before(&app).start();
    request_set(&django, &app, &site.edge).await;
}

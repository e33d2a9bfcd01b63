//! Health checks: a balancer's, which ask for an address, and Portico's own, which ask for a host that the app knows.

use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::tls::Alpn;
use crate::support::wait;

#[tokio::test]
async fn health_check_host_header() {
    // As Django does: another host than its own is answered 400, whatever the path.
    let origin = Origin::tcp(async |seen| {
        let known = seen.one("host").ends_with("example.test");
        origin::text(if known { 200 } else { 400 }, "app")
    });
    let site = Site::before(&[origin.address()])
        .set("upstream.probe", "path = \"/healthz\"")
        .set("upstream.probe", "host = \"acme.example.test\"")
        .set("upstream.probe", "interval = \"250ms\"")
        .set("upstream.probe", "fall = 1")
        .start();
    let probe = origin.wait_requests(2).pop().unwrap();
    assert_eq!(
        (probe.target.as_str(), probe.one("host")),
        ("/healthz", "acme.example.test")
    );
    // By the same rules as requests: it says of no tenant that it came through the edge.
    assert!(probe.all("x-tenant").is_empty());
    let up = format!(
        "portico_upstream_server_state{{server=\"http://{}\",pool=\"app\",state=\"up\"}}",
        origin.address()
    );
    wait::until("the server to be up", || {
        (site.portico.metric(&up) > 0.5).then_some(())
    });

    // A balancer in front that checks by address is answered, by the edge alone: 421 under TLS, since no
    // certificate here is for an address, and the 404 of any unknown name without.
    let port = site.portico.https_port();
    for host in [
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{port}"),
        "[::1]".to_owned(),
    ] {
        let head = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let answer = raw.write(&head).await.response().await.unwrap();
        assert_eq!(answer.status, 421, "{host}");
        let mut raw = Raw::plain(site.portico.http_port()).await;
        let head = format!(
            "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n",
            host.replace(&format!(":{port}"), "")
        );
        let answer = raw.write(&head).await.response().await.unwrap();
        assert_eq!(answer.status, 404, "{host}");
    }
    // Who wants to know whether the edge serves asks the admin listener, or for a tenant.
    assert_eq!(site.portico.admin("/readyz").0, 200);
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/healthz")
        .await;
    assert_eq!(answer.status, 200);
    let asked = origin.requests();
    let foreign = asked
        .iter()
        .filter(|seen| seen.one("host") != "acme.example.test");
    assert_eq!(foreign.count(), 0);
}

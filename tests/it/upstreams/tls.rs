//! TLS to app servers: always verified.

use http::{StatusCode, Version};

use super::HOST;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::pki::Ca;
use crate::support::site::Site;

#[tokio::test]
async fn upstream_tls_is_verified_and_speaks_http2_by_alpn() {
    let ca = Ca::named("App root");
    let trust = ca.trust();
    let origin = Origin::tls(&ca.leaf(&["127.0.0.1"]), async |seen| {
        origin::text(200, format!("{:?}", seen.version))
    });
    let site = Site::before(&[&format!("https://{}", origin.address())])
        .set("upstream.tls", &format!("ca_file = {:?}", trust.file()))
        .set("server", "workers = 1")
        .start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, HOST).await;
        for _ in 0..20 {
            let answer = connection.request("GET", "/a?b").send().await;
            assert_eq!(answer.text(), "HTTP/2.0");
        }
    }
    let seen = origin.requests();
    assert!(seen.iter().all(|seen| seen.version == Version::HTTP_2));
    assert_eq!(origin.connections(), 1);
    let first = &seen[0];
    assert_eq!(
        (first.authority.as_deref(), first.target.as_str()),
        (Some(HOST), "/a?b")
    );
    assert_eq!(first.one("x-tenant"), "acme");
    assert!(first.all("host").is_empty() && first.all("connection").is_empty());
}

#[tokio::test]
async fn upstream_tls_that_does_not_prove_the_server_is_refused() {
    let (ours, theirs) = (Ca::named("App root"), Ca::named("Another root"));
    let trust = ours.trust();
    let ca_file = format!("ca_file = {:?}", trust.file());
    let hello = async |_| origin::text(200, "hello");
    let other_root = Origin::tls(&theirs.leaf(&["127.0.0.1"]), hello);
    let other_name = Origin::tls(&ours.leaf(&["app.internal"]), hello);
    let plain = Origin::hello();
    for (server, kind) in [
        (&other_root, "tls_certificate_error"),
        (&other_name, "tls_certificate_error"),
        (&plain, "tls_protocol_error"),
    ] {
        let site = Site::before(&[&format!("https://{}", server.address())])
            .set("upstream.tls", &ca_file)
            .start();
        for protocol in Protocol::BOTH {
            let answer = site.edge.get(protocol, HOST, "/").await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{kind}");
            assert_eq!(answer.header("x-edge-reason"), Some("upstream-tls"));
            let told = answer.header("proxy-status").unwrap();
            assert!(told.ends_with(&format!("; error={kind}")), "{told}");
        }
        assert!(server.requests().is_empty());
    }
    // The system's roots do not know our CA.
    let site = Site::before(&[&format!("https://{}", other_name.address())]).start();
    let answer = site.edge.get(Protocol::Http2, HOST, "/").await;
    assert_eq!(answer.header("x-edge-reason"), Some("upstream-tls"));
    // The name that the certificate has.
    let site = Site::before(&[&format!("https://{}", other_name.address())])
        .set("upstream.tls", &ca_file)
        .set("upstream.tls", "server_name = \"app.internal\"")
        .start();
    let answer = site.edge.get(Protocol::Http1, HOST, "/").await;
    assert_eq!(answer.text(), "hello");
}

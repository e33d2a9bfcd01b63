//! Each outcome of a host, end to end: what reaches which tenant, and what never reaches any.

use std::fs;

use http::StatusCode;
use tempfile::TempDir;

use crate::support::http::{Connection, Protocol};
use crate::support::origin::Origin;
use crate::support::port;
use crate::support::site::{DOMAIN, Site};
use crate::support::tls::{self, Alpn};

/// A site whose tenants are acme and globex, as a list has them.
fn site(origin: &Origin) -> (Site, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("tenants.csv");
    fs::write(
        &list,
        "id,host\nacme,acme.example.test\nglobex,globex.example.test\n",
    )
    .unwrap();
    let site = Site::before(&[origin.address()])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", list.display().to_string()),
        )
        .start();
    (site, folder)
}

/// Status and reason of a request on a connection to acme.
async fn ask(site: &Site, protocol: Protocol, host: &str) -> (u16, String) {
    let mut connection = site.edge.connect(protocol, "acme.example.test").await;
    let answer = connection.request("GET", "/").host(host).send().await;
    let reason = answer.header("x-edge-reason").unwrap_or_default();
    (answer.status.as_u16(), reason.to_owned())
}

/// What a worker remembers of a host is forgotten by a reload, on connections that stay open too.
#[tokio::test]
async fn a_reload_changes_whose_a_remembered_host_is() {
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()])
        .set("tenants", "reserved = [\"@default\"]")
        .set("tenants", "value = \"id\"")
        .start();
    let hosts = ["acme.example.test", "globex.example.test"];
    let told = |origin: &Origin| {
        let requests = origin.requests();
        requests.last().unwrap().one("x-tenant").to_owned()
    };
    let mut connections = Vec::new();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, hosts[0]).await;
        for host in hosts.repeat(2) {
            let answer = connection.request("GET", "/").host(host).send().await;
            assert_eq!(answer.status, 200);
            assert_eq!(format!("{}.example.test", told(&origin)), host);
        }
        connections.push(connection);
    }
    site.portico.rewrite_config(|text| {
        text.replace("\"@default\"", "\"@default\", \"globex\"")
            .replace(
                "value = \"id\"",
                "value = \"schema\"\nschema = \"t_{slug}\"",
            )
    });
    site.portico.reload();
    for mut connection in connections {
        for _ in 0..2 {
            let answer = connection.request("GET", "/").host(hosts[0]).send().await;
            assert_eq!(answer.status, 200);
            assert_eq!(told(&origin), "t_acme");
            let answer = connection.request("GET", "/").host(hosts[1]).send().await;
            assert_eq!(answer.status, 404, "a reserved name is nobody's");
        }
    }
}

#[tokio::test]
async fn host_case_dot_port_normalised() {
    let origin = Origin::hello();
    let (site, _folder) = site(&origin);
    let port = site.portico.https_port();
    for (host, expected) in [
        (
            "ACME.Example.TEST".to_owned(),
            "acme.example.test".to_owned(),
        ),
        (
            "acme.example.test.".to_owned(),
            "acme.example.test".to_owned(),
        ),
        (
            "acme.example.test:443".to_owned(),
            "acme.example.test".to_owned(),
        ),
        (
            format!("Acme.EXAMPLE.test.:{port}"),
            format!("acme.example.test:{port}"),
        ),
    ] {
        for protocol in Protocol::BOTH {
            assert_eq!(
                ask(&site, protocol, &host).await.0,
                200,
                "{host} {protocol:?}"
            );
        }
        // As a client that nobody here wrote sends it.
        let header = format!("Host: {host}");
        let curl = site.edge.curl("acme.example.test");
        let curl = curl
            .args(&["--http1.1", "--fail", "--header", &header])
            .run("/");
        assert_eq!(curl.code, Some(0), "{curl:?}");
        for seen in origin.requests().iter().rev().take(3) {
            assert_eq!(
                (seen.one("host"), seen.one("x-tenant")),
                (&*expected, "acme"),
                "{host}"
            );
        }
    }
    assert_eq!(origin.requests().len(), 12);
}

#[tokio::test]
async fn host_duplicate_400() {
    let origin = Origin::hello();
    let (site, _folder) = site(&origin);
    for second in ["acme.example.test", "globex.example.test", ""] {
        let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
        let head = format!("GET / HTTP/1.1\r\nHost: acme.example.test\r\nHost: {second}\r\n\r\n");
        let answer = raw.write(head).await.response().await.unwrap();
        assert_eq!(answer.status, 400, "{second:?}");
        assert!(raw.head().await.is_none(), "the connection ends");
        // In HTTP/2 the second one is a `host` beside `:authority`, which may only say the same.
        let mut connection = site
            .edge
            .connect(Protocol::Http2, "acme.example.test")
            .await;
        let request = connection
            .request("GET", "/")
            .header("host", "acme.example.test");
        let answer = request.header("host", second).send().await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{second:?}");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn authority_mismatch_400() {
    let origin = Origin::hello();
    let (site, _folder) = site(&origin);
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let head = "GET https://globex.example.test/ HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    let answer = raw.write(head).await.response().await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(raw.head().await.is_none(), "the connection ends");
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let request = connection
        .request("GET", "/")
        .header("host", "globex.example.test");
    assert_eq!(request.send().await.status, StatusCode::BAD_REQUEST);
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn coalesced_h2_other_tenant_ok() {
    let origin = Origin::hello();
    let (site, _folder) = site(&origin);
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    for tenant in ["acme", "globex", "acme"] {
        let host = format!("{tenant}.example.test");
        let answer = connection.request("GET", "/").host(&host).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
        let seen = origin.requests().pop().unwrap();
        assert_eq!((seen.one("host"), seen.one("x-tenant")), (&*host, tenant));
    }
}

#[tokio::test]
async fn host_outside_cert_421() {
    let origin = Origin::hello();
    let (site, _folder) = site(&origin);
    for protocol in Protocol::BOTH {
        for host in ["www.customer.test", "a.acme.example.test", "192.0.2.1"] {
            let got = ask(&site, protocol, host).await;
            assert_eq!(got, (421, "misdirected".to_owned()), "{host} {protocol:?}");
        }
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn unknown_tenant_404_never_reaches_upstream() {
    let origin = Origin::hello();
    let (site, _folder) = site(&origin);
    for protocol in Protocol::BOTH {
        for label in ["initech", "acme-2", "xn--bro-hoa", "a_b"] {
            let got = ask(&site, protocol, &format!("{label}.{DOMAIN}")).await;
            assert_eq!(
                got,
                (404, "unknown-tenant".to_owned()),
                "{label} {protocol:?}"
            );
        }
    }
    let curl = site.edge.curl("initech.example.test");
    let curl = curl
        .args(&[
            "--http2",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .run("/");
    assert_eq!((curl.code, &*curl.stdout), (Some(0), "404"), "{curl:?}");
    let mut plain = Connection::plain(site.portico.http_port(), "initech.example.test").await;
    let answer = plain.request("GET", "/").send().await;
    assert_eq!(
        answer.status,
        StatusCode::NOT_FOUND,
        "and no way to https either"
    );
    assert_eq!(answer.header("location"), None);
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn reserved_404() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("tenants", "reserved = [\"@default\", \"status\"]")
        .start();
    for protocol in Protocol::BOTH {
        for label in ["wpad", "autodiscover", "mail", "www3", "ns9", "status"] {
            let got = ask(&site, protocol, &format!("{label}.{DOMAIN}")).await;
            assert_eq!(
                got,
                (404, "unknown-tenant".to_owned()),
                "{label} {protocol:?}"
            );
        }
    }
    assert!(origin.requests().is_empty());
    assert_eq!(
        ask(&site, Protocol::Http1, "acme.example.test").await.0,
        200
    );
}

/// The alert of a handshake that is refused.
async fn refusal(site: &Site, sni: &str) -> String {
    let config = site.ca.trust().config(Alpn::Http1);
    let address = port::local(site.portico.https_port());
    match tls::connect(address, sni, config).await {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

#[tokio::test]
async fn nested_label() {
    let origin = Origin::hello();
    let (site, _folder) = site(&origin);
    for host in [
        "a.acme.example.test",
        "www.a.acme.example.test",
        "www.nobody.example.test",
    ] {
        let mut plain = Connection::plain(site.portico.http_port(), host).await;
        let answer = plain.request("GET", "/").send().await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{host}");
        assert_eq!(answer.header("x-edge-reason"), Some("unknown-tenant"));
        let alert = refusal(&site, host).await;
        assert!(alert.contains("UnrecognisedName"), "{host}: {alert}");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn www_apex_308() {
    let origin = Origin::hello();
    let (site, _folder) = site(&origin);
    let port = site.portico.https_port();
    for (host, to) in [
        ("www.example.test", "example.test"),
        ("www.acme.example.test", "acme.example.test"),
        ("WWW.Globex.example.test.", "globex.example.test"),
    ] {
        let mut plain = Connection::plain(site.portico.http_port(), host).await;
        let answer = plain.request("GET", "/a?b=%20").send().await;
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT, "{host}");
        let expected = format!("https://{to}:{port}/a?b=%20");
        assert_eq!(answer.header("location"), Some(&*expected), "{host}");
    }
    // Over https the apex's own is covered by the certificate; below a tenant, none is.
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "www.example.test", "/").await;
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
        let got = ask(&site, protocol, "www.acme.example.test").await;
        assert_eq!(got.0, 421, "{protocol:?}");
    }
    let alert = refusal(&site, "www.acme.example.test").await;
    assert!(alert.contains("UnrecognisedName"), "{alert}");
    assert!(origin.requests().is_empty());
}

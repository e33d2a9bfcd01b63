//! Which headers carry the tenant is the operator's choice, and no client can set one of them in any spelling; nor what rows
//! of any tenant set.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::support::body;
use crate::support::http::{Edge, Protocol};
use crate::support::origin::{self, Origin};
use crate::support::site::{Site, SiteBuilder};

const TENANTS: &str = r#"
[[tenant]]
id = "42"
hosts = ["acme.example.test"]
slug = "acme"
schema = "Acme Schema"
headers = { X-Theme = "dark", X-Flags = "beta,new-cart" }

[[tenant]]
id = "43"
hosts = ["bare.example.test"]
"#;

/// Each of these is a tenant header of [`site`] to some app, or one that rows set.
const FOLDS: &[&str] = &[
    "x-org",
    "x_org",
    "x.org",
    "x~org",
    "x'org",
    "x!org",
    "http_x_org",
    "http-x-org",
    "x-tenant",
    "x_tenant",
    "x.tenant",
    "x-tenant-id",
    "x_tenant_id",
    "x-tenant-slug",
    "x.tenant.slug",
    "x-tenant-signature",
    "x-tenant-token",
    "app-schema",
    "app_schema",
    "app.schema",
    "http_app_schema",
    "x-theme",
    "x_theme",
    "x.theme",
    "http_x_theme",
    "x-flags",
    "x|flags",
];

fn site(server: &str) -> (SiteBuilder, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    std::fs::write(&file, TENANTS).unwrap();
    let site = Site::before(&[server])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", file.display().to_string()),
        )
        .set("tenants", "header = \"X-Org\"")
        .set("tenants", "value = \"slug\"")
        .set("tenants.headers", "id = \"X-Tenant-Id\"")
        .set("tenants.headers", "schema = \"App-Schema\"")
        .set("tenants.headers", "rows = [\"X-Theme\", \"X-Flags\"]");
    (site, folder)
}

#[tokio::test]
async fn strip_tenant_all_folds() {
    let origin = Origin::tcp(async |_| {
        let mut answer = origin::text(200, "hello");
        for name in [
            "x-org",
            "x_org",
            "x-tenant-id",
            "app-schema",
            "x-tenant-plan",
        ] {
            let value = HeaderValue::from_static("inside");
            answer
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        let value = HeaderValue::from_static("the app's own");
        answer.headers_mut().insert("x-theme", value);
        answer
    });
    let (builder, _folder) = site(origin.address());
    let site = builder.start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let mut all = connection.request("GET", "/");
        for name in FOLDS {
            all = all.header(name, "evil").header(name, "evil2");
        }
        let answer = all.send().await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        let leaked = answer.headers.values().any(|value| value == "inside");
        assert!(!leaked, "{:?}", answer.headers);
        assert_eq!(answer.header("x-theme"), Some("the app's own"));
        let seen = origin.requests().pop().unwrap();
        let evil = seen
            .headers
            .iter()
            .find(|(_, value)| value.contains("evil"));
        assert_eq!(evil, None, "{protocol:?}");
        for (name, value) in [
            ("x-org", "acme"),
            ("x-tenant-id", "42"),
            ("app-schema", "Acme%20Schema"),
            ("x-theme", "dark"),
            ("x-flags", "beta,new-cart"),
        ] {
            assert_eq!(seen.one(name), value, "{protocol:?}");
        }
        for name in FOLDS {
            let answer = connection
                .request("GET", "/")
                .header(name, "evil")
                .send()
                .await;
            assert_eq!(answer.status, 200, "{name}");
            let seen = origin.requests().pop().unwrap();
            let evil = seen.headers.iter().find(|(_, value)| value == "evil");
            assert_eq!(evil, None, "{name} {protocol:?}");
        }
        // What one tenant's row sets, no client of another one can claim.
        let mut connection = site.edge.connect(protocol, "bare.example.test").await;
        let mut all = connection.request("GET", "/");
        for name in FOLDS {
            all = all.header(name, "evil");
        }
        assert_eq!(all.send().await.status, 200);
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.one("x-org"), "43");
        for name in ["app-schema", "x-flags", "x-theme"] {
            assert!(seen.all(name).is_empty(), "{name}");
        }
        let evil = seen.headers.iter().find(|(_, value)| value == "evil");
        assert_eq!(evil, None, "{protocol:?}");
    }
}

async fn with_trailers(edge: &Edge, protocol: Protocol, host: &str, names: &[&str]) {
    let mut trailers = HeaderMap::new();
    for name in names {
        let name: HeaderName = name.parse().unwrap();
        trailers.append(name, HeaderValue::from_static("evil"));
    }
    let list = names.join(", ");
    let mut connection = edge.connect(protocol, host).await;
    let request = connection.request("POST", "/").header("te", "trailers");
    let request = request.header("trailer", &list);
    let answer = request
        .body(body::with_trailers("four", trailers))
        .send()
        .await;
    assert_eq!(answer.status, 200, "{protocol:?}");
    let back = answer.trailers.unwrap_or_default();
    assert!(!back.values().any(|value| value == "inside"), "{back:?}");
    if protocol == Protocol::Http2 {
        assert_eq!(back["grpc-status"], "0");
    }
}

#[tokio::test]
async fn trailer_spoof() {
    // Over HTTP/2 to the app, so that it would see every trailer.
    let origin = Origin::h2c(100, async |_| {
        let mut trailers = HeaderMap::new();
        for name in ["x-org", "x_org", "x-tenant-id", "app.schema"] {
            trailers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static("inside"),
            );
        }
        trailers.append("grpc-status", HeaderValue::from_static("0"));
        http::Response::new(body::with_trailers("hello", trailers))
    });
    let (builder, _folder) = site(&format!("h2c://{}", origin.address()));
    let site = builder.start();
    for protocol in Protocol::BOTH {
        let mut names = FOLDS.to_vec();
        names.push("x-checksum");
        for host in ["acme.example.test", "bare.example.test"] {
            with_trailers(&site.edge, protocol, host, &names).await;
            let seen = origin.requests().pop().unwrap();
            let trailers = seen.trailers.unwrap_or_default();
            let passed: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
            assert_eq!(passed, ["x-checksum"], "the one that is nobody's passes");
        }
    }
}

#[tokio::test]
async fn a_tenant_that_cannot_be_told_is_not_served() {
    let origin = Origin::hello();
    let (builder, _folder) = site(origin.address());
    let mut site = builder.set("tenants", "value = \"schema\"").start();
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        origin.requests().pop().unwrap().one("x-org"),
        "Acme%20Schema"
    );
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "bare.example.test", "/").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("x-edge-reason"), Some("tenant-unnamed"));
    }
    assert_eq!(origin.requests().len(), 1, "the app heard of one only");
    site.portico.wait_log("tenants.value");
}

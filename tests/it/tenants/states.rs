//! What tenants that are not served answer, and who passes all the same.

use std::process::{Command, Stdio};

use crate::support::http::{Answer, Protocol};
use crate::support::key_file::KeyFile;
use crate::support::origin::Origin;
use crate::support::raw::Raw;
use crate::support::site::{Site, SiteBuilder};
use crate::support::tls::Alpn;

const TENANTS: &str = r#"
[[tenant]]
id = "acme"

[[tenant]]
id = "7"
slug = "late"
hosts = ["late.example.test"]
state = "suspended"

[[tenant]]
id = "works"
state = "maintenance"

[[tenant]]
id = "soon"
state = "pending"

[[tenant]]
id = "away"
hosts = ["away.example.test", "old.example.test"]
primary = "acme.example.test"
state = "moved"

[[tenant]]
id = "two"
hosts = ["two.example.test", "zwei.example.test"]
primary = "two.example.test"
"#;

fn site(origin: &Origin) -> (SiteBuilder, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    std::fs::write(&file, TENANTS).unwrap();
    let site = Site::before(&[origin.address()])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", file.display().to_string()),
        );
    (site, folder)
}

async fn get(site: &Site, protocol: Protocol, host: &str, headers: &[(&str, &str)]) -> Answer {
    let mut connection = site.edge.connect(protocol, host).await;
    let mut request = connection.request("GET", "/").header("accept", "text/html");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await
}

#[tokio::test]
async fn suspended_402() {
    let origin = Origin::hello();
    let (builder, _folder) = site(&origin);
    let mut site = builder
        .set("tenants.suspended", "paths = [\"/billing/\", \"/pay\"]")
        .set(
            "tenants.suspended",
            "support = \"https://example.test/help?a=1&b=2\"",
        )
        .start();
    for protocol in Protocol::BOTH {
        let answer = get(&site, protocol, "late.example.test", &[]).await;
        assert_eq!(answer.status, 402);
        assert_eq!(answer.header("x-edge-reason"), Some("suspended"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(
            answer
                .text()
                .contains("<a class=\"again\" href=\"https://example.test/help?a=1&amp;b=2\">")
        );
        assert!(!answer.text().contains("http-equiv"));
        let mut connection = site.edge.connect(protocol, "late.example.test").await;
        for path in [
            "/billingx",
            "/billing",
            "/billing/../",
            "/billing/%2e%2e/admin",
            "/billing/..%2fadmin",
            "/billing//admin",
            "/billing/..;/admin",
            "/%62illing/",
            "/x/../billing/",
            "//billing/",
            "/?/billing/",
        ] {
            let answer = connection.request("POST", path).send().await;
            assert_eq!(answer.status, 402, "{protocol:?} {path}");
        }
        assert!(
            origin.requests().len() <= 3,
            "the app has seen what is open only"
        );
        for path in ["/billing/", "/billing/card?next=/../x", "/pay"] {
            let before = origin.requests().len();
            let answer = connection.request("POST", path).send().await;
            assert_eq!(answer.status, 200, "{protocol:?} {path}");
            let seen = origin.requests().split_off(before).remove(0);
            assert_eq!((seen.target.as_str(), seen.one("x-tenant")), (path, "7"));
        }
    }
    assert_eq!(origin.requests().len(), 6);
    // Bytes that no client library sends.
    let mut raw = site.edge.raw("late.example.test", Alpn::Http1).await;
    let head = "GET /billing/..\\admin HTTP/1.1\r\nHost: late.example.test\r\n\r\n";
    let answer = raw.write(head).await.response().await.unwrap();
    assert!(matches!(answer.status, 400 | 402), "{}", answer.status);
    let mut raw = site.edge.raw("late.example.test", Alpn::Http1).await;
    let head = "GET https://late.example.test/billing/../admin HTTP/1.1\r\nHost: late.example.test\r\n\r\n";
    let answer = raw.write(head).await.response().await.unwrap();
    assert_eq!(answer.status, 402);

    for status in [403, 503] {
        site.portico.rewrite_config(|text| {
            let without: String = text
                .lines()
                .filter(|line| !line.starts_with("status = "))
                .map(|line| format!("{line}\n"))
                .collect();
            without.replace(
                "[tenants.suspended]\n",
                &format!("[tenants.suspended]\nstatus = \"{status}\"\n"),
            )
        });
        site.portico.reload();
        let answer = get(&site, Protocol::Http2, "late.example.test", &[]).await;
        assert_eq!(answer.status.as_u16(), status);
        assert!(answer.text().contains("This site is suspended"));
        assert!(!answer.text().contains("Try again"));
    }
    assert_eq!(origin.requests().len(), 6);
}

/// The cookie's value as README says that it is made.
fn bypass_cookie(key: &str, host: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = openssl.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("portico-bypass\n{host}").as_bytes()).unwrap();
    drop(stdin);
    let output = openssl.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mac = text.trim().rsplit(' ').next().unwrap();
    format!("__Host-portico-bypass={mac}")
}

#[tokio::test]
async fn maintenance_503_bypass() {
    let origin = Origin::hello();
    let (builder, _folder) = site(&origin);
    let key = "b".repeat(40);
    let keys = KeyFile::new(&format!("k1 = {key}\n"));
    let line = keys.line().replace("keys =", "bypass_key =");
    let mut site = builder
        .set("http", "trusted_proxies = [\"127.0.0.0/8\"]")
        .set("tenants.maintenance", "retry_after = \"5m\"")
        .set(
            "tenants.maintenance",
            "bypass = [\"192.0.2.0/28\", \"2001:db8::/32\"]",
        )
        .set("tenants.maintenance", &line)
        .start();
    let host = "works.example.test";
    let cookie = bypass_cookie(&key, host);
    let foreign = bypass_cookie(&key, "acme.example.test");
    let cut = cookie.split_at(cookie.len() - 1).0.to_owned();
    let check = async |site: &Site, host: &str, cookie: &str| {
        for protocol in Protocol::BOTH {
            for headers in [
                &[][..],
                &[("x-forwarded-for", "192.0.2.16")],
                &[("cookie", cut.as_str())],
                &[("cookie", "__Host-portico-bypass=")],
                &[("cookie", cookie), ("cookie", cookie)],
            ] {
                let answer = get(site, protocol, host, headers).await;
                assert_eq!(answer.status, 503, "{headers:?}");
                assert_eq!(answer.header("retry-after"), Some("300"));
                assert_eq!(answer.header("x-edge-reason"), Some("maintenance"));
            }
            let crumbs = format!("a=1; {cookie}; b=2");
            for headers in [
                ("x-forwarded-for", "192.0.2.15"),
                ("x-forwarded-for", "2001:db8::9"),
                ("cookie", cookie),
                ("cookie", crumbs.as_str()),
            ] {
                let answer = get(site, protocol, host, &[headers]).await;
                assert_eq!(answer.status, 200, "{headers:?}");
                let seen = origin.requests().pop().unwrap();
                let sent = seen
                    .headers
                    .iter()
                    .any(|(_, value)| value.contains("bypass"));
                assert!(!sent, "the app never sees it: {:?}", seen.headers);
                if headers.1 == crumbs {
                    assert_eq!(seen.one("cookie"), "a=1; b=2");
                }
            }
        }
    };
    check(&site, host, &cookie).await;
    let answer = get(&site, Protocol::Http1, host, &[("cookie", &foreign)]).await;
    assert_eq!(answer.status, 503, "another host's cookie");
    let acme = "acme.example.test";
    assert_eq!(get(&site, Protocol::Http1, acme, &[]).await.status, 200);

    // The whole edge, and back.
    site.portico.rewrite_config(|text| {
        text.replace(
            "[tenants.maintenance]\n",
            "[tenants.maintenance]\nall = true\n",
        )
    });
    site.portico.reload();
    check(&site, acme, &foreign).await;
    let suspended = get(&site, Protocol::Http1, "late.example.test", &[]).await;
    assert_eq!(suspended.status, 402, "what is worse is said first");
    site.portico
        .rewrite_config(|text| text.replace("all = true\n", ""));
    site.portico.reload();
    assert_eq!(get(&site, Protocol::Http1, acme, &[]).await.status, 200);
    assert!(!site.portico.stderr().contains(&key));
}

#[tokio::test]
async fn pending_503_looks_again_by_itself() {
    let origin = Origin::hello();
    let (builder, _folder) = site(&origin);
    let site = builder.start();
    for protocol in Protocol::BOTH {
        let answer = get(&site, protocol, "soon.example.test", &[]).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("5"));
        let refresh = "<meta http-equiv=\"refresh\" content=\"5\">";
        assert!(answer.text().contains(refresh), "{}", answer.text());
    }
    let works = get(&site, Protocol::Http1, "works.example.test", &[]).await;
    assert!(!works.text().contains("http-equiv"));
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_page_may_name_the_tenant() {
    let origin = Origin::hello();
    let (builder, folder) = site(&origin);
    let pages = folder.path().join("pages");
    std::fs::create_dir_all(pages.join("tenants/7")).unwrap();
    std::fs::write(pages.join("suspended.txt"), "{{tenant}} is late").unwrap();
    std::fs::write(pages.join("maintenance.txt"), "{{tenant}}: works").unwrap();
    std::fs::write(pages.join("404.txt"), "nobody[{{tenant}}]").unwrap();
    std::fs::write(
        pages.join("tenants/7/suspended.txt"),
        "own page of {{tenant}}",
    )
    .unwrap();
    let site = builder
        .set("pages", &format!("dir = {:?}", pages.display().to_string()))
        .start();
    for (host, expected) in [
        ("late", "own page of late"),
        ("works", "works: works"),
        ("nobody", "nobody[]"),
    ] {
        let mut connection = site
            .edge
            .connect(Protocol::Http1, &format!("{host}.example.test"))
            .await;
        let request = connection
            .request("GET", "/")
            .header("accept", "text/plain");
        assert_eq!(request.send().await.text().trim(), expected);
    }
}

#[tokio::test]
async fn moved_308_primary() {
    let origin = Origin::hello();
    let (builder, _folder) = site(&origin);
    let site = builder.set("tenants", "redirect_to_primary = true").start();
    let port = site.portico.https_port();
    for protocol in Protocol::BOTH {
        for (host, primary) in [
            ("away.example.test", "acme.example.test"),
            ("old.example.test", "acme.example.test"),
            ("zwei.example.test", "two.example.test"),
        ] {
            let mut connection = site.edge.connect(protocol, host).await;
            for (method, target) in [("GET", "/"), ("POST", "/a/%2E?b=c&d=%20")] {
                let answer = connection.request(method, target).send().await;
                assert_eq!(answer.status, 308, "{host}");
                let location = format!("https://{primary}:{port}{target}");
                assert_eq!(answer.header("location"), Some(location.as_str()));
            }
        }
        let answer = get(&site, protocol, "two.example.test", &[]).await;
        assert_eq!(answer.status, 200, "a primary host leads nowhere else");
    }
    assert_eq!(origin.requests().len(), 2);
    // Over the plain listener it is one redirect, not two.
    let mut raw = Raw::plain(site.portico.http_port()).await;
    let head = "GET /x HTTP/1.1\r\nHost: zwei.example.test\r\n\r\n";
    let answer = raw.write(head).await.response().await.unwrap();
    let location = format!("https://two.example.test:{port}/x");
    assert_eq!(answer.header("location"), Some(location.as_str()));
}

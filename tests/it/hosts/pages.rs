//! The edge's own answers: their form, and what they must carry.

use std::fs;
use std::path::Path;

use http::StatusCode;

use crate::support::http::{Answer, Protocol};
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::{portico, wait};

async fn page(site: &Site, protocol: Protocol, method: &str, accept: Option<&str>) -> Answer {
    let mut connection = site.edge.connect(protocol, "mail.example.test").await;
    let request = connection.request(method, "/");
    match accept {
        Some(accept) => request.header("accept", accept).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn pages_come_in_the_form_that_is_asked_for() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for protocol in Protocol::BOTH {
        for (accept, content_type) in [
            (Some(browser), "text/html; charset=utf-8"),
            (Some("application/json"), "application/problem+json"),
            (Some("text/plain"), "text/plain; charset=utf-8"),
        ] {
            let answer = page(&site, protocol, "GET", accept).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
            assert_eq!(
                answer.header("content-type"),
                Some(content_type),
                "{accept:?}"
            );
            let html = content_type.starts_with("text/html");
            assert_eq!(answer.header("content-security-policy").is_some(), html);
            for (name, value) in [
                ("cache-control", "no-store"),
                ("vary", "Accept"),
                ("x-edge-reason", "unknown-tenant"),
                ("x-robots-tag", "noindex"),
                ("strict-transport-security", "max-age=31536000"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{name}");
            }
            let id = answer.header("x-request-id").unwrap();
            assert!(answer.text().contains(id) && answer.text().contains("mail.example.test"));
            assert_eq!(answer.header("server"), None);
        }
        let json = page(&site, protocol, "GET", Some("application/json"))
            .await
            .json();
        assert_eq!(json["status"], 404);
    }
}

#[tokio::test]
async fn head_has_the_head_of_the_page_and_no_body() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        let get = page(&site, protocol, "GET", Some("text/html")).await;
        let head = page(&site, protocol, "HEAD", Some("text/html")).await;
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), get.header("content-length"));
        assert_eq!(
            get.header("content-length"),
            Some(&*get.body.len().to_string())
        );
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[tokio::test]
async fn a_page_says_nothing_of_apps_or_tenants() {
    // Nobody listens there: the answer is about the app, and must not name it.
    let address = crate::support::port::local(crate::support::port::free()).to_string();
    let site = Site::before(&[&address]).start();
    for accept in ["text/html", "application/json", "text/plain"] {
        let mut connection = site
            .edge
            .connect(Protocol::Http2, "acme.example.test")
            .await;
        let request = connection
            .request("GET", "/secret?token=1")
            .header("accept", accept);
        let answer = request.send().await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        let mut headers = answer.headers.clone();
        // It is there for programs (RFC 9209): the kind of trouble and who had it, no more.
        let status = headers.remove("proxy-status").unwrap();
        let status = status.to_str().unwrap();
        assert!(
            status.starts_with("portico-") && status.ends_with("; error=connection_refused"),
            "{status}"
        );
        let all = format!("{headers:?} {}", answer.text()).to_lowercase();
        for word in [&*address, "127.0.0.1", "secret", "refused", "portico"] {
            assert!(!all.contains(word), "{word}: {all}");
        }
    }
}

const TENANTS: &str = "[[tenant]]\nid = \"acme\"\nstate = \"maintenance\"\n\n\
                       [[tenant]]\nid = \"globex\"\nstate = \"maintenance\"\n";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("below the folder")).expect("our own folder");
    fs::write(path, text).expect("our own folder");
}

/// A site with two tenants under maintenance and templates of its own.
fn branded(folder: &Path) -> Site {
    write(folder, "tenants.toml", TENANTS);
    write(
        folder,
        "pages/maintenance.html",
        "<style>h1 { color: teal }</style><h1>Back in {{retry_after}} s</h1>{{#host}}<p>{{host}}</p>{{/host}}",
    );
    write(folder, "pages/404.txt", "nothing at {{host}}\n");
    write(
        folder,
        "pages/tenants/acme/maintenance.html",
        "<h1>Acme rests ({{reason}}, {{request_id}})</h1>",
    );
    write(
        folder,
        "pages/tenants/acme/error.json",
        "{\"error\": \"{{title}}\", \"code\": {{status}}}",
    );
    let path = |name: &str| folder.join(name).display().to_string();
    Site::before(&["127.0.0.1:9"])
        .set("tenants", "source = \"file\"")
        .set("tenants", &format!("file = {:?}", path("tenants.toml")))
        .set("pages", &format!("dir = {:?}", path("pages")))
        .start()
}

async fn body(site: &Site, host: &str, accept: &str) -> (Answer, String) {
    let mut connection = site.edge.connect(Protocol::Http2, host).await;
    let request = connection.request("GET", "/").header("accept", accept);
    let answer = request.send().await;
    let id = answer.header("x-request-id").unwrap_or_default();
    let text = answer.text().replace(id, "ID");
    (answer, text)
}

#[tokio::test]
async fn operators_bring_pages_of_their_own_for_all_and_for_one_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let site = branded(folder.path());
    for (host, accept, text) in [
        ("acme", "text/html", "<h1>Acme rests (maintenance, ID)</h1>"),
        (
            "acme",
            "application/json",
            "{\"error\": \"This site is being worked on\", \"code\": 503}",
        ),
        ("mail", "text/plain", "nothing at mail.example.test\n"),
    ] {
        let (_, seen) = body(&site, &format!("{host}.example.test"), accept).await;
        assert_eq!(seen, text, "{host} {accept}");
    }
    let (answer, seen) = body(&site, "globex.example.test", "text/html").await;
    assert!(
        seen.ends_with("<h1>Back in 60 s</h1><p>globex.example.test</p>"),
        "{seen}"
    );
    assert_eq!(answer.header("retry-after"), Some("60"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("style-src 'sha256-"), "{policy}");
    // What has no template of its own keeps the built-in one.
    let (_, seen) = body(&site, "globex.example.test", "text/plain").await;
    assert!(
        seen.starts_with("503 This site is being worked on"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_bad_template_changes_nothing_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = branded(folder.path());
    let template = "pages/tenants/acme/maintenance.html";
    write(folder.path(), template, "<h1>{{titel}}</h1>");
    site.portico.sighup();
    site.portico
        .wait_log("maintenance.html: line 1: there is no value `titel`");
    let (_, seen) = body(&site, "acme.example.test", "text/html").await;
    assert!(seen.contains("Acme rests"), "{seen}");
    let config = site.portico.config_file().display().to_string();
    let check = portico::portico_cmd(&["check", "--config", &config]);
    assert!(!check.status.success());
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(
        said.contains("`titel`") && said.contains("hint: "),
        "{said}"
    );

    write(folder.path(), template, "<h1>{{title}}</h1>");
    site.portico.sighup();
    wait::until_async("the mended page", async || {
        let (_, seen) = body(&site, "acme.example.test", "text/html").await;
        (seen == "<h1>This site is being worked on</h1>").then_some(())
    })
    .await;
}

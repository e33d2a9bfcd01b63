//! The edge's own answers: their form, and what they must carry.

use http::StatusCode;

use crate::support::http::{Answer, Protocol};
use crate::support::origin::Origin;
use crate::support::site::Site;

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
        let all = format!("{:?} {}", answer.headers, answer.text()).to_lowercase();
        for word in [&*address, "127.0.0.1", "secret", "refused", "portico"] {
            assert!(!all.contains(word), "{word}: {all}");
        }
    }
}

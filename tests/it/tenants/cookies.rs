//! Cookies stay with the tenant whose app has set them.

use super::Rows;
use super::signature::verifying_app;
use crate::support::http::{Answer, Protocol};
use crate::support::key_file::KeyFile;
use crate::support::site::Site;

fn cookies(answer: &Answer) -> Vec<&str> {
    let lines = answer.headers.get_all("set-cookie").iter();
    lines.map(|line| line.to_str().unwrap()).collect()
}

#[tokio::test]
async fn cookie_domain_stripped() {
    let keys = KeyFile::new(&format!("k1 = {}\n", "1".repeat(64)));
    let app = verifying_app(&keys);
    let mut site = Site::before(&[app.address()])
        .set("tenants.signature", &keys.line())
        .set("tenants", "cookie_scope = \"host\"")
        .start();
    let host = "acme.example.test";
    let wide = [
        "sessionid=s3cret; Domain=.example.test; HttpOnly; Path=/; Secure",
        "csrftoken=t; domain=EXAMPLE.TEST; Path=/",
        "plain=1; Path=/",
        "foreign=1; Domain=example.org",
    ];
    let narrow = [
        "sessionid=s3cret; HttpOnly; Path=/; Secure",
        "csrftoken=t; Path=/",
        "plain=1; Path=/",
        "foreign=1; Domain=example.org",
    ];
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, host, "/login").await;
        assert_eq!(answer.status, 200);
        assert_eq!(cookies(&answer), narrow, "{protocol:?}");
    }
    // A client with a cookie jar takes the session to the other tenant only if it is let.
    for (scope, shared) in [("host", false), ("warn", true), ("off", true)] {
        site.portico.rewrite_config(|text| {
            let at = text.find("cookie_scope = ").unwrap();
            let line = text[at..].lines().next().unwrap();
            text.replace(line, &format!("cookie_scope = {scope:?}"))
        });
        site.portico.reload();
        let answer = site.edge.get(Protocol::Http1, host, "/login").await;
        let expected = if shared { wide } else { narrow };
        assert_eq!(cookies(&answer), expected, "{scope}");
        let warning = "which other tenants get too";
        match scope {
            "warn" => site.portico.wait_log(warning),
            "host" => assert!(!site.portico.stderr().contains(warning)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn cookies_are_kept_apart_unless_the_operator_says_otherwise() {
    let keys = KeyFile::new(&format!("k1 = {}\n", "1".repeat(64)));
    let app = verifying_app(&keys);
    let site = Site::before(&[app.address()])
        .set("tenants.signature", &keys.line())
        .start();
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/login")
        .await;
    assert!(
        cookies(&answer)
            .iter()
            .all(|line| !line.contains("xample.test"))
    );
    assert_eq!(cookies(&answer).len(), 4);
}

#[tokio::test]
async fn a_row_wins_over_its_plan_and_that_over_the_configuration() {
    let keys = KeyFile::new(&format!("k1 = {}\n", "1".repeat(64)));
    let app = verifying_app(&keys);
    let rows =
        Rows::new("id,plan,cookie_scope\nhome,,\nwide,family,\nown,family,host\nalone,,off\n");
    let mut site = rows
        .site(&[app.address()])
        .set("tenants.signature", &keys.line())
        .set("tenants", "cookie_scope = \"host\"")
        .set("plans.family", "cookie_scope = \"warn\"")
        .start();
    for (tenant, shared) in [("home", 0), ("own", 0), ("alone", 2), ("wide", 2)] {
        let warning = "which other tenants get too";
        assert!(!site.portico.stderr().contains(warning), "{tenant}");
        for protocol in Protocol::BOTH {
            let host = format!("{tenant}.example.test");
            let answer = site.edge.get(protocol, &host, "/login").await;
            assert_eq!(answer.status, 200, "{tenant}");
            let domains = cookies(&answer).into_iter();
            let wide = domains.filter(|line| line.to_lowercase().contains("example.test"));
            assert_eq!(wide.count(), shared, "{tenant} {protocol:?}");
        }
    }
    site.portico.wait_log("which other tenants get too");
}

//! No tenant reaches another one's data: notes, sessions, and requests that try to be someone else's.

use super::browser::Browser;
use super::stage::Stage;
use super::{ACME, GLOBEX, env, understood};
use crate::support::django::{App, Django};
use crate::support::http::{Edge, Protocol};
use crate::support::tls::Alpn;

/// Spellings of the headers by which an app might believe a client: each alone, then all at once.
const SPOOFS: &[(&str, &str)] = &[
    ("x-tenant", "globex"),
    ("x-tenant-id", "globex"),
    ("x-tenant-schema", "globex"),
    ("x-tenant-slug", "globex"),
    ("x-tenant-signature", "v1;kid=a;t=0;s=AAAA"),
    ("x_tenant", "globex"),
    ("X-TENANT", "globex"),
    ("x.tenant", "globex"),
    ("script_name", "/env"),
    ("script-name", "/env"),
    ("path_info", "/notes/"),
    ("x-forwarded-host", "globex.example.test"),
    ("x_forwarded_host", "globex.example.test"),
    ("x-forwarded-server", "globex.example.test"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-proto", "https,http"),
    ("x-forwarded-ssl", "off"),
    ("x-forwarded-protocol", "http"),
    ("x-forwarded-scheme", "http"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-port", "80"),
    ("x-forwarded-prefix", "/env"),
    ("forwarded", "host=globex.example.test;proto=http"),
    ("x-real-ip", "192.0.2.1"),
    ("x-original-host", "globex.example.test"),
    ("x-host", "globex.example.test"),
    ("http_host", "globex.example.test"),
    ("server_name", "globex.example.test"),
    ("server-name", "globex.example.test"),
    ("remote-user", "root"),
];

/// A note of each tenant is seen by that tenant only, and so is its session.
pub(super) async fn notes_stay_apart(edge: &Edge) {
    for protocol in Protocol::BOTH {
        for (host, text) in [(ACME, "hello from acme"), (GLOBEX, "hello from globex")] {
            let mut browser = Browser::new(edge, protocol);
            let posted = browser.submit(host, "/notes/", &[("text", text)]).await;
            assert_eq!(posted.status, 302, "{}", posted.text());
            assert_eq!(posted.header("location"), Some("/notes/"));
        }
        for (host, own, other) in [(ACME, "acme", "globex"), (GLOBEX, "globex", "acme")] {
            let page = edge.get(protocol, host, "/notes/").await;
            assert!(page.text().contains(&format!("hello from {own}")));
            assert!(!page.text().contains(&format!("hello from {other}")));
        }
    }
}

/// Whatever a client sends: the app's tenant is the one of the Host, the URL is that host's over https, and the client
/// is the peer.
pub(super) async fn no_spoof_moves_a_request(app: &App, edge: &Edge) {
    let check = |seen: &serde_json::Value, host: &str, what: &str| {
        let tenant = host.split('.').next().unwrap();
        assert_eq!(seen["tenant"], tenant, "{what}: {seen}");
        assert_eq!(seen["headers"]["HTTP_X_TENANT"], tenant, "{what}: {seen}");
        assert_eq!(
            seen["url"],
            format!("https://{host}/env/"),
            "{what}: {seen}"
        );
        assert_eq!(seen["client"], "127.0.0.1", "{what}: {seen}");
        assert_eq!(
            (&seen["script_name"], &seen["path"]),
            (&"".into(), &"/env/".into()),
            "{what}"
        );
        assert!(!seen.to_string().contains("192.0.2.1"), "{what}: {seen}");
    };
    for protocol in Protocol::BOTH {
        let mut connection = edge.connect(protocol, ACME).await;
        let mut all = connection.request("GET", "/env/");
        for (name, value) in SPOOFS {
            all = all.header(name, value);
        }
        check(&understood(&all.send().await), ACME, "all at once");
        for (name, value) in SPOOFS {
            let request = connection.request("GET", "/env/").header(name, value);
            check(&understood(&request.send().await), ACME, name);
        }
        // The same connection for another tenant, as browsers do with one certificate for both.
        let coalesced = connection.request("GET", "/env/").host(GLOBEX).send().await;
        check(&understood(&coalesced), GLOBEX, "coalesced");
        let mut odd = edge.connect(protocol, ACME).await;
        for host in [
            "ACME.example.test",
            "acme.example.test.",
            "acme.example.test:443",
        ] {
            let answer = odd.request("GET", "/env/").host(host).send().await;
            check(&understood(&answer), ACME, host);
        }
    }
    raw_spoofs(app, edge).await;
}

/// Requests that only a client of its own making sends.
async fn raw_spoofs(app: &App, edge: &Edge) {
    let ask = async |request: &str| {
        let mut raw = edge.raw(ACME, Alpn::Http1).await;
        raw.write(request).await;
        let answer = raw.response().await.expect("an answer");
        (
            answer.status,
            String::from_utf8_lossy(&answer.body).into_owned(),
        )
    };
    let line = "Host: acme.example.test\r\nConnection: close";
    for (what, request) in [
        (
            "two hosts",
            format!("GET /env/ HTTP/1.1\r\n{line}\r\nHost: globex.example.test\r\n\r\n"),
        ),
        (
            "absolute form",
            format!("GET https://globex.example.test/env/ HTTP/1.1\r\n{line}\r\n\r\n"),
        ),
        (
            "nominated host",
            "GET /env/ HTTP/1.1\r\nHost: acme.example.test\r\nConnection: close, host\r\n\r\n"
                .to_owned(),
        ),
        (
            "nominated tenant",
            format!("GET /env/ HTTP/1.1\r\n{line}\r\nConnection: x-tenant\r\n\r\n"),
        ),
        (
            "two in one",
            "GET /env/ HTTP/1.1\r\nHost: acme.example.test,globex.example.test\r\n\r\n".to_owned(),
        ),
    ] {
        let (status, body) = ask(&request).await;
        assert_eq!(status, 400, "{what}: {body}");
        assert!(!body.contains("\"tenant\""), "{what}: {body}");
    }
    for (what, request) in [
        (
            "trailers",
            format!(
                "POST /env/ HTTP/1.1\r\n{line}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Tenant\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Tenant: globex\r\nX_Tenant: globex\r\nHost: globex.example.test\r\n\r\n"
            ),
        ),
        (
            "same absolute form",
            format!("GET https://acme.example.test/env/ HTTP/1.1\r\n{line}\r\n\r\n"),
        ),
    ] {
        let (status, body) = ask(&request).await;
        if what == "trailers" && !app.takes_chunks() {
            assert_eq!(status, 411, "{what}: {body}");
            continue;
        }
        assert_eq!(status, 200, "{what}: {body}");
        for found in [
            "\"tenant\": \"acme\"",
            "\"HTTP_X_TENANT\": \"acme\"",
            "\"secure\": true",
            "\"client\": \"127.0.0.1\"",
        ] {
            assert!(body.contains(found), "{what}: {body}");
        }
        assert!(!body.contains("globex"), "{what}: {body}");
    }
}

/// acme and globex on one gunicorn behind one wildcard certificate: their notes, also in the database, and their sessions.
#[tokio::test]
async fn tenants_are_isolated_in_the_app_and_in_the_database() {
    let django = Django::new();
    let app = django.gunicorn();
    let stage = Stage::set(&app, "source = \"pattern\"", |_| {}).await;
    let edge = &stage.edge;
    notes_stay_apart(edge).await;
    for tenant in ["acme", "globex"] {
        let rows = django.sql(&format!("SELECT DISTINCT text FROM {tenant}.notes_note"));
        assert_eq!(rows, format!("hello from {tenant}"));
    }
    no_spoof_moves_a_request(&app, edge).await;

    // Somebody who is known to acme takes the session along to globex.
    super::accounts::sign_up_and_in(&django, edge, ACME).await;
    let mut browser = Browser::new(edge, Protocol::Http2);
    super::accounts::log_in(&mut browser, ACME).await;
    let cookies = browser.cookies_for(ACME).expect("a session");
    assert_eq!(browser.cookies_for(GLOBEX), None, "host-only cookies");
    for (host, user) in [
        (ACME, super::accounts::EMAIL.into()),
        (GLOBEX, serde_json::Value::Null),
    ] {
        let mut connection = edge.connect(Protocol::Http1, host).await;
        let request = connection
            .request("GET", "/env/")
            .header("cookie", &cookies);
        assert_eq!(understood(&request.send().await)["user"], user, "{host}");
    }
    assert_eq!(
        env(edge, Protocol::Http1, "example.test").await["tenant"],
        "public"
    );
}

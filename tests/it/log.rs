//! What operators read: access log, metrics, status, readiness.

use std::path::PathBuf;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::support::body;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::tls::Alpn;
use crate::support::wait;
use crate::support::websocket::{Client, EchoApp};

struct Logged {
    site: Site,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

fn logged(server: &str) -> Logged {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let site = Site::before(&[server])
        .set("log", &format!("access = {:?}", file.display().to_string()))
        .start();
    Logged {
        site,
        file,
        _folder: folder,
    }
}

impl Logged {
    /// Waits for `count` lines; each must be a JSON object by itself.
    async fn lines(&self, count: usize) -> Vec<Value> {
        wait::until_async("lines in the access log", async || {
            let text = std::fs::read(&self.file).unwrap_or_default();
            let text = String::from_utf8(text).expect("UTF-8");
            let lines: Vec<Value> = text
                .lines()
                .map(|line| {
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
                })
                .collect();
            (lines.len() >= count && text.ends_with('\n')).then_some(lines)
        })
        .await
    }
}

#[tokio::test]
async fn a_line_tells_what_was_asked_and_what_became_of_it() {
    let origin = Origin::tcp(async |_| origin::text(201, "hello"));
    let logged = logged(origin.address());
    for (at, protocol) in Protocol::BOTH.into_iter().enumerate() {
        let mut connection = logged
            .site
            .edge
            .connect(protocol, "acme.example.test")
            .await;
        let request = connection
            .request("POST", "/a?b=c")
            .header("user-agent", "test/1");
        let request = request
            .header("referer", "https://x.test/")
            .body(body::full("four"));
        request.send().await;
        let line = logged.lines(at + 1).await.remove(at);
        let seen = origin.requests().remove(at);
        let name = ["HTTP/1.1", "HTTP/2"][at];
        for (key, value) in [
            ("client", Value::from("127.0.0.1")),
            ("tenant", "acme".into()),
            ("host", "acme.example.test".into()),
            ("method", "POST".into()),
            ("path", "/a?b=c".into()),
            ("protocol", name.into()),
            ("status", 201.into()),
            ("bytes_in", 4.into()),
            ("bytes_out", 5.into()),
            ("upstream", format!("http://{}", origin.address()).into()),
            ("request_id", seen.one("x-request-id").into()),
            ("user_agent", "test/1".into()),
            ("referer", "https://x.test/".into()),
            ("tls", "TLSv1.3".into()),
        ] {
            assert_eq!(line[key], value, "{key}: {line}");
        }
        assert!(
            line["duration_us"].as_u64() >= line["upstream_us"].as_u64(),
            "{line}"
        );
        assert!(
            line.get("error").is_none() && line["time"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn answers_of_the_edge_say_why() {
    let origin = Origin::hello();
    let logged = logged(origin.address());
    logged
        .site
        .edge
        .get(Protocol::Http2, "mail.example.test", "/x")
        .await;
    let line = logged.lines(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["error"]),
        (&404.into(), &"unknown-tenant".into())
    );
    assert_eq!(line["host"], "mail.example.test");
    assert!(
        line.get("tenant").is_none() && line.get("upstream").is_none(),
        "{line}"
    );
    let mut raw = Raw::plain(logged.site.portico.http_port()).await;
    raw.write("GET /y HTTP/1.1\r\nHost: acme.example.test\r\n\r\n")
        .await
        .response()
        .await;
    let line = logged.lines(2).await.remove(1);
    assert_eq!(
        (&line["status"], line.get("tls"), line.get("error")),
        (&308.into(), None, None)
    );
}

#[tokio::test]
async fn hostile_texts_cannot_break_a_line() {
    let origin = Origin::hello();
    let logged = logged(origin.address());
    let mut raw = logged.site.edge.raw("acme.example.test", Alpn::Http1).await;
    for (at, (target, agent)) in [
        ("/\"},{\"status\":200,\"x\":\"", &b"a\"b\\c\td"[..]),
        ("/%0a%0d%00\\", b"\xff\xfe \xc3\x28"),
        ("/%C3%A9%E2%80%AE", "\u{202e}\u{2028}\u{7f}".as_bytes()),
        ("/$(id);'--", b"${jndi:ldap://x}"),
    ]
    .into_iter()
    .enumerate()
    {
        let agent = [
            &b"User-Agent: "[..],
            &agent
                .iter()
                .copied()
                .filter(|byte| *byte != 0x7f)
                .collect::<Vec<u8>>(),
            b"\r\n\r\n",
        ]
        .concat();
        let head = format!("GET {target} HTTP/1.1\r\nHost: acme.example.test\r\n");
        raw.write(head).await;
        let status = raw.write(agent).await.response().await.unwrap().status;
        let line = logged.lines(at + 1).await.remove(at);
        assert_eq!(
            (&line["status"], &line["path"]),
            (&status.into(), &target.into()),
            "{line}"
        );
        // A raw control character or byte outside UTF-8 would not have parsed.
        assert!(line["user_agent"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn a_client_that_left_and_a_tunnel_have_their_lines() {
    let origin = Origin::tcp(async |_| {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        origin::text(200, "late")
    });
    let site = logged(origin.address());
    let mut raw = site.site.edge.raw("acme.example.test", Alpn::Http1).await;
    raw.write("GET /late HTTP/1.1\r\nHost: acme.example.test\r\n\r\n")
        .await;
    origin.wait_requests(1);
    drop(raw);
    let line = site.lines(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["error"]),
        (&0.into(), &"client-gone".into()),
        "{line}"
    );

    let app = EchoApp::start();
    let site = logged(&app.address());
    let mut client = Client::open(&site.site).await;
    client.echo(Message::text("hello")).await;
    assert!(metric(&site.site, "portico_tunnels_open") >= 1.0);
    client.close().await;
    let line = site.lines(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["tenant"]),
        (&101.into(), &"acme".into()),
        "{line}"
    );
    assert!(line.get("error").is_none(), "{line}");
    assert!(
        line["bytes_in"].as_u64() > Some(5) && line["bytes_out"].as_u64() > Some(5),
        "{line}"
    );
    wait::until("the tunnel to be counted out", || {
        (metric(&site.site, "portico_tunnels_open") == 0.0).then_some(())
    });
}

/// The sum of a metric's samples whose name and labels begin so.
fn metric(site: &Site, name: &str) -> f64 {
    site.portico.metric(name)
}

#[tokio::test]
async fn metrics_are_well_formed_and_count() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for _ in 0..5 {
        site.edge
            .get(Protocol::Http1, "acme.example.test", "/")
            .await;
        site.edge
            .get(Protocol::Http2, "mail.example.test", "/")
            .await;
    }
    wait::until("all requests to be counted", || {
        (metric(&site, "portico_requests_total") >= 10.0).then_some(())
    });
    assert!(metric(&site, "portico_connections_accepted_total") >= 10.0);
    assert!(metric(&site, "portico_errors_total") >= 5.0);
    assert!(metric(&site, "portico_ready") >= 1.0);
    let (_, text) = site.portico.admin("/metrics");
    assert!(text.ends_with('\n'));
    let mut types = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned()), "twice: {line}");
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            value
                .parse::<f64>()
                .unwrap_or_else(|error| panic!("{error}: {line}"));
            let name = sample.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(
                types.contains(name) || family.is_some_and(|name| types.contains(name)),
                "no type: {line}"
            );
            assert!(
                sample.is_ascii() && (!sample.contains('{') || sample.ends_with('}')),
                "{line}"
            );
        }
    }
    let tenants = ["acme.example", "\"acme\"", "mail"];
    assert!(
        !tenants.iter().any(|name| text.contains(name)),
        "tenants make no series"
    );
}

#[tokio::test]
async fn status_and_readiness_tell_the_state() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let (code, body) = site.portico.admin("/status");
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &status["pid"]), (200, &site.portico.pid().into()));
    assert_eq!(status["domains"], serde_json::json!(["example.test"]));
    let server = &status["upstreams"]["servers"][0];
    assert_eq!(server["server"], format!("http://{}", origin.address()));
    assert_eq!(server["state"], "up");
    assert_eq!(status["certificates"][0]["lineage"], "example.test");
    assert_eq!(
        (&status["generation"], &status["tenants"]["source"]),
        (&1.into(), &"pattern".into())
    );
    assert_eq!(site.portico.admin("/readyz").0, 200);
    assert_eq!(site.portico.admin("/livez").0, 200);
}

#[tokio::test]
async fn without_a_certificate_it_serves_a_placeholder_and_is_not_ready() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start_without_certificate();
    let (code, body) = site.portico.admin("/readyz");
    assert_eq!(code, 503, "{body}");
    assert!(
        body.contains("no certificate for `example.test` yet"),
        "{body}"
    );
    assert_eq!(site.portico.admin("/livez").0, 200);
    let curl = site.edge.curl("acme.example.test").run("/");
    assert_eq!(
        curl.code,
        Some(60),
        "a certificate error, not a broken connection: {curl:?}"
    );
    site.import(&site.leaf());
    wait::until("readiness", || {
        (site.portico.admin("/readyz").0 == 200).then_some(())
    });
    let answer = site
        .edge
        .get(Protocol::Http2, "acme.example.test", "/")
        .await;
    assert_eq!(answer.text(), "hello");
}

//! The PROXY protocol to app servers, read by gunicorn and nginx: each request is its own client's and nobody else's.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use super::HOST;
use crate::support::child::Child;
use crate::support::gunicorn::Gunicorn;
use crate::support::http::Protocol;
use crate::support::pki::{Ca, Leaf};
use crate::support::raw::Raw;
use crate::support::raw_origin::RawOrigin;
use crate::support::site::{Site, SiteBuilder};
use crate::support::tls::Alpn;
use crate::support::{body, port, program, wait};

const SIGNATURE: &str = "\r\n\r\n\0\r\nQUIT\n";
/// gunicorn that takes version 2 from us only.
const TAKES_IT: &[&str] = &[
    "--proxy-protocol",
    "v2",
    "--proxy-allow-from",
    "127.0.0.1",
    "--access-logfile",
    "-",
];

fn site(server: &str) -> SiteBuilder {
    Site::before(&[server]).set("upstream", "send_proxy_protocol = true")
}

/// How a balancer names the family of a client, and the address of ours that it came to.
fn family(source: &str) -> (&'static str, &'static str) {
    if source.contains(':') {
        ("TCP6", "2001:db8::1")
    } else {
        ("TCP4", "198.51.100.1")
    }
}

/// The answers of the app to three requests on one connection of a client that a balancer names.
async fn three_answers(site: &Site, source: &str) -> Vec<String> {
    let (family, to) = family(source);
    let address = port::local(site.portico.https_port());
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let header = format!("PROXY {family} {source} {to} 4711 443\r\n");
    stream.write_all(header.as_bytes()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(site.ca.trust().config(Alpn::Http1)));
    let stream = connector.connect(HOST.try_into().unwrap(), stream);
    let mut raw = Raw::new(wait::within("a handshake", stream).await.unwrap());
    let mut answers = Vec::new();
    for _ in 0..3 {
        let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let answer = raw.write(head).await.response().await.expect("an answer");
        assert_eq!(answer.status, 200);
        answers.push(String::from_utf8(answer.body).unwrap());
    }
    answers
}

#[tokio::test]
async fn v40_upstream_each_request_comes_from_its_own_client() {
    let app = Gunicorn::worker("gthread")
        .keep_alive(5)
        .args(TAKES_IT)
        .tcp();
    // One pool, and fewer connections than clients: what could be taken over by another would be.
    let site = site(app.address())
        .set("listen", "proxy_protocol = [\"127.0.0.0/8\"]")
        .set("upstream", "server_connections = 3")
        .set("upstream", "queue_timeout = \"30s\"")
        .set("server", "workers = 1")
        .start();
    let mut clients: Vec<_> = (1..=12).map(|last| format!("192.0.2.{last}")).collect();
    clients.extend((1..=4).map(|last| format!("2001:db8::{last:x}9")));
    for _ in 0..2 {
        let asked = clients.iter().map(|source| three_answers(&site, source));
        let answers = join_all(asked).await;
        for (source, answers) in clients.iter().zip(answers) {
            for seen in answers {
                let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
                assert_eq!(seen["remote_addr"], *source, "{seen}");
                assert_eq!(seen["remote_port"], "4711");
                let (kind, to) = family(source);
                assert_eq!(seen["proxy_protocol"], kind);
                assert_eq!(
                    (&seen["proxy_addr"], &seen["proxy_port"]),
                    (&to.into(), &"443".into())
                );
                assert_eq!(seen["headers"]["HTTP_X_REAL_IP"], *source);
            }
        }
    }
}

#[tokio::test]
async fn v40_upstream_is_told_what_the_edge_knows_of_the_client() {
    let app = Gunicorn::worker("sync").args(TAKES_IT).unix();
    let site = site(app.address())
        .set("http", "trusted_proxies = [\"127.0.0.0/8\"]")
        .set("upstream.probe", "path = \"/healthz\"")
        .set("upstream.probe", "interval = \"250ms\"")
        .start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, HOST).await;
        // The socket's own client, and the one that a trusted proxy names: of that one nobody knows the port.
        let own = connection.request("GET", "/").send().await.json();
        assert_eq!(own["remote_addr"], "127.0.0.1");
        assert_ne!(own["remote_port"], "0");
        assert_eq!(own["proxy_port"], site.portico.https_port().to_string());
        let named = connection
            .request("GET", "/")
            .header("x-forwarded-for", "6.6.6.6, 192.0.2.9");
        let named = named.send().await.json();
        assert_eq!(
            (&named["remote_addr"], &named["remote_port"]),
            (&"192.0.2.9".into(), &"0".into())
        );
        let body = connection.request("POST", "/echo").body(body::full("body"));
        assert_eq!(body.send().await.text(), "body");
    }
    // gunicorn logs no address for LOCAL.
    wait::until("a probe that gunicorn answers", || {
        let log = app.log();
        let probe = log.lines().find(|line| line.contains("portico-probe"))?;
        assert!(
            probe.starts_with("None ") && probe.contains("\" 200 "),
            "{probe}"
        );
        Some(())
    });
}

/// nginx with TLS behind the header, as its documentation has it.
fn nginx(folder: &std::path::Path, leaf: &Leaf) -> (Child, String) {
    let (cert, key) = leaf.write(folder);
    let address = port::local(port::free());
    let dir = folder.display();
    let text = format!(
        "daemon off; worker_processes 1; pid {dir}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c; uwsgi_temp_path {dir}/d;\n\
         scgi_temp_path {dir}/e;\nserver {{ listen {address} ssl http2 proxy_protocol;\nssl_certificate {};\n\
         ssl_certificate_key {};\nlocation / {{ return 200 \"$proxy_protocol_addr $proxy_protocol_port \
         $proxy_protocol_server_addr $proxy_protocol_server_port $server_protocol $connection_requests\"; }} }} }}\n",
        cert.display(),
        key.display()
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(program::system("nginx"));
    command.arg("-p").arg(folder).arg("-c").arg(&file);
    command.args(["-e", "stderr"]);
    let child = Child::spawn("nginx", command)
        .farewell(Signal::TERM)
        .ready(|| TcpStream::connect(address).is_ok());
    (child, address.to_string())
}

#[tokio::test]
async fn v40_upstream_tls_begins_behind_the_header() {
    let ca = Ca::named("App root");
    let trust = ca.trust();
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, address) = nginx(folder.path(), &ca.leaf(&["127.0.0.1"]));
    let site = site(&format!("https://{address}"))
        .set("upstream.tls", &format!("ca_file = {:?}", trust.file()))
        .set("listen", "proxy_protocol = [\"127.0.0.0/8\"]")
        .set("upstream.probe", "path = \"/healthz\"")
        .start();
    for source in ["192.0.2.1", "2001:db8::9"] {
        let expected = format!("{source} 4711 {} 443 HTTP/1.1 1", family(source).1);
        for answer in three_answers(&site, source).await {
            assert_eq!(answer, expected);
        }
    }
}

#[tokio::test]
async fn v40_upstream_connections_carry_one_request_and_a_reload_forgets_the_others() {
    // Keeps every connection open, whatever it is told.
    let app = RawOrigin::new(|connection| {
        while let Some(head) = connection.read_head() {
            // A header begins with what looks like an empty head.
            if head.len() > 4 {
                connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let mut site = Site::before(&[&app.address()])
        .set("upstream", "send_proxy_protocol = false")
        .set("upstream", "keepalive = \"60s\"")
        .set("server", "workers = 1")
        .start();
    let mut connection = site.edge.connect(Protocol::Http1, HOST).await;
    for _ in 0..3 {
        assert_eq!(
            connection.request("GET", "/plain").send().await.text(),
            "ok"
        );
    }
    assert_eq!(app.heard().len(), 1, "a kept connection");
    let mut switch = |from: &str, to: &str| {
        let (from, to) = (
            format!("send_proxy_protocol = {from}"),
            format!("send_proxy_protocol = {to}"),
        );
        let count = site
            .portico
            .stderr()
            .matches("configuration reloaded")
            .count();
        site.portico.rewrite_config(|text| text.replace(&from, &to));
        site.portico.sighup();
        wait::until("the reload", || {
            let now = site
                .portico
                .stderr()
                .matches("configuration reloaded")
                .count();
            (now > count).then_some(())
        });
    };
    switch("false", "true");
    for _ in 0..3 {
        assert_eq!(
            connection.request("GET", "/named").send().await.text(),
            "ok"
        );
    }
    switch("true", "false");
    for _ in 0..3 {
        assert_eq!(
            connection.request("GET", "/plain").send().await.text(),
            "ok"
        );
    }
    let heard = app.heard();
    assert_eq!(heard.len(), 5, "{heard:?}");
    for bytes in &heard[1..4] {
        assert!(bytes.starts_with(SIGNATURE), "{bytes:?}");
        assert_eq!(bytes.matches("GET /named").count(), 1);
        assert!(bytes.contains("\r\nconnection: close\r\n"), "{bytes:?}");
    }
    for bytes in [&heard[0], &heard[4]] {
        assert_eq!(bytes.matches("GET /plain").count(), 3, "{bytes:?}");
    }
}

#[tokio::test]
async fn v40_upstream_a_tunnel_begins_with_the_header_too() {
    let app = RawOrigin::new(|connection| {
        connection.read_head(); // The signature ends like a head.
        if connection.read_head().is_some() {
            connection.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nthrough",
            );
            while connection.read_more() {}
        }
    });
    let site = site(&app.address()).start();
    let mut raw = site.edge.raw(HOST, Alpn::Http1).await;
    let head = raw
        .write(format!(
            "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
        .await
        .head()
        .await
        .unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(raw.read().await.unwrap(), b"through");
    let heard = app.heard().remove(0);
    assert!(heard.starts_with(SIGNATURE), "{heard:?}");
    assert!(heard.contains("\r\nconnection: Upgrade\r\n"), "{heard:?}");
}

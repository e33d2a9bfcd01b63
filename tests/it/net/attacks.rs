//! D10 to D18: floods of handshakes, connections, hosts, tunnels and log lines, each beside a well-behaved client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::attack::{Usage, Watch};
use crate::support::origin::{self, Origin};
use crate::support::port;
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};
use crate::support::wait;
use crate::support::websocket::EchoApp;

/// How long a flood lasts.
const FLOOD: Duration = Duration::from_secs(4);

fn address(site: &Site) -> SocketAddr {
    port::local(site.portico.https_port())
}

/// A connection from another address of this machine than the second client's.
async fn from_elsewhere(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.2:0".parse().unwrap())?;
    socket.connect(to).await
}

#[tokio::test]
async fn d10_handshake_flood() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("limits", "connections_per_address = 0")
        .start();
    // A ClientHello costs an attacker nothing: one recorded here is good for any number of connections.
    let mut hello = Vec::new();
    let name = "acme.example.test".try_into().unwrap();
    let config = site.ca.trust().config(Alpn::Browser);
    rustls::ClientConnection::new(config.into(), name)
        .unwrap()
        .write_tls(&mut hello)
        .unwrap();
    let watch = Watch::start(&site).await;
    let to = address(&site);
    let began = Instant::now();
    let mut attackers = JoinSet::new();
    for _ in 0..64 {
        let hello = hello.clone();
        attackers.spawn(async move {
            let mut shaken = 0;
            while began.elapsed() < FLOOD {
                let Ok(mut stream) = from_elsewhere(to).await else {
                    continue;
                };
                if stream.write_all(&hello).await.is_ok() && stream.read_u8().await.is_ok() {
                    shaken += 1;
                }
            }
            shaken
        });
    }
    let shaken: u32 = attackers.join_all().await.into_iter().sum();
    assert!(shaken > 500, "a flood of {shaken} is none");
    watch.enough().await;
    let report = watch.finish().await;
    // Its honest cost: a signature and a key exchange; this build is not optimised, so ten times that.
    let each = report.cpu / shaken;
    eprintln!("{shaken} handshakes, {each:?} each with all that went on beside");
    assert!(each < Duration::from_millis(5), "{each:?}");
    report.assert_held("handshake flood");
}

#[tokio::test]
async fn d10_key_updates_without_end() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let watch = Watch::start(&site).await;
    let config = site.ca.trust().config(Alpn::Http1);
    let stream = tls::connect(address(&site), "acme.example.test", config).await;
    let mut stream = stream.unwrap();
    let mut sent = 0_u32;
    let (began, before) = (Instant::now(), watch.cpu());
    let mut ended = false;
    while began.elapsed() < FLOOD && !ended {
        for _ in 0..16 {
            stream.get_mut().1.refresh_traffic_keys().unwrap();
            sent += 1;
        }
        ended = stream.flush().await.is_err();
    }
    assert!(ended, "the attacker went on for {sent}");
    let each = (watch.cpu() - before) / sent.max(1);
    eprintln!("{sent} key updates, {each:?} each with all that went on beside");
    assert!(each < Duration::from_millis(1), "{each:?}");
    watch.enough().await;
    watch.finish().await.assert_held("key updates");
}

#[tokio::test]
async fn d11_connections_from_one_address() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let watch = Watch::start(&site).await;
    let files = watch.usage().files;
    let to = address(&site);
    let mut held = Vec::new();
    for _ in 0..1_500 {
        held.push(from_elsewhere(to).await.unwrap());
    }
    watch.enough().await;
    wait::until_async("all but 256 to be refused", async || {
        let name = "portico_connections_refused_total{reason=\"address\"}";
        (site.portico.metric(name) >= 1_500.0 - 256.0).then_some(())
    })
    .await;
    let grown = watch.usage().files.saturating_sub(files);
    assert!(grown < 256 + 32, "{grown} more files");
    watch
        .finish()
        .await
        .assert_held("connections from one address");
}

#[tokio::test]
async fn d12_memory_of_a_connection() {
    const MANY: u64 = 1_000;
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("limits", "connections_per_address = 0")
        .start();
    let watch = Watch::start(&site).await;
    let before = watch.usage().resident;
    let mut clients = JoinSet::new();
    for _ in 0..MANY {
        let edge = site.edge.clone();
        clients.spawn(async move {
            let mut raw = edge.raw("acme.example.test", Alpn::Http1).await;
            let head = "GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
            assert_eq!(raw.write(head).await.response().await.unwrap().status, 200);
            raw
        });
    }
    let held: Vec<Raw> = clients.join_all().await;
    watch.enough().await;
    let each = watch.usage().resident.saturating_sub(before) / MANY;
    eprintln!("{each} KiB for an idle connection of HTTP/1.1 over TLS");
    assert!(each < 40, "{each} KiB");
    drop(held);
    watch.finish().await.assert_held("idle connections");
}

#[tokio::test]
async fn d14_random_hosts() {
    const MANY: usize = 5_000;
    let origin = Origin::hello();
    let folder = tempfile::tempdir().unwrap();
    let tenants = folder.path().join("tenants.toml");
    std::fs::write(
        &tenants,
        "[[tenant]]\nid = \"globex\"\nhosts = [\"globex.example.test\"]\n",
    )
    .unwrap();
    let site = Site::before(&[origin.address()])
        .set("tenants", "source = \"file\"")
        .set(
            "tenants",
            &format!("file = {:?}", tenants.display().to_string()),
        )
        .set("tenants", "apex = \"reject\"")
        .start();
    let watch = Watch::start(&site).await;
    let series = |site: &Site| site.portico.admin("/metrics").1.lines().count();
    // The series of the one tenant come up to a second after its first request.
    wait::until("the series of globex", || {
        let (_, text) = site.portico.admin("/metrics");
        text.contains("tenant=\"globex\"").then_some(())
    });
    let (lines, requests) = (series(&site), origin.requests().len());
    let before = watch.usage().resident;
    let mut raw = site.edge.raw("globex.example.test", Alpn::Http1).await;
    for number in 0..MANY {
        let head = format!("GET /{number} HTTP/1.1\r\nHost: r{number}.example.test\r\n\r\n");
        assert_eq!(raw.write(head).await.response().await.unwrap().status, 404);
    }
    assert_eq!(series(&site), lines, "metrics grow with hosts");
    let grown = watch.usage().resident.saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB for {MANY} hosts");
    watch.enough().await;
    watch.finish().await.assert_held("random hosts");
    let seen = origin.requests().split_off(requests);
    assert!(
        seen.iter().all(|seen| seen.target == "/second"),
        "the app heard of it"
    );
}

#[tokio::test]
async fn d16_tunnels_that_do_nothing() {
    const MANY: usize = 200;
    let app = EchoApp::start();
    let site = Site::before(&[&app.address()])
        .set("limits", "tunnel_timeout = \"2s\"")
        .start();
    let before = Usage::of(site.portico.pid());
    let mut tunnels = JoinSet::new();
    for _ in 0..MANY {
        let edge = site.edge.clone();
        tunnels.spawn(async move {
            let mut raw = edge.raw("acme.example.test", Alpn::Http1).await;
            let head = "GET /chat HTTP/1.1\r\nHost: acme.example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            let head = raw.write(head).await.head().await.unwrap();
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            let began = Instant::now();
            raw.rest().await;
            began.elapsed()
        });
    }
    for held in tunnels.join_all().await {
        assert!(
            held >= Duration::from_millis(1_500) && held < Duration::from_secs(6),
            "{held:?}"
        );
    }
    let after = Usage::of(site.portico.pid());
    assert!(after.peak.saturating_sub(before.resident) < 64 << 10);
    wait::until("no tunnel", || {
        (site.portico.metric("portico_tunnels_open") < 1.0).then_some(())
    });
}

#[tokio::test]
async fn d18_log_lines_that_lie() {
    const MANY: usize = 3_000;
    let origin = Origin::tcp(async |_| origin::text(200, "hello"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let site = Site::before(&[origin.address()])
        .set("log", &format!("access = {:?}", file.display().to_string()))
        .start();
    let watch = Watch::start(&site).await;
    let mut raw = site.edge.raw("acme.example.test", Alpn::Http1).await;
    let long = "x".repeat(6_000);
    for _ in 0..MANY {
        let mut head =
            b"GET /%0a%22,%22status%22:1?x={} HTTP/1.1\r\nHost: acme.example.test\r\nUser-Agent: "
                .to_vec();
        head.extend(b"a\"},{\\u000a\x80\xff\xe2\x80\xa8\t\x1b[31m\"");
        head.retain(|byte| *byte != 0x1b);
        head.extend(long.as_bytes());
        head.extend(b"\r\nReferer: \"\\\r\n\r\n");
        assert_eq!(raw.write(head).await.response().await.unwrap().status, 200);
    }
    watch.enough().await;
    watch.finish().await.assert_held("log lines");
    let lines = wait::until_async("the log", async || {
        let text = String::from_utf8(std::fs::read(&file).unwrap()).expect("UTF-8");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .filter(|line: &serde_json::Value| line["tenant"] == "acme")
            .collect();
        let dropped = site.portico.metric("portico_access_log_dropped_total");
        (lines.len() + dropped as usize >= MANY).then_some(lines)
    })
    .await;
    assert!(lines.len() <= MANY);
    for line in lines {
        assert_eq!(line["status"], 200, "{line}");
        assert!(line.to_string().len() < 16_384, "a line is bounded");
    }
}

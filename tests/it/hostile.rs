//! Hostile clients before real app servers: gunicorn (threads, keep-alive) and uvicorn judge what reaches them.
//!
//! Spoofed headers come over HTTP/1.1 and HTTP/2, messages with unclear ends over HTTP/1.1. Every request has a number, and
//! every answer must be the one for it: a connection that got out of step would show at once. `PORTICO_TEST_HOSTILE` is how many
//! requests there are in all (tests/soak/hostile sends a million); `PORTICO_TEST_SEED` repeats a run.

mod smuggle;
mod smugglex;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::spoof::drive::{PIPELINED, Statuses, http1, http2, pipeline};
use crate::spoof::generate::Random;
use crate::spoof::judge::TENANTS;
use crate::spoof::seed;
use crate::support::gunicorn::Gunicorn;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};
use crate::support::uvicorn::Uvicorn;
use crate::support::{port, probe, wait};

/// Requests in all, without another number in the environment.
const FEW: usize = 12_000;
/// Numbers of one lane; lanes never share one.
const LANE: usize = 100_000_000;
/// Memory that the proxy may hold more at the end than in the first fifth of the run, in KiB.
const GROWTH: u64 = 16 << 10;

fn wanted() -> usize {
    let given = std::env::var("PORTICO_TEST_HOSTILE").ok();
    given.map_or(FEW, |text| {
        text.parse().expect("a number in PORTICO_TEST_HOSTILE")
    })
}

/// Resident memory of a process, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse().ok()).expect("VmRSS in KiB")
}

/// What one answer said.
#[derive(Debug)]
struct Told {
    status: u16,
    echo: Option<String>,
    sin: Option<String>,
}

/// Reads one answer whole, past `100 Continue`; none at the end of the connection.
async fn answer(
    read: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    head_only: bool,
) -> Option<Told> {
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(read.read_buf(buffer).await, Ok(1..)) {
                return None;
            }
        };
        let head: Vec<u8> = buffer.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head in ASCII");
        let known = ["HTTP/1.1 ", "HTTP/1.0 "];
        assert!(
            known.iter().any(|version| head.starts_with(version)),
            "out of step: {head:?}"
        );
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        let status: u16 = head[9..12].parse().expect("a status");
        if status == 100 {
            continue;
        }
        let length: usize =
            field("content-length").map_or(0, |text| text.parse().expect("a length"));
        while !head_only && buffer.len() < length {
            if !matches!(read.read_buf(buffer).await, Ok(1..)) {
                return None;
            }
        }
        if !head_only {
            buffer.drain(..length);
        }
        return Some(Told {
            status,
            echo: field("x-echo"),
            sin: field("x-sin"),
        });
    }
}

/// Honest, hostile, honest on one connection: each answer is its request's, or there is none any more.
async fn smuggle(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    random: &mut Random,
    number: &mut usize,
    statuses: &mut Statuses,
) {
    let mut path = |tenant: &str| {
        *number += 1;
        format!("/{tenant}/{number}")
    };
    let tenant = *random.pick(TENANTS);
    let honest = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {tenant}.example.test\r\n\r\n").into_bytes()
    };
    let paths = [path(tenant), path(tenant), path(tenant)];
    let hostile = smuggle::message(random, tenant, &paths[1]);
    let head_only = hostile.starts_with(b"HEAD");
    let shown = String::from_utf8_lossy(&hostile).into_owned();
    let bytes = [honest(&paths[0]), hostile, honest(&paths[2])].concat();
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        // A refusal closes the connection, so the last bytes may find nobody.
        let _ = write.write_all(&bytes).await;
        let _ = write.flush().await;
        // Whoever waits for more bytes (a length that is too large) learns that none come.
        let _ = write.shutdown().await;
        write
    });
    let mut buffer = Vec::with_capacity(8 << 10);
    let mut open = true;
    for (at, path) in paths.iter().enumerate() {
        let head_only = head_only && at == 1;
        let told = wait::within(
            "an answer or the end",
            answer(&mut read, &mut buffer, head_only),
        )
        .await;
        let Some(told) = told else {
            assert!(at > 0, "no answer to an honest request before {shown:?}");
            open = false;
            continue;
        };
        assert!(open, "an answer after the end");
        *statuses.entry(told.status).or_default() += 1;
        assert_eq!(told.sin, None, "the app was fooled by {shown:?}");
        match told.status {
            200 => assert_eq!(
                told.echo.as_deref(),
                Some(&**path),
                "out of step after {shown:?}"
            ),
            204 => assert!(shown.starts_with("OPTIONS *"), "{shown:?}"),
            400 | 404 | 405 | 408 | 413 | 414 | 417 | 421 | 431 | 501 | 505 => {
                assert!(
                    at > 0,
                    "an honest request was refused: {told:?} before {shown:?}"
                );
                assert!(
                    told.echo.is_none(),
                    "the app answered {told:?} to {shown:?}"
                );
            }
            _ => panic!("{told:?} for {shown:?}"),
        }
    }
    let rest = wait::within("the end", answer(&mut read, &mut buffer, false)).await;
    // The inner request may be left over as a head that never ends; its refusal is the last thing on the connection.
    if let Some(told) = rest {
        assert!(
            told.echo.is_none() && (400..500).contains(&told.status),
            "a fourth answer, {told:?}, after {shown:?}"
        );
    }
    drop(writing.await.expect("a writer"));
}

struct Outcome {
    sent: usize,
    statuses: Statuses,
    sins: serde_json::Value,
}

/// Sends `count` hostile requests to a site before `app`.
async fn attack(app: &str, count: usize, seed: u64) -> Outcome {
    let site = Site::before(&[app]).start();
    let port = site.portico.https_port();
    let address = port::local(port);
    let trust = site.ca.trust();
    let mut lanes = Vec::new();
    let lane = |kind: usize| Random::new(seed ^ (kind as u64) << 32);
    let share = count / 3;
    for kind in 0..2 {
        let (mut random, config) = (lane(kind), trust.config(Alpn::Http1));
        lanes.push(tokio::spawn(async move {
            let mut statuses = Statuses::new();
            for round in 0..(share / 2).div_ceil(PIPELINED) {
                let first = kind * LANE + round * PIPELINED;
                let cases = pipeline(&mut random, first, port, round % 2 == 0);
                let stream = tls::connect(address, "acme.example.test", config.clone()).await;
                http1(stream.expect("TLS handshake"), cases, &mut statuses).await;
            }
            statuses
        }));
    }
    for kind in 2..4 {
        let (mut random, config) = (lane(kind), trust.config(Alpn::Http1));
        lanes.push(tokio::spawn(async move {
            let mut statuses = Statuses::new();
            let mut number = kind * LANE;
            while number < kind * LANE + share / 2 {
                let stream = tls::connect(address, "acme.example.test", config.clone()).await;
                smuggle(
                    stream.expect("TLS handshake"),
                    &mut random,
                    &mut number,
                    &mut statuses,
                )
                .await;
            }
            statuses
        }));
    }
    let (mut random, config) = (lane(4), trust.config(Alpn::Http2));
    lanes.push(tokio::spawn(async move {
        let stream = tls::connect(address, "globex.example.test", config).await;
        http2(stream.expect("TLS handshake"), &mut random, share, port).await
    }));
    let pid = site.portico.pid();
    let samples = Arc::new(Mutex::new(vec![memory(pid)]));
    let watch = tokio::spawn({
        let samples = Arc::clone(&samples);
        async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                let now = memory(pid);
                samples.lock().expect("never held over a panic").push(now);
            }
        }
    });
    let mut statuses = Statuses::new();
    for lane in lanes {
        for (status, count) in lane.await.expect("no lane fails") {
            *statuses.entry(status).or_default() += count;
        }
    }
    watch.abort();
    let samples = samples.lock().expect("never held over a panic").clone();
    let warm = samples
        .iter()
        .take(samples.len().div_ceil(5))
        .max()
        .copied();
    let (warm, late) = (warm.unwrap_or_default(), memory(pid));
    eprintln!("hostile: memory {warm} KiB in the first fifth, {late} KiB at the end");
    assert!(
        late <= warm + GROWTH,
        "memory grew from {warm} to {late} KiB"
    );
    let metrics = site.portico.admin("/metrics").1;
    assert!(
        !site.portico.stderr().contains("panicked"),
        "{}",
        site.portico.stderr()
    );
    assert!(
        metrics.contains("portico_requests_total"),
        "the proxy still works"
    );
    let app: SocketAddr = app.parse().expect("an address");
    let (_, sins) = probe::get(app, "/sins").expect("the app answers");
    Outcome {
        sent: statuses.values().sum(),
        statuses,
        sins: serde_json::from_str(&sins).expect("JSON"),
    }
}

fn check(name: &str, outcome: &Outcome, began: Instant) {
    let refused: BTreeMap<_, _> = outcome
        .statuses
        .iter()
        .filter(|(status, _)| **status >= 400)
        .collect();
    eprintln!(
        "hostile: {name}: {} answered, {} seen by the app, refused {refused:?}, {:?}",
        outcome.sent,
        outcome.sins["seen"],
        began.elapsed()
    );
    assert_eq!(outcome.sins["sins"], serde_json::json!({}), "{name}");
    let seen = outcome.sins["seen"].as_u64().unwrap_or_default() as usize;
    let reached = outcome.statuses.get(&200).copied().unwrap_or_default();
    // HEAD requests and those whose client has gone may be seen without an answer that was read.
    assert!(
        seen >= reached && reached * 2 > outcome.sent,
        "{name}: {seen} seen, {:?}",
        outcome.statuses
    );
    assert!(
        outcome
            .statuses
            .keys()
            .all(|status| *status < 500 || [501, 505].contains(status)),
        "{name}"
    );
    assert!(
        refused.values().map(|count| **count).sum::<usize>() * 20 > outcome.sent,
        "the grammar bites: {name}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_fool_neither_gunicorn_nor_uvicorn() {
    let seed = seed();
    let count = wanted() / 2;
    let gunicorn = Gunicorn::worker("gthread")
        .app("hostile_app:application", "/sins")
        .args(&["--workers", "1"])
        .tcp();
    let began = Instant::now();
    let outcome = attack(gunicorn.address(), count, seed).await;
    check("gunicorn gthread", &outcome, began);
    drop(gunicorn);
    let uvicorn = Uvicorn::start("hostile_app:asgi", "/sins");
    let began = Instant::now();
    let outcome = attack(uvicorn.address(), count, seed.rotate_left(7)).await;
    check("uvicorn", &outcome, began);
}

/// The apps' judges can find fault: each of these is what a proxy that passes things on would send them.
#[tokio::test]
async fn control_the_apps_notice_what_a_careless_proxy_passes_on() {
    let good = "Host: acme.example.test\r\nX-Tenant: acme\r\nX-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: acme.example.test\r\nX-Forwarded-Port: 443\r\nX-Request-ID: 1\r\n";
    let gunicorn = Gunicorn::worker("gthread")
        .app("hostile_app:application", "/sins")
        .tcp();
    let uvicorn = Uvicorn::start("hostile_app:asgi", "/sins");
    for app in [gunicorn.address(), uvicorn.address()] {
        for (path, old, new, sin) in [
            ("/acme/1", "", "", None),
            ("/smuggled", "", "", Some("unknown-path")),
            ("/globex/1", "", "", Some("tenant")),
            ("/acme/1", "X-Tenant: acme\r\n", "", Some("tenant")),
            (
                "/acme/1",
                "X-Tenant: acme",
                "X-Tenant: acme\r\nX-Tenant: evil",
                Some("tenant"),
            ),
            ("/acme/1", "https", "http", Some("scheme")),
            (
                "/acme/1",
                "For: 127.0.0.1",
                "For: 10.0.0.1",
                Some("own-x-forwarded-for"),
            ),
            (
                "/acme/1",
                "X-Real",
                "X-Original-Url: /admin\r\nX-Real",
                Some("never-x-original-url"),
            ),
            (
                "/acme/1",
                "X-Real",
                "Expect: 100-continue\r\nX-Real",
                Some("never-expect"),
            ),
        ] {
            let head = format!("GET {path} HTTP/1.1\r\n{}\r\n", good.replace(old, new));
            let head = if old.is_empty() {
                format!("GET {path} HTTP/1.1\r\n{good}\r\n")
            } else {
                head
            };
            let mut stream = tokio::net::TcpStream::connect(app).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut buffer = Vec::new();
            let told = wait::within("an answer", answer(&mut stream, &mut buffer, false))
                .await
                .unwrap();
            let sins = told.sin.unwrap_or_default();
            match sin {
                None => assert_eq!((told.status, &*sins), (200, ""), "{app}"),
                Some(sin) => assert!(
                    told.status == 500 && sins.contains(sin),
                    "{app}: {sin} in {sins}: {head}"
                ),
            }
        }
    }
}

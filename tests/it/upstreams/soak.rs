//! App servers that are killed and come back under load: no idempotent request fails, no POST happens twice.
//!
//! `PORTICO_TEST_SOAK` is how many seconds it takes (tests/soak/upstreams: half an hour); the short form is a test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;

use super::HOST;
use crate::support::gunicorn::Gunicorn;
use crate::support::http::{Edge, Protocol};
use crate::support::port;
use crate::support::site::Site;

/// Without another number in the environment.
const SHORT: u64 = 25;
/// From one kill to the next, at most.
const KILL_EVERY: Duration = Duration::from_secs(20);
/// Clients of each protocol.
const CLIENTS: u64 = 4;

#[derive(Debug, Default)]
struct Counts {
    gets: AtomicU64,
    gets_failed: AtomicU64,
    posts: AtomicU64,
    posts_failed: AtomicU64,
}

fn gunicorn(class: &str, address: SocketAddr, ledger: &Path) -> Gunicorn {
    let ledger = format!("PORTICO_TEST_LEDGER={}", ledger.display());
    Gunicorn::worker(class)
        .keep_alive(2)
        .args(&["--workers", "2", "--env", &ledger])
        .at(address)
}

/// Asks until told to stop; each request has a number that its answer must have.
async fn client(
    edge: Edge,
    protocol: Protocol,
    id: u64,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
) {
    let mut round = 0;
    while !stop.load(Ordering::SeqCst) {
        let mut connection = edge.connect(protocol, HOST).await;
        for _ in 0..200 {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            round += 1;
            let number = format!("{protocol:?}-{id}-{round}");
            // Pauses of all lengths, so that requests meet connections of every age.
            tokio::time::sleep(Duration::from_millis(round * 7 % 23)).await;
            let post = round % 3 == 0;
            let method = if post {
                "POST"
            } else {
                if round % 2 == 0 { "GET" } else { "DELETE" }
            };
            let ask = connection.request(method, &format!("/note?n={number}"));
            let answer = ask.try_send().await;
            let (asked, failed) = if post {
                (&counts.posts, &counts.posts_failed)
            } else {
                (&counts.gets, &counts.gets_failed)
            };
            asked.fetch_add(1, Ordering::SeqCst);
            match answer {
                Ok(answer) if answer.status == StatusCode::OK => {
                    assert_eq!(answer.text(), number, "another request's answer");
                }
                Ok(answer) => {
                    failed.fetch_add(1, Ordering::SeqCst);
                    if !post {
                        eprintln!(
                            "soak: {method} {number}: {} {:?}",
                            answer.status, answer.headers
                        );
                    }
                }
                Err(error) => {
                    failed.fetch_add(1, Ordering::SeqCst);
                    if !post {
                        eprintln!("soak: {method} {number}: {error}");
                    }
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_servers_that_are_killed_cost_no_idempotent_request() {
    let seconds = std::env::var("PORTICO_TEST_SOAK").map_or(SHORT, |text| text.parse().unwrap());
    let length = Duration::from_secs(seconds);
    let pause = KILL_EVERY.min(length / 5);
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let kinds = ["sync", "gthread", "sync", "gthread"];
    let addresses = kinds.map(|_| port::local(port::free()));
    let mut servers: Vec<_> = kinds
        .iter()
        .zip(addresses)
        .map(|(class, address)| Some(gunicorn(class, address, &ledger)))
        .collect();
    let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let site = Site::before(&names).start();
    let (counts, stop) = (
        Arc::new(Counts::default()),
        Arc::new(AtomicBool::new(false)),
    );
    let clients: Vec<_> = (0..CLIENTS * 2)
        .map(|id| {
            let protocol = Protocol::BOTH[usize::from(id % 2 == 0)];
            let (counts, stop) = (Arc::clone(&counts), Arc::clone(&stop));
            tokio::spawn(client(site.edge.clone(), protocol, id, counts, stop))
        })
        .collect();
    let began = Instant::now();
    let mut kills = 0;
    // On a busy machine a server takes long to come back: four of them do, whatever the clock says.
    while kills < kinds.len() || began.elapsed() + pause < length {
        tokio::time::sleep(pause).await;
        let index = kills % kinds.len();
        let server = servers[index].take().unwrap();
        let (class, address, ledger) = (kinds[index], addresses[index], ledger.clone());
        let again = tokio::task::spawn_blocking(move || {
            server.kill();
            gunicorn(class, address, &ledger)
        });
        servers[index] = Some(again.await.unwrap());
        kills += 1;
    }
    tokio::time::sleep(length.saturating_sub(began.elapsed())).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let mut noted: HashMap<String, u32> = HashMap::new();
    for number in std::fs::read_to_string(&ledger).unwrap().lines() {
        *noted.entry(number.to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = noted.iter().filter(|(_, times)| **times > 1).collect();
    let metric = |name: &str| site.portico.metric(name);
    eprintln!(
        "soak: {} s, {kills} kills; idempotent requests {} of which failed {}; POSTs {} of which failed {}, noted {}, \
         noted twice {}; retries {}, connections failed {}, ejections {}",
        began.elapsed().as_secs(),
        count(&counts.gets),
        count(&counts.gets_failed),
        count(&counts.posts),
        count(&counts.posts_failed),
        noted.len(),
        twice.len(),
        metric("portico_upstream_retries_total"),
        metric("portico_upstream_connects_total{result=\"failed\"}"),
        metric("portico_upstream_ejections_total"),
    );
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(count(&counts.gets_failed), 0);
    assert!(kills >= kinds.len() && count(&counts.gets) > 100 && noted.len() > 50);
}

//! The promise: whatever a client sends, the app sees exactly one tenant header, and it is ours.
//!
//! Generated requests go through the real proxy to an app that judges each of them. `PORTICO_TEST_SEED` repeats a run.

mod app;
pub(crate) mod drive;
pub(crate) mod generate;
pub(crate) mod judge;

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpStream;

use self::app::{Slip, app, sloppy};
use self::drive::{PIPELINED, Statuses, http1, http2, pipeline};
use self::generate::Random;
use self::judge::{Judge, Sin};
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};

/// Requests that must reach the app, by each protocol.
const WANTED: usize = 100_000;
/// Connections at once, by each protocol.
const LANES: usize = 4;

/// The seed of this run, from `PORTICO_TEST_SEED` or the clock; it is printed.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("PORTICO_TEST_SEED").ok();
    let seed = given.map(|text| text.parse().expect("a number in PORTICO_TEST_SEED"));
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock")
            .as_secs()
    };
    let seed = seed.unwrap_or_else(now);
    eprintln!("PORTICO_TEST_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_can_forge_the_tenant() {
    let mut random = Random::new(seed());
    let judge = Judge::default();
    let app = app(&judge);
    let site = Site::before(&[&app.address.to_string()]).start();
    let port = site.portico.https_port();
    judge.expect_port(port);
    let address = crate::support::port::local(port);
    let configs = [Alpn::Http1, Alpn::Http2].map(|alpn| site.ca.trust().config(alpn));

    let began = Instant::now();
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let mut random = Random::new(random.below(usize::MAX) as u64);
        let config = configs[0].clone();
        lanes.push(tokio::spawn(async move {
            let mut statuses = Statuses::new();
            for round in 0..=(WANTED / LANES / (PIPELINED - 1)) {
                let cases = pipeline(&mut random, round * PIPELINED, port, round % 2 == 0);
                let stream = tls::connect(address, "acme.example.test", config.clone()).await;
                http1(stream.expect("TLS handshake"), cases, &mut statuses).await;
            }
            (lane, statuses)
        }));
    }
    for lane in 0..LANES {
        let mut random = Random::new(random.below(usize::MAX) as u64);
        let config = configs[1].clone();
        lanes.push(tokio::spawn(async move {
            let stream = tls::connect(address, "globex.example.test", config).await;
            let count = WANTED / LANES * 11 / 10;
            let statuses = http2(stream.expect("TLS handshake"), &mut random, count, port).await;
            (lane, statuses)
        }));
    }
    let mut statuses = Statuses::new();
    for lane in lanes {
        for (status, count) in lane.await.expect("no lane fails").1 {
            *statuses.entry(status).or_default() += count;
        }
    }

    let (over1, over2, trailers) = judge.counts();
    eprintln!(
        "HTTP/1.1: {over1}, HTTP/2: {over2}, with trailers: {trailers}, {statuses:?}, {:?}",
        began.elapsed()
    );
    assert!(judge.sins().is_empty(), "{:#?}", judge.sins());
    let sent: usize = statuses.values().sum();
    let reached = statuses.get(&200).copied().unwrap_or_default();
    assert_eq!(over1 + over2, reached, "each request reached the app once");
    assert!(
        over1 >= WANTED && over2 >= WANTED,
        "too few reached the app"
    );
    assert!(
        (sent - reached) * 5 < sent,
        "too many were refused: {statuses:?}"
    );
    assert!(trailers > 1_000, "honest trailers were lost: {trailers}");
    assert!(
        statuses
            .keys()
            .all(|status| [200, 400, 404, 421].contains(status))
    );
}

/// Positive control: a proxy with any one mistake does not pass.
#[tokio::test]
async fn the_judge_finds_each_mistake_of_a_sloppy_proxy() {
    let mut random = Random::new(seed());
    for slip in Slip::ALL {
        let judge = Judge::default();
        let app = app(&judge);
        let port = 8443;
        judge.expect_port(port);
        let proxy = sloppy(app.address, slip, port);
        for round in 0..12 {
            let mut cases = pipeline(&mut random, round * PIPELINED, port, false);
            if slip == Slip::NominatedLast {
                for case in cases.iter_mut().step_by(7) {
                    let line = b"x-tenant".to_vec();
                    case.headers.push(("Connection".to_owned(), line));
                }
            }
            let stream = TcpStream::connect(proxy.address).await.unwrap();
            http1(stream, cases, &mut Statuses::new()).await;
        }
        let sins: BTreeSet<Sin> = judge.sins().into_keys().collect();
        let expected: &[Sin] = match slip {
            Slip::Appends => &[Sin::TwoTenants, Sin::WrongTenant],
            Slip::ExactName => &[Sin::TwoTenants, Sin::Managed, Sin::Underscore],
            Slip::NominatedLast => &[Sin::NoTenant],
            Slip::Trailers => &[Sin::Trailer],
            Slip::Host => &[Sin::Managed, Sin::Host],
            Slip::Believes => &[Sin::Managed],
        };
        let found: Vec<Sin> = sins.into_iter().collect();
        assert_eq!(found, expected, "{slip:?}: {:#?}", judge.sins());
    }
}

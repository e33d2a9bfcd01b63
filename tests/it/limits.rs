//! Caps and failures: too many connections, too few files, app servers that are gone, silent or wrong.

mod upstreams;

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::{port, wait};

fn connect(site: &Site) -> TcpStream {
    let stream = TcpStream::connect(port::local(site.portico.https_port())).unwrap();
    stream.set_read_timeout(Some(wait::DEADLINE)).unwrap();
    stream
}

/// Connections that the proxy holds, as it says itself.
fn metric(site: &Site, name: &str) -> f64 {
    let (_, text) = site.portico.admin("/metrics");
    let lines = text
        .lines()
        .filter(|line| line.starts_with(name) && !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[tokio::test]
async fn connections_over_a_cap_are_closed_at_once_and_room_is_used_again() {
    for (key, label) in [
        ("connections_per_address", "address"),
        ("connections", "total"),
    ] {
        let origin = Origin::hello();
        let site = Site::before(&[origin.address()])
            .set("limits", &format!("{key} = 3"))
            .start();
        // The fixture's own look at the listener must be over, or it counts.
        wait::until("no connection", || {
            let looked = metric(&site, "portico_tls_handshake_failures_total") >= 1.0;
            (looked && metric(&site, "portico_connections_open") < 1.0).then_some(())
        });
        let mut held: Vec<TcpStream> = (0..3).map(|_| connect(&site)).collect();
        // Workers accept in no common order.
        wait::until("all three to be taken", || {
            (metric(&site, "portico_connections_open") >= 3.0).then_some(())
        });
        for _ in 0..5 {
            let mut refused = connect(&site);
            let end = refused.read(&mut [0; 1]);
            assert!(matches!(end, Ok(0) | Err(_)), "{key}: {end:?}");
        }
        let refused = format!("portico_connections_refused_total{{reason=\"{label}\"}}");
        assert!(
            metric(&site, &refused) >= 5.0,
            "{key}: {}",
            site.portico.admin("/metrics").1
        );
        drop(held.pop());
        wait::until_async("room for one", async || {
            let edge = site.edge.clone();
            let one =
                tokio::spawn(
                    async move { edge.get(Protocol::Http1, "acme.example.test", "/").await },
                );
            one.await
                .is_ok_and(|answer| answer.status == 200)
                .then_some(())
        })
        .await;
        drop(held);
    }
}

#[tokio::test]
async fn without_files_the_proxy_waits_and_recovers() {
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()]).start();
    assert_eq!(
        site.edge
            .get(Protocol::Http1, "acme.example.test", "/")
            .await
            .text(),
        "hello"
    );
    let pid = Pid::from_raw(i32::try_from(site.portico.pid()).unwrap());
    let open = std::fs::read_dir(format!("/proc/{}/fd", site.portico.pid()))
        .unwrap()
        .count();
    let limit = |current: u64| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(
            pid,
            Resource::Nofile,
            Rlimit {
                current: Some(current),
                maximum,
            },
        )
        .unwrap()
    };
    let before = limit(open as u64 + 8);
    let held: Vec<TcpStream> = (0..40).map(|_| connect(&site)).collect();
    site.portico
        .wait_log("cannot accept connections; trying on");
    // It waits instead of spinning: an idle moment costs next to no time.
    let spent = cpu(&site);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = cpu(&site) - spent;
    assert!(spent < 30, "{spent} ticks in a second of waiting");
    drop(held);
    limit(before.current.unwrap());
    wait::until_async("the proxy to recover", async || {
        let edge = site.edge.clone();
        let one =
            tokio::spawn(async move { edge.get(Protocol::Http2, "acme.example.test", "/").await });
        one.await
            .is_ok_and(|answer| answer.text() == "hello")
            .then_some(())
    })
    .await;
}

/// Processor time in ticks of 10 ms.
fn cpu(site: &Site) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", site.portico.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

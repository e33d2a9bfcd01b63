//! A site under attack, and what the attack does to it.

use std::fs;
use std::time::{Duration, Instant};

use super::strike::{Attack, Strike, Strikers};
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::site::{Site, SiteBuilder};

/// Most memory that an attack may add.
const MEMORY: u64 = 64 << 20;
/// The 99th percentile of the other client's waits.
const PATIENCE: Duration = Duration::from_millis(250);
/// How many requests the other client makes at least.
const REQUESTS: usize = 300;
/// Connections that attack at a time.
pub(super) const STRIKERS: usize = 4;
/// Most processor time of a connection that attacks, beside an honest one.
const COST: f64 = 10.0;
/// Requests on an honest connection.
const HONEST: usize = 100;

/// A site whose app answers `/large` with half a MiB and everything else with a few bytes.
pub(super) struct Victim {
    pub(super) site: Site,
    pub(super) origin: Origin,
    /// Processor time of an honest connection.
    honest: Duration,
    /// The same for the requests of the other client, which are small.
    small: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) strikes: Vec<Strike>,
    /// Connections that the proxy says it ended for abuse.
    pub(super) ended: f64,
}

impl Victim {
    pub(super) async fn new() -> Self {
        Self::with("/", |site| site).await
    }

    /// With other settings, and what an honest client asks for where an attacker does.
    pub(super) async fn with(
        target: &'static str,
        change: impl FnOnce(SiteBuilder) -> SiteBuilder,
    ) -> Self {
        let large = bytes::Bytes::from(vec![b'x'; 512 << 10]);
        let origin = Origin::tcp(move |seen| {
            let body = match &*seen.target {
                "/large" => large.clone(),
                _ => "a few bytes".into(),
            };
            async move { origin::text(200, body) }
        });
        let site = change(Site::before(&[origin.address()])).start();
        let mut victim = Self {
            site,
            origin,
            honest: Duration::ZERO,
            small: Duration::ZERO,
        };
        // Twice: the first round warms up, the second counts.
        for _ in 0..2 {
            victim.honest = victim.cost(target).await;
            victim.small = victim.cost("/").await;
        }
        victim
    }

    /// Processor time of a connection with [`HONEST`] requests.
    async fn cost(&self, target: &str) -> Duration {
        let before = self.cpu();
        for _ in 0..STRIKERS {
            self.ask(HONEST, target).await;
        }
        (self.cpu() - before) / u32::try_from(STRIKERS).unwrap()
    }

    /// Well-behaved requests on one connection, and how long each took.
    async fn ask(&self, count: usize, target: &str) -> Vec<Duration> {
        let edge = &self.site.edge;
        let mut connection = edge.connect(Protocol::Http2, "globex.example.test").await;
        let mut waits = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            let answer = connection.request("GET", target).send().await;
            waits.push(began.elapsed());
            let size = if target == "/" { 11 } else { 512 << 10 };
            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, size));
        }
        waits
    }

    /// Lets the attackers at it while another client is served, and checks memory and that client's waits.
    pub(super) async fn suffer(&self, attack: Attack) -> Outcome {
        let name = attack.name;
        let before = (self.memory(), self.cpu(), self.site.portico.metric(ABUSE));
        let strikers = Strikers::start(&self.site, attack, STRIKERS);
        let (mut waits, mut peak) = (Vec::new(), 0);
        while waits.len() < REQUESTS || strikers.ended() < STRIKERS {
            waits.extend(self.ask(20, "/").await);
            peak = peak.max(self.memory());
        }
        let strikes = strikers.stop();
        peak = peak.max(self.memory());
        let grown = peak.saturating_sub(before.0);
        waits.sort_unstable();
        let late = waits[waits.len() * 99 / 100];
        let beside =
            self.small * u32::try_from(waits.len()).unwrap() / u32::try_from(HONEST).unwrap();
        let cpu = (self.cpu() - before.1).saturating_sub(beside);
        let each = cpu / u32::try_from(strikes.len()).unwrap();
        let cost = each.as_secs_f64() / self.honest.as_secs_f64();
        let frames: usize = strikes.iter().map(|strike| strike.rounds).sum();
        eprintln!(
            "{name}: {} strikes of {} rounds, p99 {late:?} of {} requests, {} KiB more, {cost:.2} of an honest \
             connection's processor time",
            strikes.len(),
            frames / strikes.len(),
            waits.len(),
            grown >> 10
        );
        assert!(grown < MEMORY, "{name}: {grown} bytes more");
        assert!(late < PATIENCE, "{name}: a wait of {late:?}");
        assert!(
            cost < COST,
            "{name}: {cost} times the cost of an honest client"
        );
        Outcome {
            strikes,
            ended: self.site.portico.metric(ABUSE) - before.2,
        }
    }

    /// Resident memory, in bytes.
    pub(super) fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.site.portico.pid());
        let status = fs::read_to_string(status).expect("the proxy runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .expect("a size in KiB");
        kib << 10
    }

    /// Processor time of all threads so far.
    fn cpu(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.site.portico.pid());
        let of_task = |task: std::io::Result<fs::DirEntry>| -> u64 {
            let file = task.expect("an entry").path().join("schedstat");
            // A thread may end meanwhile.
            let text = fs::read_to_string(file).unwrap_or_default();
            text.split(' ')
                .next()
                .and_then(|time| time.parse().ok())
                .unwrap_or(0)
        };
        Duration::from_nanos(
            fs::read_dir(tasks)
                .expect("the proxy runs")
                .map(of_task)
                .sum(),
        )
    }
}

const ABUSE: &str = "portico_http2_abuse_total";

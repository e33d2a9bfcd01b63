//! Runs units for a time and prints what became of them.

use crate::{
    Error,
    args::Load,
    gate::Gate,
    origin::{Page, SMALL},
    tls::{self, Dialer},
    units::{self, Unit},
};
use rustls_pki_types::ServerName;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What one worker, or all together, got done.
#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    errors: usize,
    first_error: Option<String>,
}

/// The line that a run prints.
#[derive(serde::Serialize)]
struct Outcome<'a> {
    mode: &'a str,
    units: usize,
    seconds: f64,
    rate: f64,
    errors: usize,
    first_error: Option<String>,
    p50_us: f64,
    p99_us: f64,
    tls: String,
}

pub(crate) async fn h1(load: &Load, mode: &str, page: Page) -> Result<(), Error> {
    let dialer = Dialer::new(&load.target, tls::H1)?;
    let mut workers = Vec::with_capacity(load.connections);
    let mut negotiated = String::new();
    for n in 0..load.connections {
        let host = load.target.host(n);
        let stream = dialer.dial(ServerName::try_from(host.clone())?).await?;
        negotiated = tls::describe(&stream);
        let (unit, _connection) = units::H1::open(stream, &host, page).await?;
        workers.push(unit);
    }
    measure(load, mode, negotiated, workers).await
}

pub(crate) async fn h2(load: &Load) -> Result<(), Error> {
    let dialer = Dialer::new(&load.target, tls::H2)?;
    let mut workers = Vec::with_capacity(load.connections * load.streams);
    let mut negotiated = String::new();
    for n in 0..load.connections {
        let host = load.target.host(n);
        let stream = dialer.dial(ServerName::try_from(host.clone())?).await?;
        negotiated = tls::describe(&stream);
        let (unit, _connection) = units::H2::open(stream, &host, SMALL).await?;
        workers.extend(std::iter::repeat_n(unit, load.streams));
    }
    measure(load, "h2", negotiated, workers).await
}

pub(crate) async fn handshake(load: &Load) -> Result<(), Error> {
    let dialer = Dialer::new(&load.target, tls::H1)?;
    let mut workers = Vec::with_capacity(load.connections);
    for n in 0..load.connections {
        workers.push(units::Handshake::new(
            dialer.clone(),
            &load.target.host(n),
            SMALL,
        )?);
    }
    let probe = dialer
        .dial(ServerName::try_from(load.target.host(0))?)
        .await?;
    let negotiated = tls::describe(&probe);
    drop(probe);
    measure(load, "handshake", negotiated, workers).await
}

/// Warm-up, the rig's go, the counted run, the result line.
async fn measure<U: Unit>(
    load: &Load,
    mode: &str,
    negotiated: String,
    workers: Vec<U>,
) -> Result<(), Error> {
    let (workers, warm, _) = drive(workers, Duration::try_from_secs_f64(load.warmup)?).await?;
    let mut gate = load.wait.then(Gate::stdin);
    if let Some(gate) = &mut gate {
        println!(
            "{}",
            serde_json::json!({ "ready": mode, "errors": warm.errors })
        );
        gate.line().await?;
    }
    let (workers, mut tally, elapsed) =
        drive(workers, Duration::try_from_secs_f64(load.seconds)?).await?;
    tally.latencies.sort_unstable();
    let seconds = elapsed.as_secs_f64();
    let outcome = Outcome {
        mode,
        units: tally.latencies.len(),
        seconds,
        rate: tally.latencies.len() as f64 / seconds,
        errors: warm.errors + tally.errors,
        first_error: warm.first_error.or_else(|| tally.first_error.take()),
        p50_us: tally.percentile(50),
        p99_us: tally.percentile(99),
        tls: negotiated,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    if let Some(gate) = &mut gate {
        gate.closed().await;
    }
    drop(workers); // only now, so that the proxy's cost of closing connections is outside the run
    Ok(())
}

/// Lets every worker repeat its unit until the time is up; units under way then are finished and counted.
async fn drive<U: Unit>(
    workers: Vec<U>,
    length: Duration,
) -> Result<(Vec<U>, Tally, Duration), Error> {
    let start = Instant::now();
    let deadline = start + length;
    let mut tasks = JoinSet::new();
    for mut worker in workers {
        tasks.spawn(async move {
            let tally = repeat(&mut worker, deadline).await;
            (worker, tally)
        });
    }
    let mut total = Tally::default();
    let mut workers = Vec::with_capacity(tasks.len());
    while let Some(done) = tasks.join_next().await {
        let (worker, tally) = done?;
        workers.push(worker);
        total.latencies.extend(tally.latencies);
        total.errors += tally.errors;
        total.first_error = total.first_error.or(tally.first_error);
    }
    Ok((workers, total, start.elapsed()))
}

/// A worker stops at its first error: the run is invalid anyway.
async fn repeat<U: Unit>(worker: &mut U, deadline: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut now = Instant::now();
    while now < deadline {
        let result = worker.once().await;
        let end = Instant::now();
        match result {
            Ok(()) => tally.latencies.push(end - now),
            Err(error) => {
                tally.errors += 1;
                tally.first_error = Some(error.to_string());
                break;
            }
        }
        now = end;
    }
    tally
}

impl Tally {
    /// In microseconds; the latencies are sorted.
    fn percentile(&self, percent: usize) -> f64 {
        let rank =
            (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies
            .get(rank)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }
}

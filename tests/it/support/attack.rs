//! A site under attack: a well-behaved second client all the while, and what the attack cost the proxy.
//!
//! `let watch = Watch::start(&site).await;` then attack, then `watch.enough().await` and `watch.finish().await.assert_held("…")`.
//! The second client lives on a thread of its own, so that an attacker inside the test cannot slow down its clock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::{Edge, Protocol};
use super::site::Site;
use super::wait;

/// Answers to the second client without which nothing is known.
const ENOUGH: usize = 200;
/// Requests on one connection; then the client makes another, so that handshakes are judged too.
const ON_ONE: usize = 20;
/// Between two requests: a client, not a load.
const PAUSE: Duration = Duration::from_millis(5);

/// How much the proxy may grow, in KiB.
pub(crate) const MOST_GROWTH: u64 = 64 << 10;
/// How long 99 of 100 answers may take at most.
pub(crate) const MOST_P99: Duration = Duration::from_millis(250);

/// The watch over a site.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    pid: u32,
    before: Usage,
    began: Instant,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    latencies: Mutex<Vec<Duration>>,
    failures: Mutex<Vec<String>>,
}

/// What a process uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Resident memory, in KiB.
    pub(crate) resident: u64,
    /// The most since [`Usage::reset_peak`], in KiB.
    pub(crate) peak: u64,
    /// Processor time, user and system.
    pub(crate) cpu: Duration,
    /// Open files.
    pub(crate) files: usize,
}

impl Usage {
    /// Of the process `pid`, now.
    pub(crate) fn of(pid: u32) -> Self {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{name}")).expect("a live process")
        };
        let status = read("status");
        let memory = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number
                .and_then(|number| number.parse().ok())
                .expect("a size in KiB")
        };
        let stat = read("stat");
        let fields: Vec<&str> = stat
            .rsplit_once(") ")
            .expect("a name")
            .1
            .split(' ')
            .collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number of ticks");
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a live process");
        Self {
            resident: memory("VmRSS:"),
            peak: memory("VmHWM:"),
            // Linux shows ticks of 10 ms, whatever the kernel's own are.
            cpu: Duration::from_millis(10 * (ticks(11) + ticks(12))),
            files: files.count(),
        }
    }

    /// Lets the peak of `pid` begin anew.
    pub(crate) fn reset_peak(pid: u32) {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("our own process");
    }
}

impl Watch {
    /// Serves the second client for a moment, then begins to measure.
    pub(crate) async fn start(site: &Site) -> Self {
        Self::of(site, "globex.example.test").await
    }

    /// The same for a second client of this host.
    pub(crate) async fn of(site: &Site, host: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = Protocol::BOTH.map(|protocol| {
            let (shared, edge, host) = (Arc::clone(&shared), site.edge.clone(), host.to_owned());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(client(&shared, &edge, protocol, &host));
            })
        });
        let pid = site.portico.pid();
        let mut watch = Self {
            shared,
            threads: threads.into(),
            pid,
            before: Usage::of(pid),
            began: Instant::now(),
        };
        // What the first requests cost (tables, pools, pages of the program) is nobody's attack.
        watch.enough().await;
        watch.shared.lock_latencies().clear();
        Usage::reset_peak(pid);
        watch.before = Usage::of(pid);
        watch.began = Instant::now();
        watch
    }

    /// Waits until the second client has had enough answers from now on for a verdict.
    pub(crate) async fn enough(&self) {
        let wanted = self.shared.answered.load(Ordering::SeqCst) + ENOUGH;
        wait::until_async("answers for the second client", async || {
            (self.shared.answered.load(Ordering::SeqCst) >= wanted || self.shared.failed())
                .then_some(())
        })
        .await;
    }

    /// What the process uses now.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.pid)
    }

    /// Processor time of the proxy since the watch began.
    pub(crate) fn cpu(&self) -> Duration {
        self.usage().cpu.saturating_sub(self.before.cpu)
    }

    /// Ends the second client and tells.
    pub(crate) async fn finish(self) -> Report {
        self.shared.stop.store(true, Ordering::SeqCst);
        let (after, elapsed) = (Usage::of(self.pid), self.began.elapsed());
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .for_each(|thread| thread.join().expect("no second client panics"));
        });
        wait::within("the second client to end", joined)
            .await
            .expect("no second client panics");
        let mut latencies = std::mem::take(&mut *self.shared.lock_latencies());
        latencies.sort_unstable();
        let failures = self
            .shared
            .failures
            .lock()
            .expect("never held over a panic")
            .clone();
        Report {
            latencies,
            failures,
            grown: after.peak.saturating_sub(self.before.resident),
            cpu: after.cpu.saturating_sub(self.before.cpu),
            elapsed,
        }
    }
}

impl Shared {
    fn lock_latencies(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.latencies.lock().expect("never held over a panic")
    }

    fn failed(&self) -> bool {
        !self
            .failures
            .lock()
            .expect("never held over a panic")
            .is_empty()
    }
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Report {
    /// Of the second client's requests, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// Of the second client.
    pub(crate) failures: Vec<String>,
    /// Growth of the proxy's memory at its peak, in KiB.
    pub(crate) grown: u64,
    /// Processor time of the proxy, the second client's share included.
    pub(crate) cpu: Duration,
    /// Length of the watch.
    pub(crate) elapsed: Duration,
}

impl Report {
    /// The latency that this many of 1,000 answers do not exceed.
    pub(crate) fn permille(&self, permille: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies
            .get(last * permille / 1_000)
            .copied()
            .unwrap_or(Duration::MAX)
    }

    /// Fails the test unless the proxy stayed small and the second client was served well throughout. Says the figures.
    pub(crate) fn assert_held(&self, what: &str) {
        let figures = format!(
            "{what}: {} answers, p50 {:?}, p99 {:?}, worst {:?}; grown by {} KiB; CPU {:?} in {:?}",
            self.latencies.len(),
            self.permille(500),
            self.permille(990),
            self.permille(1_000),
            self.grown,
            self.cpu,
            self.elapsed
        );
        eprintln!("{figures}");
        assert!(self.failures.is_empty(), "{figures}: {:?}", self.failures);
        assert!(self.latencies.len() >= ENOUGH, "too few answers: {figures}");
        assert!(self.permille(990) < MOST_P99, "slow: {figures}");
        assert!(self.grown < MOST_GROWTH, "large: {figures}");
    }
}

/// One request after the other, with a pause in between. The time of a new connection counts to its first request.
async fn client(shared: &Shared, edge: &Edge, protocol: Protocol, host: &str) {
    while !shared.stop.load(Ordering::SeqCst) {
        let mut began = Instant::now();
        let mut connection = edge.connect(protocol, host).await;
        for _ in 0..ON_ONE {
            match connection.request("GET", "/second").try_send().await {
                Ok(answer) if answer.status == 200 => {
                    shared.lock_latencies().push(began.elapsed());
                    shared.answered.fetch_add(1, Ordering::SeqCst);
                }
                other => {
                    let what = match other {
                        Ok(answer) => format!("{protocol:?}: status {}", answer.status),
                        Err(error) => format!("{protocol:?}: {error}"),
                    };
                    shared
                        .failures
                        .lock()
                        .expect("never held over a panic")
                        .push(what);
                    return;
                }
            }
            if shared.stop.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            began = Instant::now();
        }
    }
}

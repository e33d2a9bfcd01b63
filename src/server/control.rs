//! The control plane: one small runtime that waits for signals and publishes what has changed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use super::reload::Done;
use super::{Running, StartError, admin, memory, systemd, upstreams};

/// How often certificates and tenants are looked at for changes.
const WATCH: Duration = Duration::from_secs(1);
/// How often the memory of the process is looked at: a flood fills much in a second.
const MEMORY: Duration = Duration::from_millis(250);
/// Longest wait for the access log to be written at the end.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Workers that have not ticked for this long are taken for dead by the watchdog.
const WORKER_SILENCE: Duration = Duration::from_secs(10);

impl Running {
    /// Serves until SIGTERM or SIGINT, then drains. `ready` is called once, when clients can be served.
    ///
    /// # Errors
    /// [`StartError`] if the control plane cannot be set up.
    pub fn run(self, ready: impl FnOnce(&Self)) -> Result<(), StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()?;
        let end = runtime.block_on(self.control(ready));
        // A look-up of a name may hang in the system's resolver; it holds nothing that matters.
        runtime.shutdown_timeout(Duration::from_millis(100));
        end
    }

    async fn control(mut self, ready: impl FnOnce(&Self)) -> Result<(), StartError> {
        let tasks = TaskTracker::new();
        let mut signals = Signals::new()?;
        if let Some(listener) = self.admin.take() {
            let source: Arc<dyn admin::AdminSource> = Arc::clone(&self.status) as _;
            let (inner, shutdown) = (tasks.clone(), self.shared.stop.clone());
            tasks.spawn(async move {
                if let Err(error) = admin::serve(listener, source, inner, shutdown).await {
                    tracing::error!(%error, "the admin listener has ended");
                }
            });
        }
        tasks.spawn(upstreams::watch(
            Arc::clone(&self.shared.current),
            tasks.clone(),
            self.shared.stop.clone(),
        ));
        let pulses = Pulses::new(self.pulses.clone());
        tasks.spawn(systemd::feed_watchdog(
            move || pulses.all_alive(),
            self.shared.stop.clone(),
        ));
        let mut announced = Announced {
            ready: Some(ready),
            text: String::new(),
        };
        let mut watch = ticking(WATCH);
        let memory = memory::Watch::new(self.shared.pressure.clone());
        let mut look = ticking(MEMORY);
        loop {
            announced.update(&self);
            for task in self.reload.new_sources() {
                tasks.spawn(self.shared.stop.clone().run_until_cancelled_owned(task));
            }
            tokio::select! {
                _ = watch.tick() => {
                    self.shared.accounts.sweep();
                    self.reload.watch();
                }
                done = self.reload.read() => match done {
                    Done::Tenants(ok) => self.status.note_tenants(ok),
                    Done::Reload(outcome) => self.reloaded(outcome, announced.ready.is_none()),
                },
                _ = look.tick() => memory.look(self.reload.config()),
                _ = signals.hangup.recv() => self.begin_reload(announced.ready.is_none()),
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
            }
        }
        self.drain(&mut signals).await;
        tasks.close();
        Ok(())
    }

    /// `told`: systemd has been told that we are ready, so it may hear of a reload.
    fn begin_reload(&mut self, told: bool) {
        if told {
            systemd::reloading();
        }
        if let Err(error) = self.access_log.reopen() {
            tracing::error!(%error, "cannot open the access log again; the old file is written on");
        }
        if let Err(error) = self.usage.reopen() {
            tracing::error!(%error, "cannot open the record of usage again; the old file is written on");
        }
        if let Err(error) = self.reload.start() {
            self.reloaded(Err(error), told);
        }
    }

    fn reloaded(&mut self, outcome: Outcome, told: bool) {
        self.status.note_reload(&outcome);
        match outcome {
            Ok(restart) => {
                self.status.note_config(self.reload.config());
                tracing::info!("configuration reloaded");
                for key in restart {
                    tracing::warn!(
                        key,
                        "changed, but takes a restart: `systemctl restart portico`"
                    );
                }
            }
            Err(error) => tracing::error!("nothing is changed by the reload: {error}"),
        }
        if told {
            systemd::ready(&self.status.line());
        }
    }

    async fn drain(self, signals: &mut Signals) {
        let longest = self.reload.config().server.drain_timeout;
        tracing::info!(longest = %crate::units::format_duration(longest), "draining");
        self.status.note_draining();
        systemd::stopping(&self.status.line());
        self.shared.drain.cancel();
        let mut workers = self.workers;
        let began = Instant::now();
        let mut look = ticking(Duration::from_millis(50));
        while !workers.iter().all(std::thread::JoinHandle::is_finished) {
            tokio::select! {
                _ = look.tick() => {}
                // A second signal means now.
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
            }
            if began.elapsed() >= longest {
                tracing::warn!(
                    open = self.shared.permits.open(),
                    "drain timeout; open connections are cut"
                );
                break;
            }
        }
        self.shared.stop.cancel();
        for worker in workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
        if !self.usage.close(LAST_LINES) {
            tracing::warn!("the last of the usage could not be written in time");
        }
        drop((self.status, self.reload));
        if let Some(log) = Arc::into_inner(self.access_log)
            && !log.close(LAST_LINES)
        {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
    }
}

/// What systemd and the caller have been told.
struct Announced<F> {
    ready: Option<F>,
    text: String,
}

impl<F: FnOnce(&Running)> Announced<F> {
    fn update(&mut self, running: &Running) {
        let text = running.status.line();
        if text != self.text {
            systemd::status(&text);
            self.text = text;
        }
        if self.ready.is_some() && running.status.is_serving() {
            systemd::ready(&self.text);
            tracing::info!(status = %self.text, "ready");
            if let Some(ready) = self.ready.take() {
                ready(running);
            }
        }
    }
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Whether the workers turn: the watchdog is fed only while all of them do.
struct Pulses {
    pulses: Vec<Arc<AtomicU64>>,
    /// Asked by one task only; a lock because tasks of this runtime may move between threads.
    seen: Mutex<Vec<(u64, Instant)>>,
}

impl Pulses {
    fn new(pulses: Vec<Arc<AtomicU64>>) -> Self {
        let seen = Mutex::new(vec![(0, Instant::now()); pulses.len()]);
        Self { pulses, seen }
    }

    fn all_alive(&self) -> bool {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alive = true;
        for (pulse, (count, at)) in self.pulses.iter().zip(seen.iter_mut()) {
            let beat = pulse.load(Relaxed);
            if beat != *count {
                (*count, *at) = (beat, now);
            }
            alive &= now.duration_since(*at) < WORKER_SILENCE;
        }
        alive
    }
}

fn ticking(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// The reload's outcome: keys that take a restart, or why nothing has changed.
pub type Outcome = Result<Vec<&'static str>, super::reload::ReloadError>;

//! The one task that asks: on the control plane, some questions at a time, each under a deadline; and beside it what the source
//! has to do of its own.

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::cache::Started;
use super::{Memory, Reply, Said, Source};
use crate::host::Host;
use crate::tenant::directory::Health;

/// Questions under way at a time.
const AT_ONCE: usize = 32;

/// Whether the source answers.
#[derive(Debug)]
pub(super) struct Answers {
    name: &'static str,
    /// What is wrong, and since when.
    error: ArcSwapOption<(String, Instant)>,
    answered: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    unusable: AtomicU64,
    /// Nothing has been heard of the source yet, and it says itself when that changes.
    awaited: AtomicBool,
}

impl Answers {
    pub(super) fn new(name: &'static str, awaited: bool) -> Self {
        Self {
            name,
            error: ArcSwapOption::empty(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unusable: AtomicU64::new(0),
            awaited: AtomicBool::new(awaited),
        }
    }

    /// A question was not asked, because there are too many.
    pub(super) fn refused(&self) {
        // One line for the first and then ever fewer: a flood must not fill the log.
        let count = self.refused.fetch_add(1, Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(
                source = self.name,
                count,
                "more look-ups of tenants than `lookup_qps` lets through"
            );
        }
    }

    fn answered(&self) {
        self.answered.fetch_add(1, Relaxed);
        self.is_up();
    }

    pub(super) fn is_up(&self) {
        self.awaited.store(false, Relaxed);
        if self.error.load().is_some() && self.error.swap(None).is_some() {
            tracing::info!(source = self.name, "the source of tenants answers again");
        }
    }

    /// The source answers, but not what can be taken.
    fn unusable(&self, host: &Host, reason: &str) {
        self.failed.fetch_add(1, Relaxed);
        let count = self.unusable.fetch_add(1, Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(source = self.name, %host, count, "a row of the source of tenants cannot be taken: {reason}");
        }
    }

    pub(super) fn failed(&self, error: impl Display) {
        self.failed.fetch_add(1, Relaxed);
        let error = error.to_string();
        let before = self.error.load_full();
        if before.is_none() {
            tracing::error!(
                source = self.name,
                "the source of tenants does not answer: {error}"
            );
        }
        let since = before.map_or_else(Instant::now, |before| before.1);
        let first = error.lines().next().unwrap_or_default().to_owned();
        self.error.store(Some(Arc::new((first, since))));
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let error = self.error.load_full()?;
        Some(format!(
            "the source `{}` does not answer: {}",
            self.name, error.0
        ))
    }

    /// There is no list that could be known or not: it is as old as the trouble. A source that is awaited has no age.
    pub(super) fn health(&self) -> Health {
        let error = self.error.load_full();
        let age = error
            .as_ref()
            .map_or(Duration::ZERO, |error| error.1.elapsed());
        Health {
            source: self.name,
            up: error.is_none() && !self.awaited.load(Relaxed),
            age: (!self.awaited.load(Relaxed)).then_some(age),
            loads: 0,
            failures: self.failed.load(Relaxed),
            refused: 0,
            changes: self.answered.load(Relaxed),
            bad_rows: 0,
        }
    }
}

/// A question for the task. However it ends, who waits is told.
pub(super) struct Job {
    started: Started,
    memory: Arc<Memory>,
    told: bool,
}

impl Job {
    pub(super) fn new(started: Started, memory: Arc<Memory>) -> Self {
        Self {
            started,
            memory,
            told: false,
        }
    }

    fn tell(&mut self, reply: Option<Reply>) {
        self.told = true;
        let cache = &self.memory.cache;
        cache.finish(&mut self.started, reply, Instant::now());
    }
}

impl Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.started.fmt(f)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.told {
            self.tell(None);
        }
    }
}

/// Asks until the directory is gone.
pub(super) async fn run<S: Source>(
    source: Arc<S>,
    queue: Receiver<Job>,
    memory: Arc<Memory>,
    longest: Duration,
) {
    tokio::select! {
        () = answer(Arc::clone(&source), queue, longest) => {}
        never = source.keep(&memory) => match never {},
    }
}

async fn answer<S: Source>(source: Arc<S>, mut queue: Receiver<Job>, longest: Duration) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            job = queue.recv(), if under_way.len() < AT_ONCE => {
                let Some(mut job) = job else { break };
                // The source is slow, and who waits has waited long enough.
                if job.started.since.elapsed() >= longest {
                    job.memory.answers.failed("it is too slow for the questions that there are");
                    job.tell(None);
                    continue;
                }
                let source = Arc::clone(&source);
                under_way.spawn(async move { one(&*source, job, longest).await });
            }
            Some(_ended) = under_way.join_next() => {}
        }
    }
}

async fn one<S: Source>(source: &S, mut job: Job, longest: Duration) {
    let asked = timeout(longest, source.ask(&job.started.host, job.started.tag())).await;
    let answers = &job.memory.answers;
    let reply = match asked {
        Ok(Ok(reply)) => {
            answers.answered();
            if let Said::Unusable(reason) = &reply.said {
                answers.unusable(&job.started.host, reason);
            }
            Some(reply)
        }
        Ok(Err(error)) => {
            answers.failed(error);
            None
        }
        Err(_elapsed) => {
            let longest = crate::units::format_duration(longest);
            answers.failed(format_args!("no answer within {longest}"));
            None
        }
    };
    job.tell(reply);
}

//! The one task that asks: on the control plane, some questions at a time, each under a deadline.

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::cache::{Cache, Started};
use super::{Reply, Source};
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
}

impl Answers {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            error: ArcSwapOption::empty(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
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
        if self.error.load().is_some() && self.error.swap(None).is_some() {
            tracing::info!(source = self.name, "the source of tenants answers again");
        }
    }

    fn failed(&self, error: impl Display) {
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
        self.error.store(Some(Arc::new((error, since))));
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let error = self.error.load_full()?;
        Some(format!(
            "the source `{}` does not answer: {}",
            self.name, error.0
        ))
    }

    /// There is no list that could be known or not: it is as old as the trouble.
    pub(super) fn health(&self) -> Health {
        let error = self.error.load_full();
        Health {
            source: self.name,
            up: error.is_none(),
            age: Some(error.map_or(Duration::ZERO, |error| error.1.elapsed())),
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
    cache: Arc<Cache>,
    answers: Arc<Answers>,
    told: bool,
}

impl Job {
    pub(super) fn new(started: Started, cache: Arc<Cache>, answers: Arc<Answers>) -> Self {
        Self {
            started,
            cache,
            answers,
            told: false,
        }
    }

    fn tell(&mut self, reply: Option<Reply>) {
        self.told = true;
        self.cache.finish(&mut self.started, reply, Instant::now());
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
pub(super) async fn run<S: Source>(source: Arc<S>, mut queue: Receiver<Job>, longest: Duration) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            job = queue.recv(), if under_way.len() < AT_ONCE => {
                let Some(mut job) = job else { break };
                // The source is slow, and who waits has waited long enough.
                if job.started.since.elapsed() >= longest {
                    job.answers.failed("it is too slow for the questions that there are");
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
    let reply = match asked {
        Ok(Ok(reply)) => {
            job.answers.answered();
            Some(reply)
        }
        Ok(Err(error)) => {
            job.answers.failed(error);
            None
        }
        Err(_elapsed) => {
            let longest = crate::units::format_duration(longest);
            job.answers
                .failed(format_args!("no answer within {longest}"));
            None
        }
    };
    job.tell(reply);
}

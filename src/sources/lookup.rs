//! Look-up mode: a source that is asked host by host, and what is remembered of its answers.
//!
//! For sources that are too large to be loaded or cannot list what they know. [`open`] makes a directory of anything that can
//! be asked for one host ([`Source`]). Rules:
//!
//! - a tenant is served for `positive_ttl`; from four fifths of it on, a request asks again in the background;
//! - "nobody" is believed for `negative_ttl`;
//! - requests for one host wait for one question, and all hosts together ask at most `lookup_qps` times a second;
//! - while the source fails, a tenant that is known goes on being served (until `max_stale`), and a host that was never seen is
//!   [`Answer::Unavailable`]: never nobody's, since that would be believed.
//!
//! Memory is bounded whatever hosts are asked for. The request path does no I/O: it reads a shard of the memory, or waits for the
//! task on the control plane, which ends when the directory is dropped.

mod budget;
mod cache;
mod ring;
mod task;

use std::convert::Infallible;
use std::fmt::{self, Display};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::budget::Budget;
use self::cache::{Cache, Joined, Peek};
use self::task::{Answers, Job};
use super::Opened;
use crate::config::Lookup as Settings;
use crate::host::Host;
use crate::tenant::Tenant;
use crate::tenant::directory::{Answer, Asking, Directory, Health, Kept};
use crate::tenant::row::Row;

/// Questions that wait for the task; more are not asked.
const QUEUE: usize = 1024;

/// Something that can be asked for one host. Used from the control plane only.
pub trait Source: Send + Sync + 'static {
    /// Why it did not answer, without secrets. The first line is shown; a hint for the log may follow.
    type Error: Display + Send;

    /// Whether it says by itself when it can be asked ([`Memory::is_up`]). No tenant can be served before that.
    const AWAITED: bool = false;

    /// Asks for `host`. `tag` is the mark of the version that is known ([`Reply::tag`]). The caller sees to the deadline, by
    /// dropping the future.
    fn ask(
        &self,
        host: &Host,
        tag: Option<&str>,
    ) -> impl Future<Output = Result<Reply, Self::Error>> + Send;

    /// Work of its own beside the questions, such as a connection that is kept, until the directory is gone. None, unless a
    /// source has some.
    fn keep(&self, _memory: &Memory) -> impl Future<Output = Infallible> + Send {
        std::future::pending()
    }
}

/// What a source says of a host.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The answer.
    pub said: Said,
    /// The source's mark of this version, for the next question.
    pub tag: Option<Box<str>>,
    /// How long it is good, if the source has an opinion; between 1 s and a day.
    pub max_age: Option<Duration>,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Said {
    /// It is this tenant's.
    Tenant(Arc<Tenant>),
    /// It is nobody's.
    Nobody,
    /// What it said last, by the mark of the question.
    Same,
    /// It has something of this host, but nothing that can be taken, and this is why. The host keeps what it had.
    Unusable(String),
}

/// What is remembered, for a source that hears of changes and knows whether it can be asked.
#[derive(Debug)]
pub struct Memory {
    cache: Cache,
    answers: Answers,
}

impl Memory {
    /// As [`Directory::forget`].
    pub fn forget(&self, host: Option<&Host>) {
        let now = Instant::now();
        match host {
            Some(host) => self.cache.forget(host, now),
            None => self.cache.forget_all(now),
        }
    }

    /// The source can be asked.
    pub fn is_up(&self) {
        self.answers.is_up();
    }

    /// The source cannot be asked.
    pub fn is_down(&self, error: impl Display) {
        self.answers.failed(error);
    }
}

impl Reply {
    /// The answer of a source that has a row of the host, or none.
    ///
    /// # Errors
    /// A row without id, or one that lists hosts and not this one: no request may reach a stranger because a source is mixed up.
    pub fn of(host: &Host, row: Option<&Row>) -> Result<Self, &'static str> {
        let Some(row) = row else {
            return Ok(Said::Nobody.into());
        };
        if row
            .hosts
            .as_ref()
            .is_some_and(|hosts| !hosts.contains(host))
        {
            return Err("the row is of another host");
        }
        let tenant = row.tenant().ok_or("the row has no `id`")?;
        Ok(Said::Tenant(Arc::new(tenant)).into())
    }
}

impl From<Said> for Reply {
    fn from(said: Said) -> Self {
        Self {
            said,
            tag: None,
            max_age: None,
        }
    }
}

/// The directory of a source. Its task has to be spawned on the control plane.
#[must_use]
pub fn open(name: &'static str, settings: &Settings, source: impl Source) -> Opened {
    let (directory, task) = Lookup::new(name, settings, source);
    Opened {
        directory: Arc::new(directory),
        task: Some(Box::pin(task)),
    }
}

/// What a source has said.
pub struct Lookup {
    name: &'static str,
    memory: Arc<Memory>,
    budget: Budget,
    jobs: mpsc::Sender<Job>,
}

impl Lookup {
    fn new<S: Source>(
        name: &'static str,
        settings: &Settings,
        source: S,
    ) -> (Self, impl Future<Output = ()> + Send + use<S>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let memory = Arc::new(Memory {
            cache: Cache::new(settings.clone()),
            answers: Answers::new(name, S::AWAITED),
        });
        let lookup = Self {
            name,
            memory: Arc::clone(&memory),
            budget: Budget::new(settings.lookup_qps, Instant::now()),
            jobs,
        };
        let task = task::run(Arc::new(source), queue, memory, settings.timeout);
        (lookup, task)
    }

    /// Who waits gets the answer by the receiver; the other way round it is there.
    fn join(&self, host: &Host, ahead: bool) -> Result<Answer, watch::Receiver<Option<Answer>>> {
        let now = Instant::now();
        // First of all: a place in the queue, so that what has been begun is also asked.
        let mut place = None;
        let joined = self.memory.cache.join(host, ahead, now, |known| {
            place = self.jobs.try_reserve().ok();
            place.is_some() && self.budget.take(known, now)
        });
        match (joined, place) {
            (Joined::Known(answer), _) => Ok(answer),
            (Joined::Waits(answer), _) => Err(answer),
            (Joined::Refused(left), _) => {
                self.memory.answers.refused();
                Ok(left)
            }
            (Joined::Starts(started), place) => {
                let answer = started.waits.clone();
                let job = Job::new(*started, Arc::clone(&self.memory));
                if let Some(place) = place {
                    place.send(job);
                }
                Err(answer)
            }
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("name", &self.name)
            .field("sizes", &self.memory.cache.sizes())
            .finish_non_exhaustive()
    }
}

impl Directory for Lookup {
    fn by_host(&self, host: &Host) -> Answer {
        match self.memory.cache.peek(host, Instant::now()) {
            Peek::Tenant(tenant, refresh) => {
                if refresh {
                    // Nobody waits for it.
                    drop(self.join(host, true));
                }
                Answer::Tenant(tenant)
            }
            Peek::Nobody => Answer::Nobody,
            Peek::Ask => Answer::Ask,
        }
    }

    fn ask(&self, host: &Host) -> Asking {
        match self.join(host, false) {
            Ok(answer) => Box::pin(std::future::ready(answer)),
            Err(mut answer) => Box::pin(async move {
                match answer.wait_for(Option::is_some).await {
                    Ok(answer) => answer.clone().unwrap_or(Answer::Unavailable),
                    Err(_ended) => Answer::Unavailable,
                }
            }),
        }
    }

    fn len(&self) -> Option<usize> {
        None
    }

    fn source(&self) -> &'static str {
        self.name
    }

    fn trouble(&self) -> Option<String> {
        self.memory.answers.trouble()
    }

    fn health(&self) -> Vec<Health> {
        vec![self.memory.answers.health()]
    }

    fn forget(&self, host: Option<&Host>) -> bool {
        self.memory.forget(host);
        true
    }

    fn kept(&self, host: &Host) -> (&'static str, Kept) {
        (self.name, self.memory.cache.kept(host, Instant::now()))
    }

    fn each(&self, visit: &mut dyn FnMut(&Host, &Tenant) -> bool) {
        self.memory.cache.each(visit);
    }
}

#[cfg(test)]
mod tests;

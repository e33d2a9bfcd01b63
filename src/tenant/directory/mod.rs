//! Tenant directories: which hosts and labels are whose.
//!
//! A directory answers on the request path, so it never waits: what it holds in memory it says at once, and where it would
//! have to ask somebody it says [`Answer::Ask`]. Who wants to know then awaits [`Directory::ask`]. Directories without I/O
//! are here; those with sources of their own stand a floor above and use [`live::Live`] and [`table::Table`].

pub mod chain;
pub mod file;
pub mod live;
pub mod pattern;
pub mod table;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::id::Tenant;
use crate::host::Host;

/// What a directory says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is this tenant's.
    Tenant(Arc<Tenant>),
    /// It is certainly nobody's.
    Nobody,
    /// The source has to be asked: await [`Directory::ask`].
    Ask,
    /// It cannot be known now: the source does not answer, and nothing is remembered of this host.
    Unavailable,
}

/// What a directory keeps of a host, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All rows are in memory: what it says is all there is.
    Listed,
    /// The source was asked that long ago, and a tenant was its answer.
    Remembered {
        /// Since then.
        age: Duration,
        /// Whether it need not be asked again yet.
        fresh: bool,
    },
    /// The source has said lately that it is nobody's.
    Absent,
    /// Nothing: the source has to be asked.
    Nothing,
}

/// The answer of a source that had to be asked; never [`Answer::Ask`].
pub type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// How a source that keeps itself true is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The source's name as in the configuration.
    pub source: &'static str,
    /// Whether it answers.
    pub up: bool,
    /// How long ago what is known was what the source says; `None`: nothing is known, so no tenant can be served.
    pub age: Option<Duration>,
    /// Full lists that were put into service.
    pub loads: u64,
    /// Connections and questions that have failed.
    pub failures: u64,
    /// Lists that were refused because they lack most of what is known.
    pub refused: u64,
    /// Hosts put right one by one.
    pub changes: u64,
    /// Rows of the last list that could not be taken.
    pub bad_rows: u64,
}

/// A set of tenants.
pub trait Directory: Debug + Send + Sync {
    /// What is known of exactly this host.
    fn by_host(&self, host: &Host) -> Answer;
    /// The tenant of `label` + `.` + a base domain, where no row names the host. The label is one label of a valid host
    /// name. Only directories without rows have an answer.
    fn by_label(&self, _label: &str) -> Option<Arc<Tenant>> {
        None
    }
    /// Asks the source of a host for which [`Self::by_host`] says [`Answer::Ask`]. Bounded in time by the directory.
    fn ask(&self, host: &Host) -> Asking {
        let answer = self.by_host(host);
        Box::pin(std::future::ready(match answer {
            Answer::Ask => Answer::Unavailable,
            known => known,
        }))
    }
    /// Whether an answer holds as long as the directory lives: there is nothing that could change it.
    fn is_constant(&self) -> bool {
        false
    }
    /// Hands each host of a row that no wildcard of a base domain covers to `visit`: elsewhere, or more than one label below.
    /// Directories that do not hold all their rows hand out none.
    fn custom_hosts(&self, _visit: &mut dyn FnMut(&Host)) {}
    /// How many tenants there are, if they are counted.
    fn len(&self) -> Option<usize>;
    /// Whether there certainly is no tenant.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
    /// The source's name as in the configuration.
    fn source(&self) -> &'static str;
    /// Forgets what its source has said of this host, or of all, so that the next request asks. What was known serves on
    /// while the source does not answer. Returns whether there is anything that can be forgotten.
    fn forget(&self, _host: Option<&Host>) -> bool {
        false
    }
    /// What it keeps of `host`, and which source that is.
    fn kept(&self, _host: &Host) -> (&'static str, Kept) {
        (self.source(), Kept::Listed)
    }
    /// Calls `visit` with each host that is in memory and its tenant, in no order, until it returns `false`. For people, not
    /// for the request path.
    fn each(&self, _visit: &mut dyn FnMut(&Host, &Tenant) -> bool) {}
    /// Why it cannot be relied on now, in one line; `None` if all is well.
    fn trouble(&self) -> Option<String> {
        None
    }
    /// How the sources that keep themselves true are doing; empty where there is nothing to tell.
    fn health(&self) -> Vec<Health> {
        Vec::new()
    }
    /// Has everything compared with the source soon; with `force`, even if most of it would go. Returns whether there is a source
    /// that can be compared.
    fn resync(&self, _force: bool) -> bool {
        false
    }
}

impl From<Option<Arc<Tenant>>> for Answer {
    fn from(found: Option<Arc<Tenant>>) -> Self {
        found.map_or(Self::Nobody, Self::Tenant)
    }
}

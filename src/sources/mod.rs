//! Where tenants come from: opens the sources that the configuration names and keeps them true.
//!
//! A source that changes by itself is opened once and outlives reloads as long as its settings stay the same, so that no
//! reload forgets what it knows. Its work runs on the control plane's runtime ([`Sources::start`]) and publishes into its own
//! directory; the request path only reads. It ends when nobody has the directory any more. Opening never waits for a network:
//! a source that has not heard from its database yet says that it cannot know, not that there is nobody.

pub mod postgres;
pub mod rows;
pub mod saved;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use thiserror::Error;

use crate::config::{Config, TenantSource};
use crate::host::Host;
use crate::tenant::directory::Directory;
use crate::tenant::directory::chain::Chain;
use crate::tenant::directory::file::{FileDirectory, FileError};
use crate::tenant::directory::pattern::Pattern;

/// Why a source cannot be opened.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The tenant file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] postgres::DsnError),
}

/// What keeps a source true. It has to end soon when its directory is dropped, so it holds no strong reference to it while
/// it waits.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source that has been opened.
pub struct Opened {
    /// What it knows.
    pub directory: Arc<dyn Directory>,
    /// Its work, if it changes by itself.
    pub task: Option<Task>,
}

/// The sources in use.
#[derive(Default)]
pub struct Sources {
    /// Those that outlive a reload, with the settings that they were opened by.
    open: Vec<(TenantSource, Weak<dyn Directory>)>,
    waiting: Vec<Task>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open: Vec<_> = self.open.iter().map(|(source, _)| source).collect();
        f.debug_struct("Sources")
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// The directory of a configuration: its sources, those that are open already and those that are new.
    ///
    /// # Errors
    /// [`SourceError`]; what is in use stays in use.
    pub fn directory(&mut self, config: &Config) -> Result<Arc<dyn Directory>, SourceError> {
        let place = Place {
            bases: &config.domains,
            state_dir: &config.state_dir,
            reserved: &config.tenants.reserved,
        };
        let mut directories = Vec::new();
        for source in &config.tenants.sources {
            directories.push(self.get(source, &place)?);
        }
        match <[_; 1]>::try_from(directories) {
            Ok([only]) => Ok(only),
            Err(several) => Ok(Arc::new(Chain::new(several))),
        }
    }

    /// Hands out the work of the sources that were opened since the last call, to be spawned.
    pub fn start(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.waiting)
    }

    fn get(
        &mut self,
        source: &TenantSource,
        place: &Place<'_>,
    ) -> Result<Arc<dyn Directory>, SourceError> {
        self.open
            .retain(|(_, directory)| directory.strong_count() > 0);
        let known = self.open.iter().find(|(known, _)| known == source);
        if let Some(directory) = known.and_then(|(_, directory)| directory.upgrade()) {
            return Ok(directory);
        }
        let Opened { directory, task } = open(source, place)?;
        if let Some(task) = task {
            self.open.push((source.clone(), Arc::downgrade(&directory)));
            self.waiting.push(task);
        }
        Ok(directory)
    }
}

/// What every source may need to know of the rest of the configuration.
#[derive(Debug)]
pub struct Place<'c> {
    /// The base domains.
    pub bases: &'c [Host],
    /// Where a source may keep what it knows over a restart.
    pub state_dir: &'c Path,
    /// Labels that are never tenants by pattern.
    pub reserved: &'c [String],
}

fn open(source: &TenantSource, place: &Place<'_>) -> Result<Opened, SourceError> {
    Ok(match source {
        TenantSource::Pattern => Opened {
            directory: Arc::new(Pattern::new(place.reserved)),
            task: None,
        },
        TenantSource::File(path) => Opened {
            directory: Arc::new(FileDirectory::load(path, place.bases)?),
            task: None,
        },
        TenantSource::Postgres(settings) => postgres::open(settings, place)?,
    })
}

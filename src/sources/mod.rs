//! Where tenants come from: opens the sources that the configuration names and keeps them true.
//!
//! A source that changes by itself is opened once and outlives reloads as long as its settings stay the same, so that no
//! reload forgets what it knows. Its work runs on the control plane's runtime ([`Sources::start`]) and publishes into its own
//! directory; the request path only reads. It ends when nobody has the directory any more. Opening never waits for a network:
//! a source that has not heard from its database yet says that it cannot know, not that there is nobody.

mod http;
pub mod lookup;
pub mod postgres;
pub mod rows;
pub mod saved;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Weak};

use thiserror::Error;

use self::http::Http;
pub use self::http::HttpError;
use crate::config::{Config, SchemaTemplate, TenantSource};
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
    /// The address that is asked.
    #[error(transparent)]
    Http(#[from] HttpError),
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
    /// Those that outlive a reload, with what they were opened by.
    open: Vec<(Opening, Weak<dyn Directory>)>,
    waiting: Vec<Task>,
}

/// All that makes a source another one: labels stand below the base domains, and what is known is saved in the state
/// directory.
#[derive(Debug, PartialEq, Eq)]
struct Opening {
    source: TenantSource,
    bases: Vec<Host>,
    state_dir: PathBuf,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open: Vec<_> = self.open.iter().map(|(opening, _)| opening).collect();
        f.debug_struct("Sources")
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// The directory of a configuration: its sources, those that are open already and those that are new. Reads what has to
    /// be read.
    ///
    /// # Errors
    /// [`SourceError`]; what is in use stays in use.
    pub fn directory(&mut self, config: &Config) -> Result<Arc<dyn Directory>, SourceError> {
        let read = Reading::new(config).run()?;
        self.directory_of(config, read)
    }

    /// The same of files that have been read already.
    ///
    /// # Errors
    /// [`SourceError`]; what is in use stays in use.
    pub fn directory_of(
        &mut self,
        config: &Config,
        read: Read,
    ) -> Result<Arc<dyn Directory>, SourceError> {
        let place = Place {
            bases: &config.domains,
            state_dir: &config.state_dir,
            reserved: &config.tenants.reserved,
            schema: config.tenants.identity.schema.as_ref(),
        };
        let mut directories = Vec::new();
        for source in &config.tenants.sources {
            let from_file = read
                .0
                .iter()
                .find(|(path, _)| matches!(source, TenantSource::File(named) if named == path));
            directories.push(match from_file {
                Some((_, directory)) => Arc::clone(directory),
                None => self.get(source, &place)?,
            });
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
        let opening = Opening {
            source: source.clone(),
            bases: place.bases.to_vec(),
            state_dir: place.state_dir.to_owned(),
        };
        let known = self.open.iter().find(|(known, _)| *known == opening);
        if let Some(directory) = known.and_then(|(_, directory)| directory.upgrade()) {
            return Ok(directory);
        }
        let Opened { directory, task } = open(source, place)?;
        if let Some(task) = task {
            self.open.push((opening, Arc::downgrade(&directory)));
            self.waiting.push(task);
        }
        Ok(directory)
    }
}

/// The files that are to be read for a configuration. A long list takes seconds, so it is read where nobody waits.
#[derive(Debug)]
pub struct Reading {
    files: Vec<PathBuf>,
    bases: Vec<Host>,
}

/// Files that have been read.
#[derive(Debug)]
pub struct Read(Vec<(PathBuf, Arc<dyn Directory>)>);

impl Reading {
    /// Those that `config` names.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let files = config
            .tenants
            .sources
            .iter()
            .filter_map(|source| match source {
                TenantSource::File(path) => Some(path.clone()),
                _ => None,
            });
        Self {
            files: files.collect(),
            bases: config.domains.clone(),
        }
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`SourceError`] of the first that is not taken.
    pub fn run(self) -> Result<Read, SourceError> {
        let read = self.files.into_iter().map(|path| {
            let directory = FileDirectory::load(&path, &self.bases)?;
            Ok((path, Arc::new(directory) as Arc<dyn Directory>))
        });
        read.collect::<Result<_, SourceError>>().map(Read)
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
    /// The schema of tenants by pattern.
    pub schema: Option<&'c SchemaTemplate>,
}

fn open(source: &TenantSource, place: &Place<'_>) -> Result<Opened, SourceError> {
    Ok(match source {
        TenantSource::Pattern => Opened {
            directory: Arc::new(Pattern::new(place.reserved).with_schema(place.schema)),
            task: None,
        },
        TenantSource::File(path) => Opened {
            directory: Arc::new(FileDirectory::load(path, place.bases)?),
            task: None,
        },
        TenantSource::Postgres(settings) => postgres::open(settings, place)?,
        TenantSource::Http(ask) => lookup::open("http", &ask.lookup, Http::new(ask, place.bases)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_outlives_a_reload_until_its_settings_or_the_domains_change() {
        let config = |domain: &str, path: &str| {
            let text = format!(
                "domains = [\"{domain}\"]\nacme.run = \"off\"\nupstream.servers = [\"http://127.0.0.1:1\"]\n\
                 tenants.source = \"http\"\ntenants.http.url = \"http://127.0.0.1:1/{path}\"\n"
            );
            Config::parse(&text, Path::new("portico.toml")).unwrap()
        };
        let mut sources = Sources::default();
        let mut open = |config: &Config| sources.directory(config).unwrap();
        let first = open(&config("example.com", "ask"));
        let again = open(&config("example.com", "ask"));
        assert!(Arc::ptr_eq(&first, &again));
        for other in [config("example.org", "ask"), config("example.com", "who")] {
            assert!(!Arc::ptr_eq(&first, &open(&other)));
        }
    }
}

//! Reload: read, check and build everything, then one store. What fails changes nothing.
//!
//! A list of tenants may be long, so it is read on a thread of its own ([`Reload::start`], [`Reload::watch`]) while the control
//! plane goes on; [`Reload::read`] says when it is there. One reading at a time: a later one takes the place of an earlier.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;
use tokio::task::{JoinHandle, spawn_blocking};

use super::certs::Certs;
use super::most_connections;
use crate::cert::lineage::Lineage;
use crate::cert::live::Live;
use crate::config::{Config, ConfigError, TenantSource};
use crate::net::permit::Permits;
use crate::snapshot::{BuildError, Current, Snapshot};
use crate::sources::{Read, Reading, SourceError, Sources, Task};
use crate::tls::policy::{Policies, PolicyError};
use crate::upstream::Registry;

/// Why a reload changed nothing.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// There is no configuration file (the demo).
    #[error("there is no configuration file to read again")]
    NoFile,
    /// The file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Tenants.
    #[error(transparent)]
    Tenants(#[from] SourceError),
    /// The thread that read them has ended in a panic.
    #[error("the list of tenants was not read to its end")]
    Unread,
    /// What the file names.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The client CAs.
    #[error(transparent)]
    Tls(#[from] PolicyError),
}

/// Everything that a reload reads and publishes.
#[derive(Debug)]
pub struct Reload {
    config: Config,
    file: Option<PathBuf>,
    instance: String,
    registry: Registry,
    sources: Sources,
    current: Arc<Current>,
    live: Arc<Live>,
    permits: Arc<Permits>,
    certs: Option<Certs>,
    tenants_seen: Option<Stamp>,
    pending: Option<Pending>,
    generation: u64,
}

/// A reading under way.
#[derive(Debug)]
struct Pending {
    why: Why,
    config: Config,
    /// Of the list when it was begun, so that a change meanwhile is seen later.
    stamp: Option<Stamp>,
    read: JoinHandle<Result<Read, SourceError>>,
}

/// What a reading is for.
#[derive(Debug)]
enum Why {
    /// The list has changed.
    Tenants,
    /// A reload; with the keys that have changed but take a restart.
    Reload(Vec<&'static str>),
}

/// What a reading has come to.
#[derive(Debug)]
pub enum Done {
    /// The list had changed: whether it was taken.
    Tenants(bool),
    /// A reload is over.
    Reload(super::control::Outcome),
}

/// What generation 1 was built of, and what all others will be.
#[derive(Debug)]
pub struct Built {
    /// The configuration.
    pub config: Config,
    /// Tells this process from others.
    pub instance: String,
    /// What is known of app servers.
    pub registry: Registry,
    /// Where tenants come from.
    pub sources: Sources,
}

/// What changes when a file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        // Follows links, so a switched link is a change too.
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: meta.modified().ok(),
            length: meta.len(),
            inode: meta.ino(),
        })
    }
}

impl Reload {
    /// `built` is in effect as generation 1.
    #[must_use]
    pub fn new(
        built: Built,
        file: Option<PathBuf>,
        (current, live): (Arc<Current>, Arc<Live>),
        permits: Arc<Permits>,
        certs: Option<Certs>,
    ) -> Self {
        let Built {
            config,
            instance,
            registry,
            sources,
        } = built;
        let tenants_seen = tenant_file(&config).and_then(Stamp::of);
        Self {
            config,
            file,
            instance,
            registry,
            sources,
            current,
            live,
            permits,
            certs,
            tenants_seen,
            pending: None,
            generation: 1,
        }
    }

    /// The configuration in effect.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Reads the configuration again and begins to read what it names. Needs a runtime.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed.
    pub fn start(&mut self) -> Result<(), ReloadError> {
        let file = self.file.as_ref().ok_or(ReloadError::NoFile)?;
        let mut config = Config::load(file)?;
        let restart = keep_what_takes_a_restart(&self.config, &mut config);
        if self.pending.is_some() {
            // That reading is given up. If this one fails too, the next look at the list has to find it changed.
            self.tenants_seen = None;
        }
        self.begin(Why::Reload(restart), config);
        Ok(())
    }

    fn begin(&mut self, why: Why, config: Config) {
        let reading = Reading::new(&config);
        self.pending = Some(Pending {
            why,
            stamp: tenant_file(&config).and_then(Stamp::of),
            config,
            read: spawn_blocking(|| reading.run()),
        });
    }

    /// Waits for the reading that was begun last and puts it into effect; for ever, if there is none. May be dropped and called
    /// again.
    pub async fn read(&mut self) -> Done {
        let Some(pending) = &mut self.pending else {
            return std::future::pending().await;
        };
        let read = (&mut pending.read).await;
        let Some(pending) = self.pending.take() else {
            return std::future::pending().await;
        };
        let read = match read {
            Ok(read) => read.map_err(ReloadError::from),
            Err(_panicked) => Err(ReloadError::Unread),
        };
        let Pending {
            why, config, stamp, ..
        } = pending;
        match why {
            Why::Tenants => Done::Tenants(self.take_tenants(&config, read)),
            Why::Reload(restart) => {
                let taken = read.and_then(|read| self.take(config, read));
                if taken.is_ok() {
                    self.tenants_seen = stamp;
                }
                Done::Reload(taken.map(|()| restart))
            }
        }
    }

    fn take(&mut self, config: Config, read: Read) -> Result<(), ReloadError> {
        let before = Arc::clone(&self.current.load().tls);
        let tls = Arc::new(Policies::build(&config, &self.live, Some(&before))?);
        let snapshot = self.build(&config, tls, read)?;
        self.generation += 1;
        self.current.publish(snapshot);
        self.permits.set_limits(
            most_connections(&config),
            config.limits.connections_per_address,
        );
        if let Some(certs) = &self.certs {
            certs.load(&Lineage::all(&config));
        }
        self.config = config;
        Ok(())
    }

    fn take_tenants(&mut self, config: &Config, read: Result<Read, ReloadError>) -> bool {
        let tls = Arc::clone(&self.current.load().tls);
        match read.and_then(|read| self.build(config, tls, read)) {
            Ok(snapshot) => {
                self.generation += 1;
                tracing::info!(
                    tenants = snapshot.resolver.directory().len(),
                    "tenants read again"
                );
                self.current.publish(snapshot);
                true
            }
            Err(error) => {
                tracing::error!("the tenants stay as they were: {error}");
                false
            }
        }
    }

    fn build(
        &mut self,
        config: &Config,
        tls: Arc<Policies>,
        read: Read,
    ) -> Result<Snapshot, ReloadError> {
        let directory = self.sources.directory_of(config, read)?;
        let snapshot = Snapshot::build(
            config,
            self.generation + 1,
            &self.instance,
            &self.registry,
            tls,
            directory,
        )?;
        Ok(snapshot.with_keys(config)?)
    }

    /// The work of sources of tenants that are new since the last call, to be spawned.
    pub fn new_sources(&mut self) -> Vec<Task> {
        self.sources.start()
    }

    /// Looks for certificates and tenants that have changed on disk, and begins to read the latter. Needs a runtime.
    pub fn watch(&mut self) {
        if let Some(certs) = &mut self.certs {
            certs.refresh(&Lineage::all(&self.config));
        }
        // What is being read is newer than what was seen; if it changes meanwhile, the next look finds it.
        let Some(file) = tenant_file(&self.config).filter(|_| self.pending.is_none()) else {
            return;
        };
        let stamp = Stamp::of(file);
        if stamp != self.tenants_seen {
            // Noted also if the file is bad, so that one bad file is one line in the log and not one each second.
            self.tenants_seen = stamp;
            self.begin(Why::Tenants, self.config.clone());
        }
    }
}

fn tenant_file(config: &Config) -> Option<&Path> {
    config
        .tenants
        .sources
        .iter()
        .find_map(|source| match source {
            TenantSource::File(path) => Some(path.as_path()),
            TenantSource::Pattern | TenantSource::Postgres(_) | TenantSource::Http(_) => None,
        })
}

/// Settings that are bound to sockets, threads and files. They stay as they are, whole, and are named.
fn keep_what_takes_a_restart(old: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let mut keep = |key, changed: bool| {
        if changed {
            keys.push(key);
        }
    };
    keep("state_dir", old.state_dir != new.state_dir);
    keep("listen", old.listen != new.listen);
    keep("log", old.log != new.log);
    keep("metrics", old.metrics != new.metrics);
    keep("usage", old.usage != new.usage);
    keep("server.workers", old.server.workers != new.server.workers);
    keep("acme", old.acme != new.acme);
    keep("certs", old.certs != new.certs);
    keep("on_demand", old.on_demand != new.on_demand);
    new.state_dir.clone_from(&old.state_dir);
    new.listen = old.listen.clone();
    new.log = old.log.clone();
    new.metrics = old.metrics.clone();
    new.usage = old.usage.clone();
    new.server.workers = old.server.workers;
    new.acme = old.acme.clone();
    new.certs = old.certs.clone();
    new.on_demand = old.on_demand.clone();
    keys
}

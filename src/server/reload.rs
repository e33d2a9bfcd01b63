//! Reload: read, check and build everything, then one store. What fails changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;

use super::certs::Certs;
use super::most_connections;
use crate::cert::lineage::Lineage;
use crate::cert::live::Live;
use crate::config::{Config, ConfigError, TenantSource};
use crate::net::permit::Permits;
use crate::snapshot::{BuildError, Current, Snapshot};
use crate::sources::{SourceError, Sources, Task};
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
    generation: u64,
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
            generation: 1,
        }
    }

    /// The configuration in effect.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Reads the file again and puts it into effect. Returns the keys that have changed but take a restart.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed.
    pub fn run(&mut self) -> super::control::Outcome {
        let file = self.file.as_ref().ok_or(ReloadError::NoFile)?;
        let mut config = Config::load(file)?;
        let restart = keep_what_takes_a_restart(&self.config, &mut config);
        let before = Arc::clone(&self.current.load().tls);
        let tls = Arc::new(Policies::build(&config, &self.live, Some(&before))?);
        let snapshot = self.build(&config, tls)?;
        self.generation += 1;
        self.tenants_seen = tenant_file(&config).and_then(Stamp::of);
        self.current.publish(snapshot);
        self.permits.set_limits(
            most_connections(&config),
            config.limits.connections_per_address,
        );
        if let Some(certs) = &self.certs {
            certs.load(&Lineage::all(&config));
        }
        self.config = config;
        Ok(restart)
    }

    fn build(&mut self, config: &Config, tls: Arc<Policies>) -> Result<Snapshot, ReloadError> {
        let directory = self.sources.directory(config)?;
        Ok(Snapshot::build(
            config,
            self.generation + 1,
            &self.instance,
            &self.registry,
            tls,
            directory,
        )?)
    }

    /// The work of sources of tenants that are new since the last call, to be spawned.
    pub fn new_sources(&mut self) -> Vec<Task> {
        self.sources.start()
    }

    /// Looks for certificates and tenants that have changed on disk. Says whether tenants could be read, if they had
    /// changed.
    pub fn watch(&mut self) -> Option<bool> {
        if let Some(certs) = &mut self.certs {
            certs.refresh(&Lineage::all(&self.config));
        }
        let stamp = Stamp::of(tenant_file(&self.config)?);
        if stamp == self.tenants_seen {
            return None;
        }
        // Noted also if the file is bad, so that one bad file is one line in the log and not one each second.
        self.tenants_seen = stamp;
        let tls = Arc::clone(&self.current.load().tls);
        let config = self.config.clone();
        match self.build(&config, tls) {
            Ok(snapshot) => {
                self.generation += 1;
                tracing::info!(
                    tenants = snapshot.resolver.directory().len(),
                    "tenants read again"
                );
                self.current.publish(snapshot);
                Some(true)
            }
            Err(error) => {
                tracing::error!("the tenants stay as they were: {error}");
                Some(false)
            }
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
            TenantSource::Pattern => None,
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
    new.state_dir.clone_from(&old.state_dir);
    new.listen = old.listen.clone();
    new.log = old.log.clone();
    new.metrics = old.metrics.clone();
    new.usage = old.usage.clone();
    new.server.workers = old.server.workers;
    new.acme = old.acme.clone();
    new.certs = old.certs.clone();
    keys
}

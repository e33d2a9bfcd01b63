//! Assembly: workers, control plane, reload, drain, admin and systemd.
//!
//! [`start`] binds every socket, builds the first snapshot and starts the workers; what can fail, fails before the
//! first connection is accepted. [`Running::run`] is the control plane: it waits for signals, watches certificates and
//! tenants, and ends with a drain. It publishes and never touches a connection.

pub mod admin;
pub mod certs;
pub mod connection;
pub mod control;
pub mod memory;
pub mod on_demand;
pub mod reload;
pub mod renewals;
pub mod status;
pub mod systemd;
mod tenants;
pub mod upstreams;
pub mod worker;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::certs::{Certs, Faults, Origin};
use self::connection::{Door, HANDSHAKE};
use self::reload::{Built, Reload};
use self::status::Status;
use self::worker::{Own, REFUSED, Shared, Socket};
use crate::cert::lineage::Lineage;
use crate::cert::live::{Live, Table};
use crate::clock::UnixTime;
use crate::config::{AccessLog as AccessLogSetting, Config, Log, LogQuery};
use crate::net::access::Networks;
use crate::net::listener::{self, ListenError};
use crate::net::permit::Permits;
use crate::net::pressure::Pressure;
use crate::proxy::error::LABELS;
use crate::snapshot::{BuildError, Current, Snapshot};
use crate::sources::{SourceError, Sources};
use crate::telemetry::access::{AccessLog, AccessSink, Privacy};
use crate::telemetry::metrics::{Labels, Metrics};
use crate::telemetry::tenants::{self as usage, Collector};
use crate::tls::policy::{Policies, PolicyError};
use crate::upstream::Registry;

/// Files that the process keeps open besides connections: sockets, logs, certificates, the runtime's own.
const OTHER_FILES: u64 = 256;

/// What labels of metrics can say.
const METRIC_LABELS: Labels = Labels {
    refused: REFUSED,
    handshake: HANDSHAKE,
    upstream: LABELS,
    errors: LABELS,
};

/// Why the proxy does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The admin listener.
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    /// Tenants.
    #[error(transparent)]
    Tenants(#[from] SourceError),
    /// A value in the configuration.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The access log.
    #[error(
        "cannot open the access log: {0}\n  hint: the directory must exist and be writable for this user; see `log.access`"
    )]
    AccessLog(#[source] io::Error),
    /// The record of usage.
    #[error(transparent)]
    Usage(#[from] usage::StartError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] PolicyError),
    /// The system.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Where the certificates come from.
#[derive(Debug)]
pub enum CertSource {
    /// The store in the state directory.
    Store,
    /// These, which never change (the demo).
    Fixed(Table),
}

impl CertSource {
    /// Puts the first certificates into service; what keeps them in step, if anything does.
    fn begin(self, config: &Config, live: &Arc<Live>, faults: &Arc<Faults>) -> Option<Certs> {
        match self {
            Self::Store => {
                let mut certs =
                    Certs::new(Origin::new(config), Arc::clone(live), Arc::clone(faults));
                certs.refresh(&Lineage::all(config));
                Some(certs)
            }
            Self::Fixed(table) => {
                live.publish(table);
                None
            }
        }
    }
}

/// How to run.
#[derive(Debug)]
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// Read again on SIGHUP; none if there is no file.
    pub config_file: Option<PathBuf>,
    /// Certificates.
    pub certs: CertSource,
}

/// A proxy whose workers accept connections.
#[derive(Debug)]
pub struct Running {
    shared: Shared,
    workers: Vec<JoinHandle<()>>,
    pulses: Vec<Arc<AtomicU64>>,
    access_log: Arc<AccessLog>,
    usage: Arc<Collector>,
    admin: Option<admin::AdminListener>,
    status: Arc<Status>,
    reload: Reload,
    /// Addresses of the https listeners, as bound.
    pub https: Vec<SocketAddr>,
    /// Addresses of the plain listeners, as bound.
    pub http: Vec<SocketAddr>,
}

fn first_snapshot(
    config: &Config,
    instance: &str,
    registry: &Registry,
    live: &Arc<Live>,
    sources: &mut Sources,
) -> Result<Snapshot, StartError> {
    let tls = Arc::new(Policies::build(config, live, None)?);
    let directory = sources.directory(config)?;
    let snapshot = Snapshot::build(config, 1, instance, registry, tls, directory)?;
    Ok(snapshot.with_keys(config)?)
}

/// Binds, builds and starts.
///
/// # Errors
/// [`StartError`]; nothing is left behind.
pub fn start(options: Options) -> Result<Running, StartError> {
    let (config, config_file, certs) = (options.config, options.config_file, options.certs);
    let workers = config.server.workers.unwrap_or_else(cores);
    let instance = format!("{:08x}", random() >> 32);
    let registry = Registry::default();
    let live = Arc::new(Live::default());
    let mut sources = Sources::default();
    let snapshot = first_snapshot(&config, &instance, &registry, &live, &mut sources)?;
    let current = Arc::new(Current::new(snapshot));
    let faults = Arc::new(Faults::default());
    let certs = certs.begin(&config, &live, &faults);
    let domains = on_demand::begin(&config, &live);
    let (access_log, usage) = records(&config, &instance)?;
    let admin = admin::AdminListener::bind(&config.listen.admin)?;
    let mut bound = Bound::new(&config, workers)?;
    let most = most_connections(&config);
    let permits = Permits::new(most, config.limits.connections_per_address);
    let shared = Shared {
        current: Arc::clone(&current),
        live: Arc::clone(&live),
        permits: Arc::clone(&permits),
        pressure: Pressure::default(),
        accounts: Arc::default(),
        proxy_protocol: Arc::new(Networks::new(&config.listen.proxy_protocol)),
        drain: CancellationToken::new(),
        stop: CancellationToken::new(),
    };
    let (metrics, shards) = Metrics::new(workers, METRIC_LABELS);
    let mut threads = Vec::new();
    let mut pulses = Vec::new();
    for (index, metrics) in shards.into_iter().enumerate() {
        let pulse = Arc::new(AtomicU64::new(0));
        pulses.push(Arc::clone(&pulse));
        let own = Own {
            index,
            sockets: bound.take(index),
            log: access_log.writer(),
            metrics,
            used: usage.writer(),
            seed: random(),
            pulse,
        };
        threads.push(worker::start(shared.clone(), own)?);
    }
    let counters = domains.as_ref().map(on_demand::Start::counters);
    let status = Status::new(
        &config,
        workers,
        &bound,
        metrics,
        Arc::clone(&current),
        (Arc::clone(&live), faults, counters),
        (Arc::clone(&access_log), Arc::clone(&usage)),
    );
    if let Some(domains) = domains {
        domains.run(&config, &live, &current, shared.stop.clone())?;
    }
    let built = Built {
        config,
        instance,
        registry,
        sources,
    };
    let reload = Reload::new(built, config_file, (current, live), permits, certs);
    Ok(Running {
        shared,
        workers: threads,
        pulses,
        access_log,
        usage,
        admin,
        status: Arc::new(status),
        reload,
        https: bound.https,
        http: bound.http,
    })
}

/// The bound sockets, by worker.
struct Bound {
    sockets: Vec<Vec<Socket>>,
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
}

impl Bound {
    fn new(config: &Config, workers: usize) -> Result<Self, StartError> {
        let mut bound = Self {
            sockets: (0..workers).map(|_| Vec::new()).collect(),
            https: Vec::new(),
            http: Vec::new(),
        };
        let public = config.listen.public_port;
        for &address in &config.listen.https {
            let own = bound.bind(address, workers, |port| {
                let port = public.unwrap_or(port);
                Door {
                    https: true,
                    public_port: port,
                    https_port: port,
                }
            })?;
            bound.https.push(own);
        }
        let https_port = public
            .or_else(|| bound.https.first().map(SocketAddr::port))
            .unwrap_or(443);
        for &address in &config.listen.http {
            let own = bound.bind(address, workers, |port| Door {
                https: false,
                public_port: port,
                https_port,
            })?;
            bound.http.push(own);
        }
        Ok(bound)
    }

    fn bind(
        &mut self,
        address: SocketAddr,
        workers: usize,
        door: impl Fn(u16) -> Door,
    ) -> Result<SocketAddr, StartError> {
        let sockets = listener::bind(address, workers)?;
        let own = sockets
            .first()
            .map_or(Ok(address), std::net::TcpListener::local_addr)?;
        for (worker, socket) in self.sockets.iter_mut().zip(sockets) {
            worker.push(Socket {
                socket,
                door: door(own.port()),
            });
        }
        Ok(own)
    }

    fn take(&mut self, worker: usize) -> Vec<Socket> {
        self.sockets
            .get_mut(worker)
            .map(std::mem::take)
            .unwrap_or_default()
    }
}

fn access_log(setting: &Log) -> Result<AccessLog, StartError> {
    let sink = match &setting.access {
        AccessLogSetting::Off => AccessSink::Off,
        AccessLogSetting::Stdout => AccessSink::Stdout,
        AccessLogSetting::File(path) => AccessSink::File(path.clone()),
    };
    let privacy = Privacy {
        ipv4_bits: setting.mask_ipv4,
        ipv6_bits: setting.mask_ipv6,
        queries: setting.query == LogQuery::Keep,
    };
    AccessLog::start(sink, privacy).map_err(StartError::AccessLog)
}

/// What is written down of requests. The instance is that of `Via` and when the process started, so that no two runs of
/// the record of usage share one.
fn records(
    config: &Config,
    instance: &str,
) -> Result<(Arc<AccessLog>, Arc<Collector>), StartError> {
    let access_log = access_log(&config.log)?;
    let usage = Collector::start(usage::Setting {
        top: config.metrics.tenants,
        file: config.usage.file.clone(),
        interval: config.usage.interval,
        instance: format!("{instance}-{}", UnixTime::now().0),
    })?;
    Ok((Arc::new(access_log), Arc::new(usage)))
}

/// The cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Client connections at once: as set, or as many as the files allow when each needs a second one to the app.
/// The soft limit of files is raised to the hard one first.
fn most_connections(config: &Config) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!("the limit of open files cannot be raised to the hard limit");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    let derived = usize::try_from(files.saturating_sub(OTHER_FILES) / 2)
        .unwrap_or(usize::MAX)
        .max(16);
    config.limits.connections.unwrap_or(derived)
}

/// 64 bits nobody can foresee, from the standard library's own source of random keys.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

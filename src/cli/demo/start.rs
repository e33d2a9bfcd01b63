//! Starts the demo: sample app, certificate, proxy.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::super::args::Demo;
use super::super::{Exit, complain, say};
use super::acme::{self, AcmeDemoError};
use super::{RESERVED, TENANTS, app, banner};
use crate::cert::live::{CertName, Table};
use crate::cert::local_ca::{LocalCa, LocalCaError};
use crate::clock::UnixTime;
use crate::config::{AccessLog, AdminAddress, Apex, Config, Transport, UpstreamAddress};
use crate::host::{Host, HostError};
use crate::server::{self, CertSource, Options, Running, StartError};
use crate::telemetry::log::{self, Filter, Format, LogError};

/// Why the demo does not start.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The local CA.
    #[error(transparent)]
    Ca(#[from] LocalCaError),
    /// The way through ACME.
    #[error(transparent)]
    Acme(#[from] AcmeDemoError),
    /// The proxy.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The sample app.
    #[error("cannot start the sample app: {0}")]
    App(#[from] std::io::Error),
    /// Messages.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A name of the demo.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Runs the demo until Ctrl-C.
pub fn demo(options: &Demo) -> Exit {
    match run(options) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let hint = matches!(error, DemoError::Start(StartError::Listen(_)));
            complain(error);
            if hint {
                complain(
                    "the demo's ports are flags: `portico demo --https 127.0.0.1:9443 --http 127.0.0.1:9080`",
                );
            }
            Exit::Failed
        }
    }
}

fn run(options: &Demo) -> Result<(), DemoError> {
    log::init(Filter::parse("warn")?, Format::Text)?;
    let app = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    if options.acme {
        // Below a name of its own, since OpenSSL takes no wildcard right below a top-level name.
        let domain = Host::parse("portico.localhost")?;
        let mut config = config(options, domain, app.local_addr()?);
        let (_pebble, ca) = acme::obtain(&mut config, &options.dir.join("acme-demo"))?;
        return serve(config, CertSource::Store, app, &ca);
    }
    let domain = Host::parse("localhost")?;
    let ca = LocalCa::open(&options.dir.join("local-ca"), UnixTime::now())?;
    let served = ca.served(&names(&domain)?, UnixTime::now())?;
    let table = Table::new(vec![Arc::new(served)]);
    let config = config(options, domain, app.local_addr()?);
    serve(
        config,
        CertSource::Fixed(table),
        app,
        &ca.certificate_path(),
    )
}

/// `*.localhost` alone would do for browsers, but OpenSSL takes no wildcard right below a top-level name, so the
/// demo's hosts are named one by one as well.
fn names(domain: &Host) -> Result<Vec<CertName>, HostError> {
    let mut names = vec![
        CertName::Exact(domain.clone()),
        CertName::Wildcard(domain.clone()),
    ];
    for label in TENANTS.into_iter().chain([RESERVED]) {
        names.push(CertName::Exact(Host::parse(&format!("{label}.{domain}"))?));
    }
    Ok(names)
}

fn serve(config: Config, certs: CertSource, app: TcpListener, ca: &Path) -> Result<(), DemoError> {
    let domains = config.domains.clone();
    // Sockets first: a taken port is to be said before anything runs.
    let running = server::start(Options {
        config,
        config_file: None,
        certs,
    })?;
    let shutdown = CancellationToken::new();
    let stopped = shutdown.clone();
    let app = app::serve(app, Some(ca.to_owned()), async move {
        stopped.cancelled().await;
    })?;
    let text = banner(&urls(&running, &domains), ca);
    let served = running.run(|_| say(text));
    shutdown.cancel();
    if app.join().is_err() {
        complain("the sample app ended in a panic");
    }
    Ok(served?)
}

fn urls(running: &Running, domains: &[Host]) -> Vec<String> {
    let port = running.https.first().map_or(443, SocketAddr::port);
    let Some(domain) = domains.first() else {
        return Vec::new();
    };
    TENANTS
        .iter()
        .map(|tenant| format!("https://{tenant}.{domain}:{port}/"))
        .collect()
}

fn config(options: &Demo, domain: Host, app: SocketAddr) -> Config {
    let mut config = Config::for_domains(vec![domain]);
    config.listen.https = vec![options.https];
    config.listen.http = vec![options.http];
    config.listen.admin = AdminAddress::Off;
    config.tenants.apex = Apex::Tenant("public".to_owned());
    let app = UpstreamAddress::Tcp {
        transport: Transport::Http,
        host: app.ip().to_string(),
        port: app.port(),
    };
    config.upstream.servers = vec![app.into()];
    config.log.access = AccessLog::Off;
    config
}

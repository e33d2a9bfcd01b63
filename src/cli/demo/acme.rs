//! `portico demo --acme`: the true path to a certificate, on one machine.
//!
//! Starts a Pebble server (an ACME CA for tests) in strict mode, answers its DNS-01 questions from Portico's own
//! responder and obtains the wildcard as `portico cert issue` does. Pebble forgets everything when it ends, so the
//! certificate is ordered anew at each start.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io};

use serde_json::json;
use thiserror::Error;

use super::super::cert::{self, CertError, Order, Verdict};
use crate::acme::Trigger;
use crate::cert::disk;
use crate::cert::live::CertName;
use crate::cert::local_ca::{LocalCa, LocalCaError};
use crate::clock::UnixTime;
use crate::config::{AcmeRun, Config, Dns, DnsProvider};
use crate::host::{Host, HostError};

/// Longest wait for Pebble to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum AcmeDemoError {
    /// No Pebble.
    #[error(
        "`pebble` is not on PATH\n  hint: it is the test CA of Let's Encrypt: Debian's package `pebble`; or leave \
         out --acme"
    )]
    NoPebble,
    /// Pebble does not run.
    #[error("Pebble does not start\n  hint: `{0}` shows why")]
    Pebble(String),
    /// Its own certificate.
    #[error(transparent)]
    Ca(#[from] LocalCaError),
    /// A file or a port.
    #[error("cannot prepare Pebble: {0}")]
    System(#[from] io::Error),
    /// A name of the demo.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The order.
    #[error(transparent)]
    Cert(#[from] CertError),
    /// The order failed; why has been printed.
    #[error("no certificate was obtained")]
    NotIssued,
}

/// A running Pebble; ended when dropped.
#[derive(Debug)]
pub(super) struct Pebble(Child);

impl Drop for Pebble {
    fn drop(&mut self) {
        // It may have ended with the same Ctrl-C.
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

/// Obtains the wildcard for the configuration's domain into its state directory. Returns Pebble, to be kept as long as
/// the demo runs, and the file of the issuer that a client must trust.
///
/// # Errors
/// [`AcmeDemoError`].
pub(super) fn obtain(config: &mut Config, dir: &Path) -> Result<(Pebble, PathBuf), AcmeDemoError> {
    let program = find("pebble").ok_or(AcmeDemoError::NoPebble)?;
    let responder = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let ca = LocalCa::open(&dir.join("pebble"), UnixTime::now())?;
    let (pebble, directory) = start(&program, dir, &ca, responder)?;
    config.state_dir = dir.join("state");
    config.acme.directory = directory;
    config.acme.ca_file = Some(ca.certificate_path());
    config.acme.run = AcmeRun::Timer;
    config.acme.dns = Some(Dns {
        provider: DnsProvider::Responder {
            listen: vec![responder],
            name_server: None,
        },
        zone: None,
        propagation_floor: Duration::ZERO,
        propagation_timeout: Duration::from_secs(30),
        allow_dead_ns: false,
        resolvers: Vec::new(),
        nameservers: vec![responder],
        check_resolvers: Vec::new(),
        port: 53,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let order = Order {
        domain: None,
        trigger: Trigger::Force,
    };
    match runtime.block_on(cert::renew(config, order, &mut io::stdout()))? {
        Verdict::Fine => {}
        Verdict::Waiting | Verdict::Failed | Verdict::Blocked => {
            return Err(AcmeDemoError::NotIssued);
        }
    }
    let lineage = config.domains.first().map(Host::as_str).unwrap_or_default();
    let chain = config
        .state_dir
        .join("certs")
        .join(lineage)
        .join("current/chain.pem");
    Ok((pebble, chain))
}

fn start(
    program: &Path,
    dir: &Path,
    ca: &LocalCa,
    responder: SocketAddr,
) -> Result<(Pebble, String), AcmeDemoError> {
    let folder = absolute(&dir.join("pebble"))?;
    let names = [CertName::Exact(Host::parse("localhost")?)];
    // Written to `leaf.pem` and `leaf-key.pem` in the CA's folder.
    ca.leaf(&names, UnixTime::now())?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let config = json!({ "pebble": {
        "listenAddress": listen.to_string(),
        "managementListenAddress": SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)).to_string(),
        "certificate": folder.join("leaf.pem"),
        "privateKey": folder.join("leaf-key.pem"),
        "httpPort": 5002,
        "tlsPort": 5001,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
        "retryAfter": { "authz": 1, "order": 1 },
        "profiles": { "default": { "description": "90 days", "validityPeriod": 7_776_000 } },
    }});
    let file = folder.join("pebble.json");
    disk::write(&file, config.to_string().as_bytes(), disk::PRIVATE)?;
    let mut command = Command::new(program);
    command
        .args(["-strict", "-dnsserver", &responder.to_string(), "-config"])
        .arg(&file);
    command
        .env("PEBBLE_VA_NOSLEEP", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let shown = format!("{} -strict -config {}", program.display(), file.display());
    let mut pebble = Pebble(command.spawn()?);
    let began = Instant::now();
    while TcpStream::connect(listen).is_err() {
        if began.elapsed() > PATIENCE || pebble.0.try_wait()?.is_some() {
            return Err(AcmeDemoError::Pebble(shown));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((pebble, format!("https://localhost:{}/dir", listen.port())))
}

/// A program on PATH.
#[expect(
    clippy::disallowed_methods,
    reason = "PATH is no setting of ours but the shell's"
)]
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Pebble reads its paths from where it was started.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

/// A port free for TCP and UDP just now.
fn free_port() -> io::Result<u16> {
    for _ in 0..20 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

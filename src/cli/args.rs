//! What may stand on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::host::Host;

/// Edge proxy for multi-tenant SaaS: wildcard certificate by ACME DNS-01, TLS, and a tenant header nobody can forge.
#[derive(Debug, Parser)]
#[command(
    name = "portico",
    version,
    arg_required_else_help = true,
    after_help = "\
First steps:
  portico demo                                       try it, without configuration and without root
  portico check --config /etc/portico/portico.toml   find every mistake in a configuration
  portico cert issue --config /etc/portico/portico.toml
  portico run --config /etc/portico/portico.toml

Exit codes: 0 done or nothing to do; 1 failed; 2 wrong usage or configuration, or an operator is needed;
75 waiting, try again later."
)]
pub struct Args {
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve until SIGTERM; SIGHUP reads the configuration again
    Run(ConfigFile),
    /// Check a configuration, and everything it names, without serving
    Check(ConfigFile),
    /// Obtain, look at and import certificates
    #[command(subcommand)]
    Cert(Cert),
    /// List the DNS providers, try the configured one, remove what is left in DNS
    #[command(subcommand)]
    Dns(Dns),
    /// Serve a sample app on this machine with a certificate made here
    Demo(Demo),
    /// Print the version
    Version,
}

/// The configuration file.
#[derive(Debug, clap::Args)]
pub struct ConfigFile {
    /// Configuration file
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/portico/portico.toml"
    )]
    pub config: PathBuf,
}

/// What can be done with certificates.
#[derive(Debug, Subcommand)]
pub enum Cert {
    /// Obtain the certificates that are missing or due
    Issue(Renew),
    /// Renew the certificates that are due; run by the timer
    Renew(Renew),
    /// Show the certificates and what happens to them next
    Status(CertStatus),
    /// Put a certificate that you have into the store
    Import(Import),
}

/// Options of `cert issue` and `cert renew`.
#[derive(Debug, clap::Args)]
pub struct Renew {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// Also if it is not due, and whatever held it back
    #[arg(long)]
    pub force: bool,
}

/// Options of `cert status`.
#[derive(Debug, clap::Args)]
pub struct CertStatus {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `cert import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Certificate with its chain, in PEM
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// What can be done with DNS.
#[derive(Debug, Subcommand)]
pub enum Dns {
    /// List the providers, and the keys that each needs in its credentials file
    Providers,
    /// Add a TXT record, see it at every name server, remove it; no CA is asked
    Test(DnsTest),
    /// Remove the TXT records that runs left behind, as the ledger has them
    Cleanup(DnsCleanup),
}

/// Options of `dns test`.
#[derive(Debug, clap::Args)]
pub struct DnsTest {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
}

/// Options of `dns cleanup`.
#[derive(Debug, clap::Args)]
pub struct DnsCleanup {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<Host>,
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Address of the https listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub https: SocketAddr,
    /// Address of the listener that redirects to https
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// Where the demo keeps its certificate authority and certificates
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub dir: PathBuf,
    /// Get the certificate through ACME from a Pebble server on this machine (needs `pebble` on PATH)
    #[arg(long)]
    pub acme: bool,
}

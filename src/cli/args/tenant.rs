//! What may stand behind `portico tenant`.

use clap::Subcommand;

use super::ConfigFile;
use crate::host::Host;

/// What can be done with tenants. The running proxy is asked through its admin listener.
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// What a request for this host gets, and why: source, cache, tenant, certificate, answer
    ///
    /// Asks the source as a request would, if the host is not known.
    Explain(TenantHost),
    /// List hosts and their tenants, as far as they are in memory
    List(TenantList),
    /// Show one tenant by its id, slug or host
    Show(TenantName),
    /// Forget what the source has said, so that the next request asks it
    ///
    /// While the source does not answer, what it said last is served on.
    Purge(TenantPurge),
    /// Say how this tenant is suspended at its source, which Portico only reads
    Suspend(TenantName),
    /// Say how this tenant is set active again at its source
    Resume(TenantName),
}

/// Options of `tenant explain`.
#[derive(Debug, clap::Args)]
pub struct TenantHost {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The host of the request
    #[arg(value_name = "HOST")]
    pub host: Host,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `tenant list`.
#[derive(Debug, clap::Args)]
pub struct TenantList {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// At most so many hosts
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `tenant show`, `tenant suspend` and `tenant resume`.
#[derive(Debug, clap::Args)]
pub struct TenantName {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Id, slug or host
    #[arg(value_name = "NAME")]
    pub name: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `tenant purge`.
#[derive(Debug, clap::Args)]
pub struct TenantPurge {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// One host
    #[arg(
        value_name = "HOST",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub host: Option<Host>,
    /// All hosts
    #[arg(long)]
    pub all: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

//! What may stand behind `portico tenant`.

use std::path::PathBuf;

use clap::Subcommand;

use super::ConfigFile;
use crate::config::{Preset, TableName};
use crate::host::Host;

/// What can be done about tenants. The running proxy is asked through its admin listener.
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// What a request for this host gets, and why: source, cache, tenant, certificate, answer
    ///
    /// Asks the source as a request would, if the host is not known.
    Explain(TenantHost),
    /// List hosts and their tenants, as far as they are in memory
    ///
    /// A source that is asked host by host (`http`, or a database with `mode = "lookup"`) has no list: of it, only hosts that were
    /// asked for lately are shown.
    List(TenantList),
    /// Show one tenant by its id, slug or host
    Show(TenantName),
    /// Forget what the source has said, so that the next request asks it
    ///
    /// While the source does not answer, what it said last is served on. A database whose rows are all in memory is read
    /// again at once.
    Purge(TenantPurge),
    /// Suspend an active tenant: its row in the file of tenants is changed
    ///
    /// Only `state` changes there, in one step; a running proxy takes it within a second, and none need run. Of a tenant of
    /// another source, which Portico only reads, it says how it is suspended there.
    Suspend(TenantName),
    /// Set a suspended tenant active again, in the same way
    Resume(TenantName),
    /// Print the SQL that makes a database tell Portico who its tenants are
    ///
    /// A role that may read the columns it needs and nothing else, and triggers that tell of changes. Run it in the app's
    /// database with psql; it can be run again. With `--config`, tables and columns are those of `[tenants.postgres]`.
    Sql(TenantSql),
    /// Have the running proxy compare its tenants with the database now
    ///
    /// With `--force`, even if more than half of them would be gone: what it refuses by itself, since an empty table is more
    /// often a mistake than the truth. It asks through `listen.admin`; `/status` says what has come of it.
    Resync(TenantResync),
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

/// Options of `tenant resync`.
#[derive(Debug, clap::Args)]
pub struct TenantResync {
    /// The configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Also if more than half of the tenants would be gone
    #[arg(long)]
    pub force: bool,
}

/// Options of `tenant sql`.
#[derive(Debug, clap::Args)]
pub struct TenantSql {
    /// Configuration file to take `[tenants.postgres]` from
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["preset", "domain_table", "tenant_table", "listen"])]
    pub config: Option<PathBuf>,
    /// Whose tables they are: django-tenants, django-tenant-schemas, rails or laravel-tenancy
    #[arg(long, value_name = "NAME", value_parser = parse_preset, default_value = "django-tenants")]
    pub preset: Preset,
    /// The role that Portico connects as
    #[arg(long, value_name = "NAME", default_value = "portico")]
    pub role: String,
    /// The table of hosts
    #[arg(long, value_name = "SCHEMA.TABLE", value_parser = parse_table)]
    pub domain_table: Option<TableName>,
    /// The table of tenants
    #[arg(long, value_name = "SCHEMA.TABLE", value_parser = parse_table)]
    pub tenant_table: Option<TableName>,
    /// The channel of the notifications
    #[arg(long, value_name = "NAME", default_value = crate::config::CHANNEL)]
    pub listen: String,
    /// A further column that `state_sql` or `columns` use: `c.NAME` of the table of tenants, `d.NAME` of that of hosts
    #[arg(long, value_name = "COLUMN")]
    pub column: Vec<String>,
}

fn parse_preset(text: &str) -> Result<Preset, String> {
    let found = Preset::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, preset)| *preset).ok_or_else(|| {
        let names: Vec<_> = Preset::NAMES.iter().map(|(name, _)| *name).collect();
        format!("it is one of {}", names.join(", "))
    })
}

fn parse_table(text: &str) -> Result<TableName, String> {
    TableName::new(text).ok_or_else(|| "write SCHEMA.TABLE, without quotes".to_owned())
}

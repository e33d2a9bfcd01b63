//! `portico tenant`: what an operator does about tenants from the command line.

use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::Subcommand;

use super::args::ConfigFile;
use super::{Exit, admin, complain, say};
use crate::config::{Config, Postgres, Preset, TableName, TenantSource};
use crate::sources::postgres;

/// What can be done about tenants.
#[derive(Debug, Subcommand)]
pub enum Tenant {
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

/// Runs a verb.
pub(super) fn run(verb: &Tenant) -> Exit {
    match verb {
        Tenant::Sql(options) => sql(options),
        Tenant::Resync(options) => resync(options),
    }
}

fn resync(options: &TenantResync) -> Exit {
    let config = match super::load(&options.file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let target = if options.force {
        "/tenants/resync?force=1"
    } else {
        "/tenants/resync"
    };
    match admin::post(&config.listen.admin, target) {
        Ok((202, _)) => {
            say("the proxy compares its tenants with the database now");
            Exit::Done
        }
        Ok((_, answer)) => {
            complain(format!("the proxy says no: {}", answer.trim()));
            Exit::Failed
        }
        Err(error) => {
            complain(format!(
                "no answer from the proxy: {error}\n  hint: is it running, with this `listen.admin`?"
            ));
            Exit::Failed
        }
    }
}

fn sql(options: &TenantSql) -> Exit {
    let settings = match settings(options) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let Some(script) = postgres::script(&settings, &options.role, &options.column) else {
        complain(
            "a query of your own may read any table\n  hint: grant its columns to the role, and let triggers call \
             `pg_notify('portico_tenants', host)`, or `'*'` for everything; the scripts of the other presets show how",
        );
        return Exit::Blocked;
    };
    match stdout().write_all(script.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(_nobody_reads) => Exit::Failed,
    }
}

fn settings(options: &TenantSql) -> Result<Postgres, Exit> {
    let Some(file) = &options.config else {
        let mut settings = Postgres::of(options.preset);
        settings.listen.clone_from(&options.listen);
        if let Some(table) = &options.domain_table {
            settings.domain_table = table.clone();
        }
        if let Some(table) = &options.tenant_table {
            settings.tenant_table = table.clone();
        }
        return Ok(settings);
    };
    let config: Config = super::load(&ConfigFile {
        config: file.clone(),
    })?;
    let found = config
        .tenants
        .sources
        .iter()
        .find_map(|source| match source {
            TenantSource::Postgres(settings) => Some((**settings).clone()),
            _ => None,
        });
    found.ok_or_else(|| {
        complain("the configuration has no `source = \"postgres\"`\n  hint: name a `--preset` in its place");
        Exit::Blocked
    })
}

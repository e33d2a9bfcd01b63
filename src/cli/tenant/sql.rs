//! `portico tenant sql`: what a database has to be told.

use std::io::{Write, stdout};

use super::super::args::{ConfigFile, TenantSql};
use super::super::{Exit, complain, load};
use crate::config::{Config, Postgres, TenantSource};
use crate::sources::postgres;

/// Prints the script.
pub(super) fn sql(options: &TenantSql) -> Exit {
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
    let config: Config = load(&ConfigFile {
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

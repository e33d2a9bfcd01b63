//! `portico check`: find every mistake without serving.

use super::args::ConfigFile;
use super::{Exit, complain, say};
use crate::config::Config;
use crate::snapshot::Snapshot;
use crate::telemetry::log::Filter;

/// Checks the configuration and the tenants it names.
pub fn check(options: &ConfigFile) -> Exit {
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return Exit::Blocked;
        }
    };
    if let Err(error) = Filter::parse(&config.log.level) {
        complain(format!("{error}\n  hint: see `log.level`"));
        return Exit::Blocked;
    }
    match Snapshot::build(&config, 0, "check") {
        Ok(snapshot) => {
            let domains: Vec<_> = config.domains.iter().map(ToString::to_string).collect();
            let servers: Vec<_> = config
                .upstream
                .servers
                .iter()
                .map(ToString::to_string)
                .collect();
            let directory = snapshot.resolver.directory();
            let tenants = directory.len().map_or_else(
                || "every label".to_owned(),
                |count| format!("{count} tenants"),
            );
            say(format!(
                "{} is good: {} and their subdomains, {tenants} by `{}`, to {}",
                options.config.display(),
                domains.join(", "),
                directory.source(),
                servers.join(", "),
            ));
            Exit::Done
        }
        Err(error) => {
            complain(error);
            Exit::Blocked
        }
    }
}

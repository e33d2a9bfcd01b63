//! `portico check`: find every mistake without serving.
//!
//! Credentials are not read: the user of portico.service, which checks before each start and reload, may not read them.

use std::sync::Arc;

use super::args::ConfigFile;
use super::{Exit, complain, load, say};
use crate::snapshot::Snapshot;
use crate::sources::Sources;
use crate::tls::policy::Policies;
use crate::upstream::Registry;

/// Checks the configuration and the tenants it names.
pub fn check(options: &ConfigFile) -> Exit {
    let config = match load(options) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let tls = match Policies::build(&config, &Arc::default(), None) {
        Ok(tls) => Arc::new(tls),
        Err(error) => {
            complain(error);
            return Exit::Blocked;
        }
    };
    let directory = match Sources::default().directory(&config) {
        Ok(directory) => directory,
        Err(error) => {
            complain(error);
            return Exit::Blocked;
        }
    };
    match Snapshot::build(&config, 0, "check", &Registry::default(), tls, directory) {
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
                || match directory.source() {
                    "pattern" => "every label".to_owned(),
                    _ => "tenants".to_owned(),
                },
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

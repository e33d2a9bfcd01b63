//! `portico run`: serve.

use super::args::ConfigFile;
use super::{Exit, complain, daemon, load};
use crate::config::AcmeRun;
use crate::server::{self, CertSource, Options, memory};

/// Serves until SIGTERM.
pub fn run(options: &ConfigFile) -> Exit {
    let config = match load(options) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let renewals = (config.acme.run == AcmeRun::Daemon).then(|| config.clone());
    let options = Options {
        config,
        config_file: Some(options.config.clone()),
        certs: CertSource::Store,
    };
    memory::keep_pages_small();
    let served = server::start(options).and_then(|running| {
        if let Some(config) = renewals {
            daemon::start(config)?;
        }
        running.run(|_| ())
    });
    match served {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(error);
            Exit::Failed
        }
    }
}

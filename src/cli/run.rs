//! `portico run`: serve.

use super::args::ConfigFile;
use super::{Exit, complain};
use crate::config::{Config, LogFormat};
use crate::server::{self, CertSource, Options};
use crate::telemetry::log::{self, Filter, Format};

/// Serves until SIGTERM.
pub fn run(options: &ConfigFile) -> Exit {
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return Exit::Blocked;
        }
    };
    let format = match config.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    if let Err(error) =
        Filter::parse(&config.log.level).and_then(|filter| log::init(filter, format))
    {
        complain(format!("{error}\n  hint: see `log.level`"));
        return Exit::Blocked;
    }
    let options = Options {
        config,
        config_file: Some(options.config.clone()),
        certs: CertSource::Store,
    };
    let served = server::start(options).and_then(|running| running.run(|_| (), None));
    match served {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(error);
            Exit::Failed
        }
    }
}

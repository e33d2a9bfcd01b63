//! `portico cert …`: from the command line to [`super::cert`] and back to an exit code.

use std::io::stdout;

use super::args::{Cert, CertStatus, ConfigFile, Import, Renew};
use super::cert::{self, CertError, Order, Verdict};
use super::{Exit, complain, load};
use crate::acme::Trigger;
use crate::clock::UnixTime;
use crate::config::Config;

/// Runs a verb.
pub(super) fn run(verb: &Cert) -> Exit {
    match verb {
        Cert::Issue(options) | Cert::Renew(options) => renew(options),
        Cert::Status(options) => status(options),
        Cert::Import(options) => import(options),
    }
}

fn renew(options: &Renew) -> Exit {
    with_config(&options.file, |config| {
        refuse_foreign_root(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let trigger = if options.force {
            Trigger::Force
        } else {
            Trigger::Due
        };
        let order = Order {
            domain: options.domain.as_ref(),
            trigger,
        };
        runtime.block_on(cert::renew(config, order, &mut stdout()))
    })
}

fn status(options: &CertStatus) -> Exit {
    with_config(&options.file, |config| {
        let all = cert::status(config, UnixTime::now())?;
        cert::print_status(&all, options.json, &mut stdout())?;
        Ok(Verdict::Fine)
    })
}

fn import(options: &Import) -> Exit {
    with_config(&options.file, |config| {
        refuse_foreign_root(config)?;
        cert::import(
            config,
            &options.cert,
            &options.key,
            UnixTime::now(),
            &mut stdout(),
        )?;
        Ok(Verdict::Fine)
    })
}

/// Files that root writes into the renewal user's store could be read neither by it nor by the proxy.
pub(super) fn refuse_foreign_root(config: &Config) -> Result<(), CertError> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(&config.state_dir).map_or(0, |meta| meta.uid());
    if rustix::process::geteuid().is_root() && owner != 0 {
        return Err(CertError::Root(config.state_dir.display().to_string()));
    }
    Ok(())
}

pub(super) fn with_config(
    file: &ConfigFile,
    verb: impl FnOnce(&Config) -> Result<Verdict, CertError>,
) -> Exit {
    let config = match load(file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let verdict = verb(&config).unwrap_or_else(|error| {
        let verdict = error.verdict();
        complain(error);
        verdict
    });
    match verdict {
        Verdict::Fine => Exit::Done,
        Verdict::Waiting => Exit::Waiting,
        Verdict::Failed => Exit::Failed,
        Verdict::Blocked => Exit::Blocked,
    }
}

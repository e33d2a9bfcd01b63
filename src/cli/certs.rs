//! `portico cert …`: from the command line to [`super::cert`] and back to an exit code.

use std::io::stdout;

use super::args::{
    Cert, CertCheck, CertStatus, ConfigFile, Domains, Export, Import, Ownership, PersistRecord,
    Renew,
};
use super::cert::change::{self, Revocation};
use super::cert::check::{self, Answer};
use super::cert::domains;
use super::cert::export::{self, To};
use super::cert::plan;
use super::cert::{self, CertError, Verdict};
use super::persist::{self, Wish};
use super::{Exit, complain, load, say};
use crate::acme::revoke::By;
use crate::acme::{Request, Trigger};
use crate::clock::UnixTime;
use crate::config::Config;

/// Runs a verb.
pub(super) fn run(verb: &Cert) -> Exit {
    match verb {
        Cert::Issue(options) | Cert::Renew(options) => renew(options),
        Cert::Reconcile(options) => with_config(&options.file, |config| {
            refuse_foreign_root(config)?;
            block_on(cert::reconcile(
                config,
                options.domain.as_ref(),
                &mut stdout(),
            ))
        }),
        Cert::Status(options) => status(options),
        Cert::Rollback(options) => changing(&options.file, |config| {
            let domain = options.domain.as_ref();
            block_on(change::rollback(config, domain, options.to, &mut stdout()))
        }),
        Cert::Revoke(options) => changing(&options.file, |config| {
            let revocation = Revocation {
                serial: options.serial.as_deref(),
                domain: options.domain.as_ref(),
                reason: options.reason,
                now: options.now,
                by: signer(options.cert_key),
            };
            block_on(change::revoke(config, revocation, &mut stdout()))
        }),
        Cert::Compromise(options) => changing(&options.file, |config| {
            let domain = options.domain.as_ref();
            let by = signer(options.cert_key);
            block_on(change::compromise(config, domain, by, &mut stdout()))
        }),
        Cert::Plan(options) => changing(&options.file, |config| {
            let domain = options.domain.as_ref();
            block_on(plan::plan(config, domain, options.json, &mut stdout()))
        }),
        Cert::Check(options) => check(options),
        Cert::Export(options) => export(options),
        Cert::Import(options) => import(options),
        Cert::PersistRecord(options) => persist_record(options),
        Cert::Domains(Domains { file, domain, json }) => with_config(file, |config| {
            domains::domains(config, domain.as_ref(), *json, &mut stdout())
        }),
        Cert::Ownership(Ownership {
            file,
            domain,
            tenant,
        }) => changing(file, |config| {
            domains::ownership(config, domain, tenant, &mut stdout())
        }),
    }
}

fn signer(cert_key: bool) -> By {
    if cert_key { By::Key } else { By::Account }
}

fn renew(options: &Renew) -> Exit {
    with_config(&options.file, |config| {
        refuse_foreign_root(config)?;
        let trigger = if options.force {
            Trigger::Force
        } else {
            Trigger::Due
        };
        let domain = options.domain.as_ref();
        if options.dry_run {
            return block_on(cert::dry_run(config, domain, &mut stdout()));
        }
        let request = Request {
            trigger,
            allow_staging: options.allow_staging,
        };
        block_on(cert::renew_as(config, domain, request, &mut stdout()))
    })
}

/// A verb that writes into the store.
pub(super) fn changing(
    file: &ConfigFile,
    verb: impl FnOnce(&Config) -> Result<Verdict, CertError>,
) -> Exit {
    with_config(file, |config| {
        refuse_foreign_root(config)?;
        verb(config)
    })
}

/// Runs a future on a runtime of its own.
pub(super) fn block_on<T>(
    future: impl Future<Output = Result<T, CertError>>,
) -> Result<T, CertError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(future)
}

fn status(options: &CertStatus) -> Exit {
    with_config(&options.file, |config| {
        let all = cert::status(config, UnixTime::now())?;
        cert::print_status(&all, options.json, &mut stdout())?;
        if !options.json {
            domains::print_summary(config, UnixTime::now(), &mut stdout())?;
        }
        Ok(Verdict::Fine)
    })
}

fn check(options: &CertCheck) -> Exit {
    let unknown = |reason: &str| {
        say(format!("CERT UNKNOWN - {reason}"));
        Exit::Unknown
    };
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(error) => {
            let reason = error.to_string();
            return unknown(reason.lines().next().unwrap_or_default());
        }
    };
    let answer = cert::status(&config, UnixTime::now()).and_then(|all| {
        let (warning, critical) = (options.warning, options.critical);
        Ok(check::check(&all, warning, critical, &mut stdout())?)
    });
    match answer {
        Ok(Answer::Ok) => Exit::Done,
        Ok(Answer::Warning) => Exit::Failed,
        Ok(Answer::Critical) => Exit::Blocked,
        Ok(Answer::Unknown) => Exit::Unknown,
        Err(error) => unknown(error.to_string().lines().next().unwrap_or_default()),
    }
}

fn export(options: &Export) -> Exit {
    with_config(&options.file, |config| {
        let to = match (&options.out, options.print) {
            (_, Some(part)) => To::Output(part),
            (Some(folder), None) => To::Folder(folder),
            // The command line asks for one of them.
            (None, None) => return Ok(Verdict::Blocked),
        };
        let domain = options.domain.as_ref();
        export::export(config, domain, to, options.force, &mut stdout())?;
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

fn persist_record(options: &PersistRecord) -> Exit {
    with_config(&options.file, |config| {
        refuse_foreign_root(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let wish = Wish {
            domain: options.domain.as_ref(),
            check: options.check,
            days: options.days,
            issuer: options.issuer.as_deref(),
        };
        runtime.block_on(persist::persist_record(config, wish, &mut stdout()))
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

//! Custom domains on the command line: the queue for the timer and the daemon, one name by hand, `cert domains` and
//! `cert ownership`.

use std::io::Write;
use std::time::Duration;

use super::{CertError, Verdict};
use crate::acme::on_demand::ownership::OwnershipKey;
use crate::acme::on_demand::summary::{Domain, Summary};
use crate::acme::on_demand::{self, Ended, Report};
use crate::acme::{AcmeError, Class, Request};
use crate::clock::UnixTime;
use crate::config::Config;
use crate::host::Host;

/// Does what is due for custom domains, if they are on, and says how many there were. None if there is nothing to say.
///
/// # Errors
/// [`CertError`] if register or spool do not work; what a customer's domain lacks is no failure of the run.
pub async fn work(
    config: &Config,
    longest: Duration,
    out: &mut (dyn Write + Send),
) -> Result<Option<Report>, CertError> {
    if !config.on_demand.enabled {
        return Ok(None);
    }
    let Some(report) = on_demand::work(config, longest, out).await? else {
        writeln!(out, "custom domains: another process is at work on them")?;
        return Ok(None);
    };
    if report.issued + report.failed > 0 {
        let next = report
            .next
            .map_or_else(String::new, |next| format!(", next at {next}"));
        writeln!(
            out,
            "custom domains: {} new certificates, {} failed{next}",
            report.issued, report.failed
        )?;
    }
    Ok(Some(report))
}

/// `cert issue` and `cert renew` for one custom domain. None if it is none.
pub(super) async fn one(
    config: &Config,
    host: &Host,
    request: Request,
    out: &mut (dyn Write + Send),
) -> Result<Option<Verdict>, CertError> {
    let ended = Box::pin(on_demand::one(config, host, request, out)).await?;
    Ok(ended.map(|ended| match ended {
        Ended::Issued(_) => Verdict::Fine,
        Ended::Rests(text) if text.starts_with("waiting") => Verdict::Waiting,
        Ended::Rests(_) => Verdict::Fine,
        Ended::Unproven(_) => Verdict::Blocked,
        Ended::Failed(error) if AcmeError::class(&error) == Class::Blocked => Verdict::Blocked,
        Ended::Failed(_) => Verdict::Failed,
    }))
}

/// The lines of `cert status`: numbers and the names in trouble.
///
/// # Errors
/// [`CertError`] if the register cannot be read, or it cannot print.
pub fn print_summary(config: &Config, now: UnixTime, out: &mut dyn Write) -> Result<(), CertError> {
    for line in Summary::read(config, now)?.iter().flat_map(Summary::lines) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// `cert domains`: all custom domains in numbers, or one.
///
/// # Errors
/// [`CertError`] if the register cannot be read, or it cannot print.
pub fn domains(
    config: &Config,
    host: Option<&Host>,
    json: bool,
    out: &mut dyn Write,
) -> Result<Verdict, CertError> {
    let now = UnixTime::now();
    let Some(host) = host else {
        match Summary::read(config, now)? {
            None => writeln!(out, "custom domains are off (`on_demand.enabled`)")?,
            Some(summary) if json => {
                serde_json::to_writer_pretty(&mut *out, &summary)?;
                writeln!(out)?;
            }
            Some(summary) => {
                for line in summary.lines() {
                    writeln!(out, "{line}")?;
                }
            }
        }
        return Ok(Verdict::Fine);
    };
    match Domain::read(config, host, now)? {
        None => {
            writeln!(out, "{host}: not known as a custom domain")?;
            Ok(Verdict::Waiting)
        }
        Some(domain) if json => {
            serde_json::to_writer_pretty(&mut *out, &domain)?;
            writeln!(out)?;
            Ok(Verdict::Fine)
        }
        Some(domain) => {
            writeln!(out, "{}", domain.line().trim_start())?;
            Ok(Verdict::Fine)
        }
    }
}

/// `cert ownership`: what a tenant has to publish for a name.
///
/// # Errors
/// [`CertError`] if the key cannot be read or made, or it cannot print.
pub fn ownership(
    config: &Config,
    host: &Host,
    tenant: &str,
    out: &mut dyn Write,
) -> Result<Verdict, CertError> {
    let key = OwnershipKey::open(&config.state_dir)?;
    match key.record(config, tenant, host).line(host) {
        Some(line) => writeln!(out, "{line}")?,
        None => {
            writeln!(
                out,
                "nothing: `on_demand.proof` is `none`, the row is enough"
            )?;
        }
    }
    Ok(Verdict::Fine)
}

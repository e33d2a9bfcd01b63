//! `portico dns`: the providers, a trial of the configured one, and what is left in DNS.

use std::io::{self, Write, stdout};

use super::Exit;
use super::args::{Dns, DnsCleanup, DnsTest};
use super::cert::{CertError, Verdict, chosen};
use super::certs::{refuse_foreign_root, with_config};
use crate::acme::propagation::{Seen, Sight};
use crate::acme::trial::{Trial, sweep, trial};
use crate::acme::{AcmeError, Class};
use crate::cert::store::Store;
use crate::cert::store::file::FileStore;
use crate::config::{Config, Dns as Settings, SERVICES};
use crate::host::Host;

/// Runs a verb.
pub(super) fn run(verb: &Dns) -> Exit {
    match verb {
        Dns::Providers => match providers(&mut stdout()) {
            Ok(()) => Exit::Done,
            Err(_nobody_reads) => Exit::Failed,
        },
        Dns::Test(options) => test(options),
        Dns::Cleanup(options) => cleanup(options),
    }
}

/// One line for each provider, its keys below it.
fn providers(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "What may stand in `provider =` of [acme.dns], who has tested it, and the keys of its credentials file\n\
         (optional ones in brackets). \"as upstream\" is tested by the dns-update library alone."
    )?;
    for service in SERVICES {
        writeln!(out, "\n{:<14} {}", service.name, service.tested())?;
        for line in [service.keys(), service.remark()] {
            if !line.is_empty() {
                writeln!(out, "    {line}")?;
            }
        }
    }
    Ok(())
}

fn test(options: &DnsTest) -> Exit {
    with_config(&options.file, |config| {
        refuse_foreign_root(config)?;
        let mut verdict = Verdict::Fine;
        for domain in &chosen(config, options.domain.as_ref())? {
            let store = FileStore::new(&config.state_dir);
            let out = &mut stdout();
            writeln!(
                out,
                "{domain}: adding a record and asking every name server"
            )?;
            let owner = format!("_acme-challenge.{domain}");
            let record = (domain, owner.as_str());
            let tried = block_on(trial(settings(config)?, &store, domain, record, out))?;
            verdict = verdict.max(match tried {
                Ok(None) => busy(domain, out)?,
                Ok(Some(trial)) => report(domain, &trial, out)?,
                Err(error) => {
                    writeln!(out, "{domain}: failed: {error}")?;
                    failed(&error)
                }
            });
        }
        Ok(verdict)
    })
}

fn report(domain: &Host, trial: &Trial, out: &mut dyn Write) -> Result<Verdict, CertError> {
    writeln!(
        out,
        "{domain}: record `{}` in zone `{}`, by {}",
        trial.fqdn, trial.zone, trial.provider
    )?;
    for Sight {
        server,
        address,
        seen,
    } in &trial.sights
    {
        let address = address.map_or_else(String::new, |address| format!(" ({address})"));
        let seen = match seen {
            Seen::All => "has it",
            Seen::Missing(reason) | Seen::Silent(reason) => reason,
        };
        writeln!(out, "    {server}{address}: {seen}")?;
    }
    let mut verdict = Verdict::Fine;
    match &trial.visible {
        Ok(waited) => writeln!(
            out,
            "{domain}: visible everywhere after {:.1} s",
            waited.as_secs_f64()
        )?,
        Err(error) => {
            writeln!(out, "{domain}: failed: {error}")?;
            verdict = Verdict::Failed;
        }
    }
    match &trial.removed {
        Ok(()) => writeln!(out, "{domain}: removed")?,
        Err(error) => {
            writeln!(
                out,
                "{domain}: not removed: {error}\nhint: `portico dns cleanup` tries again"
            )?;
            verdict = verdict.max(failed(error));
        }
    }
    Ok(verdict)
}

fn cleanup(options: &DnsCleanup) -> Exit {
    with_config(&options.file, |config| {
        refuse_foreign_root(config)?;
        let store = FileStore::new(&config.state_dir);
        let mut verdict = Verdict::Fine;
        for domain in &chosen(config, options.domain.as_ref())? {
            let out = &mut stdout();
            if options.dry_run {
                let debts = store.debts(domain)?;
                for debt in &debts {
                    writeln!(
                        out,
                        "{domain}: would remove {} TXT {}",
                        debt.fqdn, debt.value
                    )?;
                }
                if debts.is_empty() {
                    writeln!(out, "{domain}: nothing of ours is left in DNS")?;
                }
                continue;
            }
            verdict = verdict.max(
                match block_on(sweep(settings(config)?, &store, domain, out))? {
                    Ok(None) => busy(domain, out)?,
                    Ok(Some(swept)) => {
                        if swept.is_empty() {
                            writeln!(out, "{domain}: nothing of ours is left in DNS")?;
                        }
                        let mut worst = Verdict::Fine;
                        for (debt, removed) in swept {
                            match removed {
                                Ok(()) => {
                                    writeln!(
                                        out,
                                        "{domain}: removed {} TXT {}",
                                        debt.fqdn, debt.value
                                    )?;
                                }
                                Err(error) => {
                                    writeln!(
                                        out,
                                        "{domain}: not removed: {} TXT {}: {error}",
                                        debt.fqdn, debt.value
                                    )?;
                                    worst = worst.max(failed(&error));
                                }
                            }
                        }
                        worst
                    }
                    Err(error) => {
                        writeln!(out, "{domain}: failed: {error}")?;
                        failed(&error)
                    }
                },
            );
        }
        Ok(verdict)
    })
}

fn settings(config: &Config) -> Result<&Settings, CertError> {
    config.acme.dns.as_ref().ok_or_else(|| {
        let text = "no DNS provider is configured\nhint: add [acme.dns] with `provider`";
        CertError::Acme(AcmeError::Config(text.to_owned()))
    })
}

fn busy(domain: &Host, out: &mut dyn Write) -> Result<Verdict, CertError> {
    writeln!(out, "{domain}: another process is at work on it")?;
    Ok(Verdict::Waiting)
}

fn failed(error: &AcmeError) -> Verdict {
    match error.class() {
        Class::Blocked => Verdict::Blocked,
        _ => Verdict::Failed,
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, CertError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

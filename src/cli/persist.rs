//! `portico cert persist-record`: the TXT record of dns-persist-01, and whether it is to be seen.

use std::io::Write;
use std::time::Duration;

use super::cert::{CertError, Verdict};
use crate::acme::{self, Found, Seen};
use crate::cert::lineage::Lineage;
use crate::clock::UnixTime;
use crate::config::{CertOrigin, Challenge, Config};
use crate::host::Host;

/// What is asked of `persist-record`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// One domain; none is all of them.
    pub domain: Option<&'a Host>,
    /// Look for the records too.
    pub check: bool,
    /// The record ends so many days from now.
    pub days: Option<u32>,
    /// The CA's issuer domain name, if its directory does not tell it.
    pub issuer: Option<&'a str>,
}

/// Prints the record of each domain, registering the account if there is none yet; with `check`, also what every
/// authoritative server says of it.
///
/// # Errors
/// [`CertError`] if the CA or the name servers cannot be asked. A record that is not to be seen is
/// [`Verdict::Waiting`].
pub async fn persist_record(
    config: &Config,
    wish: Wish<'_>,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    if matches!(config.certs, CertOrigin::Files(_)) {
        return Err(CertError::NotOurs);
    }
    let until = wish
        .days
        .map(|days| UnixTime::now().plus(Duration::from_secs(u64::from(days) * 86400)));
    let mut verdict = Verdict::Fine;
    for lineage in chosen(config, wish.domain)? {
        let made = acme::persist_record(config, &lineage, wish.issuer, until);
        let (persist, records) = Box::pin(made).await?;
        for record in records {
            if !wish.check {
                writeln!(
                    out,
                    "{}: publish this record once; issue and renewals change no DNS\n\n  {}\n",
                    record.host,
                    record.zone_line()
                )?;
                continue;
            }
            let found = persist.look(&record).await?;
            let good = !found.is_empty()
                && found
                    .iter()
                    .all(|found| matches!(found.seen, Seen::Good(_)));
            for found in &found {
                writeln!(out, "{}: {}", record.host, describe(found))?;
            }
            if !good {
                writeln!(
                    out,
                    "{}: not everywhere yet; the record is\n\n  {}\n",
                    record.host,
                    record.zone_line()
                )?;
                verdict = Verdict::Waiting;
            }
        }
        if lineage.challenge != Challenge::DnsPersist01 {
            writeln!(
                out,
                "{}: hint: it is not used before `challenge = \"dns-persist-01\"`; now it is `{}`",
                lineage.name, lineage.challenge
            )?;
        }
    }
    if !wish.check {
        writeln!(
            out,
            "then: `portico cert persist-record --check`, and `portico cert issue`"
        )?;
    }
    Ok(verdict)
}

fn describe(found: &Found) -> String {
    let what = match &found.seen {
        Seen::Good(None) => "shows it".to_owned(),
        Seen::Good(Some(until)) => format!("shows it, until {until}"),
        Seen::Bad(reason) => format!("does not show it: {reason}"),
    };
    format!("{} {what}", found.server)
}

fn chosen(config: &Config, domain: Option<&Host>) -> Result<Vec<Lineage>, CertError> {
    let all = Lineage::all(config);
    let Some(domain) = domain else {
        // Single names with another challenge of their own would only confuse.
        let wanted = |lineage: &Lineage| {
            lineage.challenge == Challenge::DnsPersist01 || config.domains.contains(&lineage.name)
        };
        return Ok(all.into_iter().filter(wanted).collect());
    };
    let known: Vec<String> = all.iter().map(|lineage| lineage.name.to_string()).collect();
    let found: Vec<Lineage> = all
        .into_iter()
        .filter(|lineage| lineage.name == *domain)
        .collect();
    if found.is_empty() {
        return Err(CertError::Unknown {
            domain: domain.clone(),
            known: known.join(", "),
        });
    }
    Ok(found)
}

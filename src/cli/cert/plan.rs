//! `portico cert plan`: says whether an order would succeed, a line for each thing that was looked at.

use std::io::Write;

use serde::Serialize;

use super::{CertError, Verdict, chosen};
use crate::acme::plan::{self, Finding, Grade, Ports};
use crate::cert::store::file::FileStore;
use crate::config::{CertOrigin, Config};
use crate::host::Host;

/// What was found for one domain.
#[derive(Serialize)]
struct Plan {
    domain: String,
    findings: Vec<Finding>,
}

/// Looks at each domain and prints what was found. [`Verdict::Blocked`] if an order would fail.
///
/// # Errors
/// [`CertError`] if it cannot begin or cannot print.
pub async fn plan(
    config: &Config,
    domain: Option<&Host>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, CertError> {
    if matches!(config.certs, CertOrigin::Files(_)) {
        return Err(CertError::NotOurs);
    }
    let store = FileStore::new(&config.state_dir);
    let mut worst = Grade::Good;
    let mut all = Vec::new();
    for domain in chosen(config, domain)? {
        // In JSON, words of the provider for a person would be in the way.
        let mut words = Vec::new();
        let provider: &mut (dyn Write + Send) = if json { &mut words } else { &mut *out };
        let findings = Box::pin(plan::plan(
            config,
            &store,
            &domain,
            Ports::default(),
            provider,
        ))
        .await;
        for finding in &findings {
            worst = worst.max(finding.grade);
            if !json {
                let mark = match finding.grade {
                    Grade::Good => "ok",
                    Grade::Doubtful => "??",
                    Grade::Bad => "BAD",
                };
                writeln!(
                    out,
                    "{domain}: {mark:<3} {}: {}",
                    finding.what, finding.detail
                )?;
            }
        }
        let domain = domain.to_string();
        all.push(Plan { domain, findings });
    }
    if json {
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
    }
    Ok(match worst {
        Grade::Good | Grade::Doubtful => Verdict::Fine,
        Grade::Bad => Verdict::Blocked,
    })
}

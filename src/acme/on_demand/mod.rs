//! Certificates for custom domains: the engine's side.
//!
//! Level-triggered like [`renew`](super::renew()), which does the orders: [`work`] takes up what the proxy has left in the
//! [spool](crate::cert::on_demand::spool), and then does what is due, one name after the other, in the order and within the budgets of [`queue`], until
//! nothing is due or its time is over. It may run at any time; only one at a time works. Whether a row allows a name is
//! for the proxy to say, who knows the directory; a wish for a name that the configuration covers is refused here all the
//! same. What a name waits for is in the register, so a restart goes on where it was.

mod desk;
pub mod ownership;
pub mod queue;
pub mod summary;

use std::time::{Duration, Instant};

use self::desk::Desk;
use self::queue::{Next, Task};
use super::dns::Output;
use super::error::AcmeError;
use super::renew::{Request, Trigger};
use crate::cert::lineage::Lineage;
use crate::cert::live::CertName;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::host::Host;

/// Questions for advice in one run, so that orders have their turn.
const LOOKS: usize = 100;

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Certificates that were issued.
    pub issued: usize,
    /// Names that failed, or whose tenant has not shown that they are its own.
    pub failed: usize,
    /// Another run would find something to do at this time; none if nothing is to come.
    pub next: Option<UnixTime>,
}

/// Does what is due. None if another process is at work on custom domains.
///
/// # Errors
/// [`AcmeError::Store`] if register or spool do not work; a failure of one name is noted in its entry.
pub async fn work(
    config: &Config,
    longest: Duration,
    out: Output<'_>,
) -> Result<Option<Report>, AcmeError> {
    let Some(mut desk) = Desk::open(config)? else {
        return Ok(None);
    };
    let start = Instant::now();
    let mut report = Report::default();
    let mut looks = LOOKS;
    loop {
        desk.take_up()?;
        let now = UnixTime::now();
        let content = desk.register.content();
        match queue::next(content, &desk.budgets, looks > 0, now) {
            Next::Run(host, Task::Look) => {
                looks -= 1;
                desk.look(&host).await?;
            }
            Next::Run(host, task) => {
                let request = Trigger::Due.into();
                match Box::pin(desk.order(&host, task, request, out)).await? {
                    Ended::Issued(_) => report.issued += 1,
                    Ended::Rests(_) => {}
                    Ended::Unproven(_) | Ended::Failed(_) => report.failed += 1,
                }
            }
            Next::Rest(next) => {
                report.next = next;
                break;
            }
        }
        if start.elapsed() >= longest {
            report.next = Some(UnixTime::now());
            break;
        }
    }
    desk.drop_what_is_over()?;
    desk.register.tidy(UnixTime::now())?;
    Ok(Some(report))
}

/// How an attempt for one name ended.
#[derive(Debug)]
pub enum Ended {
    /// A new certificate; the line says which.
    Issued(String),
    /// Nothing is due, or something holds it back.
    Rests(String),
    /// The tenant has not shown that the name is its own.
    Unproven(String),
    /// It failed.
    Failed(AcmeError),
}

/// One attempt for one name, due or not, for a person. None if the name is no known custom domain.
///
/// # Errors
/// [`AcmeError::Store`]; [`AcmeError::Config`] if another process is at work.
pub async fn one(
    config: &Config,
    host: &Host,
    request: Request,
    out: Output<'_>,
) -> Result<Option<Ended>, AcmeError> {
    if !config.on_demand.enabled {
        return Ok(None);
    }
    let Some(mut desk) = Desk::open(config)? else {
        return Err(AcmeError::Config(
            "another process is at work on custom domains\nhint: try again when it has ended"
                .to_owned(),
        ));
    };
    desk.take_up()?;
    let Some(entry) = desk.register.content().entries.get(host) else {
        return Ok(None);
    };
    let task = if entry.generation == 0 {
        Task::New
    } else {
        Task::Renewal
    };
    let ended = Box::pin(desk.order(host, task, request, out)).await?;
    Ok(Some(ended))
}

/// The names that get no certificate on demand: those that the configuration covers.
#[must_use]
pub fn is_covered(config: &Config, host: &Host) -> bool {
    let lineages = Lineage::all(config);
    let mut names = lineages.iter().flat_map(|lineage| &lineage.names);
    names.any(|name| name.covers(host))
}

/// The lineage of a custom domain.
#[must_use]
pub fn lineage(config: &Config, host: &Host) -> Lineage {
    Lineage {
        name: host.clone(),
        names: vec![CertName::Exact(host.clone())],
        challenge: config.on_demand.challenge,
    }
}

//! Where a TXT record belongs, and whether the whole world can see it.
//!
//! The zone is found by a walk over SOA records of the names *above* the record through recursors. The record's own
//! name is asked for at authoritative servers only: a recursor that is asked too early remembers "no such record" for
//! minutes, and the CA may use that very recursor. At the authoritative servers the name is followed through CNAMEs
//! and delegations. A record counts as visible when every authoritative server gives all values with authority,
//! because a CA asks from several places at once. Nothing here changes a record.

mod agree;
mod look;
mod sight;
#[cfg(test)]
mod tests;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::rr::Name;
use thiserror::Error;

pub use self::agree::{Agreement, Discord};
pub use self::look::Look;
pub use self::sight::{Seen, Sight};
use crate::config::Dns;

/// Between two rounds at first; it grows by half each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Between two rounds at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between the first good round and the one that confirms it: an address may stand for many servers (anycast).
const CONFIRM: Duration = Duration::from_secs(3);

/// Why a record has no place or cannot be seen.
#[derive(Debug, Error)]
pub enum PropagationError {
    /// No zone was found.
    #[error(
        "cannot find the DNS zone of `{name}`: {reason}\nhint: set `zone` (and `nameservers` if it is not public) in [acme.dns]"
    )]
    NoZone {
        /// The record's name.
        name: String,
        /// What the servers said.
        reason: String,
        /// Whether they said that there is none, rather than nothing.
        certain: bool,
    },
    /// The zone's servers have no addresses.
    #[error("the DNS zone `{zone}` has no reachable name server: {reason}")]
    NoServers {
        /// The zone.
        zone: String,
        /// What the servers said.
        reason: String,
    },
    /// CNAMEs lead nowhere.
    #[error(
        "the CNAME of `{0}` leads in a circle or over too many names\nhint: point it at the name that holds the TXT record"
    )]
    Loop(String),
    /// Not seen in time.
    #[error("the TXT record `{name}` was not visible everywhere after {} s: {state}{}", waited.as_secs(), hint(view.as_deref(), *dead))]
    NotVisible {
        /// The record's name.
        name: String,
        /// How long it was waited for.
        waited: Duration,
        /// What each server that lacks it says.
        state: String,
        /// What the zone above says of the servers, if that is not what the resolvers said.
        view: Option<String>,
        /// Whether nothing but servers that do not answer stood in the way.
        dead: bool,
    },
}

impl PropagationError {
    /// Whether another try is of no use before somebody changes DNS or the configuration.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Loop(_) => true,
            Self::NoZone { certain, .. } => *certain,
            Self::NoServers { .. } | Self::NotVisible { .. } => false,
        }
    }
}

fn hint(view: Option<&str>, dead: bool) -> String {
    match view {
        Some(view) => format!(
            "; {view}\nhint: this machine sees an internal view of the zone; set `resolvers` in [acme.dns] to public ones"
        ),
        None if dead => "\nhint: `allow_dead_ns = true` in [acme.dns] passes over name servers that do not answer".to_owned(),
        None => String::new(),
    }
}

/// A name server of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NameServer {
    name: String,
    addresses: Vec<SocketAddr>,
}

/// Where the record of a domain belongs.
#[derive(Debug, Clone)]
pub struct Place {
    fqdn: Name,
    zone: Option<Name>,
    /// Whether the zone was found as a delegation on the way down.
    delegated: bool,
    servers: Vec<NameServer>,
}

impl Place {
    /// The record's name, after CNAMEs, without trailing dot.
    #[must_use]
    pub fn fqdn(&self) -> String {
        text(&self.fqdn)
    }

    /// The zone that holds it, without trailing dot, if one was found.
    #[must_use]
    pub fn zone(&self) -> Option<String> {
        self.zone.as_ref().map(text)
    }

    /// The same, if the zone's parent delegates it by NS records.
    #[must_use]
    pub fn delegated_zone(&self) -> Option<String> {
        self.zone().filter(|_| self.delegated)
    }
}

/// The questions about places and visibility, with the servers to put them to.
#[derive(Debug, Clone)]
pub struct Propagation {
    resolvers: Vec<SocketAddr>,
    nameservers: Vec<SocketAddr>,
    zone: Option<Name>,
    floor: Duration,
    timeout: Duration,
    allow_dead: bool,
    /// 53, but for tests.
    port: u16,
}

impl Propagation {
    /// Takes the settings; asks nobody.
    #[must_use]
    pub fn new(config: &Dns) -> Self {
        let zone = config
            .zone
            .as_deref()
            .and_then(|zone| Name::from_ascii(zone).ok());
        Self {
            resolvers: if config.resolvers.is_empty() {
                system_resolvers()
            } else {
                config.resolvers.clone()
            },
            nameservers: config.nameservers.clone(),
            zone: zone.map(absolute),
            floor: config.propagation_floor,
            timeout: config.propagation_timeout,
            allow_dead: config.allow_dead_ns,
            port: config.port,
        }
    }

    /// Who is asked to find out.
    #[must_use]
    pub fn resolvers(&self) -> &[SocketAddr] {
        &self.resolvers
    }

    /// Waits until every authoritative server gives all `values`, and the configured floor has passed.
    ///
    /// # Errors
    /// [`PropagationError::NotVisible`] says what each server that lacks them says.
    pub async fn wait(
        &self,
        place: &Place,
        values: &[String],
    ) -> Result<Duration, PropagationError> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut good = false;
        loop {
            let sights = self.sights(place, values).await;
            let lacks = sight::lacks(&sights);
            let waited = start.elapsed();
            if lacks.is_empty() {
                // Servers that the operator named are asked directly, so one round tells all.
                if (good || !self.nameservers.is_empty()) && waited >= self.floor {
                    return Ok(waited);
                }
                good = true;
                tokio::time::sleep(if self.nameservers.is_empty() {
                    CONFIRM
                } else {
                    pause
                })
                .await;
                continue;
            }
            good = false;
            let dead = lacks.iter().all(|lack| lack.dead);
            let state: Vec<&str> = lacks.iter().map(|lack| lack.text.as_str()).collect();
            let state = state.join("; ");
            if waited >= self.timeout {
                let shown = sights.iter().any(|sight| sight.seen == Seen::All);
                if dead && shown && self.allow_dead {
                    tracing::warn!(name = %place.fqdn, state, "name servers that do not answer are passed over (`allow_dead_ns`)");
                    return Ok(waited);
                }
                return Err(PropagationError::NotVisible {
                    name: text(&place.fqdn),
                    waited,
                    state,
                    view: self.other_view(place).await,
                    dead: dead && shown,
                });
            }
            tracing::info!(name = %place.fqdn, waited_s = waited.as_secs(), missing = state, "waiting for DNS");
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }
}

/// The servers of `/etc/resolv.conf`; without it the machine's own.
fn system_resolvers() -> Vec<SocketAddr> {
    let file = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let found: Vec<SocketAddr> = file
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .collect();
    if found.is_empty() {
        vec![SocketAddr::from(([127, 0, 0, 1], 53))]
    } else {
        found
    }
}

fn absolute(mut name: Name) -> Name {
    name.set_fqdn(true);
    name
}

fn text(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

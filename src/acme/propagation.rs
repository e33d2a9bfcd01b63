//! Where a TXT record belongs, and whether the whole world can see it.
//!
//! The zone is found by a walk over SOA records of the names *above* the record through recursors. The record's own
//! name is asked for at authoritative servers only: a recursor that is asked too early remembers "no such record" for
//! minutes, and the CA may use that very recursor. At the authoritative servers the name is followed through CNAMEs
//! and delegations. A record counts as visible when every authoritative server gives all values with authority,
//! because a CA asks from several places at once; resolvers that the operator names for that are asked only afterwards.
//! Nothing here changes a record.

mod agree;
mod gone;
mod look;
mod public;
mod sight;
#[cfg(test)]
mod tests;
mod wait;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

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
    #[error("the TXT record `{name}` was not visible everywhere after {} s: {state}{hint}", waited.as_secs())]
    NotVisible {
        /// The record's name.
        name: String,
        /// How long it was waited for.
        waited: Duration,
        /// What each server that lacks it says.
        state: String,
        /// What may be behind it, with a line that says what to do; empty if nothing is known.
        hint: String,
    },
    /// The provider has removed it, and it is still there.
    #[error("the TXT record `{name}` still has the value `{value}` after it was removed: {state}")]
    StillThere {
        /// The record's name.
        name: String,
        /// The value.
        value: String,
        /// What each server says that has it, or may have it.
        state: String,
    },
}

impl PropagationError {
    /// Whether another try is of no use before somebody changes DNS or the configuration.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Loop(_) => true,
            Self::NoZone { certain, .. } => *certain,
            Self::NoServers { .. } | Self::NotVisible { .. } | Self::StillThere { .. } => false,
        }
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
    check_resolvers: Vec<SocketAddr>,
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
            check_resolvers: config.check_resolvers.clone(),
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

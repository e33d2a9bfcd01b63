//! Where a TXT record belongs, and whether the whole world can see it.
//!
//! The zone is found by a walk over SOA records of the names *above* the record through recursors. The record's own
//! name is asked for at authoritative servers only: a recursor that is asked too early remembers "no such record" for
//! minutes, and the CA may use that very recursor. At the authoritative servers the name is followed through CNAMEs
//! and delegations. A record counts as visible when every authoritative server gives all values with authority,
//! because a CA asks from several places at once. Nothing here changes a record.

mod look;
#[cfg(test)]
mod tests;

pub use self::look::Look;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use thiserror::Error;

use super::dns::wire::{Role, WireError, ask};
use crate::config::Dns;
use crate::host::Host;

/// CNAMEs and delegations followed for one name.
const MAX_HOPS: usize = 8;
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
    #[error("the TXT record `{name}` was not visible everywhere after {} s: {state}", waited.as_secs())]
    NotVisible {
        /// The record's name.
        name: String,
        /// How long it was waited for.
        waited: Duration,
        /// What each server that lacks it says.
        state: String,
    },
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
            port: 53,
        }
    }

    /// Who is asked to find out.
    #[must_use]
    pub fn resolvers(&self) -> &[SocketAddr] {
        &self.resolvers
    }

    /// Finds the name, zone and servers of a domain's `_acme-challenge` record.
    ///
    /// # Errors
    /// [`PropagationError`].
    pub async fn locate(&self, domain: &Host) -> Result<Place, PropagationError> {
        self.locate_name(&format!("_acme-challenge.{domain}")).await
    }

    /// Finds the name, zone and servers of a record by its name, which has no trailing dot.
    ///
    /// # Errors
    /// [`PropagationError`].
    pub async fn locate_name(&self, owner: &str) -> Result<Place, PropagationError> {
        let start = format!("{owner}.");
        let no_zone = |reason: String| PropagationError::NoZone {
            name: start.clone(),
            reason,
        };
        let mut fqdn = Name::from_ascii(&start).map_err(|error| no_zone(error.to_string()))?;
        let mut seen = BTreeSet::new();
        for _hop in 0..MAX_HOPS {
            if !seen.insert(fqdn.to_lowercase()) {
                break;
            }
            let mut place = self.zone_of(&fqdn).await?;
            match self.descend(&mut place).await {
                Some(alias) => fqdn = absolute(alias),
                None => return Ok(place),
            }
        }
        Err(PropagationError::Loop(text(&fqdn)))
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
            let missing = self.round(place, values).await;
            let waited = start.elapsed();
            if missing.is_empty() {
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
            if waited >= self.timeout {
                return Err(PropagationError::NotVisible {
                    name: text(&place.fqdn),
                    waited,
                    state: missing.join("; "),
                });
            }
            tracing::debug!(name = %place.fqdn, missing = missing.join("; "), "waiting for DNS");
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks every address of every server once; gives back what is missing where.
    async fn round(&self, place: &Place, values: &[String]) -> Vec<String> {
        let asked = place.servers.iter().map(|server| async move {
            let answers = server.addresses.iter().map(|&address| async move {
                (
                    address,
                    visible(
                        ask(address, Role::Authority, &place.fqdn, RecordType::TXT).await,
                        values,
                    ),
                )
            });
            (server, join_all(answers).await)
        });
        let mut missing = Vec::new();
        for (server, answers) in join_all(asked).await {
            if answers.is_empty() {
                missing.push(format!("{}: it has no address", server.name));
            }
            let answered = answers
                .iter()
                .any(|(_, answer)| !matches!(answer, Visible::Silent(_)));
            for (address, answer) in answers {
                match answer {
                    Visible::Yes => {}
                    // One address of a name server may be out of our reach (IPv6, say); all of them may not.
                    Visible::Silent(_) if answered => {}
                    Visible::Silent(reason) | Visible::No(reason) => {
                        missing.push(format!("{} ({address}): {reason}", server.name));
                    }
                }
            }
        }
        missing
    }

    async fn zone_of(&self, fqdn: &Name) -> Result<Place, PropagationError> {
        let configured = self
            .zone
            .as_ref()
            .filter(|zone| zone.zone_of(fqdn))
            .cloned();
        if !self.nameservers.is_empty() {
            let zone = match configured {
                Some(zone) => Some(zone),
                // These are authoritative, so the name itself may be asked for.
                None => self
                    .walk(fqdn.clone(), fqdn, &self.nameservers, Role::Authority)
                    .await
                    .ok(),
            };
            let server = NameServer {
                name: "nameservers".to_owned(),
                addresses: self.nameservers.clone(),
            };
            return Ok(Place {
                fqdn: fqdn.clone(),
                zone,
                delegated: false,
                servers: vec![server],
            });
        }
        let zone = match configured {
            Some(zone) => zone,
            None => {
                self.walk(fqdn.base_name(), fqdn, &self.resolvers, Role::Recursor)
                    .await?
            }
        };
        let servers = self.servers_of(&zone).await?;
        Ok(Place {
            fqdn: fqdn.clone(),
            zone: Some(zone),
            delegated: false,
            servers,
        })
    }

    /// The first name from `from` upwards that has a SOA record of its own.
    async fn walk(
        &self,
        from: Name,
        fqdn: &Name,
        servers: &[SocketAddr],
        role: Role,
    ) -> Result<Name, PropagationError> {
        let mut reason = "there is no resolver to ask".to_owned();
        let mut name = from;
        while !name.is_root() {
            match first_answer(servers, role, &name, RecordType::SOA).await {
                Ok(answer) => {
                    let own = answer.answers.iter().any(|record| {
                        record.record_type() == RecordType::SOA && record.name == name
                    });
                    if own {
                        return Ok(name);
                    }
                    reason = format!(
                        "no SOA at or above it; the last answer was {}",
                        answer.metadata.response_code
                    );
                }
                // "I cannot tell" is not "there is none": the zone above would be the wrong one.
                Err(error) if role == Role::Recursor => {
                    reason = format!("`{}`: {error}", text(&name));
                    break;
                }
                // A server that is authoritative below only refuses the names above.
                Err(error) => reason = error,
            }
            name = name.base_name();
        }
        Err(PropagationError::NoZone {
            name: text(fqdn),
            reason,
        })
    }

    async fn servers_of(&self, zone: &Name) -> Result<Vec<NameServer>, PropagationError> {
        let failed = |reason: String| PropagationError::NoServers {
            zone: text(zone),
            reason,
        };
        let answer = first_answer(&self.resolvers, Role::Recursor, zone, RecordType::NS)
            .await
            .map_err(failed)?;
        let names: Vec<Name> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::NS(ns) => Some(ns.0.clone()),
                _ => None,
            })
            .collect();
        let servers = join_all(names.iter().map(|name| self.server(name, &[]))).await;
        if servers.iter().all(|server| server.addresses.is_empty()) {
            return Err(failed(format!(
                "{} name servers, none with an address",
                servers.len()
            )));
        }
        Ok(servers)
    }

    /// A name server with its addresses, from glue or through the recursors.
    async fn server(&self, name: &Name, glue: &[(Name, IpAddr)]) -> NameServer {
        let mut addresses: Vec<IpAddr> = glue
            .iter()
            .filter(|(owner, _)| owner == name)
            .map(|(_, address)| *address)
            .collect();
        if addresses.is_empty() {
            for kind in [RecordType::A, RecordType::AAAA] {
                if let Ok(answer) = first_answer(&self.resolvers, Role::Recursor, name, kind).await
                {
                    addresses.extend(
                        answer
                            .answers
                            .iter()
                            .filter_map(|record| address(&record.data)),
                    );
                }
            }
        }
        let addresses = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        NameServer {
            name: text(name),
            addresses,
        }
    }

    /// Asks the zone's servers for the record itself: goes down delegations in place, gives back a CNAME's target.
    async fn descend(&self, place: &mut Place) -> Option<Name> {
        for _hop in 0..MAX_HOPS {
            let addresses: Vec<SocketAddr> = place
                .servers
                .iter()
                .flat_map(|server| server.addresses.iter().copied())
                .collect();
            // A server that does not answer is the business of `wait`, which says so in full.
            let answer = first_answer(&addresses, Role::Authority, &place.fqdn, RecordType::TXT)
                .await
                .ok()?;
            let alias = answer.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == place.fqdn => Some(target.0.clone()),
                _ => None,
            });
            if alias.is_some() {
                return alias;
            }
            let cut = answer
                .authorities
                .iter()
                .find_map(|record| match &record.data {
                    RData::NS(_) if record.name.zone_of(&place.fqdn) => Some(record.name.clone()),
                    _ => None,
                })?;
            let deeper = place
                .zone
                .as_ref()
                .is_none_or(|zone| zone.zone_of(&cut) && *zone != cut);
            if answer.metadata.authoritative || !deeper || !self.nameservers.is_empty() {
                return None;
            }
            let glue: Vec<(Name, IpAddr)> = answer
                .additionals
                .iter()
                .filter_map(|record| Some((record.name.clone(), address(&record.data)?)))
                .collect();
            let names: Vec<Name> = answer
                .authorities
                .iter()
                .filter_map(|record| match &record.data {
                    RData::NS(ns) if record.name == cut => Some(ns.0.clone()),
                    _ => None,
                })
                .collect();
            place.servers = join_all(names.iter().map(|name| self.server(name, &glue))).await;
            place.zone = Some(cut);
            place.delegated = true;
        }
        None
    }
}

/// What one server says of the record.
enum Visible {
    Yes,
    No(String),
    Silent(String),
}

fn visible(answer: Result<Message, WireError>, values: &[String]) -> Visible {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Visible::Silent(error.to_string()),
    };
    match answer.metadata.response_code {
        // NXDOMAIN is "not yet", and so is an answer without data (a wildcard record makes one).
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Visible::No(code.to_string()),
    }
    if !answer.metadata.authoritative {
        return Visible::No("it answers without authority".to_owned());
    }
    let found: Vec<String> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(
                txt.txt_data
                    .iter()
                    .map(|part| String::from_utf8_lossy(part))
                    .collect(),
            ),
            _ => None,
        })
        .collect();
    let missing = values.iter().filter(|value| !found.contains(value)).count();
    match missing {
        0 => Visible::Yes,
        _ => Visible::No(format!("{missing} of {} values missing", values.len())),
    }
}

/// The first answer that says something, of servers asked one after the other.
async fn first_answer(
    servers: &[SocketAddr],
    role: Role,
    name: &Name,
    kind: RecordType,
) -> Result<Message, String> {
    let mut reason = "no server to ask".to_owned();
    for &server in servers {
        match ask(server, role, name, kind).await {
            Ok(answer) => match answer.metadata.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => return Ok(answer),
                code => reason = format!("{server}: {code}"),
            },
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
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

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
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

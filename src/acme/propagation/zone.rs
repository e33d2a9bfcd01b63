//! From a domain to the name, the zone and the servers of its challenge record.
//!
//! Recursors are asked about the names above the record only; from the zone they lead to on, its own servers are.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::super::dns::wire::{Role, ask};
use super::{NameServer, Place, Propagation, PropagationError, absolute, text};
use crate::host::Host;

/// CNAMEs, or delegations, followed for one name.
const MAX_HOPS: usize = 8;

impl Propagation {
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
            certain: true,
        };
        let mut fqdn = Name::from_ascii(&start).map_err(|error| no_zone(error.to_string()))?;
        let mut seen = BTreeSet::new();
        for _hop in 0..=MAX_HOPS {
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
        let mut certain = true;
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
                    certain = false;
                    break;
                }
                // A server that is authoritative below only refuses the names above.
                Err(error) => {
                    reason = error;
                    certain = false;
                }
            }
            name = name.base_name();
        }
        Err(PropagationError::NoZone {
            name: text(fqdn),
            reason,
            certain,
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
    pub(super) async fn server(&self, name: &Name, glue: &[(Name, IpAddr)]) -> NameServer {
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

    /// What the zone above says of the zone's servers, if that is not what the resolvers said: a sign of a resolver with
    /// an internal view (split horizon).
    pub(super) async fn other_view(&self, place: &Place) -> Option<String> {
        let zone = place.zone.as_ref()?;
        if place.delegated || !self.nameservers.is_empty() {
            return None;
        }
        let Delegation {
            parent,
            servers: delegated,
            ..
        } = self.delegation(zone).await?;
        let found: BTreeSet<String> = place
            .servers
            .iter()
            .map(|server| server.name.to_ascii_lowercase())
            .collect();
        if delegated.is_empty() || delegated == found {
            return None;
        }
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
        Some(format!(
            "the resolver says that `{}` is served by {}, but `{}` delegates it to {}",
            text(zone),
            list(found),
            parent,
            list(delegated)
        ))
    }

    /// The addresses of a host, of the configured name servers if they know it and of the resolvers otherwise.
    ///
    /// # Errors
    /// Why nobody tells.
    pub async fn addresses(&self, host: &Host) -> Result<BTreeSet<IpAddr>, String> {
        let name = Name::from_ascii(format!("{host}.")).map_err(|error| error.to_string())?;
        let mut found = BTreeSet::new();
        for (servers, role) in [
            (&self.nameservers, Role::Authority),
            (&self.resolvers, Role::Recursor),
        ] {
            if !found.is_empty() {
                break;
            }
            for kind in [RecordType::A, RecordType::AAAA] {
                match first_answer(servers, role, &name, kind).await {
                    Ok(answer) => found.extend(
                        answer
                            .answers
                            .iter()
                            .filter_map(|record| address(&record.data)),
                    ),
                    Err(_) if role == Role::Authority => {}
                    Err(reason) => return Err(reason),
                }
            }
        }
        Ok(found)
    }

    /// What the zone above says of a zone's servers; none if nobody tells.
    pub(super) async fn delegation(&self, zone: &Name) -> Option<Delegation> {
        let above = self
            .walk(zone.base_name(), zone, &self.resolvers, Role::Recursor)
            .await
            .ok()?;
        let servers = self.servers_of(&above).await.ok()?;
        let addresses: Vec<SocketAddr> = servers
            .iter()
            .flat_map(|server| server.addresses.iter().copied())
            .collect();
        let answer = first_answer(&addresses, Role::Authority, zone, RecordType::NS)
            .await
            .ok()?;
        let glue = answer
            .additionals
            .iter()
            .filter_map(|record| Some((record.name.clone(), address(&record.data)?)))
            .collect();
        let servers: BTreeSet<String> =
            name_servers(zone, answer.answers.iter().chain(&answer.authorities));
        Some(Delegation {
            parent: text(&above),
            servers,
            glue,
        })
    }
}

/// What the zone above says of a zone's servers.
pub(super) struct Delegation {
    /// The zone above, without trailing dot.
    pub(super) parent: String,
    /// The servers, in lower case and without trailing dot.
    pub(super) servers: BTreeSet<String>,
    /// Their addresses, as far as it tells them.
    pub(super) glue: Vec<(Name, IpAddr)>,
}

/// The servers that NS records of a zone name, in lower case and without trailing dot.
pub(super) fn name_servers<'a>(
    zone: &Name,
    records: impl Iterator<Item = &'a Record>,
) -> BTreeSet<String> {
    records
        .filter_map(|record| match &record.data {
            RData::NS(ns) if record.name == *zone => Some(text(&ns.0.to_lowercase())),
            _ => None,
        })
        .collect()
}

/// The first answer that says something, of servers asked one after the other.
pub(super) async fn first_answer(
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

pub(super) fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

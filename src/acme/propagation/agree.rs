//! Whether the name servers of a zone agree: with each other, and with the zone above that delegates to them.
//!
//! Each address of each server is asked for the zone's SOA and NS records, also that of servers which only the zone
//! above names. A CA may ask any of them, so one that differs makes validation a matter of luck. Nothing is changed,
//! and the record of a challenge is not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use futures_util::future::join_all;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};

use super::super::dns::wire::{Role, ask};
use super::zone::{Delegation, name_servers};
use super::{NameServer, Place, Propagation, text};

/// What the servers of one zone say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The zone, without trailing dot.
    pub zone: String,
    /// The zone above, and the servers that it delegates to; none if it could not be asked.
    parent: Option<(String, BTreeSet<String>)>,
    answers: Vec<Answer>,
    /// Whether servers that do not answer at all are passed over.
    allow_dead: bool,
}

/// What is wrong with the servers of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discord {
    /// A record would not become visible everywhere.
    Bad(String),
    /// It may, but not for sure, or not at once.
    Doubtful(String),
}

/// What one address says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    /// The server's name.
    server: String,
    /// None if the server has no address.
    address: Option<SocketAddr>,
    said: Result<Apex, Refusal>,
}

/// The records of the zone itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Apex {
    serial: u32,
    servers: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// It does not answer at all.
    Silent(String),
    /// It answers, and not for the zone.
    Lame(String),
}

impl Propagation {
    /// Asks every server of the place's zone once; none if the zone is not known.
    pub async fn agreement(&self, place: &Place) -> Option<Agreement> {
        let zone = place.zone.as_ref()?;
        let (parent, servers) = if self.nameservers.is_empty() {
            let parent = self.delegation(zone).await;
            let parent = parent.filter(|parent| !parent.servers.is_empty());
            let more = self.unasked(place, parent.as_ref()).await;
            (parent, place.servers.iter().cloned().chain(more).collect())
        } else {
            // Named by the operator, and perhaps not public: each speaks for itself.
            let own = |address: &SocketAddr| NameServer {
                name: address.to_string(),
                addresses: vec![*address],
            };
            (None, self.nameservers.iter().map(own).collect::<Vec<_>>())
        };
        let asked = servers.iter().map(|server| apexes(zone, server));
        Some(Agreement {
            zone: text(zone),
            parent: parent.map(|parent| (parent.parent, parent.servers)),
            answers: join_all(asked).await.into_iter().flatten().collect(),
            allow_dead: self.allow_dead || !self.nameservers.is_empty(),
        })
    }

    /// The servers that only the zone above names.
    async fn unasked(&self, place: &Place, parent: Option<&Delegation>) -> Vec<NameServer> {
        let Some(parent) = parent else {
            return Vec::new();
        };
        let known = |name: &String| {
            let mut servers = place.servers.iter();
            servers.any(|server| server.name.eq_ignore_ascii_case(name))
        };
        let names = parent.servers.iter().filter(|name| !known(name));
        let names: Vec<Name> = names
            .filter_map(|name| Name::from_ascii(format!("{name}.")).ok())
            .collect();
        join_all(names.iter().map(|name| self.server(name, &parent.glue))).await
    }
}

async fn apexes(zone: &Name, server: &NameServer) -> Vec<Answer> {
    let answer = |address, said| Answer {
        server: server.name.clone(),
        address,
        said,
    };
    if server.addresses.is_empty() {
        let reason = Refusal::Silent("it has no address".to_owned());
        return vec![answer(None, Err(reason))];
    }
    let asked = server.addresses.iter().map(|&address| async move {
        let said = apex(zone, address).await;
        answer(Some(address), said)
    });
    join_all(asked).await
}

async fn apex(zone: &Name, address: SocketAddr) -> Result<Apex, Refusal> {
    let mut serial = None;
    let mut servers = BTreeSet::new();
    for kind in [RecordType::SOA, RecordType::NS] {
        let answer = ask(address, Role::Authority, zone, kind)
            .await
            .map_err(|error| Refusal::Silent(error.to_string()))?;
        match answer.metadata.response_code {
            ResponseCode::NoError if answer.metadata.authoritative => {}
            ResponseCode::NoError => {
                let reason = "it answers without authority";
                return Err(Refusal::Lame(reason.to_owned()));
            }
            code => return Err(Refusal::Lame(code.to_string())),
        }
        let soa = answer.answers.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if record.name == *zone => Some(soa.serial),
            _ => None,
        });
        serial = serial.or(soa);
        servers.extend(name_servers(zone, answer.answers.iter()));
    }
    match serial {
        Some(serial) => Ok(Apex { serial, servers }),
        None => Err(Refusal::Lame("it has no SOA record of the zone".to_owned())),
    }
}

impl Agreement {
    /// What differs, each with the server that does; empty if all is one.
    #[must_use]
    pub fn discords(&self) -> Vec<Discord> {
        let mut found = self.silent();
        found.extend(self.serials().map(Discord::Doubtful));
        let own = self.usual_servers();
        if let Some(own) = &own {
            found.extend(self.other_servers(own));
        }
        if let Some(((parent, delegated), own)) = self.parent.as_ref().zip(own) {
            let zone = &self.zone;
            for server in delegated.difference(&own) {
                found.push(Discord::Doubtful(format!(
                    "`{parent}` delegates `{zone}` to `{server}`, which the NS records of `{zone}` do not name: a CA \
                     may ask it\nhint: make the NS records at the registrar and in the zone the same"
                )));
            }
            for server in own.difference(delegated) {
                found.push(Discord::Doubtful(format!(
                    "the NS records of `{zone}` name `{server}`, to which `{parent}` does not delegate it\nhint: make \
                     the NS records at the registrar and in the zone the same"
                )));
            }
        }
        found
    }

    /// Who agrees on what, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let names: BTreeSet<&str> = self.answers.iter().map(|one| one.server.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let serial = self.apexes().map(|(_, apex)| apex.serial).next();
        let parent = match &self.parent {
            Some((parent, _)) => format!("; `{parent}` delegates to the same"),
            None => String::new(),
        };
        format!(
            "the name servers of `{}` agree ({}; serial {}){parent}",
            self.zone,
            names.join(", "),
            serial.unwrap_or_default()
        )
    }

    fn apexes(&self) -> impl Iterator<Item = (&Answer, &Apex)> {
        let said = |answer| Some((answer, Answer::said(answer).as_ref().ok()?));
        self.answers.iter().filter_map(said)
    }

    /// Servers that do not answer for the zone. One silent address counts for nothing if another one answers.
    fn silent(&self) -> Vec<Discord> {
        let speaks = |server: &str| self.apexes().any(|(one, _)| one.server == server);
        let mut found = Vec::new();
        for answer in &self.answers {
            let (reason, lame) = match &answer.said {
                Ok(_) => continue,
                Err(Refusal::Silent(_)) if speaks(&answer.server) => continue,
                Err(Refusal::Silent(reason)) => (reason, false),
                Err(Refusal::Lame(reason)) => (reason, true),
            };
            let text = format!(
                "{} does not answer for `{}`: {reason}",
                answer.who(),
                self.zone
            );
            let hint = if lame {
                "load the zone there, or take the server out of the delegation"
            } else {
                "`allow_dead_ns = true` in [acme.dns] passes over name servers that do not answer"
            };
            found.push(if self.allow_dead && !lame {
                Discord::Doubtful(text)
            } else {
                Discord::Bad(format!("{text}\nhint: {hint}"))
            });
        }
        found
    }

    /// Who is behind the newest serial number.
    fn serials(&self) -> Option<String> {
        let serial = |(_, apex): &(&Answer, &Apex)| apex.serial;
        let newest = self.apexes().map(|one| serial(&one)).reduce(newer)?;
        let behind: Vec<String> = self
            .apexes()
            .filter(|one| serial(one) != newest)
            .map(|(answer, apex)| format!("{} has {}", answer.who(), apex.serial))
            .collect();
        let leader = self.apexes().find(|one| serial(one) == newest)?.0;
        if behind.is_empty() {
            return None;
        }
        Some(format!(
            "the newest serial number of `{}` is {newest}, at {}; {}\nhint: look at the zone transfers, unless the \
             servers are of two services that count for themselves",
            self.zone,
            leader.who(),
            behind.join("; ")
        ))
    }

    /// What most servers say of the NS records; of two the one that the zone above agrees with.
    fn usual_servers(&self) -> Option<BTreeSet<String>> {
        let mut votes: BTreeMap<&BTreeSet<String>, usize> = BTreeMap::new();
        for (_, apex) in self.apexes() {
            *votes.entry(&apex.servers).or_default() += 1;
        }
        let delegated = self.parent.as_ref().map(|(_, servers)| servers);
        let most = votes
            .into_iter()
            .max_by_key(|(servers, count)| (*count, Some(*servers) == delegated));
        most.map(|(servers, _)| servers.clone())
    }

    fn other_servers(&self, usual: &BTreeSet<String>) -> Vec<Discord> {
        let list = |servers: &BTreeSet<String>| {
            let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
            servers.join(", ")
        };
        let others = self.apexes().filter(|(_, apex)| apex.servers != *usual);
        let told = others.map(|(answer, apex)| {
            Discord::Doubtful(format!(
                "{} says that the name servers of `{}` are {}; elsewhere they are {}\nhint: an old copy of the zone? \
                 load the same one everywhere",
                answer.who(),
                self.zone,
                list(&apex.servers),
                list(usual)
            ))
        });
        told.collect()
    }
}

impl Answer {
    fn said(&self) -> &Result<Apex, Refusal> {
        &self.said
    }

    fn who(&self) -> String {
        match self.address {
            Some(address) if address.to_string() != self.server => {
                format!("{} ({address})", self.server)
            }
            _ => self.server.clone(),
        }
    }
}

/// The newer of two serial numbers, which may wrap (RFC 1982 §3.2).
fn newer(one: u32, other: u32) -> u32 {
    if other.wrapping_sub(one) < 1 << 31 {
        other
    } else {
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(server: &str, serial: u32, servers: &[&str]) -> Answer {
        Answer {
            server: server.to_owned(),
            address: Some(SocketAddr::from(([192, 0, 2, 1], 53))),
            said: Ok(Apex {
                serial,
                servers: set(servers),
            }),
        }
    }

    fn refused(server: &str, refusal: Refusal) -> Answer {
        Answer {
            said: Err(refusal),
            ..said(server, 0, &[])
        }
    }

    fn set(servers: &[&str]) -> BTreeSet<String> {
        servers.iter().map(|&server| server.to_owned()).collect()
    }

    fn agreement(answers: Vec<Answer>, delegated: Option<&[&str]>) -> Agreement {
        Agreement {
            zone: "example.test".to_owned(),
            parent: delegated.map(|servers| ("test".to_owned(), set(servers))),
            answers,
            allow_dead: false,
        }
    }

    #[test]
    fn serial_numbers_wrap() {
        assert_eq!(newer(1, 2), 2);
        assert_eq!(newer(2, 1), 2);
        assert_eq!(newer(u32::MAX, 3), 3);
        assert_eq!(newer(3, u32::MAX), 3);
        assert_eq!(newer(7, 7), 7);
    }

    #[test]
    fn servers_that_say_the_same_agree() {
        let both = ["a", "b"];
        let one = agreement(vec![said("a", 5, &both), said("b", 5, &both)], Some(&both));
        assert_eq!(one.discords(), []);
        assert!(
            one.summary().contains("a, b; serial 5"),
            "{}",
            one.summary()
        );
    }

    #[test]
    fn a_dead_address_counts_only_if_its_server_has_no_other() {
        let silent = || Refusal::Silent("no".to_owned());
        let with = |answers| agreement(answers, None).discords();
        let a = || said("a", 5, &["a", "b"]);
        assert_eq!(with(vec![a(), refused("a", silent())]), []);
        let dead = with(vec![a(), refused("b", silent())]);
        assert!(matches!(&dead[..], [Discord::Bad(text)] if text.starts_with("b (192.0.2.1:53)")));
        let mut allowed = agreement(vec![a(), refused("b", silent())], None);
        allowed.allow_dead = true;
        assert!(matches!(&allowed.discords()[..], [Discord::Doubtful(_)]));
        // An address that answers wrongly may be the one that the CA asks.
        let lame = with(vec![a(), refused("a", Refusal::Lame("REFUSED".to_owned()))]);
        assert!(matches!(&lame[..], [Discord::Bad(_)]), "{lame:?}");
    }
}

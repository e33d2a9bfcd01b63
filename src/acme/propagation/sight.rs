//! What each name server says of a record, in one round of questions.

use std::net::SocketAddr;

use futures_util::future::join_all;
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

use super::super::dns::wire::{Role, WireError, ask};
use super::{Place, Propagation, look};

/// What one address of a name server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The name server.
    pub server: String,
    /// Its address; none if it has none.
    pub address: Option<SocketAddr>,
    /// What it says.
    pub seen: Seen,
}

/// What is seen at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// All values, with authority.
    All,
    /// An answer without all values: what it was.
    Missing(String),
    /// No answer: why.
    Silent(String),
}

/// A name server that keeps the record from counting as visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lack {
    /// Server, address, and what it says.
    pub(super) text: String,
    /// Whether no address of this server answers at all.
    pub(super) dead: bool,
}

impl Propagation {
    /// Asks every address of every server once, all at the same time.
    pub async fn sights(&self, place: &Place, values: &[String]) -> Vec<Sight> {
        let asked = place.servers.iter().map(|server| async move {
            let answers = server.addresses.iter().map(|&address| async move {
                let answer = ask(address, Role::Authority, &place.fqdn, RecordType::TXT).await;
                Sight {
                    server: server.name.clone(),
                    address: Some(address),
                    seen: seen(answer, Role::Authority, values),
                }
            });
            let mut sights = join_all(answers).await;
            if sights.is_empty() {
                sights.push(Sight {
                    server: server.name.clone(),
                    address: None,
                    seen: Seen::Silent("it has no address".to_owned()),
                });
            }
            sights
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

impl Propagation {
    /// Asks every resolver of `check_resolvers` once. They remember what they are told, also that there is nothing.
    pub(super) async fn resolver_sights(&self, place: &Place, values: &[String]) -> Vec<Sight> {
        let asked = self.check_resolvers.iter().map(|&address| async move {
            let answer = ask(address, Role::Recursor, &place.fqdn, RecordType::TXT).await;
            Sight {
                server: format!("resolver {}", address.ip()),
                address: Some(address),
                seen: seen(answer, Role::Recursor, values),
            }
        });
        join_all(asked).await
    }
}

/// What is missing where. One address of a name server may be out of our reach (IPv6, say); all of them may not.
pub(super) fn lacks(sights: &[Sight]) -> Vec<Lack> {
    let answers = |server: &str| {
        sights
            .iter()
            .any(|sight| sight.server == server && !matches!(sight.seen, Seen::Silent(_)))
    };
    let lack = |sight: &Sight| {
        let (reason, dead) = match &sight.seen {
            Seen::All => return None,
            Seen::Silent(_) if answers(&sight.server) => return None,
            Seen::Silent(reason) => (reason, true),
            Seen::Missing(reason) => (reason, false),
        };
        let text = match sight.address {
            Some(address) => format!("{} ({address}): {reason}", sight.server),
            None => format!("{}: {reason}", sight.server),
        };
        Some(Lack { text, dead })
    };
    sights.iter().filter_map(lack).collect()
}

fn seen(answer: Result<Message, WireError>, role: Role, values: &[String]) -> Seen {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Seen::Silent(error.to_string()),
    };
    let found = match look::values(&answer, role) {
        Ok(found) => found,
        Err(reason) => return Seen::Missing(reason),
    };
    let missing: Vec<String> = values
        .iter()
        .filter(|value| !found.contains(value))
        .map(|value| format!("`{value}`"))
        .collect();
    match missing.len() {
        0 => Seen::All,
        count => Seen::Missing(format!(
            "{count} of {} values missing: {}",
            values.len(),
            missing.join(", ")
        )),
    }
}

//! What the authoritative servers say of a TXT record, value by value: for records that Portico did not publish.

use futures_util::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};

use super::super::dns::wire::{Role, ask};
use super::{Place, Propagation};

/// One authoritative server and the values that it gives, or why it gives none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Its name and address, as in `ns1.example.com (192.0.2.1:53)`.
    pub server: String,
    /// The values, each with its parts joined; empty if there is no such record.
    pub values: Result<Vec<String>, String>,
}

impl Propagation {
    /// Asks every authoritative server once. An address of a name server that does not answer is left out if another
    /// one of the same server does.
    pub async fn look(&self, place: &Place) -> Vec<Look> {
        let servers = place.servers.iter().map(|server| async move {
            let looks = server.addresses.iter().map(|&address| async move {
                let answer = ask(address, Role::Authority, &place.fqdn, RecordType::TXT).await;
                let look = |values| Look {
                    server: format!("{} ({address})", server.name),
                    values,
                };
                match answer {
                    Ok(answer) => (true, look(values(&answer, Role::Authority))),
                    Err(error) => (false, look(Err(error.to_string()))),
                }
            });
            let looks = join_all(looks).await;
            let answered = looks.iter().any(|(answered, _)| *answered);
            let mut looks: Vec<Look> = looks
                .into_iter()
                .filter(|(one, _)| *one || !answered)
                .map(|(_, look)| look)
                .collect();
            if looks.is_empty() {
                looks.push(Look {
                    server: server.name.clone(),
                    values: Err("it has no address".to_owned()),
                });
            }
            looks
        });
        join_all(servers).await.into_iter().flatten().collect()
    }
}

/// The TXT values of an answer, each with its parts joined; otherwise why it counts for nothing. A server that is asked
/// as an authority must speak as one.
pub(super) fn values(answer: &Message, role: Role) -> Result<Vec<String>, String> {
    match answer.metadata.response_code {
        // NXDOMAIN is "not yet", and so is an answer without data (a wildcard record makes one).
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(code.to_string()),
    }
    if role == Role::Authority && !answer.metadata.authoritative {
        return Err("it answers without authority".to_owned());
    }
    let values = answer
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
        });
    Ok(values.collect())
}

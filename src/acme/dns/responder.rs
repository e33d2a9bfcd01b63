//! Our own authoritative answers for a delegated `_acme-challenge` zone.
//!
//! The operator delegates once (`_acme-challenge.example.com. NS edge.example.com.`); then no provider and no token is
//! needed. The sockets are bound only while an order runs. A zone holds SOA, NS and the TXT values of that order and
//! nothing else; transfers and updates are refused.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::{NS, SOA, TXT};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType, RrKey};
use hickory_server::Server;
use hickory_server::net::runtime::{Time, TokioRuntimeProvider};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::RwLock;

use super::{DnsError, TTL};

/// Idle TCP connections are closed after this.
const TCP_IDLE: Duration = Duration::from_secs(5);
/// Answers waiting on one TCP connection.
const TCP_BUFFER: usize = 16;

type Zone = InMemoryZoneHandler<TokioRuntimeProvider>;

/// The answering side: bound between [`Responder::open`] and [`Responder::close`] (or drop).
pub struct Responder {
    listen: Vec<SocketAddr>,
    name_server: Option<String>,
    zones: BTreeMap<LowerName, Arc<Zone>>,
    running: Option<Running>,
}

struct Running {
    /// Its tasks live in a `JoinSet` of hickory's, which ends them when it is dropped: nobody else needs to wait for them.
    server: Server<Shared>,
    catalog: Arc<RwLock<Catalog>>,
    addresses: Vec<SocketAddr>,
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Responder {
    /// Binds nothing yet. `name_server` is the name in NS and SOA; without it `ns.` + zone.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>, name_server: Option<String>) -> Self {
        Self {
            listen,
            name_server,
            zones: BTreeMap::new(),
            running: None,
        }
    }

    /// Binds the sockets. That they are bound already is fine.
    ///
    /// # Errors
    /// [`DnsError::Refused`] if an address cannot be bound.
    pub async fn open(&mut self) -> Result<(), DnsError> {
        if self.running.is_some() {
            return Ok(());
        }
        let catalog = Arc::new(RwLock::new(Catalog::new()));
        let mut server = Server::new(Shared(Arc::clone(&catalog)));
        let mut addresses = Vec::new();
        for &address in &self.listen {
            let failed = |error: std::io::Error| {
                DnsError::Refused(format!(
                    "cannot answer DNS on {address}: {error}{}",
                    hint(&error)
                ))
            };
            let tcp = TcpListener::bind(address).await.map_err(failed)?;
            let bound = tcp.local_addr().map_err(failed)?;
            server.register_socket(UdpSocket::bind(bound).await.map_err(failed)?);
            server.register_listener(tcp, TCP_IDLE, TCP_BUFFER);
            addresses.push(bound);
        }
        self.running = Some(Running {
            server,
            catalog,
            addresses,
        });
        Ok(())
    }

    /// Where answers are given now; empty while closed.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.running
            .as_ref()
            .map_or(&[], |running| &running.addresses)
    }

    /// Adds a value to a name of a zone; the zone appears with its first value.
    ///
    /// # Errors
    /// [`DnsError`] if it is not open or a name is none.
    pub async fn add(&mut self, zone: &str, fqdn: &str, value: &str) -> Result<(), DnsError> {
        let (zone, record) = (name(zone)?, txt(fqdn, value)?);
        let key = LowerName::from(&zone);
        let handler = match self.zones.get(&key) {
            Some(handler) => Arc::clone(handler),
            None => Arc::new(self.zone(&zone).await?),
        };
        if !zone.zone_of(&record.name) {
            return Err(DnsError::Refused(format!(
                "`{fqdn}` is not a name of the zone `{zone}`"
            )));
        }
        // `false` is "it was there already".
        handler.upsert(record, 0).await;
        let running = self
            .running
            .as_ref()
            .ok_or_else(|| DnsError::Failed("the responder is not open".to_owned()))?;
        running
            .catalog
            .write()
            .await
            .upsert(key.clone(), vec![Arc::clone(&handler) as _]);
        self.zones.insert(key, handler);
        Ok(())
    }

    /// Removes a value; that it is not there is fine.
    ///
    /// # Errors
    /// [`DnsError`] if a name is none.
    pub async fn remove(&mut self, zone: &str, fqdn: &str, value: &str) -> Result<(), DnsError> {
        let record = txt(fqdn, value)?;
        let Some(handler) = self.zones.get(&LowerName::from(&name(zone)?)) else {
            return Ok(());
        };
        let mut records = handler.records_mut().await;
        let key = RrKey::new(LowerName::from(&record.name), RecordType::TXT);
        let Some(set) = records.get_mut(&key) else {
            return Ok(());
        };
        Arc::make_mut(set).remove(&record, 0);
        if set.is_empty() {
            records.remove(&key);
        }
        Ok(())
    }

    /// Ends the answers and frees the sockets.
    pub async fn close(&mut self) {
        self.zones.clear();
        if let Some(mut running) = self.running.take()
            && let Err(error) = running.server.shutdown_gracefully().await
        {
            tracing::debug!(%error, "the DNS responder ended with an error");
        }
    }

    async fn zone(&self, zone: &Name) -> Result<Zone, DnsError> {
        let server = match &self.name_server {
            Some(server) => name(server)?,
            None => name(&format!("ns.{zone}"))?,
        };
        let contact = name(&format!("hostmaster.{zone}"))?;
        let soa = SOA::new(server.clone(), contact, 1, 3600, 600, 86400, TTL);
        let handler = Zone::empty(zone.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        for data in [RData::SOA(soa), RData::NS(NS(server))] {
            handler
                .upsert(Record::from_rdata(zone.clone(), TTL, data), 1)
                .await;
        }
        Ok(handler)
    }
}

/// The catalog behind a lock, so that zones can come while the server runs.
struct Shared(Arc<RwLock<Catalog>>);

impl RequestHandler for Shared {
    // What `#[async_trait]` would make of an `async fn`.
    fn handle_request<'a, 'b, 'f, R, T>(
        &'a self,
        request: &'b Request,
        response: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'f>>
    where
        R: ResponseHandler + 'f,
        T: Time + 'f,
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            self.0
                .read()
                .await
                .handle_request::<R, T>(request, response)
                .await
        })
    }
}

fn name(text: &str) -> Result<Name, DnsError> {
    let mut name =
        Name::from_ascii(text).map_err(|error| DnsError::Refused(format!("`{text}`: {error}")))?;
    name.set_fqdn(true);
    Ok(name)
}

fn txt(fqdn: &str, value: &str) -> Result<Record, DnsError> {
    Ok(Record::from_rdata(
        name(fqdn)?,
        TTL,
        RData::TXT(TXT::new(vec![value.to_owned()])),
    ))
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "\nhint: give the unit `AmbientCapabilities=CAP_NET_BIND_SERVICE`, or listen on a port over 1023"
        }
        std::io::ErrorKind::AddrInUse => {
            "\nhint: another DNS server has this address; set `listen` in [acme.dns] to the public address alone"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Role, ask};
    use super::*;

    #[tokio::test]
    async fn answers_with_authority_only_while_open() {
        let mut responder = Responder::new(
            vec!["127.0.0.1:0".parse().unwrap()],
            Some("edge.example.test".to_owned()),
        );
        responder.open().await.unwrap();
        let address = *responder.addresses().first().unwrap();
        let (zone, fqdn) = (
            "_acme-challenge.example.test",
            "_acme-challenge.example.test",
        );
        responder.add(zone, fqdn, "one").await.unwrap();
        responder.add(zone, fqdn, "two").await.unwrap();
        responder.add(zone, fqdn, "two").await.unwrap();
        let query = name(fqdn).unwrap();
        let answer = ask(address, Role::Authority, &query, RecordType::TXT)
            .await
            .unwrap();
        assert!(answer.metadata.authoritative);
        assert_eq!(answer.answers.len(), 2);
        let soa = ask(address, Role::Authority, &query, RecordType::SOA)
            .await
            .unwrap();
        assert!(
            matches!(&soa.answers.first().unwrap().data, RData::SOA(soa) if soa.mname.to_ascii() == "edge.example.test.")
        );
        responder.remove(zone, fqdn, "one").await.unwrap();
        let answer = ask(address, Role::Authority, &query, RecordType::TXT)
            .await
            .unwrap();
        assert_eq!(answer.answers.len(), 1);
        responder.remove(zone, fqdn, "two").await.unwrap();
        let answer = ask(address, Role::Authority, &query, RecordType::TXT)
            .await
            .unwrap();
        assert!(answer.answers.is_empty());
        responder.close().await;
        assert!(
            ask(address, Role::Authority, &query, RecordType::TXT)
                .await
                .is_err()
        );
        responder.open().await.unwrap();
    }
}

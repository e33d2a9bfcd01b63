//! Dynamic update (RFC 2136) signed with TSIG (RFC 8945), over TCP.
//!
//! One update adds or removes one value, so other values of the name stay. Of the server's addresses the first that
//! takes a connection gets it, and no other. The answer's signature is verified; an unsigned or wrongly signed answer is
//! believed only when it is a refusal.

use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, Engine};
use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};

use super::{DnsError, TTL, Txt, wire};
use crate::clock::UnixTime;
use crate::config::CredentialSource;

/// Allowed difference between our clock and the server's (RFC 8945 §10 recommends 300 s).
const FUDGE: u16 = 300;

/// A server that takes updates, and the key it knows.
pub struct Rfc2136 {
    server: String,
    port: u16,
    signer: TSigner,
}

impl std::fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rfc2136")
            .field("server", &self.server)
            .field("port", &self.port)
            .field("key", &self.signer.signer_name().to_string())
            .finish_non_exhaustive()
    }
}

impl Rfc2136 {
    /// Reads certbot's keys `dns_rfc2136_server`, `_port`, `_name`, `_secret` and `_algorithm`.
    pub(super) fn new(credentials: &CredentialSource) -> Result<Self, DnsError> {
        let ini = credentials.read()?;
        let bad = |key: &str, reason: String| {
            DnsError::Refused(format!(
                "`{key}` in `{credentials}` is not usable: {reason}"
            ))
        };
        let port = match ini.get("dns_rfc2136_port") {
            None => 53,
            Some(text) => text
                .expose()
                .parse()
                .map_err(|error: std::num::ParseIntError| {
                    bad("dns_rfc2136_port", error.to_string())
                })?,
        };
        let algorithm = match ini
            .get("dns_rfc2136_algorithm")
            .map(|text| text.expose().to_ascii_lowercase())
        {
            // Certbot's own default is HMAC-MD5, which no server should take any more.
            None => TsigAlgorithm::HmacSha256,
            Some(name) => match name.as_str() {
                "hmac-sha256" => TsigAlgorithm::HmacSha256,
                "hmac-sha384" => TsigAlgorithm::HmacSha384,
                "hmac-sha512" => TsigAlgorithm::HmacSha512,
                _ => {
                    return Err(bad(
                        "dns_rfc2136_algorithm",
                        format!("`{name}`\nhint: HMAC-SHA256, HMAC-SHA384 or HMAC-SHA512"),
                    ));
                }
            },
        };
        let name = Name::from_ascii(ini.require("dns_rfc2136_name")?.expose())
            .map_err(|error| bad("dns_rfc2136_name", error.to_string()))?;
        // The decoder's error would show part of the secret.
        let secret = BASE64_STANDARD
            .decode(ini.require("dns_rfc2136_secret")?.expose())
            .map_err(|_shows_secret| bad("dns_rfc2136_secret", "it is not base64".to_owned()))?;
        let signer = TSigner::new(secret, algorithm, name, FUDGE)
            .map_err(|error| bad("dns_rfc2136_secret", error.to_string()))?;
        Ok(Self {
            server: ini.require("dns_rfc2136_server")?.expose().to_owned(),
            port,
            signer,
        })
    }

    pub(super) async fn add(&self, txt: &Txt) -> Result<(), DnsError> {
        let (zone, records) = records(txt)?;
        self.update(update_message::append(records, zone, false, false), txt)
            .await
    }

    pub(super) async fn remove(&self, txt: &Txt) -> Result<(), DnsError> {
        let (zone, records) = records(txt)?;
        self.update(update_message::delete_by_rdata(records, zone, false), txt)
            .await
    }

    async fn update(&self, mut message: Message, txt: &Txt) -> Result<(), DnsError> {
        let failed = |error: wire::WireError| DnsError::Failed(error.to_string());
        let connected = wire::connect(&self.addresses().await?).await;
        let (server, stream) = connected.map_err(failed)?;
        let now = u64::try_from(UnixTime::now().0).unwrap_or_default();
        let garbled =
            |error: hickory_proto::ProtoError| DnsError::Failed(format!("{server}: {error}"));
        let verifier = message.finalize(&self.signer, now).map_err(garbled)?;
        let bytes = message.to_vec().map_err(garbled)?;
        let answer = wire::exchange_over(server, stream, &bytes).await;
        let answer = answer.map_err(failed)?;
        let read = Message::from_vec(&answer)
            .map_err(|error| DnsError::Failed(format!("{server}: {error}")))?;
        match read.metadata.response_code {
            ResponseCode::NoError => {}
            code => return Err(self.refused(server, code, &read, txt)),
        }
        let verified = verifier.map(|mut verifier| verifier.verify(&answer));
        match verified {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(DnsError::Failed(format!(
                "the answer of {server} is not signed by our key: {error}"
            ))),
            None => Err(DnsError::Failed(format!(
                "the answer of {server} cannot be verified"
            ))),
        }
    }

    fn refused(
        &self,
        server: SocketAddr,
        code: ResponseCode,
        answer: &Message,
        txt: &Txt,
    ) -> DnsError {
        let key = self.signer.signer_name();
        let error = answer.signature().and_then(|record| record.data.error);
        let (text, hint) = match error {
            Some(TsigError::BadKey) => (
                "BADKEY",
                format!("the server does not know the key `{key}` with this algorithm"),
            ),
            Some(TsigError::BadSig) => (
                "BADSIG",
                format!("the secret of the key `{key}` is another one at the server"),
            ),
            Some(TsigError::BadTime) => (
                "BADTIME",
                "this machine's clock and the server's differ by more than 5 minutes; see `timedatectl`".to_owned(),
            ),
            _ => (
                "",
                format!(
                    "let the key `{key}` update TXT records of `{}` in the zone `{}`",
                    txt.fqdn, txt.zone
                ),
            ),
        };
        // As name servers' own logs have it: NOTAUTH, REFUSED.
        let code_name = format!("{code:?}").to_ascii_uppercase();
        let text = format!(
            "{server} refused the update of `{}`: {code_name} {text}\nhint: {hint}",
            txt.fqdn
        );
        match code {
            ResponseCode::ServFail => DnsError::Failed(text),
            _ => DnsError::Refused(text),
        }
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, DnsError> {
        let failed = |reason: String| {
            DnsError::Failed(format!(
                "cannot find the DNS server `{}`: {reason}",
                self.server
            ))
        };
        let found = tokio::net::lookup_host((self.server.as_str(), self.port))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Err(failed("it has no address".to_owned()));
        }
        Ok(found)
    }
}

/// The zone and the record set of one value.
fn records(txt: &Txt) -> Result<(Name, RecordSet), DnsError> {
    let parse = |text: &str| {
        let mut name = Name::from_ascii(text)
            .map_err(|error| DnsError::Refused(format!("`{text}`: {error}")))?;
        name.set_fqdn(true);
        Ok::<_, DnsError>(name)
    };
    let (zone, name) = (parse(&txt.zone)?, parse(&txt.fqdn)?);
    if !zone.zone_of(&name) {
        let text = format!(
            "`{}` is not in the zone `{}`\nhint: set `zone` in [acme.dns]",
            txt.fqdn, txt.zone
        );
        return Err(DnsError::Refused(text));
    }
    let mut records = RecordSet::with_ttl(name.clone(), RecordType::TXT, TTL);
    records.insert(
        Record::from_rdata(name, TTL, RData::TXT(TXT::new(vec![txt.value.clone()]))),
        0,
    );
    Ok((zone, records))
}

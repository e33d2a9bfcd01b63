//! Proving to a CA that names are ours: one file for each kind of challenge.
//!
//! A [`Proof`] brings the authorizations of an order to an end: it makes the answers visible, sees for itself that they
//! are, only then offers them to the CA, and takes them away again whatever came of it. The order above knows nothing
//! of kinds. A name whose authorization is still valid is not proven again, and then nothing is published.

mod alpn;
mod dns;
mod http;
mod persist;
mod served;

use instant_acme::{AuthorizationStatus, ChallengeType, Order, OrderStatus};

use self::dns::Records;
pub(super) use self::dns::owner;
pub(super) use self::persist::{ENDS_SOON, LABEL as PERSIST_LABEL};
pub use self::persist::{Found, Persist, Record, Seen, persist_record};
use self::served::Served;
pub(super) use self::served::{Reach, rehearse};
use super::client::Client;
use super::dns::Output;
use super::error::AcmeError;
use super::order::{patient, settle};
use super::state::{Journal, Phase};
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::Store;
use crate::config::{Challenge, Config};
use crate::host::Host;

/// The way from pending authorizations to valid ones, for one lineage.
pub(super) struct Proof<'a> {
    client: &'a Client,
    store: &'a dyn Store,
    lineage: &'a Lineage,
    journal: &'a Journal<'a>,
    kind: Kind<'a>,
}

/// What is made visible, and where.
enum Kind<'a> {
    /// TXT records for this order: dns-01, dns-account-01.
    Dns(Box<Records<'a>>),
    /// A TXT record that stands already: dns-persist-01.
    Persist(Persist),
    /// The running proxy answers: http-01, tls-alpn-01.
    Served(Served<'a>),
}

/// One name that the CA wants proven, and what it wants to see.
#[derive(Debug, Clone)]
struct Asked {
    /// Without `*.`.
    host: Host,
    wildcard: bool,
    /// Random text of the CA's; empty for dns-persist-01.
    token: String,
    /// What http-01 answers.
    key_authorization: String,
    /// Its SHA-256, for tls-alpn-01.
    digest: Vec<u8>,
    /// The same in base64url, for TXT records.
    dns_value: String,
}

impl<'a> Proof<'a> {
    /// Reads credentials where the kind needs some; asks nobody.
    pub(super) fn new(
        config: &'a Config,
        store: &'a dyn Store,
        lineage: &'a Lineage,
        client: &'a Client,
        journal: &'a Journal<'a>,
    ) -> Result<Self, AcmeError> {
        let kind = match lineage.challenge {
            Challenge::Dns01 | Challenge::DnsAccount01 => {
                Kind::Dns(Box::new(Records::new(&config.acme, store, lineage)?))
            }
            Challenge::DnsPersist01 => Kind::Persist(Persist::new(&config.acme)),
            Challenge::Http01 | Challenge::TlsAlpn01 => {
                Kind::Served(Served::new(&config.listen, store, lineage))
            }
        };
        Ok(Self {
            client,
            store,
            lineage,
            journal,
            kind,
        })
    }

    /// The connection to the CA.
    pub(super) fn client(&self) -> &'a Client {
        self.client
    }

    /// Brings the order's authorizations to an end. `account` is the account's URL.
    ///
    /// # Errors
    /// [`AcmeError::Validation`] if the CA did not see what it wanted; any other if it was not asked to look.
    pub(super) async fn prove(
        &mut self,
        order: &mut Order,
        account: &str,
        out: Output<'_>,
    ) -> Result<(), AcmeError> {
        let asked = self.asked(order).await?;
        if asked.is_empty() {
            tracing::info!("the CA needs no new proof");
            return self.settled(order).await;
        }
        self.journal.enter(Phase::Presenting);
        let shown = match &mut self.kind {
            Kind::Dns(records) => records.show(&asked, account, self.journal, out).await,
            Kind::Persist(persist) => persist.confirm(self.client, &asked, account).await,
            Kind::Served(served) => served.show(&asked, self.journal).await,
        };
        let proven = match shown {
            Ok(()) => self.validate(order).await,
            Err(error) => Err(error),
        };
        self.clean(out).await;
        if let Kind::Dns(records) = &mut self.kind {
            records.close().await;
        }
        proven
    }

    async fn validate(&self, order: &mut Order) -> Result<(), AcmeError> {
        failpoint::hit(failpoint::RECORDS_VISIBLE);
        self.journal.enter(Phase::Validating);
        self.offer(order).await?;
        failpoint::hit(failpoint::CHALLENGES_OFFERED);
        self.settled(order).await?;
        failpoint::hit(failpoint::VALIDATED);
        Ok(())
    }

    /// Takes away what this run or an earlier one has made visible. What cannot be taken away now is left to the next
    /// run.
    pub(super) async fn clean(&mut self, out: Output<'_>) {
        if let Kind::Dns(records) = &mut self.kind {
            records.clean(out).await;
        } else if let Ok(debts) = self.store.debts(&self.lineage.name) {
            for debt in debts {
                tracing::warn!(
                    record = debt.fqdn,
                    value = debt.value,
                    "a TXT record of an earlier run is left in DNS, and the challenge is another one now; remove it by hand"
                );
            }
        }
        // Also those of a run before the kind was changed.
        if let Err(error) = self.store.withdraw(&self.lineage.name) {
            tracing::warn!(%error, "answers to the CA stay for now; the next run removes them");
        }
    }

    /// The names that are to be proven.
    async fn asked(&self, order: &mut Order) -> Result<Vec<Asked>, AcmeError> {
        let kind = self.lineage.challenge;
        patient(self.client, async || {
            let mut asked = Vec::new();
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                let name = authorization.identifier().to_string();
                match authorization.status {
                    AuthorizationStatus::Valid => {}
                    AuthorizationStatus::Pending => {
                        let Some(challenge) = authorization.challenge(word(kind)) else {
                            return Ok(Err(not_offered(kind, &name)));
                        };
                        let answer = challenge.key_authorization();
                        let (host, wildcard) = match name.strip_prefix("*.") {
                            Some(rest) => (rest, true),
                            None => (name.as_str(), false),
                        };
                        let Ok(host) = Host::parse(host) else {
                            let text =
                                format!("the CA wants a proof for `{name}`, which is no host name");
                            return Ok(Err(AcmeError::OrderLost(text)));
                        };
                        asked.push(Asked {
                            host,
                            wildcard,
                            token: challenge.token.clone(),
                            key_authorization: answer.as_str().to_owned(),
                            digest: answer.digest().as_ref().to_vec(),
                            dns_value: answer.dns_value(),
                        });
                    }
                    _ => {
                        let text = format!("the authorization of `{name}` is over");
                        return Ok(Err(AcmeError::OrderLost(text)));
                    }
                }
            }
            Ok(Ok(asked))
        })
        .await?
    }

    /// Tells the CA to look.
    async fn offer(&self, order: &mut Order) -> Result<(), AcmeError> {
        let mut offered = Vec::new();
        patient(self.client, async || {
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                if authorization.status != AuthorizationStatus::Pending
                    || offered.contains(&authorization.url().to_owned())
                {
                    continue;
                }
                let url = authorization.url().to_owned();
                if let Some(mut challenge) = authorization.challenge(word(self.lineage.challenge)) {
                    challenge.set_ready().await?;
                }
                offered.push(url);
            }
            Ok(())
        })
        .await
    }

    /// Waits until the CA has looked; says what it found if that was wrong.
    async fn settled(&self, order: &mut Order) -> Result<(), AcmeError> {
        let status = settle(self.client, order, |status| status != OrderStatus::Pending).await?;
        if status != OrderStatus::Invalid {
            return Ok(());
        }
        let reasons = patient(self.client, async || {
            let mut reasons = Vec::new();
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                let name = authorization.identifier().to_string();
                let state = authorization.refresh().await?;
                let errors = state
                    .challenges
                    .iter()
                    .filter_map(|challenge| challenge.error.as_ref());
                reasons.extend(errors.map(|error| format!("{name}: {error}")));
            }
            Ok(reasons)
        })
        .await?;
        Err(AcmeError::Validation(if reasons.is_empty() {
            "no reason given".to_owned()
        } else {
            reasons.join("; ")
        }))
    }
}

/// The library's word; it has none of its own for the younger kinds.
fn word(kind: Challenge) -> ChallengeType {
    match kind {
        Challenge::Dns01 => ChallengeType::Dns01,
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Challenge::DnsAccount01 | Challenge::DnsPersist01 => {
            ChallengeType::Unknown(kind.name().to_owned())
        }
    }
}

fn not_offered(kind: Challenge, name: &str) -> AcmeError {
    let hint = match kind {
        Challenge::Dns01 => "is it the right `directory`?",
        _ => "not every CA has this kind yet; `dns-01` is what all have",
    };
    AcmeError::Config(format!(
        "the CA offers no {kind} for `{name}`\nhint: {hint}"
    ))
}

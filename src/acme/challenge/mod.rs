//! Proving to a CA that names are ours: one file for each kind of challenge.
//!
//! A [`Proof`] brings the authorizations of an order to an end: it makes the answers visible, sees for itself that they
//! are, only then offers them to the CA, and takes them away again whatever came of it; but a TXT record that does not
//! show in time stays for as long as its order does. The order above knows nothing of kinds. A name whose authorization is still valid is not proven again, and then nothing is published.

mod alpn;
mod dns;
mod http;
mod persist;
mod served;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use instant_acme::{AuthorizationHandle, AuthorizationStatus, ChallengeType, Order, OrderStatus};

pub(super) use self::dns::owner;
use self::dns::{For, Records};
pub(super) use self::persist::{ENDS_SOON, LABEL as PERSIST_LABEL};
pub use self::persist::{Found, Persist, Record, Seen, persist_record};
use self::served::Served;
pub(super) use self::served::{Reach, rehearse};
use super::account::Account;
use super::client::Client;
use super::dns::Output;
use super::error::{AcmeError, Class};
use super::order::{each, settle};
use super::state::{Journal, Phase};
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::{Debt, Store};
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

impl Asked {
    /// What the CA wants to see for a pending authorization. It names the account's key by its thumbprint (RFC 8555 §8.1);
    /// the library does not have that key.
    fn read(
        kind: Challenge,
        authorization: AuthorizationHandle<'_>,
        thumbprint: &str,
    ) -> Result<Self, AcmeError> {
        // A binding of its own: the challenge borrows it for as long as it lives.
        let mut authorization = authorization;
        let name = authorization.identifier().to_string();
        let challenge = authorization
            .challenge(word(kind))
            .ok_or_else(|| not_offered(kind, &name))?;
        let (host, wildcard) = match name.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (name.as_str(), false),
        };
        let host = Host::parse(host).map_err(|_no_name| {
            let text = format!("the CA wants a proof for `{name}`, which is no host name");
            AcmeError::OrderLost(text)
        })?;
        let token = challenge.token.clone();
        let key_authorization = format!("{token}.{thumbprint}");
        let digest = digest::digest(&digest::SHA256, key_authorization.as_bytes());
        Ok(Self {
            host,
            wildcard,
            token,
            key_authorization,
            digest: digest.as_ref().to_vec(),
            dns_value: BASE64_URL_SAFE_NO_PAD.encode(digest),
        })
    }
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
                Kind::Dns(Box::new(Records::new(config, store, lineage)?))
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

    /// Brings the order's authorizations to an end. `account` is the one that made the order.
    ///
    /// # Errors
    /// [`AcmeError::Validation`] if the CA did not see what it wanted; any other if it was not asked to look.
    pub(super) async fn prove(
        &mut self,
        order: &mut Order,
        account: &Account,
        out: Output<'_>,
    ) -> Result<(), AcmeError> {
        let asked = self.asked(order, account.thumbprint()).await?;
        let account = account.id();
        if asked.is_empty() {
            tracing::info!("the CA needs no new proof");
            self.clean(|_| false, out).await;
            return self.settled(order).await;
        }
        let whom = order.url().to_owned();
        self.journal.enter(Phase::Presenting);
        let shown = match &mut self.kind {
            Kind::Dns(records) => {
                let whom = For {
                    account,
                    order: &whom,
                };
                records.show(&asked, whom, self.journal, out).await
            }
            Kind::Persist(persist) => persist.confirm(self.client, &asked, account).await,
            Kind::Served(served) => served.show(&asked, self.journal).await,
        };
        // Not there yet: the next run looks again, as long as the CA keeps the order.
        let waits = matches!(&self.kind, Kind::Dns(_))
            && matches!(&shown, Err(error) if error.class() == Class::Propagation);
        let proven = match shown {
            Ok(()) => self.validate(order).await,
            Err(error) => Err(error),
        };
        if !waits {
            self.clean(|_| false, out).await;
        }
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

    /// Takes away what this run or an earlier one has made visible, but for the records that `stays` wants left. What
    /// cannot be taken away now is left to the next run.
    pub(super) async fn clean(&mut self, stays: impl Fn(&Debt) -> bool, out: Output<'_>) {
        if let Kind::Dns(records) = &mut self.kind {
            records.clean(stays, out).await;
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
    async fn asked(&self, order: &mut Order, thumbprint: &str) -> Result<Vec<Asked>, AcmeError> {
        let kind = self.lineage.challenge;
        let read = async |authorization: AuthorizationHandle<'_>| {
            Ok(match authorization.status {
                AuthorizationStatus::Valid => Ok(None),
                AuthorizationStatus::Pending => {
                    Asked::read(kind, authorization, thumbprint).map(Some)
                }
                _ => {
                    let name = authorization.identifier();
                    let text = format!("the authorization of `{name}` is over");
                    Err(AcmeError::OrderLost(text))
                }
            })
        };
        let all = each(self.client, order, read).await?;
        all.into_iter().filter_map(Result::transpose).collect()
    }

    /// Tells the CA to look.
    async fn offer(&self, order: &mut Order) -> Result<(), AcmeError> {
        let kind = word(self.lineage.challenge);
        let offer = async |mut authorization: AuthorizationHandle<'_>| {
            if authorization.status == AuthorizationStatus::Pending
                && let Some(mut challenge) = authorization.challenge(kind.clone())
            {
                challenge.set_ready().await?;
            }
            Ok(())
        };
        each(self.client, order, offer).await?;
        Ok(())
    }

    /// Waits until the CA has looked; says what it found if that was wrong.
    async fn settled(&self, order: &mut Order) -> Result<(), AcmeError> {
        let status = settle(self.client, order, |status| status != OrderStatus::Pending).await?;
        if status != OrderStatus::Invalid {
            return Ok(());
        }
        // The library has dropped what it knew of them when it looked at the order.
        let read = async |authorization: AuthorizationHandle<'_>| {
            let name = authorization.identifier().to_string();
            let errors = authorization
                .challenges
                .iter()
                .filter_map(|challenge| challenge.error.as_ref());
            Ok(errors
                .map(|error| format!("{name}: {error}"))
                .collect::<Vec<_>>())
        };
        let reasons = each(self.client, order, read).await?.concat();
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

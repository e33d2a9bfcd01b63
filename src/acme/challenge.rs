//! DNS-01 for the authorizations of one order.
//!
//! Publish every value, see them at every authoritative server, only then offer them to the CA, and take them away
//! again whatever came of it. Each value is in the ledger from before the provider hears of it until it is gone.

use instant_acme::{AuthorizationStatus, ChallengeType, Order, OrderStatus};

use super::client::Client;
use super::dns::{Output, Provider, Txt};
use super::error::AcmeError;
use super::order::{patient, settle};
use super::propagation::Propagation;
use super::trial::zone_for;
use crate::cert::store::{Debt, Proof, Store};
use crate::host::Host;

/// What is needed to publish and check the records of one domain.
pub(super) struct Desk<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) lineage: &'a Host,
    pub(super) names: &'a [String],
    pub(super) client: &'a Client,
    pub(super) provider: &'a mut Provider,
    pub(super) propagation: &'a Propagation,
}

impl Desk<'_> {
    /// Brings the order's authorizations to an end.
    pub(super) async fn prove(
        &mut self,
        order: &mut Order,
        out: Output<'_>,
    ) -> Result<(), AcmeError> {
        let proofs = wanted(self.client, order).await?;
        if proofs.is_empty() {
            tracing::info!("the CA needs no new proof");
            return settled(self.client, order).await;
        }
        if proofs.len() > 1 && self.provider.holds_one_value() {
            return Err(AcmeError::Config(format!(
                "`{}` keeps one TXT value for each name, and this order needs {}\nhint: choose another provider \
                 (`portico dns providers`), or delegate to `responder`",
                self.provider.name(),
                proofs.len()
            )));
        }
        self.provider.open().await?;
        let proven = self.publish_and_offer(order, proofs, out).await;
        self.clean(out).await;
        self.provider.close().await;
        proven
    }

    async fn publish_and_offer(
        &mut self,
        order: &mut Order,
        proofs: Vec<(String, Proof)>,
        out: Output<'_>,
    ) -> Result<(), AcmeError> {
        let place = self.propagation.locate(self.lineage).await?;
        let zone = zone_for(self.provider, &place, self.lineage)?;
        tracing::info!(
            record = place.fqdn(),
            zone,
            provider = self.provider.name(),
            "publishing {} values",
            proofs.len()
        );
        let values: Vec<String> = proofs.iter().map(|(value, _)| value.clone()).collect();
        for ((value, proof), left) in proofs.into_iter().zip((0..values.len()).rev()) {
            let debt = Debt {
                domain: self.lineage.to_string(),
                zone: zone.clone(),
                fqdn: place.fqdn(),
                value,
                proof: Some(proof),
            };
            self.store.owe(self.lineage, &debt)?;
            self.provider
                .add(&txt(&debt, self.names, left), out)
                .await?;
        }
        let waited = self.propagation.wait(&place, &values).await?;
        tracing::info!(
            waited_ms = waited.as_millis(),
            "every authoritative server shows the records"
        );
        offer(self.client, order).await?;
        settled(self.client, order).await
    }

    /// Removes what the ledger holds. A record that cannot be removed now stays in the ledger for the next run.
    pub(super) async fn clean(&mut self, out: Output<'_>) {
        let debts = match self.store.debts(self.lineage) {
            Ok(debts) => debts,
            Err(error) => {
                return tracing::warn!(%error, "cannot read which TXT records are to be removed");
            }
        };
        for (debt, left) in debts.iter().zip((0..debts.len()).rev()) {
            let removed = self
                .provider
                .remove(&txt(debt, self.names, left), out)
                .await;
            let settled = match removed {
                Ok(()) => self.store.paid(self.lineage, debt).map_err(AcmeError::from),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = settled {
                tracing::warn!(record = debt.fqdn, %error, "a TXT record stays for now; the next run removes it");
            }
        }
    }
}

fn txt(debt: &Debt, names: &[String], remaining: usize) -> Txt {
    Txt {
        domain: debt.domain.clone(),
        zone: debt.zone.clone(),
        fqdn: debt.fqdn.clone(),
        value: debt.value.clone(),
        proof: debt.proof.clone(),
        all: names.to_vec(),
        remaining,
    }
}

/// The values that the CA wants to see, and what each is made of.
async fn wanted(client: &Client, order: &mut Order) -> Result<Vec<(String, Proof)>, AcmeError> {
    let found = patient(client, async || {
        let mut found = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => {}
                AuthorizationStatus::Pending => {
                    let challenge = authorization.challenge(ChallengeType::Dns01);
                    found.push(
                        challenge
                            .map(|challenge| {
                                let authorization = challenge.key_authorization();
                                let proof = Proof {
                                    token: challenge.token.clone(),
                                    key_authorization: authorization.as_str().to_owned(),
                                };
                                (authorization.dns_value(), proof)
                            })
                            .ok_or(name),
                    );
                }
                _ => {
                    return Ok(Err(AcmeError::OrderLost(format!(
                        "the authorization of `{name}` is over"
                    ))));
                }
            }
        }
        Ok(Ok(found))
    })
    .await??;
    let values: Result<Vec<(String, Proof)>, String> = found.into_iter().collect();
    values.map_err(|name| AcmeError::Config(format!("the CA offers no DNS-01 for `{name}`")))
}

/// Tells the CA to look.
async fn offer(client: &Client, order: &mut Order) -> Result<(), AcmeError> {
    let mut offered = Vec::new();
    patient(client, async || {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending
                || offered.contains(&authorization.url().to_owned())
            {
                continue;
            }
            let url = authorization.url().to_owned();
            if let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01) {
                challenge.set_ready().await?;
            }
            offered.push(url);
        }
        Ok(())
    })
    .await
}

/// Waits until the CA has looked; says what it found if that was wrong.
async fn settled(client: &Client, order: &mut Order) -> Result<(), AcmeError> {
    if settle(client, order, |status| status != OrderStatus::Pending).await? != OrderStatus::Invalid
    {
        return Ok(());
    }
    let reasons = patient(client, async || {
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

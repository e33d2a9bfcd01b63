//! How an order begins: the one in progress if the CA still has it, else a new one.
//!
//! Key and request are on the disk before the CA hears of the order, its address right after.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use instant_acme::{CertificateIdentifier, Identifier, NewOrder, Order, OrderStatus};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::super::account::Account;
use super::super::ari;
use super::super::client::Client;
use super::super::error::AcmeError;
use super::Job;
use super::calls::patient;
use crate::cert::bundle::{self, BundleError};
use crate::cert::failpoint;
use crate::cert::store::{Pending, PendingOrder};
use crate::clock::UnixTime;

/// An order older than this is not taken up again: CAs keep them for a week at most.
const STALE: i64 = 7 * 86400;

impl Job<'_> {
    /// The order in progress if the CA still has it, else a new one.
    pub(super) async fn order(
        &self,
        account: &Account,
        client: &Client,
    ) -> Result<(Pending, Order), AcmeError> {
        if let Some(resumed) = self.resume(account, client).await? {
            return Ok(resumed);
        }
        self.check_budget()?;
        let mut pending = self.prepare(account)?;
        self.store.put_pending(&self.lineage.name, &pending)?;
        failpoint::hit(failpoint::KEY_WRITTEN);
        let identifiers: Vec<Identifier> = pending
            .order
            .names
            .iter()
            .cloned()
            .map(Identifier::Dns)
            .collect();
        let order = self.make(account, client, &identifiers).await?;
        failpoint::hit(failpoint::ORDER_MADE);
        pending.order.url = Some(order.url().to_owned());
        self.store.put_pending(&self.lineage.name, &pending)?;
        failpoint::hit(failpoint::ORDER_NOTED);
        let url = pending.order.url.clone();
        self.journal.change(|state| state.order = url)?;
        tracing::info!(
            order = order.url(),
            names = pending.order.names.join(", "),
            "ordered a certificate"
        );
        Ok((pending, order))
    }

    /// A new order, in place of the certificate in service if the CA takes that (RFC 9773 §5). It is asked twice at
    /// most: what it does not like about the replacement must not cost the certificate.
    async fn make(
        &self,
        account: &Account,
        client: &Client,
        identifiers: &[Identifier],
    ) -> Result<Order, AcmeError> {
        let plain = || {
            let new = NewOrder::new(identifiers);
            match &self.ca.profile {
                Some(profile) => new.profile(profile),
                None => new,
            }
        };
        let new = plain();
        let Some((id, replaces)) = self.replaces(account) else {
            return patient(client, async || account.new_order(&new).await).await;
        };
        let replacing = plain().replaces(replaces);
        // Whether the CA itself said no, and not something in between.
        let refused = AtomicBool::new(false);
        let made = patient(client, async || {
            match account.new_order(&replacing).await {
                // The library has not asked: the CA's directory has no advice, so no replacements either.
                Err(instant_acme::Error::Unsupported(_)) => Ok(None),
                other => {
                    let problem = matches!(other, Err(instant_acme::Error::Api(_)));
                    refused.store(problem, Relaxed);
                    other.map(Some)
                }
            }
        });
        let error = match made.await {
            Ok(Some(order)) => return Ok(order),
            Ok(None) => return patient(client, async || account.new_order(&new).await).await,
            Err(error) => error,
        };
        let reply = client.reply();
        match (reply.status, reply.location) {
            // Made, but the reply does not repeat the replacement, so the library hides it.
            (200..=299, Some(url)) => {
                tracing::info!(order = url, "the CA made the order without the replacement");
                patient(client, async || account.order(url.clone()).await).await
            }
            _ if matches!(error, AcmeError::Limited { .. } | AcmeError::AccountGone(_)) => {
                Err(error)
            }
            // A CA may also fail over a certificate that it does not find any more.
            (400..=599, _) if refused.load(Relaxed) => {
                tracing::info!(%error, "the CA does not take the order as a replacement, asking without");
                if reply.status == 409 {
                    self.journal.change(|state| state.remember_replaced(&id))?;
                }
                patient(client, async || account.new_order(&new).await).await
            }
            _ => Err(error),
        }
    }

    /// The identifier of the certificate in service, if this account got it and it was not replaced before.
    pub(super) fn replaces(
        &self,
        account: &Account,
    ) -> Option<(String, CertificateIdentifier<'static>)> {
        let predecessor = self.predecessor?;
        let ours = predecessor.meta.directory == self.ca.directory
            && predecessor.meta.account == account.id();
        let id = ari::identifier(&predecessor.bundle).filter(|_| ours)?;
        if self.journal.state().replaced.contains(&id) {
            return None;
        }
        let (key, serial) = id.split_once('.')?;
        let identifier = CertificateIdentifier {
            authority_key_identifier: key.to_owned().into(),
            serial: serial.to_owned().into(),
        };
        Some((id, identifier))
    }

    async fn resume(
        &self,
        account: &Account,
        client: &Client,
    ) -> Result<Option<(Pending, Order)>, AcmeError> {
        let Some(pending) = self.store.pending(&self.lineage.name)? else {
            return Ok(None);
        };
        // A run that died after it had stored the certificate: that order has had its day.
        let stored = self.store.load(&self.lineage.name).ok().flatten();
        let done = stored.is_some_and(|stored| stored.bundle.has_key(pending.key.as_bytes()));
        let same = !done
            && pending.order.directory == self.ca.directory
            && pending.order.account == account.id()
            && pending.order.profile == self.ca.profile
            && pending.order.names == self.names()
            && UnixTime::now().seconds_since(pending.order.created) < STALE;
        let url = pending.order.url.clone().filter(|_| same);
        if let Some(url) = url {
            let found = patient(client, async || {
                let mut order = account.order(url.clone()).await?;
                let status = order.state().status;
                Ok((order, status))
            });
            match found.await {
                Ok((_, OrderStatus::Invalid)) => {
                    tracing::info!(
                        order = url,
                        "the order of an earlier run is invalid, making a new one"
                    );
                }
                Ok((order, status)) => {
                    tracing::info!(
                        order = url,
                        ?status,
                        "taking up the order of an earlier run"
                    );
                    // It has not failed, whatever that run had come to.
                    self.give_back(&url)?;
                    return Ok(Some((pending, order)));
                }
                Err(
                    error @ (AcmeError::Transport(_)
                    | AcmeError::Limited { .. }
                    | AcmeError::AccountGone(_)),
                ) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::info!(order = url, %error, "the CA does not have the order of an earlier run")
                }
            }
        }
        self.store.clear_pending(&self.lineage.name)?;
        Ok(None)
    }

    /// A key and a request, not known to anybody yet.
    fn prepare(&self, account: &Account) -> Result<Pending, AcmeError> {
        let make = |error: rcgen::Error| AcmeError::Certificate(BundleError::Make(error));
        let key = KeyPair::generate().map_err(make)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = self
            .lineage
            .names
            .iter()
            .map(bundle::san)
            .collect::<Result<_, _>>()
            .map_err(make)?;
        let csr = params.serialize_request(&key).map_err(make)?.der().to_vec();
        let order = PendingOrder {
            directory: self.ca.directory.clone(),
            account: account.id().to_owned(),
            profile: self.ca.profile.clone(),
            names: self.names(),
            created: UnixTime::now(),
            url: None,
        };
        Ok(Pending {
            key: key.serialize_pem().into(),
            csr,
            order,
        })
    }
}

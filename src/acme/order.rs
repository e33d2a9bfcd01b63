//! One order, from its key to a stored generation.
//!
//! Key and request are on the disk before the order exists, and the order's address before anything is published, so a
//! run that dies anywhere is taken up by the next with the same key. What the CA issues is proven before it is stored.

mod begin;
mod calls;
mod guard;

use std::path::Path;

use instant_acme::{Order, OrderStatus};

pub(super) use self::calls::{Rests, each, patient, settle};
use super::account::{self, Account};
use super::challenge::Proof;
use super::client::{Client, named_roots};
use super::dns::Output;
use super::error::AcmeError;
use super::limits::Limits;
use super::staging;
use super::state::{Journal, Phase};
use crate::cert::bundle::Bundle;
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::{Debt, Meta, NewGeneration, Pending, Store, Stored};
use crate::clock::UnixTime;
use crate::config::{Ca, Config};

/// What an order needs.
pub(super) struct Job<'a> {
    pub(super) state_dir: &'a Path,
    pub(super) store: &'a dyn Store,
    pub(super) lineage: &'a Lineage,
    pub(super) ca: &'a Ca,
    pub(super) config: &'a Config,
    pub(super) journal: &'a Journal<'a>,
    /// The certificate that this order replaces.
    pub(super) predecessor: Option<&'a Stored>,
    /// From when on the certificate is due; none if it is whatever the time.
    pub(super) due: Option<UnixTime>,
    /// Whether a staging CA's certificate may take the place of a real one.
    pub(super) allow_staging: bool,
}

impl Job<'_> {
    /// Obtains a certificate and stores it.
    pub(super) async fn run(&self, out: Output<'_>) -> Result<Stored, AcmeError> {
        if !self.allow_staging {
            staging::refuse(self.ca, None, self.predecessor)?;
        }
        self.store.probe()?;
        let client = Client::new(self.ca.ca_file.as_deref())?;
        let mut proof = Proof::new(self.config, self.store, self.lineage, &client, self.journal)?;
        match self.attempt(&client, &mut proof, out).await {
            // The CA lost our account (a test CA that was restarted): the same key is registered once more.
            Err(AcmeError::AccountGone(detail)) => {
                tracing::warn!(
                    detail,
                    "the CA does not know our account, registering the same key again"
                );
                account::register_again(self.state_dir, self.ca, &client).await?;
                self.store.clear_pending(&self.lineage.name)?;
                self.attempt(&client, &mut proof, out).await
            }
            other => other,
        }
    }

    /// Removes what earlier runs left behind for the CA to see, but for the records that `stays` wants left.
    pub(super) async fn clean(
        &self,
        stays: impl Fn(&Debt) -> bool,
        out: Output<'_>,
    ) -> Result<(), AcmeError> {
        let client = Client::new(self.ca.ca_file.as_deref())?;
        let mut proof = Proof::new(self.config, self.store, self.lineage, &client, self.journal)?;
        proof.clean(stays, out).await;
        self.journal.count_debts();
        Ok(())
    }

    async fn attempt(
        &self,
        client: &Client,
        proof: &mut Proof<'_>,
        out: Output<'_>,
    ) -> Result<Stored, AcmeError> {
        let account = account::open(self.state_dir, self.ca, client).await?;
        self.check_clock(client)?;
        let (mut pending, mut order) = self.order(&account, client).await?;
        // An order that waits for its records finds those that are published where they are.
        let waits = order.state().status == OrderStatus::Pending;
        let url = order.url().to_owned();
        let stays = |debt: &Debt| {
            waits && debt.published.is_some() && debt.order.as_deref() == Some(url.as_str())
        };
        proof.clean(stays, out).await;
        let finished = self.finish(&mut pending, &mut order, &account, proof, out);
        let issued = match finished.await {
            // These end the order at the CA; a new one is needed next time. All else can be taken up again.
            Err(
                error @ (AcmeError::Validation(_)
                | AcmeError::OrderLost(_)
                | AcmeError::Certificate(_)),
            ) => {
                self.store.clear_pending(&self.lineage.name)?;
                proof.clean(|_| false, out).await;
                return Err(error);
            }
            other => other?,
        };
        let meta = Meta {
            directory: self.ca.directory.clone(),
            account: account.id().to_owned(),
            stored_at: Some(UnixTime::now()),
        };
        let new = NewGeneration {
            fullchain: issued,
            key: pending.key.clone(),
            meta,
        };
        self.journal.enter(Phase::Installing);
        if let Some((id, _)) = self.replaces(&account) {
            self.journal.change(|state| state.remember_replaced(&id))?;
        }
        let stored = self.store.put(&self.lineage.name, &new)?;
        failpoint::hit(failpoint::SWITCHED);
        self.store.clear_pending(&self.lineage.name)?;
        failpoint::hit(failpoint::PENDING_CLEARED);
        Ok(stored)
    }

    /// Proof, finalization, download, verification.
    async fn finish(
        &self,
        pending: &mut Pending,
        order: &mut Order,
        account: &Account,
        proof: &mut Proof<'_>,
        out: Output<'_>,
    ) -> Result<String, AcmeError> {
        let client = proof.client();
        if order.state().status == OrderStatus::Pending {
            self.check_budget()?;
            let url = order.url().to_owned();
            let (directory, name) = (&self.ca.directory, self.lineage.name.as_str());
            let count = guard::validations(&pending.order.names);
            let now = UnixTime::now();
            Limits::change(self.store, now, |limits| {
                limits.spend(directory, name, &url, count, now);
            })?;
            let proven = proof.prove(order, account, out).await;
            // After trouble with the CA nobody knows what it found; whoever takes the order up again will see.
            let unknown = matches!(
                proven,
                Err(AcmeError::Validation(_)
                    | AcmeError::Transport(_)
                    | AcmeError::Limited { .. }
                    | AcmeError::OrderLost(_))
            );
            if !unknown {
                self.give_back(&url)?;
            }
            proven?;
        }
        self.journal.enter(Phase::Finalizing);
        if order.state().status == OrderStatus::Ready {
            failpoint::hit(failpoint::BEFORE_FINALIZE);
            patient(client, async || order.finalize_csr(&pending.csr).await).await?;
            failpoint::hit(failpoint::FINALIZED);
        }
        let done = |status| matches!(status, OrderStatus::Valid | OrderStatus::Invalid);
        if !done(order.state().status) {
            settle(client, order, done).await?;
        }
        if order.state().status == OrderStatus::Invalid {
            let reason = order
                .state()
                .error
                .as_ref()
                .map_or_else(|| "no reason given".to_owned(), ToString::to_string);
            return Err(AcmeError::OrderLost(reason));
        }
        failpoint::hit(failpoint::ISSUED);
        self.journal.enter(Phase::Downloading);
        let fullchain = patient(client, async || order.certificate().await).await?;
        let fullchain = fullchain
            .ok_or_else(|| AcmeError::Transport("the CA gave no certificate".to_owned()))?;
        // By the CA's clock of this moment: ours may have been set since the run began.
        let ahead = guard::ahead(client);
        self.journal.enter(Phase::Verifying);
        let bundle = Bundle::parse(fullchain.as_bytes(), pending.key.as_bytes())?;
        bundle.check_chain(&named_roots(self.ca.ca_file.as_deref())?)?;
        bundle.check_names(&self.lineage.names)?;
        bundle.check_dates(UnixTime(UnixTime::now().0.saturating_sub(ahead)))?;
        if !self.allow_staging {
            staging::refuse(self.ca, Some(&bundle), self.predecessor)?;
        }
        failpoint::hit(failpoint::DOWNLOADED);
        Ok(fullchain)
    }

    fn names(&self) -> Vec<String> {
        self.lineage.names.iter().map(ToString::to_string).collect()
    }
}

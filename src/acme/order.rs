//! One order, from its key to a stored generation.
//!
//! Key and request are on the disk before the order exists, and the order's address before anything is published, so a
//! run that dies anywhere is taken up by the next with the same key. What the CA issues is proven before it is stored.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use instant_acme::{Account, CertificateIdentifier, Identifier, NewOrder, Order, OrderStatus};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::account;
use super::ari;
use super::challenge::Proof;
use super::client::{Client, named_roots};
use super::dns::Output;
use super::error::AcmeError;
use super::limits::{self, Limits, Scope};
use super::staging;
use super::state::{Journal, Phase, Skew};
use super::view::SKEW;
use crate::cert::bundle::{self, Bundle, BundleError};
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::{Meta, NewGeneration, Pending, PendingOrder, Store, Stored};
use crate::clock::UnixTime;
use crate::config::{Ca, Config};

/// Tries when the CA does not like a nonce, each of which the library makes of three.
const NONCE_TRIES: usize = 8;
/// For an order to change its state.
const SETTLE: Duration = Duration::from_secs(300);
/// Between two looks at an order.
const PAUSE: std::ops::RangeInclusive<i64> = 1..=15;
/// An order older than this is not taken up again: CAs keep them for a week at most.
const STALE: i64 = 7 * 86400;
/// A clock that differs by more makes nothing due that the CA's clock does not.
const GREAT_SKEW: i64 = 3600;

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

    /// Removes what an earlier run left behind for the CA to see.
    pub(super) async fn clean(&self, out: Output<'_>) -> Result<(), AcmeError> {
        let client = Client::new(self.ca.ca_file.as_deref())?;
        let mut proof = Proof::new(self.config, self.store, self.lineage, &client, self.journal)?;
        proof.clean(out).await;
        Ok(())
    }

    async fn attempt(
        &self,
        client: &Client,
        proof: &mut Proof<'_>,
        out: Output<'_>,
    ) -> Result<Stored, AcmeError> {
        let account = account::open(self.state_dir, self.ca, client).await?;
        let ahead = self.check_clock(client)?;
        let (mut pending, mut order) = self.order(&account, client).await?;
        proof.clean(out).await;
        let finished = self.finish(&mut pending, &mut order, &account, proof, ahead, out);
        let issued = match finished.await {
            // These end the order at the CA; a new one is needed next time. All else can be taken up again.
            Err(
                error @ (AcmeError::Validation(_)
                | AcmeError::OrderLost(_)
                | AcmeError::Certificate(_)),
            ) => {
                self.store.clear_pending(&self.lineage.name)?;
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

    /// The order in progress if the CA still has it, else a new one.
    async fn order(
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
    fn replaces(&self, account: &Account) -> Option<(String, CertificateIdentifier<'static>)> {
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

    /// Compares this machine's clock with the CA's, and decides by the CA's if they differ. Returns by how many seconds
    /// ours is ahead; 0 for a difference that does not matter.
    fn check_clock(&self, client: &Client) -> Result<i64, AcmeError> {
        let Some(date) = client.reply().date else {
            return Ok(0);
        };
        let now = UnixTime::now();
        let seconds = now.seconds_since(date);
        self.journal
            .change(|state| state.clock = Some(Skew { seconds, at: now }))?;
        if seconds.abs() <= SKEW {
            return Ok(0);
        }
        tracing::warn!(
            skew_seconds = seconds,
            "this machine's clock differs from the CA's; check NTP"
        );
        match self.due {
            Some(due) if date < due && seconds.abs() > GREAT_SKEW => Err(AcmeError::Clock {
                seconds: seconds.unsigned_abs(),
                ahead: seconds > 0,
                due,
            }),
            Some(due) if date < due => Err(AcmeError::NotYet(due)),
            _ => Ok(seconds),
        }
    }

    /// Whether so many validations may fail now: the CA pauses names that fail too often.
    fn check_budget(&self) -> Result<(), AcmeError> {
        let (directory, name) = (&self.ca.directory, self.lineage.name.as_str());
        let limits = Limits::load(self.store)?;
        let count = self.names().len();
        match limits.next_validation(directory, name, count, UnixTime::now()) {
            None => Ok(()),
            Some(until) => Err(AcmeError::Limited {
                until,
                scope: Scope::Identifier(name.to_owned()),
                detail: format!(
                    "{} validations have failed lately; more would make the CA pause the name\nhint: `portico cert \
                     plan` looks for the cause without the CA",
                    limits::PER_HOUR
                ),
            }),
        }
    }

    /// The validations of this order did not fail.
    fn give_back(&self, order: &str) -> Result<(), AcmeError> {
        Limits::change(self.store, UnixTime::now(), |limits| {
            limits.give_back(order)
        })
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

    /// Proof, finalization, download, verification.
    async fn finish(
        &self,
        pending: &mut Pending,
        order: &mut Order,
        account: &Account,
        proof: &mut Proof<'_>,
        ahead: i64,
        out: Output<'_>,
    ) -> Result<String, AcmeError> {
        let client = proof.client();
        if order.state().status == OrderStatus::Pending {
            self.check_budget()?;
            let url = order.url().to_owned();
            let (directory, name) = (&self.ca.directory, self.lineage.name.as_str());
            let now = UnixTime::now();
            Limits::change(self.store, now, |limits| {
                limits.spend(directory, name, &url, pending.order.names.len(), now);
            })?;
            let proven = proof.prove(order, account.id(), out).await;
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

/// Calls the CA, again with a fresh nonce when it did not like the one it got (RFC 8555 §6.5 tells to).
pub(super) async fn patient<T>(
    client: &Client,
    mut call: impl AsyncFnMut() -> Result<T, instant_acme::Error>,
) -> Result<T, AcmeError> {
    let mut left = NONCE_TRIES;
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(instant_acme::Error::Api(problem))
                if left > 1
                    && problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:badNonce") =>
            {
                left -= 1;
            }
            Err(error) => return Err(AcmeError::from_library(error, &client.reply())),
        }
    }
}

/// Looks at the order until its status is one of those wanted.
pub(super) async fn settle(
    client: &Client,
    order: &mut Order,
    wanted: impl Fn(OrderStatus) -> bool,
) -> Result<OrderStatus, AcmeError> {
    let start = Instant::now();
    loop {
        let status = patient(client, async || {
            order.refresh().await.map(|state| state.status)
        })
        .await?;
        if wanted(status) {
            return Ok(status);
        }
        if start.elapsed() > SETTLE {
            let text = format!("the order is still {status:?} after {} s", SETTLE.as_secs());
            return Err(AcmeError::Transport(text));
        }
        let asked = client
            .reply()
            .retry_after
            .map_or(1, |until| until.seconds_since(UnixTime::now()));
        let pause = asked.clamp(*PAUSE.start(), *PAUSE.end()).unsigned_abs();
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

//! dns-01 and dns-account-01: a TXT record for each authorization of an order.
//!
//! Publish every value, see them at every authoritative server, and take them away again. Each value is in the ledger
//! from before the provider hears of it until it is gone. Values that do not show in time stay where they are, for the
//! run that takes the order up again; that one does not publish them a second time. The two kinds differ only in the
//! name of the record: dns-account-01 puts a label of the account's in front, so that other clients can have theirs.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};

use super::Asked;
use crate::acme::dns::{Output, Provider};
use crate::acme::error::AcmeError;
use crate::acme::ledger::{Removal, txt};
use crate::acme::propagation::Propagation;
use crate::acme::state::{Journal, Phase};
use crate::acme::trial::zone_for;
use crate::acme::view::fingerprint;
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::{Debt, Proof, Store};
use crate::clock::UnixTime;
use crate::config::{Challenge, Config, DnsProvider};
use crate::host::Host;

/// The alphabet of RFC 4648 §6 in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What is needed to publish and check the records of one lineage.
pub(super) struct Records<'a> {
    store: &'a dyn Store,
    lineage: &'a Lineage,
    names: Vec<String>,
    provider: Provider,
    propagation: Propagation,
    /// Changes with the settings and the credentials: what was published under others is published again.
    settings: u64,
}

/// For whom values are published.
#[derive(Debug, Clone, Copy)]
pub(super) struct For<'a> {
    /// The account's URL.
    pub(super) account: &'a str,
    /// The order's.
    pub(super) order: &'a str,
}

impl<'a> Records<'a> {
    pub(super) fn new(
        config: &Config,
        store: &'a dyn Store,
        lineage: &'a Lineage,
    ) -> Result<Self, AcmeError> {
        let dns = config
            .acme
            .dns
            .as_ref()
            .filter(|dns| dns.provider != DnsProvider::None)
            .ok_or_else(|| {
                let text = "no DNS provider is configured\nhint: add [acme.dns] with `provider`, or import a certificate";
                AcmeError::Config(text.to_owned())
            })?;
        Ok(Self {
            store,
            lineage,
            names: lineage.names.iter().map(ToString::to_string).collect(),
            provider: Provider::new(dns)?,
            propagation: Propagation::new(dns),
            settings: fingerprint(config).unwrap_or_default(),
        })
    }

    /// Publishes every value that is not published yet and waits until all authoritative servers show them.
    pub(super) async fn show(
        &mut self,
        asked: &[Asked],
        whom: For<'_>,
        journal: &Journal<'_>,
        out: Output<'_>,
    ) -> Result<(), AcmeError> {
        self.provider.open().await?;
        let mut values: BTreeMap<&Host, Vec<&Asked>> = BTreeMap::new();
        for one in asked {
            values.entry(&one.host).or_default().push(one);
        }
        if self.provider.holds_one_value()
            && let Some((host, values)) = values.iter().find(|(_, values)| values.len() > 1)
        {
            return Err(AcmeError::Config(format!(
                "`{}` keeps one TXT value for each name, and `{host}` needs {}\nhint: choose another provider \
                 (`portico dns providers`), or delegate to `responder`",
                self.provider.name(),
                values.len()
            )));
        }
        let open = self.store.debts(&self.lineage.name)?;
        let mut left = asked.len();
        let mut places = Vec::new();
        for (host, values) in values {
            let owner = owner(self.lineage.challenge, host, whom.account);
            let place = self.propagation.locate_name(&owner).await?;
            let zone = zone_for(&self.provider, &place, host)?;
            for one in &values {
                left -= 1;
                let debt = Debt {
                    domain: host.to_string(),
                    zone: zone.clone(),
                    fqdn: place.fqdn(),
                    value: one.dns_value.clone(),
                    proof: Some(Proof {
                        token: one.token.clone(),
                        key_authorization: one.key_authorization.clone(),
                    }),
                    order: Some(whom.order.to_owned()),
                    since: Some(UnixTime::now()),
                    published: None,
                };
                let known = open.iter().find(|other| other.is_same(&debt));
                self.publish(debt, known, left, out).await?;
            }
            let values: Vec<String> = values.iter().map(|one| one.dns_value.clone()).collect();
            places.push((place, values));
        }
        journal.enter(Phase::Propagating);
        for (place, values) in &places {
            let waited = self.propagation.wait(place, values).await?;
            tracing::info!(
                record = place.fqdn(),
                waited_ms = waited.as_millis(),
                "every authoritative server shows the records"
            );
            journal.change(|state| state.waits.note(waited))?;
        }
        Ok(())
    }

    /// Publishes a value, unless the ledger has it as published under these settings. `left`: how many follow.
    async fn publish(
        &mut self,
        mut debt: Debt,
        known: Option<&Debt>,
        left: usize,
        out: Output<'_>,
    ) -> Result<(), AcmeError> {
        let (record, zone, provider) = (&debt.fqdn, &debt.zone, self.provider.name());
        let again = self.provider.forgets();
        if let Some(known) = known {
            debt.since = known.since;
            if !again && known.published == Some(self.settings) && known.zone == *zone {
                tracing::info!(
                    record,
                    value = debt.value,
                    "an earlier run has published this value"
                );
                return Ok(());
            }
        }
        tracing::info!(record, zone, provider, value = debt.value, "publishing");
        self.store.owe(&self.lineage.name, &debt)?;
        failpoint::hit(failpoint::RECORD_OWED);
        let txt = txt(&debt, &self.names, left);
        self.provider.add(&txt, out).await?;
        failpoint::hit(failpoint::RECORD_PUBLISHED);
        debt.published = Some(self.settings);
        Ok(self.store.owe(&self.lineage.name, &debt)?)
    }

    /// Removes what the ledger holds, but for what `stays`. What cannot be removed now is in the ledger for the next run.
    pub(super) async fn clean(&mut self, stays: impl Fn(&Debt) -> bool, out: Output<'_>) {
        let mut debts = match self.store.debts(&self.lineage.name) {
            Ok(debts) => debts,
            Err(error) => {
                return tracing::warn!(%error, "cannot read which TXT records are to be removed");
            }
        };
        debts.retain(|debt| !stays(debt));
        let removal = Removal {
            store: self.store,
            lineage: &self.lineage.name,
            names: &self.names,
            provider: &mut self.provider,
            propagation: &self.propagation,
        };
        for (debt, removed) in removal.run(debts, out).await {
            if let Err(error) = removed {
                tracing::warn!(record = debt.fqdn, %error, "a TXT record stays for now; the next run removes it");
            }
        }
    }

    /// Ends what the provider has opened.
    pub(super) async fn close(&mut self) {
        self.provider.close().await;
    }
}

/// The record's name before any CNAME, without trailing dot.
pub(in crate::acme) fn owner(kind: Challenge, host: &Host, account: &str) -> String {
    if kind == Challenge::DnsAccount01 {
        format!("_{}._acme-challenge.{host}", account_label(account))
    } else {
        format!("_acme-challenge.{host}")
    }
}

/// The label of an account: the first 10 bytes of SHA-256 over its URL, in base32
/// (draft-ietf-acme-dns-account-label §3.1).
fn account_label(account: &str) -> String {
    let hash = digest(&SHA256, account.as_bytes());
    let mut label = String::with_capacity(16);
    let (mut bits, mut count) = (0u16, 0);
    for &byte in hash.as_ref().iter().take(10) {
        bits = bits << 8 | u16::from(byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            let digit = usize::from(bits >> count & 31);
            label.push(char::from(BASE32.get(digit).copied().unwrap_or(b'a')));
        }
        bits &= (1 << count) - 1;
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_an_account_is_that_of_the_draft() {
        // The example of draft-ietf-acme-dns-account-label §3.2.
        assert_eq!(
            account_label("https://example.com/acme/acct/ExampleAccount"),
            "ujmmovf2vn55tgye"
        );
    }

    #[test]
    fn only_the_owner_of_the_record_differs() {
        let host = Host::parse("example.com").unwrap();
        let account = "https://example.com/acme/acct/ExampleAccount";
        assert_eq!(
            owner(Challenge::Dns01, &host, account),
            "_acme-challenge.example.com"
        );
        assert_eq!(
            owner(Challenge::DnsAccount01, &host, account),
            "_ujmmovf2vn55tgye._acme-challenge.example.com"
        );
    }
}

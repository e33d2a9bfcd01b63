//! dns-01 and dns-account-01: a TXT record for each authorization of an order.
//!
//! Publish every value, see them at every authoritative server, and take them away again whatever came of it. Each
//! value is in the ledger from before the provider hears of it until it is gone. The two kinds differ only in the name
//! of the record: dns-account-01 puts a label of the account's in front, so that other clients can have theirs.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};

use super::Asked;
use crate::acme::dns::{Output, Provider, Txt};
use crate::acme::error::AcmeError;
use crate::acme::propagation::Propagation;
use crate::acme::state::{Journal, Phase};
use crate::acme::trial::zone_for;
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::{Debt, Proof, Store};
use crate::config::{Acme, Challenge, DnsProvider};
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
}

impl<'a> Records<'a> {
    pub(super) fn new(
        acme: &Acme,
        store: &'a dyn Store,
        lineage: &'a Lineage,
    ) -> Result<Self, AcmeError> {
        let dns = acme
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
        })
    }

    /// Publishes every value and waits until all authoritative servers show them.
    pub(super) async fn show(
        &mut self,
        asked: &[Asked],
        account: &str,
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
        let mut left = asked.len();
        let mut places = Vec::new();
        for (host, values) in values {
            let owner = owner(self.lineage.challenge, host, account);
            let place = self.propagation.locate_name(&owner).await?;
            let zone = zone_for(&self.provider, &place, host)?;
            tracing::info!(
                record = place.fqdn(),
                zone,
                provider = self.provider.name(),
                "publishing {} values",
                values.len()
            );
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
                };
                self.store.owe(&self.lineage.name, &debt)?;
                failpoint::hit(failpoint::RECORD_OWED);
                self.provider
                    .add(&txt(&debt, &self.names, left), out)
                    .await?;
                failpoint::hit(failpoint::RECORD_PUBLISHED);
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

    /// Removes what the ledger holds. A record that cannot be removed now stays in the ledger for the next run.
    pub(super) async fn clean(&mut self, out: Output<'_>) {
        let lineage = &self.lineage.name;
        let debts = match self.store.debts(lineage) {
            Ok(debts) => debts,
            Err(error) => {
                return tracing::warn!(%error, "cannot read which TXT records are to be removed");
            }
        };
        for (debt, left) in debts.iter().zip((0..debts.len()).rev()) {
            let removed = self
                .provider
                .remove(&txt(debt, &self.names, left), out)
                .await;
            if removed.is_ok() {
                failpoint::hit(failpoint::RECORD_REMOVED);
            }
            let settled = match removed {
                Ok(()) => self.store.paid(lineage, debt).map_err(AcmeError::from),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = settled {
                tracing::warn!(record = debt.fqdn, %error, "a TXT record stays for now; the next run removes it");
            }
        }
    }

    /// Ends what the provider has opened.
    pub(super) async fn close(&mut self) {
        self.provider.close().await;
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

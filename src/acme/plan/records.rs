//! The DNS side of a plan: do the name servers agree, does a record come and go, does a standing one stand.

use std::collections::BTreeSet;

use super::{Grade, Plan};
use crate::acme::challenge::{ENDS_SOON, PERSIST_LABEL, Persist, Seen, owner};
use crate::acme::dns::{Output, Provider};
use crate::acme::error::AcmeError;
use crate::acme::propagation::{Discord, Place, Propagation};
use crate::acme::trial;
use crate::clock::UnixTime;
use crate::config::{Challenge, Dns, DnsProvider};
use crate::host::Host;

impl Plan<'_> {
    /// Delegation, servers, and a record of our own that comes and goes, for each name.
    pub(super) async fn records(&mut self, out: Output<'_>) {
        let dns = match &self.config.acme.dns {
            Some(dns) if dns.provider != DnsProvider::None => dns.clone(),
            _ => {
                let detail = "no DNS provider is configured\nhint: add [acme.dns] with `provider`";
                return self.note("dns", Grade::Bad, detail);
            }
        };
        if let Some(detail) = self.lacks_room(&dns) {
            self.note("dns", Grade::Bad, detail);
        }
        let kind = self.lineage.challenge;
        if kind == Challenge::DnsAccount01 && self.account.is_none() {
            let detail = "there is no account yet, so its label is not known; one of the same form is tried\nhint: \
                          plan again after `portico cert issue`";
            self.note("account", Grade::Doubtful, detail);
        }
        // Any other text makes a label of the same form.
        let account = self.account.clone();
        let account = account.unwrap_or_else(|| self.config.acme.directory.clone());
        let mut zones = BTreeSet::new();
        for host in self.hosts.keys().cloned().collect::<Vec<_>>() {
            let owner = owner(kind, &host, &account);
            // What this provider answers itself is answered while an order runs only.
            if !matches!(dns.provider, DnsProvider::Responder { .. }) {
                self.servers(&dns, &owner, &mut zones).await;
            }
            if let Err(error) = self.trial(&dns, &host, &owner, out).await {
                self.note("record", Grade::Bad, error.to_string());
            }
        }
    }

    /// A name that is wanted with its wildcard takes two values.
    fn lacks_room(&self, dns: &Dns) -> Option<String> {
        let both = |(_, wanted): &(&Host, &super::Wanted)| wanted.exact && wanted.wildcard;
        let (host, _) = self.hosts.iter().find(both)?;
        let provider = Provider::new(dns).ok()?;
        provider.holds_one_value().then(|| {
            format!(
                "`{}` keeps one TXT value for each name, and `{host}` with its wildcard needs two\nhint: choose another \
                 provider (`portico dns providers`), or delegate to `responder`",
                provider.name()
            )
        })
    }

    /// Whether the servers of the record's zone agree; each zone is looked at once.
    async fn servers(&mut self, dns: &Dns, owner: &str, zones: &mut BTreeSet<Option<String>>) {
        let propagation = Propagation::new(dns);
        // That there is no such zone is told by what comes next.
        let Ok(place) = propagation.locate_name(owner).await else {
            return;
        };
        if !zones.insert(place.zone()) {
            return;
        }
        self.agreement(&propagation, &place).await;
    }

    async fn agreement(&mut self, propagation: &Propagation, place: &Place) {
        let what = "servers";
        let Some(agreement) = propagation.agreement(place).await else {
            let detail = "the zone is not known, so its name servers are not compared";
            return self.note(what, Grade::Doubtful, detail);
        };
        let discords = agreement.discords();
        if discords.is_empty() {
            self.note(what, Grade::Good, agreement.summary());
        }
        for discord in discords {
            match discord {
                Discord::Bad(detail) => self.note(what, Grade::Bad, detail),
                Discord::Doubtful(detail) => self.note(what, Grade::Doubtful, detail),
            }
        }
    }

    async fn trial(
        &mut self,
        dns: &Dns,
        host: &Host,
        owner: &str,
        out: Output<'_>,
    ) -> Result<(), AcmeError> {
        let record = (host, owner);
        let tried = trial::trial(dns, self.store, &self.lineage.name, record, out).await?;
        let Some(trial) = tried else {
            let detail = "a renewal is running, so no record was tried";
            self.note("record", Grade::Doubtful, detail);
            return Ok(());
        };
        let way = if trial.fqdn == owner {
            format!("`{owner}` is not delegated")
        } else {
            format!("`{owner}` leads to `{}`", trial.fqdn)
        };
        let detail = format!("{way}; the zone is `{}`", trial.zone);
        self.note("delegation", Grade::Good, detail);
        match trial.visible {
            Ok(waited) => self.note(
                "record",
                Grade::Good,
                format!(
                    "`{}` published a TXT record, and every authoritative server had it after {} ms",
                    trial.provider,
                    waited.as_millis()
                ),
            ),
            Err(error) => self.note("record", Grade::Bad, error.to_string()),
        }
        match trial.removed {
            Ok(()) => self.note("clean-up", Grade::Good, "the record is removed"),
            Err(error) => {
                let detail = format!("the record stays for now, the next run removes it: {error}");
                self.note("clean-up", Grade::Bad, detail);
            }
        }
        Ok(())
    }

    /// Whether each standing record is there and authorizes our account.
    pub(super) async fn standing(&mut self) {
        let dns = self.config.acme.dns.clone().unwrap_or_default();
        let persist = Persist::new(&self.config.acme);
        let mut zones = BTreeSet::new();
        for (host, wanted) in self.hosts.clone() {
            let name = format!("{PERSIST_LABEL}.{host}");
            self.servers(&dns, &name, &mut zones).await;
            let Some(account) = self.account.clone() else {
                let detail = format!(
                    "there is no account yet that `{name}` could name\nhint: `portico cert persist-record` makes it and \
                     prints the record"
                );
                self.note("record", Grade::Bad, detail);
                continue;
            };
            let looked = persist
                .look_for(&host, &self.identities, &account, wanted.wildcard)
                .await;
            let found = match looked {
                Ok(found) => found,
                Err(error) => {
                    self.note("record", Grade::Bad, error.to_string());
                    continue;
                }
            };
            let mut bad = Vec::new();
            let mut until: Option<UnixTime> = None;
            for one in found {
                match one.seen {
                    Seen::Good(end) => until = until.into_iter().chain(end).min(),
                    Seen::Bad(reason) => bad.push(format!("{}: {reason}", one.server)),
                }
            }
            let soon = |end: &UnixTime| end.seconds_since(UnixTime::now()) < ENDS_SOON;
            match until {
                _ if !bad.is_empty() => self.note(
                    "record",
                    Grade::Bad,
                    format!(
                        "`{name}` does not authorize our account everywhere: {}\nhint: `portico cert persist-record` \
                         prints the record",
                        bad.join("; ")
                    ),
                ),
                Some(end) if soon(&end) => self.note(
                    "record",
                    Grade::Doubtful,
                    format!(
                        "`{name}` authorizes our account only until {end}\nhint: publish a new one with `portico cert \
                         persist-record`"
                    ),
                ),
                _ => self.note(
                    "record",
                    Grade::Good,
                    format!("every authoritative server shows `{name}`, which authorizes our account"),
                ),
            }
        }
    }
}

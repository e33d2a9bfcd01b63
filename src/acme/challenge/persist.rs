//! dns-persist-01: a TXT record that stays, and names the account that may have certificates.
//!
//! `_validation-persist.<domain>` is published once by a person; from then on no order changes DNS, and no credentials
//! are needed. Nothing here publishes. Before each order is offered, every authoritative server is asked, because a
//! record that was lost would cost a failed validation. The account's key is what the record trusts: whoever has it
//! can have certificates (draft-ietf-acme-dns-persist).

use bytes::Bytes;
use http::Request;
use instant_acme::{BodyWrapper, HttpClient};
use serde::Deserialize;

use super::Asked;
use crate::acme::account;
use crate::acme::client::Client;
use crate::acme::error::AcmeError;
use crate::acme::propagation::Propagation;
use crate::cert::lineage::Lineage;
use crate::cert::live::CertName;
use crate::clock::UnixTime;
use crate::config::{Acme, Config};
use crate::host::Host;

/// The label of the record (draft-ietf-acme-dns-persist §3.1).
pub(in crate::acme) const LABEL: &str = "_validation-persist";
/// A record that ends within this time is worth a warning at each order, in seconds.
pub(in crate::acme) const ENDS_SOON: i64 = 30 * 86400;
/// Longest part of a TXT record (RFC 1035 §3.3.14).
const LONGEST_PART: usize = 255;

/// A record that authorizes our account for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the record is for, without wildcard.
    pub host: Host,
    /// The record's name, without trailing dot.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether it must allow wildcards.
    pub wildcard: bool,
}

impl Record {
    /// The line of a zone file.
    #[must_use]
    pub fn zone_line(&self) -> String {
        let parts: Vec<String> = self
            .value
            .as_bytes()
            .chunks(LONGEST_PART)
            .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
            .collect();
        format!("{}. 3600 IN TXT {}", self.name, parts.join(" "))
    }
}

/// What one authoritative server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name and address.
    pub server: String,
    /// What it shows.
    pub seen: Seen,
}

/// What is to be seen of our record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It authorizes the account, until then if it says so.
    Good(Option<UnixTime>),
    /// It does not; the reason.
    Bad(String),
}

/// The standing records, and how to look at them.
pub struct Persist {
    directory: String,
    propagation: Propagation,
}

/// What a record must say.
struct Wanted<'a> {
    /// The CA's names, any of which may stand in the record; empty if the CA does not tell.
    issuers: &'a [String],
    account: &'a str,
    wildcard: bool,
    now: UnixTime,
}

/// What is kept of the CA's directory (RFC 8555 §7.1.1).
#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(rename = "caaIdentities", default)]
    identities: Vec<String>,
}

/// The records of a lineage, for people. The account is registered if there is none yet. `issuer` is the CA's name if
/// its directory does not tell it; `until` ends what the record allows.
///
/// # Errors
/// [`AcmeError`] if the CA cannot be asked or does not tell its name.
pub async fn persist_record(
    config: &Config,
    lineage: &Lineage,
    issuer: Option<&str>,
    until: Option<UnixTime>,
) -> Result<(Persist, Vec<Record>), AcmeError> {
    let client = Client::new(config.acme.ca_file.as_deref())?;
    let account = account::open(&config.state_dir, &config.acme.first(), &client).await?;
    let persist = Persist::new(&config.acme);
    let issuers = persist.issuers(&client).await?;
    let issuer = issuer.or_else(|| issuers.first().map(String::as_str)).ok_or_else(|| {
        let text = "the CA's directory does not tell its issuer domain name\nhint: find it in the CA's documentation and \
                    give it as `--issuer ca.example`";
        AcmeError::Config(text.to_owned())
    })?;
    let wildcards: Vec<&Host> = lineage.names.iter().filter_map(wildcard_of).collect();
    let mut records: Vec<Record> = Vec::new();
    for name in &lineage.names {
        let (CertName::Exact(host) | CertName::Wildcard(host)) = name;
        if records.iter().any(|record| record.host == *host) {
            continue;
        }
        let wildcard = wildcards.contains(&host);
        let policy = if wildcard { "; policy=wildcard" } else { "" };
        let end = until.map(|until| format!("; persistUntil={}", until.0));
        records.push(Record {
            host: host.clone(),
            name: format!("{LABEL}.{host}"),
            value: format!(
                "{issuer}; accounturi={}{policy}{}",
                account.id(),
                end.unwrap_or_default()
            ),
            wildcard,
        });
    }
    Ok((persist, records))
}

impl Persist {
    /// Asks nobody yet.
    pub(in crate::acme) fn new(acme: &Acme) -> Self {
        let dns = acme.dns.clone().unwrap_or_default();
        Self {
            directory: acme.directory.clone(),
            propagation: Propagation::new(&dns),
        }
    }

    /// Asks every authoritative server for a record of [`persist_record()`].
    ///
    /// # Errors
    /// [`AcmeError::Propagation`] if the servers cannot be found.
    pub async fn look(&self, record: &Record) -> Result<Vec<Found>, AcmeError> {
        // The record says by itself what it must say.
        let (issuer, rest) = record.value.split_once(';').unwrap_or((&record.value, ""));
        let account = parameter(rest, "accounturi").unwrap_or_default();
        let issuers = [issuer.to_owned()];
        self.look_for(&record.host, &issuers, &account, record.wildcard)
            .await
    }

    /// Asks every authoritative server for a record of `host` that a CA which is called one of `issuers` (any, if
    /// there is none) takes for this account.
    ///
    /// # Errors
    /// [`AcmeError::Propagation`] if the servers cannot be found.
    pub(in crate::acme) async fn look_for(
        &self,
        host: &Host,
        issuers: &[String],
        account: &str,
        wildcard: bool,
    ) -> Result<Vec<Found>, AcmeError> {
        let wanted = Wanted {
            issuers,
            account,
            wildcard,
            now: UnixTime::now(),
        };
        self.ask(host, &wanted).await
    }

    /// Sees for itself that the records stand, before the CA is asked to look.
    pub(super) async fn confirm(
        &self,
        client: &Client,
        asked: &[Asked],
        account: &str,
    ) -> Result<(), AcmeError> {
        let issuers = self.issuers(client).await?;
        let now = UnixTime::now();
        let mut done: Vec<&Host> = Vec::new();
        for host in asked.iter().map(|one| &one.host) {
            if done.contains(&host) {
                continue;
            }
            done.push(host);
            let wanted = Wanted {
                issuers: &issuers,
                account,
                wildcard: asked.iter().any(|one| one.host == *host && one.wildcard),
                now,
            };
            let mut bad = Vec::new();
            let mut ends = None;
            for found in self.ask(host, &wanted).await? {
                match found.seen {
                    Seen::Good(until) => ends = ends.or(until),
                    Seen::Bad(reason) => bad.push(format!("{}: {reason}", found.server)),
                }
            }
            if !bad.is_empty() {
                return Err(AcmeError::NotShown(format!(
                    "the TXT record `{LABEL}.{host}` does not authorize our account everywhere: {}\nhint: `portico cert \
                     persist-record` prints the record, and with `--check` looks for it",
                    bad.join("; ")
                )));
            }
            if let Some(until) = ends.filter(|until| until.seconds_since(now) < ENDS_SOON) {
                tracing::warn!(record = %format!("{LABEL}.{host}"), %until, "the record ends soon (persistUntil); publish a new one with `portico cert persist-record`");
            }
        }
        tracing::info!("every authoritative server shows the standing records");
        Ok(())
    }

    async fn ask(&self, host: &Host, wanted: &Wanted<'_>) -> Result<Vec<Found>, AcmeError> {
        let place = self
            .propagation
            .locate_name(&format!("{LABEL}.{host}"))
            .await?;
        let looks = self.propagation.look(&place).await;
        let found = looks.into_iter().map(|look| Found {
            server: look.server,
            seen: match look.values {
                Ok(values) => best(&values, wanted),
                Err(reason) => Seen::Bad(reason),
            },
        });
        Ok(found.collect())
    }

    /// The names that the CA knows itself by. They are the ones of its CAA records (RFC 8659).
    async fn issuers(&self, client: &Client) -> Result<Vec<String>, AcmeError> {
        let request = Request::get(&self.directory)
            .body(BodyWrapper::<Bytes>::default())
            .map_err(|error| AcmeError::Config(error.to_string()))?;
        let failed = |error| AcmeError::from_library(error, &client.reply());
        let mut answer = client.request(request).await.map_err(failed)?;
        let body = answer
            .body
            .into_bytes()
            .await
            .map_err(|error| AcmeError::Transport(error.to_string()))?;
        let directory: Directory = serde_json::from_slice(&body)
            .map_err(|error| AcmeError::Transport(format!("unreadable directory: {error}")))?;
        Ok(directory.meta.identities)
    }
}

fn wildcard_of(name: &CertName) -> Option<&Host> {
    match name {
        CertName::Wildcard(host) => Some(host),
        CertName::Exact(_) => None,
    }
}

/// One good value is enough; else the reason of the one that comes nearest.
fn best(values: &[String], wanted: &Wanted<'_>) -> Seen {
    let mut worst = "no such record".to_owned();
    for value in values {
        match judge(value, wanted) {
            None => {}
            Some(Ok(until)) => return Seen::Good(until),
            Some(Err(reason)) => worst = reason,
        }
    }
    Seen::Bad(worst)
}

/// Judges one value as the CA will (draft-ietf-acme-dns-persist §3.1, RFC 8659 §4.2): `None` if it speaks to another
/// CA, until when it holds, or what is wrong with it.
fn judge(value: &str, wanted: &Wanted<'_>) -> Option<Result<Option<UnixTime>, String>> {
    let (issuer, rest) = value.split_once(';').unwrap_or((value, ""));
    let issuer = trim(issuer);
    if issuer.is_empty()
        || !(wanted.issuers.is_empty() || wanted.issuers.iter().any(|own| own == issuer))
    {
        return None;
    }
    Some(judge_parameters(rest, wanted))
}

fn judge_parameters(rest: &str, wanted: &Wanted<'_>) -> Result<Option<UnixTime>, String> {
    for part in rest.split(';').map(trim) {
        if !part.contains('=') {
            return Err(format!("`{part}` is no parameter (`tag=value`)"));
        }
    }
    match parameter(rest, "accounturi") {
        None => return Err("it names no account (`accounturi`)".to_owned()),
        Some(account) if account != wanted.account => {
            return Err(format!("it names another account: `{account}`"));
        }
        Some(_) => {}
    }
    let policy = parameter(rest, "policy").unwrap_or_default();
    if wanted.wildcard && !policy.eq_ignore_ascii_case("wildcard") {
        return Err("it does not allow wildcards (`policy=wildcard`)".to_owned());
    }
    let Some(until) = parameter(rest, "persistuntil") else {
        return Ok(None);
    };
    match until.parse() {
        Ok(seconds) if UnixTime(seconds) > wanted.now => Ok(Some(UnixTime(seconds))),
        Ok(seconds) => Err(format!(
            "it ended at {} (`persistUntil`)",
            UnixTime(seconds)
        )),
        Err(_not_a_number) => Err(format!("`persistUntil={until}` is no time")),
    }
}

/// A parameter's value; tags are compared without case (RFC 8659 §4.2).
fn parameter(rest: &str, tag: &str) -> Option<String> {
    rest.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        trim(name)
            .eq_ignore_ascii_case(tag)
            .then(|| trim(value).to_owned())
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn seen(values: &[&str], wildcard: bool) -> Seen {
        let wanted = Wanted {
            issuers: &["ca.test".to_owned()],
            account: "https://ca.test/acct/1",
            wildcard,
            now: NOW,
        };
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        best(&values, &wanted)
    }

    #[test]
    fn judges_a_record_as_the_ca_does() {
        let good = "ca.test; accounturi=https://ca.test/acct/1; policy=wildcard";
        assert_eq!(seen(&[good], true), Seen::Good(None));
        assert_eq!(
            seen(
                &["ca.test;AccountURI=https://ca.test/acct/1 ;\tpolicy = WILDCARD"],
                true
            ),
            Seen::Good(None)
        );
        let until = format!("{good}; persistUntil={}", NOW.0 + 1);
        assert_eq!(seen(&[&until], true), Seen::Good(Some(UnixTime(NOW.0 + 1))));
        assert_eq!(
            seen(
                &["v=spf1 -all", "other.test; accounturi=https://x", good],
                true
            ),
            Seen::Good(None)
        );
        for (value, wildcard, words) in [
            ("", true, "no such record"),
            (
                "other.test; accounturi=https://ca.test/acct/1",
                false,
                "no such record",
            ),
            ("ca.test", false, "no parameter"),
            ("ca.test; policy=wildcard", true, "names no account"),
            (
                "ca.test; accounturi=https://ca.test/acct/2",
                false,
                "another account",
            ),
            (
                "ca.test; accounturi=https://ca.test/acct/1",
                true,
                "wildcards",
            ),
            (
                "ca.test; accounturi=https://ca.test/acct/1;",
                false,
                "no parameter",
            ),
            (
                "ca.test; accounturi=https://ca.test/acct/1; persistUntil=1800000000",
                false,
                "ended at 2027-01-15T08:00:00Z",
            ),
            (
                "ca.test; accounturi=https://ca.test/acct/1; persistUntil=soon",
                false,
                "no time",
            ),
        ] {
            let found = seen(&[value], wildcard);
            let as_expected = matches!(&found, Seen::Bad(reason) if reason.contains(words));
            assert!(as_expected, "{value}: {found:?}");
        }
    }

    #[test]
    fn a_long_record_is_printed_in_parts() {
        let record = Record {
            host: Host::parse("example.com").unwrap(),
            name: "_validation-persist.example.com".to_owned(),
            value: "x".repeat(300),
            wildcard: false,
        };
        let line = record.zone_line();
        let parts: Vec<&str> = line
            .split('"')
            .filter(|part| part.starts_with('x'))
            .collect();
        assert_eq!(
            parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
            [255, 45]
        );
        assert!(line.starts_with("_validation-persist.example.com. 3600 IN TXT \"x"));
    }
}

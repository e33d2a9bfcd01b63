//! `portico cert plan`: everything that an order needs, tried without one.
//!
//! Each [`Finding`] is one thing that was looked at, with what to do if it is wrong. A TXT record of our own is
//! published, seen at every authoritative server and removed, and is in the ledger meanwhile; nothing else is changed,
//! no account is made and no order is placed.

use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::account;
use super::caa::{self, Property};
use super::client::Client;
use super::dns::Output;
use super::dns::wire::{self, Role};
use super::error::AcmeError;
use super::limits::Limits;
use super::propagation::Propagation;
use super::renew;
use super::trial;
use crate::cert::store::Store;
use crate::clock::UnixTime;
use crate::config::{Ca, Config, Dns};
use crate::host::Host;

/// A clock that differs by more from the CA's is worth a warning, in seconds.
const SKEW: i64 = 300;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Good,
    /// It may work, or works for now.
    Doubtful,
    /// An order would fail.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was seen, and what to do.
    pub detail: String,
}

impl Finding {
    fn new(what: &'static str, grade: Grade, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            what,
            grade,
            detail,
        }
    }
}

/// What the CA says of itself (RFC 8555 §7.1.1).
#[derive(Debug, Default, Deserialize)]
struct Directory {
    #[serde(default)]
    meta: DirectoryMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DirectoryMeta {
    caa_identities: Vec<String>,
    external_account_required: bool,
    profiles: std::collections::BTreeMap<String, String>,
}

/// Looks at everything that an order for `domain` needs.
pub async fn plan(
    config: &Config,
    store: &dyn Store,
    domain: &Host,
    out: Output<'_>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    match store.probe() {
        Ok(()) => found.push(Finding::new(
            "state",
            Grade::Good,
            "the state directory takes and keeps files",
        )),
        Err(error) => found.push(Finding::new("state", Grade::Bad, error.to_string())),
    }
    budgets(config, store, domain, &mut found);
    let ca = config.acme.first();
    let meta = the_ca(&ca, &mut found).await;
    let Some(dns) = &config.acme.dns else {
        found.push(Finding::new(
            "dns",
            Grade::Bad,
            "no DNS provider is configured\nhint: add [acme.dns] with `provider`",
        ));
        return found;
    };
    if let Some(meta) = meta {
        let account = account::show(&config.state_dir, &ca).ok().flatten();
        let url = account.and_then(|known| known.url);
        authorization(
            dns,
            domain,
            &meta.caa_identities,
            url.as_deref(),
            &mut found,
        )
        .await;
    }
    match records(dns, store, domain, &mut found, out).await {
        Ok(()) => {}
        Err(error) => found.push(Finding::new("record", Grade::Bad, error.to_string())),
    }
    found
}

/// What holds an order back.
fn budgets(config: &Config, store: &dyn Store, domain: &Host, found: &mut Vec<Finding>) {
    let now = UnixTime::now();
    let what = "budget";
    let limits = match Limits::load(store) {
        Ok(limits) => limits,
        Err(error) => return found.push(Finding::new(what, Grade::Bad, error.to_string())),
    };
    if let Some(block) = limits.block(&config.acme.directory, domain, now) {
        let detail = format!(
            "the CA wants no request for {} before {}: {}",
            block.scope, block.until, block.detail
        );
        found.push(Finding::new(what, Grade::Bad, detail));
    } else if let Some(at) = limits.next_validation(&config.acme.directory, domain.as_str(), 2, now)
    {
        let detail = format!("too many failed validations; the next may be asked for at {at}");
        found.push(Finding::new(what, Grade::Bad, detail));
    } else {
        match renew::view(config, store, domain, now).map(|view| view.waiting) {
            Ok(Some(waiting)) => {
                let detail = format!(
                    "an earlier failure holds the next try back until {}: {}",
                    waiting.until, waiting.detail
                );
                found.push(Finding::new(what, Grade::Doubtful, detail));
            }
            Ok(None) => found.push(Finding::new(
                what,
                Grade::Good,
                "no limit of the CA that we know of, and no failure, holds an order back",
            )),
            Err(error) => found.push(Finding::new(what, Grade::Bad, error.to_string())),
        }
    }
}

/// Whether the CA is there, what it wants, and what time it has.
async fn the_ca(ca: &Ca, found: &mut Vec<Finding>) -> Option<DirectoryMeta> {
    let client = match Client::new(ca.ca_file.as_deref()) {
        Ok(client) => client,
        Err(error) => {
            found.push(Finding::new("ca", Grade::Bad, error.to_string()));
            return None;
        }
    };
    let directory = match client.get(&ca.directory).await {
        Ok(answer) if answer.status == StatusCode::OK => {
            serde_json::from_slice::<Directory>(&answer.body)
                .map_err(|error| format!("the directory is not understood: {error}"))
        }
        Ok(answer) => Err(format!("the directory answered {}", answer.status)),
        Err(error) => Err(format!(
            "{error}\nhint: is `acme.directory` right, and may this machine reach it?"
        )),
    };
    let meta = match directory {
        Ok(directory) => directory.meta,
        Err(detail) => {
            found.push(Finding::new(
                "ca",
                Grade::Bad,
                format!("`{}`: {detail}", ca.directory),
            ));
            return None;
        }
    };
    let known = meta.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
    let finding = match &ca.profile {
        Some(profile) if !meta.profiles.contains_key(profile) => Finding::new(
            "ca",
            Grade::Bad,
            format!(
                "it has no profile `{profile}`; it has: {known}\nhint: change or remove `acme.profile`"
            ),
        ),
        _ if meta.external_account_required && ca.eab.is_none() => Finding::new(
            "ca",
            Grade::Bad,
            "it wants an external account binding\nhint: set `kid` and `key_file` in [acme.eab]",
        ),
        _ => Finding::new("ca", Grade::Good, format!("`{}` answers", ca.directory)),
    };
    found.push(finding);
    let clock = match client
        .reply()
        .date
        .map(|date| UnixTime::now().seconds_since(date))
    {
        None => Finding::new(
            "clock",
            Grade::Doubtful,
            "the CA gives no date to compare with",
        ),
        Some(skew) if skew.abs() > SKEW => Finding::new(
            "clock",
            Grade::Bad,
            format!("this clock is {skew} s off the CA's\nhint: check NTP, as in `timedatectl`"),
        ),
        Some(skew) => Finding::new("clock", Grade::Good, format!("{skew} s off the CA's")),
    };
    found.push(clock);
    Some(meta)
}

/// The CAA walk (RFC 8659 §3): the first name at or above the domain that has records decides.
async fn authorization(
    dns: &Dns,
    domain: &Host,
    identities: &[String],
    account: Option<&str>,
    found: &mut Vec<Finding>,
) {
    let what = "caa";
    if identities.is_empty() {
        let detail = "the CA does not say by which name CAA records allow it";
        return found.push(Finding::new(what, Grade::Doubtful, detail));
    }
    let mut name = match Name::from_ascii(domain.as_str()) {
        Ok(name) => name,
        Err(error) => return found.push(Finding::new(what, Grade::Bad, error.to_string())),
    };
    name.set_fqdn(true);
    let (servers, role) = if dns.nameservers.is_empty() {
        (Propagation::new(dns).resolvers().to_vec(), Role::Recursor)
    } else {
        (dns.nameservers.clone(), Role::Authority)
    };
    while !name.is_root() {
        match properties(&servers, role, &name).await {
            Ok(set) if set.is_empty() => name = name.base_name(),
            Ok(set) => {
                let at = name.to_ascii();
                let verdict = caa::judge(&set, identities, account);
                let finding = match verdict {
                    Ok(()) => Finding::new(
                        what,
                        Grade::Good,
                        format!("the records at `{at}` allow the CA"),
                    ),
                    Err(reason) => Finding::new(
                        what,
                        Grade::Bad,
                        format!(
                            "the records at `{at}` forbid it: {reason}\nhint: add `{at} CAA 0 issue \"{0}\"` and \
                             `{at} CAA 0 issuewild \"{0}\"`",
                            identities.first().map_or("", String::as_str)
                        ),
                    ),
                };
                return found.push(finding);
            }
            // Above its zones a name server knows nothing, which is no answer about the rest of the walk.
            Err(_) if role == Role::Authority => name = name.base_name(),
            // RFC 8659 §3: a CA must not issue when it cannot tell.
            Err(reason) => {
                let detail = format!(
                    "cannot ask for the records at `{}`: {reason}",
                    name.to_ascii()
                );
                return found.push(Finding::new(what, Grade::Doubtful, detail));
            }
        }
    }
    found.push(Finding::new(
        what,
        Grade::Good,
        "no CAA record, so every CA may issue",
    ));
}

async fn properties(
    servers: &[SocketAddr],
    role: Role,
    name: &Name,
) -> Result<Vec<Property>, String> {
    let mut reason = "no server to ask".to_owned();
    let mut answer = None;
    for server in servers {
        match wire::ask(*server, role, name, RecordType::CAA).await {
            Ok(reply) => match reply.metadata.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => {
                    answer = Some(reply);
                    break;
                }
                code => reason = format!("{server}: {code}"),
            },
            Err(error) => reason = error.to_string(),
        }
    }
    let answer = answer.ok_or(reason)?;
    let records = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::CAA(caa) => Some(Property {
                critical: caa.issuer_critical,
                tag: caa.tag.to_ascii_lowercase(),
                value: String::from_utf8_lossy(&caa.value).into_owned(),
            }),
            _ => None,
        });
    Ok(records.collect())
}

/// Delegation, and a record of our own that comes and goes.
async fn records(
    dns: &Dns,
    store: &dyn Store,
    domain: &Host,
    found: &mut Vec<Finding>,
    out: Output<'_>,
) -> Result<(), AcmeError> {
    let Some(trial) = trial::trial(dns, store, domain, out).await? else {
        found.push(Finding::new(
            "record",
            Grade::Doubtful,
            "a renewal is running, so no record was tried",
        ));
        return Ok(());
    };
    let own = format!("_acme-challenge.{domain}");
    let way = if trial.fqdn == own {
        format!("`{own}` is not delegated")
    } else {
        format!("`{own}` leads to `{}`", trial.fqdn)
    };
    found.push(Finding::new(
        "delegation",
        Grade::Good,
        format!("{way}; the zone is `{}`", trial.zone),
    ));
    found.push(match trial.visible {
        Ok(waited) => Finding::new(
            "record",
            Grade::Good,
            format!(
                "`{}` published a TXT record, and every authoritative server had it after {} ms",
                trial.provider,
                waited.as_millis()
            ),
        ),
        Err(error) => Finding::new("record", Grade::Bad, error.to_string()),
    });
    found.push(match trial.removed {
        Ok(()) => Finding::new("clean-up", Grade::Good, "the record is removed"),
        Err(error) => Finding::new(
            "clean-up",
            Grade::Bad,
            format!("the record stays for now, the next run removes it: {error}"),
        ),
    });
    Ok(())
}

//! Whether a CA is there, what it wants, what time it has, and whether CAA records let it issue.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use http::StatusCode;
use serde::Deserialize;

use super::{Finding, Grade};
use crate::acme::caa::{self, Property, Wish};
use crate::acme::client::Client;
use crate::acme::dns::wire::{self, Role};
use crate::acme::propagation::Propagation;
use crate::clock::UnixTime;
use crate::config::{Ca, Dns};
use crate::host::Host;

/// A clock that differs by more from the CA's is worth a warning, in seconds.
const SKEW: i64 = 300;

/// What the CA says of itself (RFC 8555 §7.1.1).
#[derive(Debug, Default, Deserialize)]
struct Directory {
    #[serde(default)]
    meta: DirectoryMeta,
}

/// The part of it that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct DirectoryMeta {
    pub(super) caa_identities: Vec<String>,
    external_account_required: bool,
    profiles: BTreeMap<String, String>,
}

/// Asks the CA for its directory.
pub(super) async fn ask(ca: &Ca, found: &mut Vec<Finding>) -> Option<DirectoryMeta> {
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
    found.push(wants(ca, &meta));
    let date = client.reply().date;
    found.push(clock(date.map(|date| UnixTime::now().seconds_since(date))));
    Some(meta)
}

fn wants(ca: &Ca, meta: &DirectoryMeta) -> Finding {
    let known = meta.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
    match &ca.profile {
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
    }
}

fn clock(skew: Option<i64>) -> Finding {
    match skew {
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
    }
}

/// The CAA walk (RFC 8659 §3): the first name at or above `host` that has records decides.
pub(super) async fn authorization(dns: &Dns, host: &Host, wish: &Wish<'_>) -> Finding {
    let what = "caa";
    if wish.identities.is_empty() {
        let detail = "the CA does not say by which name CAA records allow it";
        return Finding::new(what, Grade::Doubtful, detail);
    }
    let resolvers = Propagation::new(dns).resolvers().to_vec();
    let mut walked = Err("no server to ask".to_owned());
    // The servers that the operator names may know nothing of this name.
    for (servers, role) in [
        (&dns.nameservers, Role::Authority),
        (&resolvers, Role::Recursor),
    ] {
        if walked.is_err() && !servers.is_empty() {
            walked = walk(servers, role, host).await;
        }
    }
    match walked {
        Ok(Some((name, set))) => verdict(&name.to_ascii(), &set, host, wish),
        Ok(None) => {
            let detail = format!("no CAA record for `{host}`, so every CA may issue");
            Finding::new(what, Grade::Good, detail)
        }
        // RFC 8659 §3: a CA must not issue when it cannot tell.
        Err(reason) => Finding::new(what, Grade::Doubtful, reason),
    }
}

async fn walk(
    servers: &[SocketAddr],
    role: Role,
    host: &Host,
) -> Result<Option<(Name, Vec<Property>)>, String> {
    let mut name = Name::from_ascii(host.as_str()).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    let mut nothing = Err(format!("nobody tells the CAA records of `{host}`"));
    while !name.is_root() {
        match properties(servers, role, &name).await {
            Ok(set) if set.is_empty() => nothing = Ok(None),
            Ok(set) => return Ok(Some((name, set))),
            // Above its zones a name server knows nothing, which is no answer about the rest of the walk.
            Err(_) if role == Role::Authority => {}
            Err(reason) => {
                let at = name.to_ascii();
                return Err(format!(
                    "cannot ask for the CAA records at `{at}`: {reason}"
                ));
            }
        }
        name = name.base_name();
    }
    nothing
}

fn verdict(at: &str, set: &[Property], host: &Host, wish: &Wish<'_>) -> Finding {
    let method = wish.method;
    let reason = match caa::judge(set, wish) {
        Ok(()) => {
            let detail = format!("the records at `{at}` allow the CA {method} for `{host}`");
            return Finding::new("caa", Grade::Good, detail);
        }
        Err(reason) => reason,
    };
    let issuer = wish.identities.first().map_or("", String::as_str);
    let tags = [(wish.exact, "issue"), (wish.wildcard, "issuewild")];
    let lines: Vec<String> = tags
        .iter()
        .filter(|(wanted, _)| *wanted)
        .map(|(_, tag)| format!("`{at} CAA 0 {tag} \"{issuer}\"`"))
        .collect();
    let detail = format!(
        "the records at `{at}` forbid the CA {method} for `{host}`: {reason}\nhint: add {}",
        lines.join(" and ")
    );
    Finding::new("caa", Grade::Bad, detail)
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

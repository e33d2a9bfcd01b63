//! A server of the acme-dns project, which keeps TXT records of names that `_acme-challenge` points to by CNAME.
//!
//! The credentials are the JSON file that its clients write (certbot's hook, lego): domain by domain `username`, `password`,
//! `subdomain`, `fulldomain` and perhaps `server_url`. The server keeps the last two values of a name and removes none,
//! which is just enough for a domain with its wildcard. Portico registers nothing.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use super::{DnsError, Txt, web};
use crate::config::{CredentialSource, Secret};

/// The accounts, by domain.
pub struct AcmeDns {
    source: String,
    endpoint: Option<String>,
    accounts: HashMap<String, Account>,
}

/// One name at the server.
struct Account {
    user: Secret,
    password: Secret,
    subdomain: String,
    /// The name that the CNAME must point to.
    full: String,
    server: Option<String>,
}

/// The file's own form.
#[derive(Deserialize)]
struct Entry {
    username: String,
    password: String,
    subdomain: String,
    fulldomain: String,
    #[serde(default)]
    server_url: Option<String>,
}

impl std::fmt::Debug for AcmeDns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcmeDns")
            .field("endpoint", &self.endpoint)
            .field("domains", &self.accounts.keys())
            .finish_non_exhaustive()
    }
}

impl AcmeDns {
    /// Reads the JSON file.
    pub(super) fn new(
        credentials: &CredentialSource,
        endpoint: Option<&str>,
    ) -> Result<Self, DnsError> {
        let text = credentials.read_text()?;
        // The parser's own words would show part of the file.
        let entries: HashMap<String, Entry> =
            serde_json::from_str(text.expose()).map_err(|error| {
                DnsError::Refused(format!(
                    "`{credentials}`, line {}: not the JSON of an acme-dns client\nhint: {{\"example.com\": \
                     {{\"username\": …, \"password\": …, \"subdomain\": …, \"fulldomain\": …}}}}, as acme-dns's \
                     `/register` answers",
                    error.line()
                ))
            })?;
        let accounts = entries.into_iter().map(|(domain, entry)| {
            let account = Account {
                user: Secret::new(entry.username),
                password: Secret::new(entry.password),
                subdomain: entry.subdomain,
                full: entry.fulldomain.trim_end_matches('.').to_ascii_lowercase(),
                server: entry.server_url.filter(|url| !url.is_empty()),
            };
            (domain.to_ascii_lowercase(), account)
        });
        Ok(Self {
            source: credentials.to_string(),
            endpoint: endpoint.map(str::to_owned),
            accounts: accounts.collect(),
        })
    }

    pub(super) async fn add(&self, txt: &Txt) -> Result<(), DnsError> {
        let refused = |text: String| Err(DnsError::Refused(text));
        let Some(account) = self.accounts.get(&txt.domain) else {
            return refused(format!(
                "`{}` has no account for `{}`\nhint: register one (`curl -X POST …/register`) and add its answer under \
                 that name",
                self.source, txt.domain
            ));
        };
        if !txt.fqdn.eq_ignore_ascii_case(&account.full) {
            return refused(format!(
                "`_acme-challenge.{}` leads to `{}`, not to `{}`\nhint: add the record `_acme-challenge.{}. CNAME {}.`",
                txt.domain, txt.fqdn, account.full, txt.domain, account.full
            ));
        }
        let Some(server) = account.server.as_ref().or(self.endpoint.as_ref()) else {
            return refused(format!(
                "`{}` does not name the acme-dns server\nhint: write `endpoint = \"https://…\"` in [acme.dns]",
                self.source
            ));
        };
        let mut headers = HeaderMap::new();
        for (name, secret) in [
            ("x-api-user", &account.user),
            ("x-api-key", &account.password),
        ] {
            let mut value = HeaderValue::from_str(secret.expose()).map_err(|_shows_secret| {
                DnsError::Refused(format!(
                    "an account in `{}` has characters that none has",
                    self.source
                ))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let body = serde_json::json!({ "subdomain": account.subdomain, "txt": txt.value });
        let url = format!("{}/update", server.trim_end_matches('/'));
        let (status, answer) = web::post_json(&url, headers, &body)
            .await
            .map_err(|error| DnsError::Failed(format!("acme-dns: {error}")))?;
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => refused(format!(
                "acme-dns ({server}) does not take the account of `{}` ({status})\nhint: compare `{}` with what it \
                 answered to `/register`; `allowfrom` must have this machine",
                txt.domain, self.source
            )),
            StatusCode::BAD_REQUEST => refused(format!(
                "acme-dns ({server}) does not take the record: {}",
                said(&answer)
            )),
            _ => Err(DnsError::Failed(format!(
                "acme-dns ({server}) answered {status}: {}",
                said(&answer)
            ))),
        }
    }
}

/// The beginning of an answer.
fn said(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer)
        .trim()
        .chars()
        .filter(|char| !char.is_control())
        .take(200)
        .collect()
}

//! `source = "http"`: an address of the app's own is asked for one host at a time.
//!
//! | contract | question | yes | no |
//! |---|---|---|---|
//! | `portico` | `GET url?host=acme.example.com` | 200 and a JSON object with the columns of a [`Row`] | 404 |
//! | `caddy-ask` | `GET url?domain=acme.example.com` | any 2xx | any 4xx that is about the host |
//!
//! Everything else is no answer: not a "no", which would be believed. `ETag` saves the app the row (RFC 9110 §13.1.2), and
//! `Cache-Control: max-age` says how long an answer is good (RFC 9111 §5.2.2.1). By Caddy's contract a tenant is named by the
//! label below a base domain, and by the whole host anywhere else. Redirects are not followed. The token is in no log and in no
//! error.

mod client;
mod row;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, USER_AGENT,
};
use http::{StatusCode, Uri};
use thiserror::Error;

use self::client::{Answer, Client};
use super::lookup::{Reply, Said, Source};
use crate::config::{Contract, CredentialSource, HttpAsk, SecretError};
use crate::host::Host;
use crate::tenant::id::{State, Tenant, TenantId};

/// A longer mark of a version is not kept.
const LONGEST_TAG: usize = 256;
const AGENT: &str = concat!("portico/", env!("CARGO_PKG_VERSION"));

/// Why an address cannot be asked, or has not answered. One line, without the question and the token.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The token's file.
    #[error(transparent)]
    Token(#[from] SecretError),
    /// The token has a character that no header may have.
    #[error(
        "the token in `tenants.http.token_file` is no token\n  hint: one line of letters, digits and `-._~+/=`"
    )]
    BadToken,
    /// TLS cannot be set up.
    #[error("{0}")]
    Tls(String),
    /// No connection, or it broke off.
    #[error("{server}: {reason}")]
    Exchange {
        /// Host and port.
        server: String,
        /// What happened.
        reason: String,
    },
    /// It answered with something that is no answer.
    #[error("{server} answered {status}")]
    Status {
        /// Host and port.
        server: String,
        /// Its status.
        status: StatusCode,
    },
    /// It answered with a row that is none.
    #[error("{server} answered with a row that is none: {reason}")]
    Row {
        /// Host and port.
        server: String,
        /// What is wrong.
        reason: String,
    },
}

/// The address.
pub(super) struct Http {
    url: Uri,
    contract: Contract,
    bases: Vec<Host>,
    client: Client,
    token_file: Option<CredentialSource>,
    // Held for a copy only, never over an await.
    token: Mutex<Option<HeaderValue>>,
}

impl Http {
    /// Reads the token and the roots; connects to nothing.
    pub(super) fn new(ask: &HttpAsk, bases: &[Host]) -> Result<Self, HttpError> {
        let token = ask.token.as_ref().map(read_token).transpose()?;
        let mut bases = bases.to_vec();
        bases.sort_by_key(|base| std::cmp::Reverse(base.as_str().len()));
        Ok(Self {
            client: Client::new(&ask.url, ask.ca_file.as_deref(), token.is_some())?,
            url: ask.url.clone(),
            contract: ask.contract,
            bases,
            token_file: ask.token.clone(),
            token: Mutex::new(token),
        })
    }

    fn target(&self, host: &Host) -> String {
        let key = match self.contract {
            Contract::Portico => "host",
            Contract::CaddyAsk => "domain",
        };
        let path = self.url.path();
        match self.url.query() {
            // A host has no character that would have to be escaped.
            Some(query) => format!("{path}?{query}&{key}={host}"),
            None => format!("{path}?{key}={host}"),
        }
    }

    fn headers(&self, tag: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = token.clone() {
            headers.insert(AUTHORIZATION, token);
        }
        if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
            headers.insert(IF_NONE_MATCH, tag);
        }
        headers
    }

    fn reply(&self, host: &Host, tag: Option<&str>, answer: &Answer) -> Result<Reply, HttpError> {
        let said = match (self.contract, answer.status) {
            (_, StatusCode::NOT_MODIFIED) if tag.is_some() => Said::Same,
            (Contract::Portico, StatusCode::OK) => self.row(host, &answer.body)?,
            (Contract::Portico, StatusCode::NOT_FOUND) => Said::Nobody,
            (Contract::CaddyAsk, status) if status.is_success() => self.named(host)?,
            (Contract::CaddyAsk, status) if self.is_no(status) => Said::Nobody,
            (_, status) => {
                return Err(HttpError::Status {
                    server: self.client.server().to_owned(),
                    status,
                });
            }
        };
        let new = answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
        let kept = if matches!(said, Said::Same) {
            tag
        } else {
            None
        };
        Ok(Reply {
            said,
            tag: new
                .or(kept)
                .filter(|tag| tag.len() <= LONGEST_TAG)
                .map(Into::into),
            max_age: max_age(&answer.headers),
        })
    }

    /// Refusals that are about the question's sender or its time say nothing about the host.
    fn is_no(&self, status: StatusCode) -> bool {
        match status.as_u16() {
            401 | 405 | 407 | 408 | 425 | 429 => false,
            403 => self.token_file.is_none(),
            status => (400..500).contains(&status),
        }
    }

    fn row(&self, host: &Host, body: &Bytes) -> Result<Said, HttpError> {
        let bad = |reason: String| HttpError::Row {
            server: self.client.server().to_owned(),
            reason,
        };
        let row = row::read(body).map_err(bad)?;
        let reply = Reply::of(host, Some(&row)).map_err(|reason| bad(reason.to_owned()))?;
        Ok(reply.said)
    }

    fn named(&self, host: &Host) -> Result<Said, HttpError> {
        let below = self.bases.iter().find_map(|base| host.below(base));
        let label = below.filter(|rest| !rest.is_empty() && !rest.contains('.'));
        let name = label.unwrap_or(host.as_str());
        let id = TenantId::new(name).ok_or_else(|| HttpError::Row {
            server: self.client.server().to_owned(),
            reason: "the host is too long for the name of a tenant".to_owned(),
        })?;
        Ok(Said::Tenant(Tenant::new(id, State::Active).into()))
    }

    /// The token may have been changed since.
    fn read_token_again(&self) {
        if let Some(file) = &self.token_file
            && let Ok(token) = read_token(file)
        {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        }
    }
}

impl Source for Http {
    type Error = HttpError;

    async fn ask(&self, host: &Host, tag: Option<&str>) -> Result<Reply, HttpError> {
        let answer = self
            .client
            .get(&self.target(host), self.headers(tag))
            .await
            .map_err(|error| HttpError::Exchange {
                server: self.client.server().to_owned(),
                reason: error.to_string(),
            })?;
        if matches!(answer.status.as_u16(), 401 | 403) {
            self.read_token_again();
        }
        self.reply(host, tag, &answer)
    }
}

fn read_token(file: &CredentialSource) -> Result<HeaderValue, HttpError> {
    let text = file.read_text()?;
    let token = text.expose().trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(plain) {
        return Err(HttpError::BadToken);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_invalid| HttpError::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `max-age`, unless the answer is not to be kept.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut age = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            if directive == "no-store" || directive == "no-cache" {
                return Some(Duration::ZERO);
            }
            if let Some(seconds) = directive.strip_prefix("max-age=") {
                age = seconds.parse().ok().map(Duration::from_secs);
            }
        }
    }
    age
}

#[cfg(test)]
mod tests;

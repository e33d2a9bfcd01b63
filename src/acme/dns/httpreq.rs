//! Lego's `httpreq`: a web service of the operator's that adds and removes records.
//!
//! `POST endpoint/present` and `POST endpoint/cleanup` with `{"fqdn", "value"}`, or in RAW mode `{"domain", "token",
//! "keyAuth"}`; basic authentication if a user name is given. Any status below 300 is success. A call that failed is tried
//! again a few times: the service must take the same call twice.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{DnsError, Txt, web};
use crate::config::CredentialSource;

/// Pauses between tries.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(9),
];

/// The service.
pub struct HttpReq {
    endpoint: String,
    mode: Mode,
    authorization: Option<HeaderValue>,
}

/// What the service is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Name and value of the record.
    Default,
    /// What the value is made of.
    Raw,
}

impl std::fmt::Debug for HttpReq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpReq")
            .field("endpoint", &self.endpoint)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl HttpReq {
    /// Reads `httpreq_endpoint`, `_mode`, `_username` and `_password`.
    pub(super) fn new(credentials: &CredentialSource) -> Result<Self, DnsError> {
        let ini = credentials.read()?;
        let bad = |key: &str, reason: &str| {
            DnsError::Refused(format!(
                "`{key}` in `{credentials}` is not usable: {reason}"
            ))
        };
        let endpoint = ini.require("httpreq_endpoint")?.expose();
        let uri: Option<http::Uri> = endpoint.parse().ok();
        let authority = uri.as_ref().and_then(http::Uri::authority);
        if authority.is_none_or(|authority| authority.as_str().contains('@')) {
            let reason = "it is not a URL without user name\nhint: write it as in `https://dns.example.org/acme`";
            return Err(bad("httpreq_endpoint", reason));
        }
        let mode = match ini.get("httpreq_mode").map(|mode| mode.expose()) {
            None | Some("") => Mode::Default,
            Some(mode) if mode.eq_ignore_ascii_case("raw") => Mode::Raw,
            Some(_) => return Err(bad("httpreq_mode", "it is `RAW` or empty")),
        };
        let authorization = match ini.get("httpreq_username") {
            None => None,
            Some(user) => {
                let password = ini
                    .get("httpreq_password")
                    .map_or("", |secret| secret.expose());
                let pair =
                    zeroize::Zeroizing::new(format!("{}:{password}", user.expose()).into_bytes());
                let text = format!("Basic {}", BASE64_STANDARD.encode(&*pair));
                let mut value = HeaderValue::from_str(&text)
                    .map_err(|_shows_secret| bad("httpreq_username", "it cannot be sent"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            mode,
            authorization,
        })
    }

    pub(super) async fn add(&self, txt: &Txt) -> Result<(), DnsError> {
        self.call("present", txt).await
    }

    pub(super) async fn remove(&self, txt: &Txt) -> Result<(), DnsError> {
        self.call("cleanup", txt).await
    }

    async fn call(&self, verb: &str, txt: &Txt) -> Result<(), DnsError> {
        let body = self.body(txt)?;
        let url = format!("{}/{verb}", self.endpoint);
        let mut headers = HeaderMap::new();
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let mut pauses = PAUSES.into_iter();
        loop {
            let said = match web::post_json(&url, headers.clone(), &body).await {
                Ok((status, _)) if status.as_u16() < 300 => return Ok(()),
                Ok((status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), _)) => {
                    return Err(DnsError::Refused(format!(
                        "httpreq: {verb} of `{}` was answered {status}\nhint: check `httpreq_username` and \
                         `httpreq_password`",
                        txt.fqdn
                    )));
                }
                Ok((status, _)) => status.to_string(),
                Err(error) => error,
            };
            let text = format!("httpreq: {verb} of `{}`: {said}", txt.fqdn);
            let Some(pause) = pauses.next() else {
                return Err(DnsError::Failed(text));
            };
            tracing::warn!(error = text, "trying again in {} s", pause.as_secs());
            tokio::time::sleep(pause).await;
        }
    }

    fn body(&self, txt: &Txt) -> Result<Value, DnsError> {
        match (self.mode, &txt.proof) {
            (Mode::Default, _) => {
                Ok(json!({ "fqdn": format!("{}.", txt.fqdn), "value": txt.value }))
            }
            (Mode::Raw, Some(proof)) => Ok(
                json!({ "domain": txt.domain, "token": proof.token, "keyAuth": proof.key_authorization }),
            ),
            (Mode::Raw, None) => Err(DnsError::Refused(format!(
                "httpreq in RAW mode needs the token of `{}`, which is not known for a record that no order made",
                txt.fqdn
            ))),
        }
    }
}

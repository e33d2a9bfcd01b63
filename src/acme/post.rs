//! Requests to a CA that are signed here and not by the ACME library: those about accounts, and revocations.
//!
//! The library makes the key of a new account and of a rollover itself, inside its call, so that a crash would lose it; and
//! it signs with P-256 only and never with a certificate's key. Orders stay with the library. A nonce that the CA does
//! not like is replaced and the request signed again (RFC 8555 §6.5); nothing else is retried here.

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderValue};
use instant_acme::{BodyWrapper, Error as LibraryError, Problem};
use serde::{Deserialize, Serialize};

use super::client::{Answer, Client};
use super::error::AcmeError;
use super::jws::{Jws, Signer};
use super::key::KeyError;
use super::order::Rests;

/// Tries at once when the CA does not like a nonce, and again after each rest: as many as an order's requests get.
const NONCE_TRIES: usize = 9;
const JOSE: HeaderValue = HeaderValue::from_static("application/jose+json");
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";

/// What is needed of the CA's directory (RFC 8555 §7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_account: String,
    revoke_cert: Option<String>,
    key_change: Option<String>,
}

/// A CA to which signed requests go.
pub(super) struct Post<'a> {
    client: &'a Client,
    directory: Directory,
    nonce: Option<String>,
}

impl<'a> Post<'a> {
    /// Reads the CA's directory.
    pub(super) async fn to(directory: &str, client: &'a Client) -> Result<Self, AcmeError> {
        let answer = client.get(directory).await.map_err(unreachable)?;
        if !answer.status.is_success() {
            return Err(refusal(&answer, client));
        }
        let directory = serde_json::from_slice(&answer.body).map_err(|error| {
            AcmeError::Transport(format!("the ACME directory cannot be read: {error}"))
        })?;
        Ok(Self {
            client,
            directory,
            nonce: None,
        })
    }

    /// Where accounts are made and looked up.
    pub(super) fn new_account(&self) -> String {
        self.directory.new_account.clone()
    }

    /// Where certificates are revoked.
    pub(super) fn revoke_cert(&self) -> Result<String, AcmeError> {
        let url = self.directory.revoke_cert.clone();
        url.ok_or_else(|| AcmeError::Config("this CA takes no revocations".to_owned()))
    }

    /// Where accounts get another key.
    pub(super) fn key_change(&self) -> Result<String, AcmeError> {
        let url = self.directory.key_change.clone();
        url.ok_or_else(|| AcmeError::Config("this CA lets no account change its key".to_owned()))
    }

    /// Signs and sends; the CA's answer if it is a good one.
    pub(super) async fn send(
        &mut self,
        url: &str,
        signer: Signer<'_>,
        payload: &impl Serialize,
    ) -> Result<Answer, AcmeError> {
        let payload = serde_json::to_vec(payload).map_err(|_never| KeyError::Crypto)?;
        let (mut left, mut rests) = (NONCE_TRIES, Rests::new());
        loop {
            let nonce = match self.nonce.take() {
                Some(nonce) => nonce,
                None => self.fresh_nonce().await?,
            };
            let jws = Jws::new(signer, Some(&nonce), url, &payload)?;
            let answer = self.send_once(url, &jws).await?;
            self.nonce.clone_from(&answer.nonce);
            if answer.status.is_success() {
                return Ok(answer);
            }
            left -= 1;
            let problem = serde_json::from_slice::<Problem>(&answer.body);
            let bad_nonce =
                problem.is_ok_and(|problem| problem.r#type.as_deref() == Some(BAD_NONCE));
            if !bad_nonce || (left == 0 && !rests.rest().await) {
                return Err(refusal(&answer, self.client));
            }
            if left == 0 {
                left = NONCE_TRIES;
            }
        }
    }

    async fn send_once(&self, url: &str, jws: &Jws) -> Result<Answer, AcmeError> {
        let body = serde_json::to_vec(jws).map_err(|_never| KeyError::Crypto)?;
        let request = Request::post(url)
            .header(CONTENT_TYPE, JOSE)
            .body(BodyWrapper::<Bytes>::from(body))
            .map_err(|error| unreachable(error.into()))?;
        self.client.send(request).await.map_err(unreachable)
    }

    async fn fresh_nonce(&self) -> Result<String, AcmeError> {
        let request = Request::head(&self.directory.new_nonce)
            .body(BodyWrapper::default())
            .map_err(|error| unreachable(error.into()))?;
        let answer = self.client.send(request).await.map_err(unreachable)?;
        match &answer.nonce {
            Some(nonce) if answer.status.is_success() => Ok(nonce.clone()),
            _ if answer.status.is_success() => {
                Err(AcmeError::Transport("the CA gives no nonce".to_owned()))
            }
            _ => Err(refusal(&answer, self.client)),
        }
    }
}

fn unreachable(error: super::client::Failure) -> AcmeError {
    AcmeError::Transport(error.to_string())
}

/// What an answer that is none says.
fn refusal(answer: &Answer, client: &Client) -> AcmeError {
    let error = match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => LibraryError::Api(problem),
        Err(error) => LibraryError::Json(error),
    };
    AcmeError::from_library(error, &client.reply())
}

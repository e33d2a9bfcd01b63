//! Calls to the CA that take more than one try.

use std::time::{Duration, Instant};

use instant_acme::{AuthorizationHandle, Order, OrderStatus};

use super::super::client::Client;
use super::super::error::AcmeError;
use crate::clock::UnixTime;

/// The library makes three tries of a call when the CA does not like its nonce. With three calls a request is tried
/// again eight times at once.
const CALLS: usize = 3;
/// Then it rests for so many seconds and goes on where it was: a CA of many servers that do not know each other's nonces
/// takes one in the end, and a failure that is noted would hold the order back for nothing.
const RESTS: [u64; 5] = [1, 1, 2, 4, 8];

/// The rests of one request.
#[derive(Debug)]
pub(in crate::acme) struct Rests(std::array::IntoIter<u64, 5>);

impl Rests {
    /// None taken yet.
    pub(in crate::acme) fn new() -> Self {
        Self(RESTS.into_iter())
    }

    /// Rests; `false` at once if there was rest enough.
    pub(in crate::acme) async fn rest(&mut self) -> bool {
        let Some(rest) = self.0.next() else {
            return false;
        };
        tracing::info!(
            rest_s = rest,
            "the CA takes none of the nonces that it gives"
        );
        tokio::time::sleep(Duration::from_secs(rest)).await;
        true
    }
}

/// For an order to change its state.
const SETTLE: Duration = Duration::from_secs(300);
/// Between two looks at an order.
const PAUSE: std::ops::RangeInclusive<i64> = 1..=15;
/// What is waited for is said after so long, and again.
const WORD: Duration = Duration::from_secs(10);

/// Calls the CA, again with a fresh nonce when it did not like the one it got (RFC 8555 §6.5 tells to). The call makes
/// one request, so that each has all its tries.
pub(in crate::acme) async fn patient<T>(
    client: &Client,
    mut call: impl AsyncFnMut() -> Result<T, instant_acme::Error>,
) -> Result<T, AcmeError> {
    let mut rests = Rests::new();
    loop {
        let mut left = CALLS;
        let bad = loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) if !is_bad_nonce(&error) => {
                    return Err(AcmeError::from_library(error, &client.reply()));
                }
                Err(error) => {
                    left -= 1;
                    if left == 0 {
                        break error;
                    }
                }
            }
        };
        if !rests.rest().await {
            return Err(AcmeError::from_library(bad, &client.reply()));
        }
    }
}

fn is_bad_nonce(error: &instant_acme::Error) -> bool {
    matches!(error, instant_acme::Error::Api(problem)
        if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:badNonce"))
}

/// Does something with each authorization of an order; each is a call of its own.
pub(in crate::acme) async fn each<T>(
    client: &Client,
    order: &mut Order,
    mut act: impl AsyncFnMut(AuthorizationHandle<'_>) -> Result<T, instant_acme::Error>,
) -> Result<Vec<T>, AcmeError> {
    let mut all = Vec::new();
    for index in 0..order.state().authorizations.len() {
        // The library fetches an authorization once and keeps it: those before cost nothing.
        let one = patient(client, async || {
            let mut authorizations = order.authorizations();
            for _ in 0..index {
                authorizations.next().await.transpose()?;
            }
            match authorizations.next().await {
                Some(authorization) => act(authorization?).await.map(Some),
                None => Ok(None),
            }
        });
        all.extend(one.await?);
    }
    Ok(all)
}

/// Looks at the order until its status is one of those wanted.
pub(in crate::acme) async fn settle(
    client: &Client,
    order: &mut Order,
    wanted: impl Fn(OrderStatus) -> bool,
) -> Result<OrderStatus, AcmeError> {
    let start = Instant::now();
    let mut told = start;
    loop {
        let status = patient(client, async || {
            order.refresh().await.map(|state| state.status)
        })
        .await?;
        if wanted(status) {
            return Ok(status);
        }
        if start.elapsed() > SETTLE {
            let text = format!("the order is still {status:?} after {} s", SETTLE.as_secs());
            return Err(AcmeError::Transport(text));
        }
        if told.elapsed() >= WORD {
            told = Instant::now();
            let (waited_s, limit_s) = (start.elapsed().as_secs(), SETTLE.as_secs());
            tracing::info!(
                order = order.url(),
                ?status,
                waited_s,
                limit_s,
                "waiting for the CA"
            );
        }
        let asked = client
            .reply()
            .retry_after
            .map_or(1, |until| until.seconds_since(UnixTime::now()));
        let pause = asked.clamp(*PAUSE.start(), *PAUSE.end()).unsigned_abs();
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

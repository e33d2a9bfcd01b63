//! Calls to the CA that take more than one try.

use std::time::{Duration, Instant};

use instant_acme::{Order, OrderStatus};

use super::super::client::Client;
use super::super::error::AcmeError;
use crate::clock::UnixTime;

/// Tries when the CA does not like a nonce, each of which the library makes of three.
const NONCE_TRIES: usize = 8;
/// For an order to change its state.
const SETTLE: Duration = Duration::from_secs(300);
/// Between two looks at an order.
const PAUSE: std::ops::RangeInclusive<i64> = 1..=15;

/// Calls the CA, again with a fresh nonce when it did not like the one it got (RFC 8555 §6.5 tells to).
pub(in crate::acme) async fn patient<T>(
    client: &Client,
    mut call: impl AsyncFnMut() -> Result<T, instant_acme::Error>,
) -> Result<T, AcmeError> {
    let mut left = NONCE_TRIES;
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(instant_acme::Error::Api(problem))
                if left > 1
                    && problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:badNonce") =>
            {
                left -= 1;
            }
            Err(error) => return Err(AcmeError::from_library(error, &client.reply())),
        }
    }
}

/// Looks at the order until its status is one of those wanted.
pub(in crate::acme) async fn settle(
    client: &Client,
    order: &mut Order,
    wanted: impl Fn(OrderStatus) -> bool,
) -> Result<OrderStatus, AcmeError> {
    let start = Instant::now();
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
        let asked = client
            .reply()
            .retry_after
            .map_or(1, |until| until.seconds_since(UnixTime::now()));
        let pause = asked.clamp(*PAUSE.start(), *PAUSE.end()).unsigned_abs();
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

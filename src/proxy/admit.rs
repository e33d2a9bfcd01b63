//! Whether a tenant may have one more request served, and by which servers.
//!
//! From the narrowest to the widest, so that what is refused costs the others least: the client's network, the tenant's
//! pool, the rate of the address, the rate of the tenant, its requests under way. A request refused by an earlier one takes
//! nothing of a later one. Without limits nothing is looked up and nothing is counted.

use std::time::Duration;

use super::body::RequestBody;
use super::context::View;
use super::error::{Limited, RequestError};
use super::exchange::Exchange;
use crate::config::CookieScope;
use crate::header_name::Extra;
use crate::tenant::signers::Proof;
use crate::units::{ByteSize, Rate};
use crate::upstream::{Claim, Group};

/// A request that is served.
#[derive(Debug)]
pub struct Admitted<'v> {
    /// The servers.
    pub group: &'v Group<RequestBody>,
    /// What the tenant may hold of them.
    pub claim: Option<Claim>,
    /// Largest body.
    pub body_size: Option<ByteSize>,
    /// What the tenant's plan adds to the request.
    pub headers: &'v [Extra],
    /// What becomes of `Domain=` in cookies of the answer.
    pub cookie_scope: CookieScope,
    /// What proves the tenant to these servers, if anything does.
    pub proof: Option<Proof<'v>>,
}

/// Looks at everything that limits the exchange's tenant. A place among its requests under way is the exchange's until its
/// end.
pub fn admit<'v>(exchange: &mut Exchange, view: &'v View) -> Result<Admitted<'v>, RequestError> {
    let Some(tenant) = &exchange.tenant else {
        return Err(RequestError::UnknownTenant);
    };
    let client = exchange.client();
    let terms = view.snapshot.policy.terms(tenant, client);
    let context = &exchange.conn.context;
    if terms.unknown_plan {
        context.metrics.unknown_plan();
    }
    if !terms.admitted {
        return Err(RequestError::NetworkDenied);
    }
    let pool = terms.pool.ok_or(RequestError::UnknownPool)?;
    let group = view.group(pool).ok_or(RequestError::UnknownPool)?;
    let started = exchange.started();
    if let Some(rate) = terms.address_rate {
        let whose = (&tenant.id, client);
        let taken = context.book.take_address(whose, rate, started);
        taken.map_err(|wait| RequestError::AddressRate(limited(rate, wait)))?;
    }
    let (mut claim, mut running) = (None, None);
    if terms.rate.is_some() || terms.concurrency.is_some() || terms.share.is_some() {
        let account = context.book.account(&tenant.id);
        if let Some(rate) = terms.rate {
            let taken = context.book.take(&account, rate, started);
            taken.map_err(|wait| RequestError::TenantRate(limited(rate, wait)))?;
        }
        if let Some(most) = terms.concurrency {
            let place = account.running.take(most);
            running = Some(place.ok_or(RequestError::TenantConcurrency)?);
        }
        if let Some(percent) = terms.share {
            claim = group.claim(percent, &account.places, &account.waiting);
            if claim.is_none() {
                view.snapshot.policy.refuse_share(tenant, pool);
            }
        }
    }
    exchange.running = running;
    Ok(Admitted {
        group,
        claim,
        body_size: terms.body_size.or(view.snapshot.limits.body_size),
        headers: terms.headers,
        cookie_scope: terms.cookie_scope,
        proof: view.snapshot.signers.of(pool),
    })
}

fn limited(rate: Rate, wait: Duration) -> Limited {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Limited {
        rate,
        wait: u32::try_from(seconds).unwrap_or(u32::MAX).max(1),
    }
}

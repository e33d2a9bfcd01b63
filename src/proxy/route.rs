//! Where a request goes.
//!
//! Target, certificate, tenant, state: in this order, so that each answer tells no more than it must. It reads a request's
//! head and changes nothing but what is known of the exchange.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use super::client_address;
use super::context::View;
use super::cookies;
use super::error::RequestError;
use super::exchange::Exchange;
use super::headers;
use super::hosts::Named;
use super::seen::Seen;
use super::target::{self, Target};
use super::upgrade;
use crate::cert::answers::HTTP_PATH;
use crate::snapshot::Snapshot;
use crate::tenant::Resolution;
use crate::tenant::states::{Asked, BYPASS_COOKIE, Verdict};

/// Where a request goes.
pub enum Route {
    /// To the app.
    App(Target),
    /// To another address of ours.
    Redirect(String),
    /// A CA's question on the plain listener (http-01).
    Validation(Bytes),
    /// `OPTIONS *`, which the edge answers.
    ServerOptions,
}

/// Decides, and notes host, tenant and client in `exchange` as far as they are known. `head` has the headers `seen`.
///
/// # Errors
/// [`RequestError`]: the edge answers by itself.
pub async fn route(
    (head, seen): (&http::request::Parts, Seen),
    exchange: &mut Exchange,
    view: &View,
) -> Result<Route, RequestError> {
    let snapshot = &*view.snapshot;
    let peer = exchange.conn.info.client;
    if snapshot.trusted_proxies.contains(peer) {
        exchange.chain = client_address::resolve(&head.headers, peer, &snapshot.trusted_proxies);
        // The peer was not asked for when it came: it is a proxy. Whom it names is.
        if !snapshot.access.admits(exchange.client()) {
            return Err(RequestError::Forbidden);
        }
    }
    let https = exchange.conn.tls.is_some();
    upgrade::check_protocol(head)?;
    let target = target::parse(head, seen, https, &view.hosts)?;
    exchange.named = Some(Rc::clone(&target.named));
    check_port(&target, exchange, https)?;
    if let Some(tls) = &exchange.conn.tls
        && !(tls.served.covers(&target.named.authority.host)
            && snapshot
                .tls
                .covers(&target.named.authority.host, tls.policy.as_ref()))
    {
        return Err(RequestError::Misdirected);
    }
    // Before the tenant: a name may be proven before it is anybody's. Nothing but a token of the table is answered.
    if !https
        && head.method == Method::GET
        && head.uri.path().starts_with(HTTP_PATH)
        && let Some(answer) = exchange
            .conn
            .context
            .validation(&target.named.authority.host, head.uri.path())
    {
        return Ok(Route::Validation(answer));
    }
    // After the CA's question: its answer is a few bytes, and a certificate must not lapse for want of them.
    if exchange.conn.context.pressure.is_high() {
        return Err(RequestError::Overloaded);
    }
    let tenant = match resolve(&target.named, snapshot).await {
        Resolution::Tenant(tenant) => tenant,
        Resolution::Redirect(host) => return Ok(Route::Redirect(location(&host, exchange, head))),
        Resolution::Unknown => return Err(RequestError::UnknownTenant),
        Resolution::Ask | Resolution::Unavailable => return Err(RequestError::DirectoryDown),
    };
    let state = tenant.state;
    exchange.tenant = Some(tenant);
    if !https {
        // The plain listener answers nothing but the way to https, and that only for hosts that are somebody's.
        return Ok(Route::Redirect(location(
            &target.named.authority.host,
            exchange,
            head,
        )));
    }
    view.hosts.remember(&target.named);
    let last = head.method == Method::OPTIONS && headers::max_forwards(&head.headers) == Some(0);
    if target.server_wide || last {
        return Ok(Route::ServerOptions);
    }
    let asked = Asked {
        host: target.named.authority.host.as_str(),
        path: head.uri.path(),
        client: exchange.client(),
        cookie: snapshot
            .states
            .takes_cookie()
            .then(|| cookies::find(&head.headers, BYPASS_COOKIE))
            .flatten(),
    };
    refusal(snapshot.states.judge(state, &asked)).map_or(Ok(Route::App(target)), Err)
}

/// Whose the host is.
async fn resolve(named: &Named, snapshot: &Snapshot) -> Resolution {
    if let Some(tenant) = named.tenant() {
        return Resolution::Tenant(Arc::clone(tenant));
    }
    let host = &named.authority.host;
    let resolution = match snapshot.resolver.resolve(host) {
        Resolution::Ask => snapshot.resolver.ask(host).await,
        known => known,
    };
    if let Resolution::Tenant(tenant) = &resolution
        && snapshot.resolver.is_constant()
    {
        named.keep_tenant(tenant);
    }
    resolution
}

/// How the edge answers by itself; `None` if the request goes to the app.
#[must_use]
pub fn refusal(verdict: Verdict) -> Option<RequestError> {
    Some(match verdict {
        Verdict::Pass => return None,
        Verdict::Suspended(status) => RequestError::Suspended(status),
        Verdict::Pending => RequestError::Pending,
        Verdict::Maintenance(retry_after) => RequestError::Maintenance { retry_after },
        Verdict::Deleted => RequestError::Deleted,
        Verdict::Unknown => RequestError::UnknownTenant,
    })
}

/// A port in `Host` must be the one that the client came to; another would end up in the app's links.
fn check_port(target: &Target, exchange: &Exchange, https: bool) -> Result<(), RequestError> {
    let default = if https { 443 } else { 80 };
    match target.named.authority.port {
        Some(port) if port != default && port != exchange.conn.info.public_port => Err(
            RequestError::BadTarget("the port in `Host` is not the one of this listener"),
        ),
        _ => Ok(()),
    }
}

fn location(host: &crate::host::Host, exchange: &Exchange, head: &http::request::Parts) -> String {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path == "*" { "/" } else { path };
    match exchange.conn.info.https_port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    }
}

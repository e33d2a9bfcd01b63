//! Header hygiene in both directions.
//!
//! The order is the guarantee (design: header hygiene): first everything hop-by-hop and everything that only the edge
//! may say goes, in whatever spelling and however nominated; only then is our own put in, each name once, by
//! replacing. So no `Connection: X-Tenant` can take ours away and no second line can stand beside it.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::client_address::X_FORWARDED_FOR;
use super::context::RequestId;
use super::cookies;
use super::error::RequestError;
use super::hosts::{Named, Values};
use super::identity;
use super::managed::{self, Class, Names};
use super::seen::Seen;
use crate::header_name::Extra;
use crate::snapshot::Snapshot;
use crate::telemetry::Protocol;
use crate::tenant::Tenant;
use crate::tenant::states::BYPASS_COOKIE;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Whom the request is from.
pub(super) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// The request's id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that the edge puts into a request beside the client's own, about.
const OWN_HEADERS: usize = 12;

/// Most names that `Connection` may nominate.
const MAX_NOMINATED: usize = 10;

/// What the edge says of a request.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The settings.
    pub snapshot: &'a Snapshot,
    /// Which headers the client sent.
    pub seen: Seen,
    /// The version that the request came with.
    pub protocol: Protocol,
    /// Whether it came over TLS.
    pub https: bool,
    /// The checked host.
    pub named: &'a Named,
    /// The port that the client used.
    pub port: u16,
    /// The tenant. Every request that goes to the app has one.
    pub tenant: Option<&'a Arc<Tenant>>,
    /// What its plan adds.
    pub planned: &'a [Extra],
    /// The client of the connection.
    pub client: &'a HeaderValue,
    /// Behind a trusted proxy: the client of the request and the proxies, the nearest last. Otherwise empty.
    pub chain: &'a [IpAddr],
    /// The request's id.
    pub request_id: RequestId,
}

/// Turns the headers of a request into what the app gets.
///
/// # Errors
/// [`RequestError::BadHeader`] for a `Connection` line that nominates what it must not; [`RequestError::Loop`] if our
/// own name stands in `Via`; [`RequestError::Unnamed`] if the tenant cannot be told, [`RequestError::UnknownTenant`] without
/// one.
pub fn to_upstream(headers: &mut HeaderMap, facts: &Facts<'_>) -> Result<(), RequestError> {
    let (snapshot, seen) = (facts.snapshot, facts.seen);
    if seen.has(Seen::VIA) {
        refuse_loop(headers, &snapshot.via.pseudonym)?;
    }
    let said = (!facts.chain.is_empty()).then(|| Forwarded::read(headers));
    let trailers = seen.has(Seen::TE) && takes_trailers(headers);
    let tenant = facts.tenant.ok_or(RequestError::UnknownTenant)?;
    let names = Names::of_requests(&snapshot.naming);
    if seen.has(Seen::CONNECTION) {
        remove_nominated(headers, &names, true)?;
    }
    managed::remove_where(headers, |name| {
        // The edge has answered the expectation itself (100 when the app's connection first reads the body).
        is_hop_by_hop(name) || name == "expect" || names.classify(name.as_bytes()) != Class::Pass
    });
    if snapshot.states.takes_cookie() && seen.has(Seen::COOKIE) {
        cookies::remove(headers, BYPASS_COOKIE);
    }
    if facts.protocol == Protocol::Http2 && seen.has(Seen::COOKIE) {
        join_cookies(headers);
    }
    // Once, not at each power of two.
    headers.reserve(OWN_HEADERS);
    if trailers {
        // RFC 9110 §10.1.4: it speaks of one connection, so it is said anew. gRPC servers ask for it.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    let make = || Values {
        host: facts.host_value(),
        tenant: snapshot.naming.told(tenant),
    };
    let values = facts.named.values(facts.https, tenant, make);
    headers.insert(header::HOST, values.host.clone());
    headers.insert(X_FORWARDED_HOST, values.host);
    headers.insert(X_FORWARDED_PORT, facts.port_value());
    headers.insert(
        X_FORWARDED_PROTO,
        HeaderValue::from_static(if facts.https { "https" } else { "http" }),
    );
    headers.insert(X_REQUEST_ID, facts.request_id.header_value());
    match said {
        Some(said) => said.restore(headers, facts.chain),
        None => {
            headers.insert(X_REAL_IP, facts.client.clone());
            headers.insert(X_FORWARDED_FOR, facts.client.clone());
        }
    }
    headers.append(header::VIA, via(snapshot, facts.protocol));
    identity::tell(headers, (tenant, values.tenant), facts.planned, snapshot)
}

/// Never forwarded: they speak of one connection (RFC 9110 §7.6.1), or to a proxy (§11.7).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "proxy-connection"
            | "keep-alive"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authorization"
            | "proxy-authenticate"
    )
}

/// Whether the client takes trailers: `trailers` in `TE`, alone or in a list.
fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|line| {
        line.as_bytes()
            .split(|&byte| byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Turns the headers of an app's response, which has those `seen`, into what the client gets.
pub fn to_client(headers: &mut HeaderMap, seen: Seen, snapshot: &Snapshot, https: bool) {
    // RFC 9112 §6.3: beside a transfer coding a length has no meaning; hyper reads the coding and leaves the length. Before
    // anything is taken away: a coding that `Connection` nominates has framed the answer all the same.
    if seen.has(Seen::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    if seen.has(Seen::CONNECTION) {
        // What an app nominates wrongly harms nobody but itself, so it is not refused.
        let names = Names::of_answers(&snapshot.naming);
        drop(remove_nominated(headers, &names, false));
    }
    managed::remove_where(headers, |name| {
        is_hop_by_hop(name)
            // We speak no HTTP/3, and another port would lead round the edge.
            || name == "alt-svc"
            // Which tenant the app served under which id is between the app and the edge.
            || managed::is_tenant(name.as_bytes(), &snapshot.naming)
    });
    if https
        && let Some(hsts) = &snapshot.hsts
        && !(seen.has(Seen::STRICT_TRANSPORT_SECURITY)
            && headers.contains_key(header::STRICT_TRANSPORT_SECURITY))
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if snapshot.via.on_responses {
        headers.append(header::VIA, via(snapshot, Protocol::Http11));
    }
}

impl Facts<'_> {
    /// The host as the app gets it: normalised, with the port only where it is not the scheme's default. An app that
    /// compares `Origin` with `Host` needs the port exactly then.
    fn host_value(&self) -> HeaderValue {
        let authority = &self.named.authority;
        let host = authority.host.as_str();
        let default = if self.https { 443 } else { 80 };
        let value = match authority.port {
            Some(port) if port != default => HeaderValue::try_from(format!("{host}:{port}")),
            _ => HeaderValue::from_str(host),
        };
        // A `Host` has letters, digits, `-` and `.` only.
        value.unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn port_value(&self) -> HeaderValue {
        match self.port {
            443 => HeaderValue::from_static("443"),
            80 => HeaderValue::from_static("80"),
            port => HeaderValue::from(port),
        }
    }
}

fn via(snapshot: &Snapshot, protocol: Protocol) -> HeaderValue {
    let [http10, http11, http2] = &snapshot.via.values;
    match protocol {
        Protocol::Http10 => http10,
        Protocol::Http11 => http11,
        Protocol::Http2 => http2,
    }
    .clone()
}

fn refuse_loop(headers: &HeaderMap, pseudonym: &str) -> Result<(), RequestError> {
    let ours = |line: &HeaderValue| {
        line.as_bytes()
            .windows(pseudonym.len())
            .any(|part| part == pseudonym.as_bytes())
    };
    if headers.get_all(header::VIA).iter().any(ours) {
        Err(RequestError::Loop)
    } else {
        Ok(())
    }
}

/// How many more proxies an OPTIONS may pass (RFC 9110 §7.6.2). `None` if it does not say, or not in digits.
#[must_use]
pub fn max_forwards(headers: &HeaderMap) -> Option<u32> {
    let value = headers.get(header::MAX_FORWARDS)?.to_str().ok()?;
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u32::MAX))
}

/// Removes what the `Connection` lines nominate, all of them. `strict` refuses what no honest client nominates.
fn remove_nominated(
    headers: &mut HeaderMap,
    names: &Names<'_>,
    strict: bool,
) -> Result<(), RequestError> {
    let mut nominated: Vec<HeaderName> = Vec::new();
    for line in headers.get_all(header::CONNECTION) {
        for token in line
            .as_bytes()
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
        {
            if token.is_empty()
                || token.eq_ignore_ascii_case(b"close")
                || token.eq_ignore_ascii_case(b"keep-alive")
            {
                continue;
            }
            let Ok(name) = HeaderName::from_bytes(token) else {
                return Err(RequestError::BadHeader(
                    "`Connection` nominates what is no header name",
                ));
            };
            nominated.push(name);
        }
    }
    if strict {
        if nominated.len() > MAX_NOMINATED {
            return Err(RequestError::BadHeader(
                "`Connection` nominates more than 10 headers",
            ));
        }
        let protected = |name: &HeaderName| {
            [
                header::HOST,
                header::CONTENT_LENGTH,
                header::COOKIE,
                header::AUTHORIZATION,
                header::VIA,
            ]
            .contains(name)
                || names.cover(name.as_str().as_bytes())
        };
        if nominated.iter().any(protected) {
            return Err(RequestError::BadHeader(
                "`Connection` nominates a header that it must not",
            ));
        }
    }
    for name in nominated {
        headers.remove(name);
    }
    Ok(())
}

/// HTTP/2 may split `Cookie` into crumbs; HTTP/1.1 knows one line only (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    // Legal values joined by a legal separator are a legal value.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// What a trusted proxy in front of us said of the request.
struct Forwarded {
    proto: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
}

impl Forwarded {
    fn read(headers: &HeaderMap) -> Self {
        let single = |name: &HeaderName| {
            let mut lines = headers.get_all(name).iter();
            lines.next().filter(|_| lines.next().is_none()).cloned()
        };
        let proto = single(&X_FORWARDED_PROTO).filter(|value| value == "https" || value == "http");
        Self {
            proto,
            request_id: single(&X_REQUEST_ID),
        }
    }

    /// Puts it back, with the addresses from the client on: an app that takes the first one gets what no client can
    /// write.
    fn restore(self, headers: &mut HeaderMap, chain: &[IpAddr]) {
        let texts: Vec<String> = chain.iter().map(ToString::to_string).collect();
        let text = texts.join(", ");
        for (name, text) in [
            (X_REAL_IP, texts.first().map_or("", String::as_str)),
            (X_FORWARDED_FOR, text.as_str()),
        ] {
            // Addresses are always a legal value.
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
        if let Some(proto) = self.proto {
            headers.insert(X_FORWARDED_PROTO, proto);
        }
        if let Some(id) = self.request_id {
            headers.insert(X_REQUEST_ID, id);
        }
    }
}

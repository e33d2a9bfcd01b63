//! Answers that the edge makes itself.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::body::ResponseBody;
use super::cookies;
use super::error::{Fault, RequestError};
use super::exchange::Exchange;
use super::grpc;
use super::proxy_status::{self, PROXY_STATUS};
use crate::config::CookieScope;
use crate::host::Host;
use crate::pages::Page;
use crate::pages::format::Format;
use crate::snapshot::Snapshot;
use crate::telemetry::Protocol;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_EDGE_REASON: HeaderName = HeaderName::from_static("x-edge-reason");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// What the pages need of the request.
#[derive(Debug, Default)]
pub struct Asked {
    /// `Accept`.
    pub accept: Option<HeaderValue>,
    /// Whether it is a gRPC call, whose client reads no page.
    pub grpc: bool,
}

/// The page for `error`.
#[cold] // Kept apart from the code that every request runs.
pub fn error(
    error: &RequestError,
    mut exchange: Box<Exchange>,
    asked: &Asked,
    snapshot: &Snapshot,
) -> Response<ResponseBody> {
    let status = error.status();
    note(error, &exchange);
    exchange.error = Some(error.label());
    let format = Format::negotiate(
        asked.accept.as_ref().map(HeaderValue::as_bytes),
        exchange.method(),
    );
    let mut page = Page::new(
        status,
        error.label(),
        exchange.host().map(Host::as_str),
        exchange.request_id.as_str(),
    );
    if let RequestError::Ambiguous(text)
    | RequestError::BadTarget(text)
    | RequestError::BadFraming(text)
    | RequestError::BadHeader(text)
    | RequestError::BadHead(text) = error
    {
        page.text = text;
    }
    page.retry_after = error.retry_after();
    let tenant = exchange.tenant.as_ref();
    page.tenant = tenant.map(|tenant| tenant.slug.as_ref().unwrap_or(&tenant.id).as_str());
    if matches!(error, RequestError::Suspended(_)) {
        page.support = snapshot.states.support.as_deref();
    }
    let told = tenant.map(|tenant| {
        let told = snapshot.naming.told(tenant);
        told.unwrap_or_else(|| tenant.id.header_value())
    });
    let told = told.as_ref().and_then(|value| value.to_str().ok());
    let template = snapshot.pages.find(told, page.reason, status, format);
    let body = page.render(template);
    let proxy_status = proxy_status::value(error, &snapshot.via.pseudonym);
    if asked.grpc {
        let message = page.title.to_owned();
        let mut response = own(StatusCode::OK, Bytes::new(), exchange, snapshot);
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        grpc::refuse(headers, status, &message);
        headers.insert(X_EDGE_REASON, HeaderValue::from_static(error.label()));
        if let Some(value) = proxy_status {
            headers.insert(PROXY_STATUS, value);
        }
        return response;
    }
    let request_id = exchange.request_id.header_value();
    let http2 = exchange.protocol() == Protocol::Http2;
    let mut response = own(status, body, exchange, snapshot);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(X_EDGE_REASON, HeaderValue::from_static(error.label()));
    headers.insert(X_REQUEST_ID, request_id);
    headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    if let Some(policy) = template.policy() {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    if let Some(value) = proxy_status {
        headers.insert(PROXY_STATUS, value);
    }
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    tell_limit(error, headers);
    if matches!(error, RequestError::Method) {
        headers.insert(
            header::ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        );
    }
    // HTTP/2 has no such header; a bad stream there harms no other.
    if error.closes() && !http2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Keeps the cookies of an app's answer with their tenant, as far as that is wished.
pub fn keep_cookies(headers: &mut HeaderMap, exchange: &Exchange, scope: CookieScope) {
    let Some(host) = exchange.host() else { return };
    let wide = cookies::narrow(headers, host.as_str(), scope);
    if wide > 0
        && scope == CookieScope::Warn
        && let Some(left_out) = exchange.conn.context.may_complain()
    {
        let request_id = exchange.request_id.as_str();
        tracing::warn!(
            host = host.as_str(),
            request_id,
            left_out,
            "the app sets a cookie with `Domain`, which other tenants get too"
        );
    }
}

/// What a client that sends too much is told of the rate.
fn tell_limit(error: &RequestError, headers: &mut HeaderMap) {
    let (limited, policy) = match error {
        RequestError::AddressRate(limited) => (limited, "address"),
        RequestError::TenantRate(limited) => (limited, "tenant"),
        _ => return,
    };
    let values = limited.headers(policy);
    for (name, value) in [RATELIMIT_POLICY, RATELIMIT].into_iter().zip(values) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// 308 to `location` (RFC 9110 §15.4.9: method and body are kept).
#[cold] // Kept apart from the code that every request runs.
pub fn redirect(
    location: &str,
    exchange: Box<Exchange>,
    snapshot: &Snapshot,
) -> Response<ResponseBody> {
    let mut response = own(
        StatusCode::PERMANENT_REDIRECT,
        Bytes::new(),
        exchange,
        snapshot,
    );
    // A host of ours and a path that hyper parsed: both are legal in a header.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The answer to a CA that validates by http-01 (RFC 8555 §8.3).
#[cold] // Kept apart from the code that every request runs.
pub fn validation(
    answer: Bytes,
    exchange: Box<Exchange>,
    snapshot: &Snapshot,
) -> Response<ResponseBody> {
    let mut response = own(StatusCode::OK, answer, exchange, snapshot);
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to `OPTIONS *`.
#[cold] // Kept apart from the code that every request runs.
pub fn server_options(exchange: Box<Exchange>, snapshot: &Snapshot) -> Response<ResponseBody> {
    let mut response = own(StatusCode::NO_CONTENT, Bytes::new(), exchange, snapshot);
    let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn own(
    status: StatusCode,
    body: Bytes,
    mut exchange: Box<Exchange>,
    snapshot: &Snapshot,
) -> Response<ResponseBody> {
    exchange.status = status.as_u16();
    let https = exchange.conn.tls.is_some();
    let length = body.len();
    // The answer to HEAD has the head of the answer to GET and no body (RFC 9110 §9.3.2).
    let body = if exchange.method() == Method::HEAD {
        Bytes::new()
    } else {
        body
    };
    let mut response = Response::new(ResponseBody::own(body, exchange));
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(hsts) = snapshot.hsts.as_ref().filter(|_| https) {
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    response
}

/// What clients cause is worth a line only to somebody who looks for it; what apps cause is for the operator.
fn note(error: &RequestError, exchange: &Exchange) {
    let host = exchange.host().map(Host::as_str);
    let request_id = exchange.request_id.as_str();
    match error.fault() {
        Fault::Client => tracing::debug!(reason = error.label(), host, request_id, "{error}"),
        Fault::App => {
            if let Some(left_out) = exchange.conn.context.may_complain() {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(
                    reason = error.label(),
                    host,
                    request_id,
                    cause,
                    left_out,
                    "{error}"
                );
            }
        }
    }
}

//! The one request path. Both protocols call [`handle`], once for each request; it reads like a table of contents.

use std::rc::Rc;
use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request,
};
use http_body::Body;

use super::admit::{Admitted, admit};
use super::body::{Failure, RequestBody, ResponseBody, Upload, UploadRules};
use super::context::View;
use super::error::{Fault, RequestError};
use super::exchange::{ClientConn, Exchange};
use super::grpc;
use super::headers::{self, Facts};
use super::identity;
use super::inbound::Inbound;
use super::respond::{self, Asked};
use super::route::{Route, route};
use super::seen::Seen;
use super::tap::Refusal;
use super::target::Target;
use super::upgrade;
use crate::config::CookieScope;
use crate::net::deadline::Deadline;
use crate::telemetry::metrics::UpstreamCost;
use crate::units::ByteSize;
use crate::upstream::{AnswerBody, Lease, SendError, Sent};

/// A request as it came in.
#[derive(Debug)]
pub struct Received {
    head: request::Parts,
    /// Which headers `head` has.
    seen: Seen,
    body: Inbound,
}

impl Received {
    /// Boxed, as the request for the app is: a future keeps each value that goes through it once more, so without the
    /// boxes every request in flight would have room for a dozen.
    #[must_use]
    pub fn new(head: request::Parts, body: Inbound) -> Box<Self> {
        let seen = Seen::of(&head.headers);
        Box::new(Self { head, seen, body })
    }
}

/// Answers one request. Dropped before it is done (client gone, stream reset), it gives up the exchange with the app.
pub async fn handle(conn: Rc<ClientConn>, request: Box<Received>) -> Response<ResponseBody> {
    if request.head.version == Version::HTTP_2 {
        return answer(conn, request, None).await;
    }
    let number = conn.next_head();
    let refusal = conn.notes.refusal(number);
    let mut response = answer(Rc::clone(&conn), request, refusal).await;
    if conn.notes.waits(number) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // What the client has sent since may be meant for the tunnel that it did not get.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

async fn answer(
    conn: Rc<ClientConn>,
    request: Box<Received>,
    refusal: Option<Refusal>,
) -> Response<ResponseBody> {
    let view = conn.context.view();
    let (head, seen) = (&request.head, request.seen);
    let mut exchange = Exchange::begin(conn, head, seen);
    let accept = seen.has(Seen::ACCEPT);
    let asked = Asked {
        accept: accept
            .then(|| head.headers.get(header::ACCEPT).cloned())
            .flatten(),
        grpc: seen.has(Seen::CONTENT_TYPE) && grpc::is_call(&head.headers),
    };
    if let Some(refusal) = refusal {
        return respond::error(&refusal.error(), exchange, &asked, &view.snapshot);
    }
    let route = match route((head, seen), &mut exchange, &view).await {
        Ok(Route::App(target)) => target,
        Ok(Route::Redirect(location)) => {
            return respond::redirect(&location, exchange, &view.snapshot);
        }
        Ok(Route::Validation(answer)) => {
            return respond::validation(answer, exchange, &view.snapshot);
        }
        Ok(Route::ServerOptions) => return respond::server_options(exchange, &view.snapshot),
        Err(error) => return respond::error(&error, exchange, &asked, &view.snapshot),
    };
    let admitted = match admit(&mut exchange, &view) {
        Ok(admitted) => admitted,
        Err(error) => return respond::error(&error, exchange, &asked, &view.snapshot),
    };
    let outgoing = match prepare(request, &route, &exchange, (&admitted, &view)) {
        Ok(outgoing) => outgoing,
        Err(error) => return respond::error(&error, exchange, &asked, &view.snapshot),
    };
    match forward(outgoing, &mut exchange, &admitted).await {
        Ok(answered) => into_response(answered, exchange, &view, admitted.cookie_scope),
        Err(error) => respond::error(&error, exchange, &asked, &view.snapshot),
    }
}

/// Everything that the body of the answer is made of.
struct ResponseParts {
    answer: AnswerBody,
    lease: Lease<RequestBody>,
    upload: Option<Rc<Upload>>,
    deadline: Deadline,
    tunnel: Option<upgrade::Tunnel>,
}

/// What came back from the app, as the client gets it.
fn into_response(
    answered: Response<ResponseParts>,
    mut exchange: Box<Exchange>,
    view: &View,
    cookie_scope: CookieScope,
) -> Response<ResponseBody> {
    let (mut head, parts) = answered.into_parts();
    let snapshot = &view.snapshot;
    exchange.status = head.status.as_u16();
    let seen = Seen::of(&head.headers);
    let https = exchange.conn.tls.is_some();
    headers::to_client(&mut head.headers, seen, snapshot, https);
    if seen.has(Seen::SET_COOKIE) {
        respond::keep_cookies(&mut head.headers, &exchange, cookie_scope);
    }
    // An answer by HTTP/1.0 must not make ours one.
    head.version = Version::HTTP_11;
    if let Some(tunnel) = parts.tunnel {
        exchange.conn.notes.open_tunnel();
        let waits = snapshot.client_waits();
        let body = tunnel.begin(&mut head, exchange, parts.lease, waits.tunnel);
        return Response::from_parts(head, body);
    }
    let body = ResponseBody::upstream(
        parts.answer,
        exchange,
        parts.lease,
        parts.upload,
        parts.deadline,
        snapshot.limits.stream_timeout,
        Rc::clone(&view.naming),
    );
    Response::from_parts(head, body)
}

/// A request as the app will get it, and what is kept on the client's side.
struct Outgoing {
    request: Box<Request<RequestBody>>,
    upload: Option<Rc<Upload>>,
    /// The client's side of a tunnel, if it asked for one.
    client: Option<upgrade::Client>,
    deadline: Deadline,
}

/// Headers and body for the app.
fn prepare(
    received: Box<Received>,
    target: &Target,
    exchange: &Exchange,
    (admitted, view): (&Admitted<'_>, &View),
) -> Result<Outgoing, RequestError> {
    let (conn, snapshot) = (&exchange.conn, &*view.snapshot);
    let Received {
        mut head,
        seen,
        body: incoming,
    } = *received;
    let (client, incoming) = upgrade::asked((&mut head, seen), incoming, conn)?;
    let empty = incoming.as_ref().is_none_or(Inbound::is_end_stream);
    let incoming_size = incoming.as_ref().and_then(|body| body.size_hint().exact());
    let has_length = seen.has(Seen::CONTENT_LENGTH);
    if has_length {
        check_length(&head.headers, empty, admitted.body_size)?;
    }
    let facts = Facts {
        snapshot,
        seen,
        protocol: exchange.protocol(),
        https: conn.tls.is_some(),
        named: &target.named,
        port: conn.info.public_port,
        tenant: exchange.tenant.as_ref(),
        planned: admitted.headers,
        client: &conn.client,
        chain: &exchange.chain,
        request_id: exchange.request_id,
    };
    headers::to_upstream(&mut head.headers, &facts)?;
    if head.method == Method::OPTIONS
        && let Some(left) = headers::max_forwards(&head.headers)
    {
        let left = HeaderValue::from(left.saturating_sub(1));
        head.headers.insert(header::MAX_FORWARDS, left);
    }
    // Nothing above takes the length away: `Connection` may not nominate it.
    frame(&mut head.headers, empty, has_length, incoming_size);
    if let Some(client) = &client {
        head.headers.remove(header::TE);
        client.ask(&mut head.headers);
    }
    let deadline = conn.context.timers.deadline();
    let (body, upload) = if let Some(incoming) = incoming.filter(|_| !empty) {
        let rules = UploadRules {
            timers: &conn.context.timers,
            activity: &conn.activity,
            most: admitted.body_size.map(|size| size.0),
            longest_stall: snapshot.limits.body_timeout,
            least_rate: snapshot.limits.body_rate.0,
            answer: deadline.clone(),
            longest_answer: admitted.group.spec().settings.response_timeout,
            naming: &view.naming,
        };
        let (body, upload) =
            RequestBody::streaming(incoming, Rc::clone(exchange.bytes_in()), rules);
        (body, Some(upload))
    } else {
        (RequestBody::default(), None)
    };
    // The version and the extensions of the client's request stay behind: the app is spoken to in HTTP/1.1.
    let mut request = Box::new(Request::new(body));
    *request.method_mut() = head.method;
    *request.uri_mut() = origin_form(head.uri)?;
    *request.headers_mut() = head.headers;
    if let (Some(proof), Some(tenant)) = (admitted.proof, exchange.tenant.as_deref()) {
        identity::prove(&mut request, tenant, proof, view);
    }
    Ok(Outgoing {
        request,
        upload,
        client,
        deadline,
    })
}

async fn forward(
    outgoing: Outgoing,
    exchange: &mut Exchange,
    admitted: &Admitted<'_>,
) -> Result<Response<ResponseParts>, RequestError> {
    let Outgoing {
        request,
        upload,
        client,
        deadline,
    } = outgoing;
    let metrics = &exchange.conn.context.metrics;
    let mut sent = Sent::default();
    let from = exchange.proxy_header();
    let claim = admitted.claim.as_ref();
    let group = admitted.group;
    let answer = group
        .send(request, (from, claim), &deadline, &mut sent)
        .await;
    metrics.upstream_sent(&upstream_cost(sent));
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let error = blame(error, upload.as_deref());
            if error.fault() == Fault::App {
                metrics.upstream_failed(error.label());
            }
            return Err(error);
        }
    };
    let waited = exchange.elapsed_us();
    metrics.upstream_first_byte(waited);
    exchange.upstream = Some(Arc::clone(answer.lease.label()));
    exchange.upstream_us = Some(waited);
    let (mut response, lease) = (answer.response, answer.lease);
    let tunnel = upgrade::answered(client, &mut response)?;
    Ok(response.map(|answer| ResponseParts {
        answer,
        lease,
        upload,
        deadline,
        tunnel,
    }))
}

/// What an exchange cost, as metrics count it.
fn upstream_cost(sent: Sent) -> UpstreamCost {
    UpstreamCost {
        connects: sent.connects,
        connects_failed: sent.connects_failed,
        reused: sent.reused,
        retries: sent.retries,
        budget_spent: sent.budget_spent,
        queued: sent.queued,
    }
}

/// Says how long the body is that goes to the app.
fn frame(headers: &mut HeaderMap, empty: bool, has_length: bool, size: Option<u64>) {
    // One spelling of a length, whatever the client's was (`0005`, twice the same): the one that frames the body.
    let length = match (has_length, size) {
        (true, _) if empty => Some(0),
        (true, size) => size,
        (false, _) => None,
    };
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !empty && !has_length {
        // Without it hyper sends a GET of unknown length without its body (linkerd2#3310 is that bug).
        let chunked = HeaderValue::from_static("chunked");
        headers.insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// A body that has ended already with a length that says otherwise would make the app wait for bytes of the next
/// request (hyper writes such a `Content-Length` as it stands). One that says that it is too large is refused before
/// the client is told to go on and before the app hears of it.
fn check_length(
    headers: &HeaderMap,
    empty: bool,
    most: Option<ByteSize>,
) -> Result<(), RequestError> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(());
    };
    if empty && length.as_bytes().iter().any(|&byte| byte != b'0') {
        return Err(RequestError::BadFraming(
            "the request has a length and no body",
        ));
    }
    // hyper has refused what is no number; one beyond 64 bits it would have too.
    let length: Option<u64> = length.to_str().ok().and_then(|text| text.parse().ok());
    match (length, most) {
        (Some(length), Some(ByteSize(most))) if length > most => Err(RequestError::BodyTooLarge),
        _ => Ok(()),
    }
}

/// Only path and query, byte for byte as received (RFC 9110 §7.7).
fn origin_form(uri: Uri) -> Result<Uri, RequestError> {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    parts.scheme = None;
    parts.authority = None;
    Uri::from_parts(parts).map_err(|_invalid| RequestError::BadTarget("the target has no path"))
}

/// An exchange that failed because of the client's body is the client's fault.
fn blame(error: SendError, upload: Option<&Upload>) -> RequestError {
    match (error, upload.and_then(Upload::failure)) {
        (SendError::Exchange { .. }, Some(Failure::Stalled)) => RequestError::BodyStalled,
        (SendError::Exchange { .. }, Some(Failure::Gone)) => {
            RequestError::BadFraming("the request's body is malformed or broke off")
        }
        (SendError::Exchange { .. }, Some(Failure::TooLarge)) => RequestError::BodyTooLarge,
        (error, _) => RequestError::Upstream(error),
    }
}

//! WebSocket: the one upgrade that is passed on (RFC 6455, RFC 9110 §7.8, RFC 8441).
//!
//! It is asked for by a GET of HTTP/1.1 without body, with `Upgrade: websocket` and `Connection: upgrade`, or by an
//! extended CONNECT of HTTP/2 with `:protocol` `websocket`. Any other `Upgrade` is dropped, so that nothing can be
//! tunnelled past the edge as `h2c`. The app is always asked by HTTP/1.1, and the tunnel begins only after its own 101.
//! Half-closes are passed on; silence ends it.

mod tunnel;

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request, response,
};
use hyper::upgrade::OnUpgrade;

pub use self::tunnel::StreamTunnel;
use super::body::{RequestBody, ResponseBody};
use super::error::RequestError;
use super::exchange::{ClientConn, Exchange};
use super::inbound::{Http2Body, Inbound};
use super::seen::Seen;
use crate::upstream::{AnswerBody, Lease};

/// What the key is hashed with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Most tunnels of one connection. A tunnel holds a connection to the app for as long as an hour of silence, and a
/// connection of HTTP/2 costs its client next to nothing beside a hundred of those. As many as a browser's tabs want.
const MOST_TUNNELS: u32 = 64;

/// The place of a tunnel among those of its connection, from the question to the end.
#[derive(Debug)]
pub struct Place(Rc<ClientConn>);

impl Place {
    fn take(conn: &Rc<ClientConn>) -> Result<Self, RequestError> {
        let count = conn.tunnels.get();
        if count >= MOST_TUNNELS {
            return Err(RequestError::TooManyTunnels);
        }
        conn.tunnels.set(count + 1);
        Ok(Self(Rc::clone(conn)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get().saturating_sub(1));
    }
}

/// The client's side of a tunnel that it asked for.
#[derive(Debug)]
pub enum Client {
    /// A connection of HTTP/1.1, once hyper lets go of it. The handshake is between the client and the app.
    Connection(OnUpgrade),
    /// A stream of HTTP/2. The client sends no key, so this one is ours and so is the check of its answer.
    Stream {
        /// What the client sends.
        body: Http2Body,
        /// `Sec-WebSocket-Key` for the app.
        key: HeaderValue,
        /// Among the tunnels of its connection.
        place: Place,
    },
}

/// An extended CONNECT by HTTP/2 that becomes a GET (RFC 8441 §4, §5): the mark that it was one. Made by
/// [`mark_extended`] only, so no header can stand for it.
#[derive(Debug, Clone, Copy)]
struct Extended;

/// Turns an extended CONNECT for a WebSocket into the GET that the request path knows. Others stay CONNECT.
pub fn mark_extended(head: &mut request::Parts) {
    let websocket = head
        .extensions
        .get::<h2::ext::Protocol>()
        .is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"));
    if websocket && head.method == Method::CONNECT {
        head.method = Method::GET;
        head.extensions.insert(Extended);
    }
}

/// Refuses an extended CONNECT for anything else.
///
/// # Errors
/// [`RequestError::UnknownProtocol`].
pub fn check_protocol(head: &request::Parts) -> Result<(), RequestError> {
    let extended = head.extensions.get::<h2::ext::Protocol>().is_some();
    if extended && head.extensions.get::<Extended>().is_none() {
        return Err(RequestError::UnknownProtocol);
    }
    Ok(())
}

/// The client's side of the tunnel that `head`, which has the headers `seen`, asks for, if it does, and the body of the
/// request.
///
/// # Errors
/// A WebSocket request with a body: what follows could be read as body or as tunnel. One tunnel too many on `conn`.
pub fn asked(
    (head, seen): (&mut request::Parts, Seen),
    body: Inbound,
    conn: &Rc<ClientConn>,
) -> Result<(Option<Client>, Option<Inbound>), RequestError> {
    const BODY: RequestError = RequestError::BadFraming("a request for a WebSocket has a body");
    if head.extensions.remove::<Extended>().is_some() {
        return match body {
            Inbound::Http2(body) if !seen.has(Seen::CONTENT_LENGTH) => {
                let (key, place) = (fresh_key(), Place::take(conn)?);
                Ok((Some(Client::Stream { body, key, place }), None))
            }
            _ => Err(BODY),
        };
    }
    let asked = seen.has(Seen::UPGRADE)
        && head.version == Version::HTTP_11
        && head.method == Method::GET
        && is_websocket(&head.headers)
        && head
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|line| has_token(line, b"upgrade"));
    if !asked {
        return Ok((None, Some(body)));
    }
    if !http_body::Body::is_end_stream(&body) || seen.has(Seen::CONTENT_LENGTH) {
        return Err(BODY);
    }
    let client = head.extensions.remove::<OnUpgrade>();
    Ok((client.map(Client::Connection), None))
}

impl Client {
    /// Puts the headers of the upgrade into the request for the app, whose hop-by-hop headers are gone.
    pub fn ask(&self, headers: &mut HeaderMap) {
        announce(headers);
        if let Self::Stream { key, .. } = self {
            // Only we know the answer to our own key, whatever else the client sent.
            headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
            headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        }
    }
}

/// Looks at the app's answer: a tunnel, or none.
///
/// # Errors
/// The app switched unasked or wrongly, or took a WebSocket of HTTP/2 for something else: a 2xx without a switch would
/// tell the client that its tunnel stands.
pub fn answered(
    client: Option<Client>,
    response: &mut Response<AnswerBody>,
) -> Result<Option<Tunnel>, RequestError> {
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    match client {
        None | Some(Client::Connection(_)) if !switched => Ok(None),
        Some(Client::Stream { .. }) if !switched && !response.status().is_success() => Ok(None),
        Some(client) if switched && is_websocket(response.headers()) => {
            if let Client::Stream { key, .. } = &client {
                let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
                if accept.map(HeaderValue::as_bytes) != Some(accept_for(key).as_bytes()) {
                    return Err(RequestError::BadUpgrade);
                }
            }
            let app = hyper::upgrade::on(response);
            Ok(Some(Tunnel { client, app }))
        }
        None | Some(_) => Err(RequestError::BadUpgrade),
    }
}

/// A tunnel that begins when both sides have let go of HTTP.
#[derive(Debug)]
pub struct Tunnel {
    client: Client,
    app: OnUpgrade,
}

impl Tunnel {
    /// Begins, and makes the head of the answer. `longest` is the longest silence.
    pub fn begin(
        self,
        head: &mut response::Parts,
        mut exchange: Box<Exchange>,
        lease: Lease<RequestBody>,
        longest: std::time::Duration,
    ) -> ResponseBody {
        match self.client {
            Client::Connection(client) => {
                announce(&mut head.headers);
                tunnel::run_connection(client, self.app, exchange, lease);
                ResponseBody::Tunnel(None)
            }
            Client::Stream { body, place, .. } => {
                head.status = StatusCode::OK;
                exchange.status = head.status.as_u16();
                head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
                head.headers.remove(header::CONTENT_LENGTH);
                let tunnel = StreamTunnel::new((body, place), self.app, exchange, lease, longest);
                ResponseBody::Tunnel(Some(Box::new(tunnel)))
            }
        }
    }
}

/// Puts the headers of a WebSocket upgrade into a message whose hop-by-hop headers are gone.
fn announce(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether there is exactly one `Upgrade` line and it says `websocket`.
fn is_websocket(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::UPGRADE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"websocket"),
        _ => false,
    }
}

fn has_token(line: &HeaderValue, token: &[u8]) -> bool {
    line.as_bytes()
        .split(|&byte| byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// Sixteen random bytes (RFC 6455 §4.1).
fn fresh_key() -> HeaderValue {
    let mut bytes = [0; 16];
    // Fails only where there is no random source at all, and then nothing of TLS works. The key is no secret: it shows
    // that the app speaks WebSocket, and a constant one does that too.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("no random bytes for the key of a WebSocket");
    }
    HeaderValue::try_from(BASE64.encode(bytes)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What the app must answer to `key` (RFC 6455 §4.2.2).
fn accept_for(key: &HeaderValue) -> String {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    BASE64.encode(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_for(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let keys = [fresh_key(), fresh_key()];
        assert_ne!(keys[0], keys[1]);
        assert_eq!(keys[0].len(), 24);
    }
}

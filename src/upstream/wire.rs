//! The form that a request has on the wire, by protocol.
//!
//! The request path makes requests for HTTP/1.1: origin form, `Host`, `Transfer-Encoding` for a body of unknown
//! length. For HTTP/2 the authority goes into the target, and what belongs to one connection goes away (RFC 9113
//! §8.2.2, §8.3.1). A request that is sent again may have to change its form back.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Request, Uri, Version, header};
use http_body::Body;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Makes `request` one for HTTP/2. `scheme` is what the server is spoken to in.
pub fn for_http2<B>(request: &mut Request<B>, scheme: &Scheme) {
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::TRANSFER_ENCODING,
        KEEP_ALIVE,
        PROXY_CONNECTION,
    ] {
        headers.remove(name);
    }
    let Some(host) = headers.remove(header::HOST) else {
        return; // It has this form already.
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        headers.insert(header::HOST, host); // Not ours: the request path writes hosts that it has checked.
        return;
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority);
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    // All three parts are there and legal.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// Makes `request` one for HTTP/1.1 again. Does nothing to one that is.
pub fn for_http1<B: Body>(request: &mut Request<B>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    *request.version_mut() = Version::HTTP_11;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = None;
    let host = parts.authority.take();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    if let Some(Ok(host)) = host.map(|host| HeaderValue::try_from(host.as_str())) {
        request.headers_mut().insert(header::HOST, host);
    }
    if !request.body().is_end_stream() && !request.headers().contains_key(header::CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        request
            .headers_mut()
            .insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// Tells the app that no other request follows on the connection. A tunnel keeps its `Connection: Upgrade`: it is the
/// last of a connection anyway. One that is sent again to another server says it once.
pub fn close_after<B>(request: &mut Request<B>) {
    let headers = request.headers_mut();
    if !headers.contains_key(header::UPGRADE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    #[test]
    fn there_and_back_nothing_is_lost() {
        let request = Request::builder()
            .uri("/a/%2e%2e?b=c")
            .header("host", "acme.example.com:8443")
            .header("te", "trailers")
            .header("transfer-encoding", "chunked")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .body(Full::new(Bytes::from_static(b"x")))
            .unwrap();
        let mut changed = request.clone();
        for_http2(&mut changed, &Scheme::HTTP);
        assert_eq!(
            changed.uri().to_string(),
            "http://acme.example.com:8443/a/%2e%2e?b=c"
        );
        assert_eq!(changed.headers().len(), 1, "{:?}", changed.headers());
        for_http2(&mut changed, &Scheme::HTTP);
        for_http1(&mut changed);
        assert_eq!(changed.uri(), "/a/%2e%2e?b=c");
        assert_eq!(changed.headers()["host"], "acme.example.com:8443");
        assert_eq!(changed.headers()["transfer-encoding"], "chunked");
        assert_eq!(changed.version(), Version::HTTP_11);
    }

    #[test]
    fn an_empty_body_needs_no_framing() {
        let mut request = Request::builder()
            .uri("*")
            .method("OPTIONS")
            .header("host", "example.com")
            .body(Empty::<Bytes>::new())
            .unwrap();
        for_http2(&mut request, &Scheme::HTTPS);
        for_http1(&mut request);
        assert_eq!(request.uri(), "*");
        assert_eq!(request.headers().len(), 1);
    }
}

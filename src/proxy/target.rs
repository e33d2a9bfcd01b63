//! What a request asks for: one authority, one path. Pure; the same rules for every protocol.
//!
//! hyper checks neither that there is exactly one `Host`, nor that it agrees with the target, nor the form of the
//! target (design: "What hyper cannot tell us"). Whatever could be read in two ways is refused here, before anything
//! else looks at the request.

use std::rc::Rc;

use http::{HeaderMap, Method, Version, header, request};

use super::error::RequestError;
use super::hosts::{Hosts, Named};
use super::seen::Seen;
use super::tap::{self, Refusal};
use crate::host::{Authority, HostError};

/// Longest target in bytes.
pub(super) const MAX_TARGET: usize = 8 << 10;
/// Longest method in bytes.
pub(super) const MAX_METHOD: usize = 32;
/// Most header lines. HTTP/1.1 is held to it by the tap and by the parser.
pub(super) const MAX_FIELDS: usize = 100;

/// A checked target.
#[derive(Debug)]
pub struct Target {
    /// The host that is asked for, with the port the client named.
    pub named: Rc<Named>,
    /// `OPTIONS *`: a question about the server, not about a resource.
    pub server_wide: bool,
}

/// Checks method, target, host and framing of `head`, which has the headers `seen`. `https` says whether it came over TLS;
/// `hosts` are those that are known.
///
/// # Errors
/// [`RequestError`]; the request must not be forwarded.
pub fn parse(
    head: &request::Parts,
    seen: Seen,
    https: bool,
    hosts: &Hosts,
) -> Result<Target, RequestError> {
    check_method(&head.method)?;
    check_framing(head, seen)?;
    let uri = &head.uri;
    if uri
        .path_and_query()
        .is_some_and(|path| path.as_str().len() > MAX_TARGET)
    {
        return Err(RequestError::TargetTooLong);
    }
    if head.headers.len() > MAX_FIELDS {
        return Err(RequestError::HeadTooLarge);
    }
    // `http::Uri` takes raw UTF-8; what apps and logs make of it differs.
    if !uri
        .path_and_query()
        .is_none_or(|path| path.as_str().is_ascii())
    {
        return Err(RequestError::BadTarget(
            "the target has a character that must be encoded",
        ));
    }
    let http2 = head.version == Version::HTTP_2;
    match (uri.scheme_str(), uri.authority()) {
        // Origin form, or HTTP/2 with `host` alone.
        (None, None) => {}
        (None, Some(_)) => {
            return Err(RequestError::BadTarget(
                "authority form is for CONNECT only",
            ));
        }
        (Some(scheme), _) if scheme != if https { "https" } else { "http" } => {
            return Err(RequestError::BadTarget(
                "the scheme is not the one of this listener",
            ));
        }
        (Some(_), _) => {}
    }
    let server_wide = uri.path() == "*";
    if server_wide && head.method != Method::OPTIONS {
        return Err(RequestError::BadTarget("asterisk form is for OPTIONS only"));
    }
    if !server_wide && !uri.path().starts_with('/') {
        return Err(RequestError::BadTarget("the path does not begin with `/`"));
    }
    let named = host_header(&head.headers, https, hosts)?;
    let asked = uri
        .authority()
        .map(|authority| parse_authority(authority.as_str().as_bytes(), https, hosts))
        .transpose()?;
    let named = match (asked, named) {
        (Some(asked), Some(named)) if !same(&asked.authority, &named.authority, https) => {
            return Err(RequestError::Ambiguous(
                "the target and `Host` name different hosts",
            ));
        }
        (Some(asked), Some(_)) => asked,
        (Some(asked), None) if http2 => asked,
        (Some(_) | None, None) => return Err(RequestError::Ambiguous("the request names no host")),
        (None, Some(named)) => named,
    };
    Ok(Target { named, server_wide })
}

fn check_method(method: &Method) -> Result<(), RequestError> {
    if method.as_str().len() > MAX_METHOD {
        return Err(RequestError::BadTarget(
            "the method is longer than 32 bytes",
        ));
    }
    match method.as_str() {
        "CONNECT" | "TRACE" | "TRACK" => Err(RequestError::Method),
        _ => Ok(()),
    }
}

/// Exactly one `Transfer-Encoding: chunked` line or none (RFC 9112 §6.1), `Expect` only as `100-continue`.
fn check_framing(head: &request::Parts, seen: Seen) -> Result<(), RequestError> {
    if seen.has(Seen::TRANSFER_ENCODING) {
        check_coding(&head.headers)?;
    }
    if seen.has(Seen::EXPECT) {
        check_expectation(&head.headers)?;
    }
    // RFC 9113 §8.2.1: a value must not begin or end with white space; h2 lets it pass. HTTP/1.1's parser trims.
    if head.version == Version::HTTP_2 {
        let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if head
            .headers
            .values()
            .any(|value| edge(value.as_bytes().first()) || edge(value.as_bytes().last()))
        {
            return Err(RequestError::BadHeader(
                "a header value begins or ends with white space",
            ));
        }
    }
    Ok(())
}

fn check_coding(headers: &HeaderMap) -> Result<(), RequestError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if codings.next().is_some() {
        return Err(RequestError::BadFraming(
            "the request has several `Transfer-Encoding` lines",
        ));
    }
    tap::coding(coding.as_bytes()).map_err(Refusal::error)
}

fn check_expectation(headers: &HeaderMap) -> Result<(), RequestError> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        (Some(_), _) => Err(RequestError::Expectation),
    }
}

/// The one `Host` line. `None` if there is none.
fn host_header(
    headers: &HeaderMap,
    https: bool,
    hosts: &Hosts,
) -> Result<Option<Rc<Named>>, RequestError> {
    let mut lines = headers.get_all(header::HOST).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(RequestError::Ambiguous(
            "the request has several `Host` lines",
        ));
    }
    parse_authority(line.as_bytes(), https, hosts).map(Some)
}

/// A name that is well formed but can be nobody's (an address, `_`) is an unknown tenant or a misdirected request, not
/// a malformed one.
fn parse_authority(bytes: &[u8], https: bool, hosts: &Hosts) -> Result<Rc<Named>, RequestError> {
    hosts.named(bytes).map_err(|error| match error {
        HostError::Address if https => RequestError::Misdirected,
        HostError::Address | HostError::Underscore => RequestError::UnknownTenant,
        HostError::Empty
        | HostError::BadCharacter
        | HostError::BadLabel
        | HostError::TooLong
        | HostError::BadPort => RequestError::BadHost(error),
    })
}

/// Equal once a default port is left out on either side.
fn same(left: &Authority, right: &Authority, https: bool) -> bool {
    let default = if https { 443 } else { 80 };
    left.host == right.host && left.port.unwrap_or(default) == right.port.unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn answer(target: &str, version: Version, headers: &[(&str, &str)]) -> String {
        let method = if target == "*" {
            Method::OPTIONS
        } else {
            Method::GET
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        match parse(&head, Seen::of(&head.headers), true, &Hosts::default()) {
            Ok(target) => format!(
                "{}{}",
                target.named.authority.host,
                target
                    .named
                    .authority
                    .port
                    .map_or(String::new(), |port| format!(":{port}"))
            ),
            Err(error) => error.label().to_owned(),
        }
    }

    #[test]
    fn http1_takes_exactly_one_truth() {
        let h1 = |target, headers: &[(&str, &str)]| answer(target, Version::HTTP_11, headers);
        assert_eq!(h1("/", &[("host", "A.x")]), "a.x");
        assert_eq!(h1("/", &[("host", "a.x:8443")]), "a.x:8443");
        assert_eq!(h1("*", &[("host", "a.x")]), "a.x");
        assert_eq!(h1("https://a.x/p", &[("host", "a.x:443")]), "a.x");
        assert_eq!(h1("https://b.x/p", &[("host", "a.x")]), "ambiguous-host");
        assert_eq!(h1("https://a.x/p", &[]), "ambiguous-host");
        assert_eq!(h1("http://a.x/p", &[("host", "a.x")]), "bad-target");
        assert_eq!(h1("ftp://a.x/p", &[("host", "a.x")]), "bad-target");
        assert_eq!(h1("a.x:80", &[("host", "a.x")]), "bad-target");
        assert_eq!(h1("/", &[]), "ambiguous-host");
        assert_eq!(
            h1("/", &[("host", "a.x"), ("host", "a.x")]),
            "ambiguous-host"
        );
        assert_eq!(h1("/", &[("host", "")]), "bad-host");
        assert_eq!(h1("/", &[("host", "user@a.x")]), "bad-host");
        assert_eq!(h1("/", &[("host", "127.0.0.1")]), "misdirected");
        assert_eq!(
            h1(&format!("/{}", "a".repeat(9000)), &[("host", "a.x")]),
            "target-too-long"
        );
    }

    #[test]
    fn http2_compares_authority_and_host() {
        let h2 = |target, headers: &[(&str, &str)]| answer(target, Version::HTTP_2, headers);
        assert_eq!(h2("https://a.x/", &[]), "a.x");
        assert_eq!(h2("https://a.x/", &[("host", "A.x.")]), "a.x");
        assert_eq!(h2("https://a.x/", &[("host", "b.x")]), "ambiguous-host");
        assert_eq!(h2("http://a.x/", &[]), "bad-target");
        assert_eq!(h2("https://a.x/", &[("a", " b")]), "bad-header");
    }

    #[test]
    fn framing_is_chunked_once_or_not_at_all() {
        let h1 = |headers: &[(&str, &str)]| {
            let mut all = vec![("host", "a.x")];
            all.extend_from_slice(headers);
            answer("/", Version::HTTP_11, &all)
        };
        assert_eq!(h1(&[("transfer-encoding", "Chunked")]), "a.x");
        assert_eq!(
            h1(&[("transfer-encoding", "gzip, chunked")]),
            "unknown-coding"
        );
        assert_eq!(
            h1(&[("transfer-encoding", "chunked, chunked")]),
            "bad-framing"
        );
        assert_eq!(
            h1(&[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked")
            ]),
            "bad-framing"
        );
        assert_eq!(h1(&[("transfer-encoding", "xchunked")]), "unknown-coding");
        assert_eq!(h1(&[("expect", "100-continue")]), "a.x");
        assert_eq!(h1(&[("expect", "200-ok")]), "expectation");
    }
}

//! gRPC: how to know a call, and how to tell its client of an error (gRPC over HTTP/2, “Responses”).
//!
//! A gRPC client reads `grpc-status` and knows nothing of HTTP pages. An error of the edge is therefore an answer
//! with HTTP status 200, without a body, that has the status in its head (“Trailers-Only”).

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request with these headers is a gRPC call: `application/grpc`, or that with a format (`+proto`).
#[must_use]
pub fn is_call(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let Some((name, rest)) = value.as_bytes().split_at_checked(NAME.len()) else {
        return false;
    };
    name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Puts an error into the head of an answer.
pub fn refuse(headers: &mut HeaderMap, status: StatusCode, message: &str) {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(GRPC_STATUS, HeaderValue::from(code(status)));
    if let Ok(message) = HeaderValue::try_from(encode(message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
}

/// gRPC's “HTTP to gRPC Status Code Mapping”.
fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,                   // INTERNAL
        401 => 16,                   // UNAUTHENTICATED
        403 => 7,                    // PERMISSION_DENIED
        404 => 12,                   // UNIMPLEMENTED
        429 | 502 | 503 | 504 => 14, // UNAVAILABLE
        _ => 2,                      // UNKNOWN
    }
}

/// `Status-Message`: printable ASCII but `%` as it is, all else percent-encoded.
fn encode(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_content_type() {
        let is_call = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            is_call(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC;charset=utf-8",
        ] {
            assert!(is_call(value), "{value}");
        }
        for value in [
            "application/grpc-web",
            "application/json",
            "application/grp",
            "",
        ] {
            assert!(!is_call(value), "{value}");
        }
        assert!(!super::is_call(&HeaderMap::new()));
    }

    #[test]
    fn errors_follow_the_mapping() {
        for (status, expected) in [
            (400, "13"),
            (404, "12"),
            (421, "2"),
            (502, "14"),
            (503, "14"),
            (504, "14"),
        ] {
            let mut headers = HeaderMap::new();
            let status = StatusCode::from_u16(status).unwrap();
            refuse(&mut headers, status, "100 % über\n");
            assert_eq!(headers["grpc-status"], expected);
            assert_eq!(headers["grpc-message"], "100 %25 %C3%BCber%0A");
            assert_eq!(headers["content-type"], "application/grpc");
        }
    }
}

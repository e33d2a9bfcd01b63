//! `Proxy-Status` (RFC 9209): why the edge and not the app answered, for clients and for whoever debugs them.
//!
//! It names the kind of error and this process, as `Via` does; never a server, a tenant or a system's error text.

use http::{HeaderName, HeaderValue};

use super::error::RequestError;
use crate::upstream::SendError;
use crate::upstream::connect::{ConnectError, TlsFailure};

/// The header's name.
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The header for `error`, from the process that `Via` calls `pseudonym`.
#[must_use]
pub fn value(error: &RequestError, pseudonym: &str) -> Option<HeaderValue> {
    // RFC 9209 §2: a String or a Token; a Token begins with a letter (RFC 8941 §3.3.4). A pseudonym has no quotes.
    let name = if pseudonym.starts_with(|first: char| first.is_ascii_alphabetic()) {
        pseudonym.to_owned()
    } else {
        format!("\"{pseudonym}\"")
    };
    HeaderValue::try_from(format!("{name}; error={}", error_type(error))).ok()
}

/// The error type (RFC 9209 §2.3).
fn error_type(error: &RequestError) -> &'static str {
    match error {
        RequestError::BadHost(_)
        | RequestError::Ambiguous(_)
        | RequestError::BadTarget(_)
        | RequestError::BadFraming(_)
        | RequestError::BadHeader(_)
        | RequestError::BadHead(_)
        | RequestError::HeadTooLarge
        | RequestError::UnknownCoding
        | RequestError::UnknownProtocol
        | RequestError::Method
        | RequestError::Expectation
        | RequestError::TargetTooLong
        | RequestError::BodyTooLarge
        | RequestError::BodyStalled
        | RequestError::Misdirected => "http_request_error",
        RequestError::UnknownTenant | RequestError::Deleted => "destination_not_found",
        RequestError::Suspended(_)
        | RequestError::Forbidden
        | RequestError::TooManyTunnels
        | RequestError::NetworkDenied
        | RequestError::AddressRate(_)
        | RequestError::TenantRate(_)
        | RequestError::TenantConcurrency => "http_request_denied",
        RequestError::Overloaded | RequestError::DirectoryDown => "proxy_internal_error",
        RequestError::Pending | RequestError::Maintenance { .. } | RequestError::UnknownPool => {
            "destination_unavailable"
        }
        RequestError::Unnamed => "proxy_configuration_error",
        RequestError::Loop => "proxy_loop_detected",
        RequestError::BadUpgrade => "http_upgrade_failed",
        RequestError::Upstream(error) => match error {
            SendError::Connect { source, .. } => match source {
                ConnectError::Dns(_) => "dns_error",
                ConnectError::Refused(error) => refused(error.kind()),
                ConnectError::Tls(error) => match TlsFailure::of(error) {
                    TlsFailure::Certificate => "tls_certificate_error",
                    TlsFailure::Alert => "tls_alert_received",
                    TlsFailure::Protocol => "tls_protocol_error",
                },
                ConnectError::Http(_) => "http_protocol_error",
            },
            SendError::ConnectTimeout { .. } => "connection_timeout",
            SendError::QueueFull | SendError::QueueTimeout | SendError::ShareSpent => {
                "connection_limit_reached"
            }
            SendError::ResponseTimeout { .. } => "http_response_timeout",
            SendError::TooManyInterim { .. } => "http_protocol_error",
            SendError::Exchange { source, .. } => exchange(source),
        },
    }
}

fn refused(kind: std::io::ErrorKind) -> &'static str {
    match kind {
        std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
            "destination_ip_unroutable"
        }
        std::io::ErrorKind::ConnectionRefused => "connection_refused",
        // A Unix socket that is not there, for example.
        _ => "destination_unavailable",
    }
}

fn exchange(error: &hyper::Error) -> &'static str {
    if error.is_parse_too_large() {
        "http_response_header_section_size"
    } else if error.is_incomplete_message() {
        "http_response_incomplete"
    } else if error.is_parse() {
        "http_protocol_error"
    } else {
        let source = std::error::Error::source(error);
        match source.and_then(|source| source.downcast_ref::<h2::Error>()) {
            Some(error) if !error.is_io() => "http_protocol_error",
            _ => "connection_terminated",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn each_failure_has_its_type() {
        let connect = |source| {
            RequestError::Upstream(SendError::Connect {
                server: "http://10.0.0.7:80".to_owned(),
                source,
            })
        };
        let certificate =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for (error, expected) in [
            (
                connect(ConnectError::Refused(ErrorKind::ConnectionRefused.into())),
                "connection_refused",
            ),
            (
                connect(ConnectError::Refused(ErrorKind::HostUnreachable.into())),
                "destination_ip_unroutable",
            ),
            (
                connect(ConnectError::Refused(ErrorKind::NotFound.into())),
                "destination_unavailable",
            ),
            (
                connect(ConnectError::Dns(Error::other("no such name"))),
                "dns_error",
            ),
            (
                connect(ConnectError::Tls(Error::new(
                    ErrorKind::InvalidData,
                    certificate,
                ))),
                "tls_certificate_error",
            ),
            (
                connect(ConnectError::Tls(Error::other("plain text"))),
                "tls_protocol_error",
            ),
            (
                RequestError::Upstream(SendError::QueueFull),
                "connection_limit_reached",
            ),
            (RequestError::Loop, "proxy_loop_detected"),
        ] {
            let value = value(&error, "portico-4dfbe783").unwrap();
            let text = value.to_str().unwrap();
            assert_eq!(text, format!("portico-4dfbe783; error={expected}"));
        }
    }

    #[test]
    fn a_name_that_is_no_token_is_a_string() {
        let value = value(&RequestError::Method, "1edge-00").unwrap();
        assert_eq!(value, "\"1edge-00\"; error=http_request_error");
    }
}

//! Every way a request can end at the edge instead of at the app.
//!
//! One exhaustive match for each question (status, label, whose fault); no `_` arm, so a new error answers all of
//! them or does not compile.

use http::StatusCode;
use thiserror::Error;

use crate::config::SuspendedStatus;
use crate::host::HostError;
use crate::units::Rate;
use crate::upstream::SendError;
use crate::upstream::connect::ConnectError;

/// Why the edge answers by itself.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The host is missing, doubled or not a name.
    #[error("the request's host is not valid")]
    BadHost(#[source] HostError),
    /// More or fewer than one `Host` line, or `Host` and target disagree.
    #[error("{0}")]
    Ambiguous(&'static str),
    /// The target's form does not fit the method or the listener.
    #[error("{0}")]
    BadTarget(&'static str),
    /// A framing header that could be read in two ways.
    #[error("{0}")]
    BadFraming(&'static str),
    /// A header that breaks a rule.
    #[error("{0}")]
    BadHeader(&'static str),
    /// A head that is no HTTP as it is spoken here.
    #[error("{0}")]
    BadHead(&'static str),
    /// A head that is larger than `limits.header_size`, or has more than 100 lines.
    #[error("the request's head is too large")]
    HeadTooLarge,
    /// A transfer coding other than chunked.
    #[error("the request has a transfer coding other than `chunked`")]
    UnknownCoding,
    /// CONNECT, TRACE or TRACK.
    #[error("the method is not served")]
    Method,
    /// `Expect` with anything but `100-continue`.
    #[error("the expectation is not known")]
    Expectation,
    /// The target is longer than 8 KiB.
    #[error("the request's target is too long")]
    TargetTooLong,
    /// The body is larger than `limits.body_size`.
    #[error("the request's body is too large")]
    BodyTooLarge,
    /// The client stopped sending its body.
    #[error("the client stopped in the middle of its request")]
    BodyStalled,
    /// The certificate of the connection does not cover the host.
    #[error("the certificate of this connection does not cover the host")]
    Misdirected,
    /// No tenant has this host.
    #[error("no tenant has this host")]
    UnknownTenant,
    /// The directory of tenants cannot be asked, and nothing is remembered of this host.
    #[error("the directory of tenants does not answer")]
    DirectoryDown,
    /// The source does not say the name of the tenant that the app goes by.
    #[error("the tenant has no name of the kind that `tenants.value` asks for")]
    Unnamed,
    /// The tenant is suspended.
    #[error("the tenant is suspended")]
    Suspended(SuspendedStatus),
    /// The tenant is not ready yet.
    #[error("the tenant is not ready yet")]
    Pending,
    /// The tenant is under maintenance.
    #[error("the tenant is under maintenance")]
    Maintenance {
        /// Seconds until another try makes sense.
        retry_after: u32,
    },
    /// The tenant is gone.
    #[error("the tenant is gone")]
    Deleted,
    /// The connection has as many tunnels as it may have.
    #[error("the connection has too many tunnels")]
    TooManyTunnels,
    /// A trusted proxy names a client whom `[access]` does not let in.
    #[error("this client is not let in")]
    Forbidden,
    /// The tenant does not let clients of this network in.
    #[error("the tenant does not let this client in")]
    NetworkDenied,
    /// The client's address has sent more than its rate with this tenant.
    #[error("this address sends too many requests to the tenant")]
    AddressRate(Limited),
    /// The tenant's clients together have sent more than its rate.
    #[error("the tenant gets too many requests")]
    TenantRate(Limited),
    /// As many requests of the tenant are under way as may be.
    #[error("too many requests of the tenant are under way")]
    TenantConcurrency,
    /// The row or plan of the tenant leads to no pool that is known.
    #[error("the tenant's pool is not known")]
    UnknownPool,
    /// Memory runs short.
    #[error("the edge is overloaded")]
    Overloaded,
    /// Our own name stands in `Via`.
    #[error("the request has passed this proxy before")]
    Loop,
    /// No answer from the app.
    #[error("the app gave no answer")]
    Upstream(#[from] SendError),
    /// Extended CONNECT (RFC 8441) for anything but a WebSocket.
    #[error("the protocol is not served")]
    UnknownProtocol,
    /// The app switched protocols though nobody had asked, or to another one.
    #[error("the app switched protocols unasked")]
    BadUpgrade,
}

/// A rate that is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// The rate.
    pub rate: Rate,
    /// Seconds until there is a request again, at least 1.
    pub wait: u32,
}

/// Who has to do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client; logged at debug level, because clients can cause any number of them.
    Client,
    /// The app or the way to it.
    App,
}

impl RequestError {
    /// The status that the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadHost(_)
            | Self::Ambiguous(_)
            | Self::BadTarget(_)
            | Self::BadFraming(_)
            | Self::BadHeader(_)
            | Self::BadHead(_) => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnknownCoding | Self::UnknownProtocol => StatusCode::NOT_IMPLEMENTED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyStalled => StatusCode::REQUEST_TIMEOUT,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooManyTunnels
            | Self::AddressRate(_)
            | Self::TenantRate(_)
            | Self::TenantConcurrency => StatusCode::TOO_MANY_REQUESTS,
            Self::Forbidden | Self::NetworkDenied => StatusCode::FORBIDDEN,
            Self::UnknownPool => StatusCode::SERVICE_UNAVAILABLE,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::DirectoryDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnknownTenant => StatusCode::NOT_FOUND,
            Self::Suspended(SuspendedStatus::PaymentRequired) => StatusCode::PAYMENT_REQUIRED,
            Self::Suspended(SuspendedStatus::Forbidden) => StatusCode::FORBIDDEN,
            Self::Suspended(SuspendedStatus::Unavailable)
            | Self::Unnamed
            | Self::Pending
            | Self::Maintenance { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deleted => StatusCode::GONE,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Upstream(error) => match error {
                // Nobody takes connections: it may be back soon. A name or a certificate that is wrong is not.
                SendError::Connect { source, .. } => match source {
                    ConnectError::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
                    ConnectError::Dns(_) | ConnectError::Tls(_) | ConnectError::Http(_) => {
                        StatusCode::BAD_GATEWAY
                    }
                },
                SendError::QueueFull | SendError::QueueTimeout | SendError::ShareSpent => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                SendError::Exchange { .. } | SendError::TooManyInterim { .. } => {
                    StatusCode::BAD_GATEWAY
                }
                SendError::ConnectTimeout { .. } | SendError::ResponseTimeout { .. } => {
                    StatusCode::GATEWAY_TIMEOUT
                }
            },
            Self::BadUpgrade => StatusCode::BAD_GATEWAY,
        }
    }

    /// The label in the access log, in metrics and in `X-Edge-Reason`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::BadHost(_) => "bad-host",
            Self::Ambiguous(_) => "ambiguous-host",
            Self::BadTarget(_) => "bad-target",
            Self::BadFraming(_) => "bad-framing",
            Self::BadHeader(_) => "bad-header",
            Self::BadHead(_) => "bad-head",
            Self::HeadTooLarge => "head-too-large",
            Self::UnknownCoding => "unknown-coding",
            Self::UnknownProtocol => "unknown-protocol",
            Self::Method => "method",
            Self::Expectation => "expectation",
            Self::TargetTooLong => "target-too-long",
            Self::BodyTooLarge => "body-too-large",
            Self::BodyStalled => "body-stalled",
            Self::Misdirected => "misdirected",
            Self::TooManyTunnels => "too-many-tunnels",
            Self::Forbidden => "forbidden",
            Self::NetworkDenied => "network-denied",
            Self::AddressRate(_) => "address-rate",
            Self::TenantRate(_) => "tenant-rate",
            Self::TenantConcurrency => "tenant-concurrency",
            Self::UnknownPool => "unknown-pool",
            Self::Overloaded => "overloaded",
            Self::DirectoryDown => "directory-down",
            Self::UnknownTenant => "unknown-tenant",
            Self::Unnamed => "tenant-unnamed",
            Self::Suspended(_) => "suspended",
            Self::Pending => "pending",
            Self::Maintenance { .. } => "maintenance",
            Self::Deleted => "deleted",
            Self::Loop => "loop",
            Self::Upstream(error) => match error {
                SendError::Connect { source, .. } => match source {
                    ConnectError::Refused(_) => "upstream-connect",
                    ConnectError::Dns(_) => "upstream-dns",
                    ConnectError::Tls(_) => "upstream-tls",
                    ConnectError::Http(_) => "upstream-exchange",
                },
                SendError::ShareSpent => "tenant-share",
                SendError::QueueFull => "upstream-queue-full",
                SendError::QueueTimeout => "upstream-queue-timeout",
                SendError::ConnectTimeout { .. } => "upstream-connect-timeout",
                SendError::ResponseTimeout { .. } => "upstream-response-timeout",
                SendError::Exchange { .. } => "upstream-exchange",
                SendError::TooManyInterim { .. } => "upstream-interim",
            },
            Self::BadUpgrade => "upstream-bad-upgrade",
        }
    }

    /// Who has to do something about it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::BadHost(_)
            | Self::Ambiguous(_)
            | Self::BadTarget(_)
            | Self::BadFraming(_)
            | Self::BadHeader(_)
            | Self::BadHead(_)
            | Self::HeadTooLarge
            | Self::UnknownCoding
            | Self::UnknownProtocol
            | Self::Method
            | Self::Expectation
            | Self::TargetTooLong
            | Self::BodyTooLarge
            | Self::BodyStalled
            | Self::Misdirected
            | Self::TooManyTunnels
            | Self::Forbidden
            | Self::NetworkDenied
            | Self::AddressRate(_)
            | Self::TenantRate(_)
            | Self::TenantConcurrency
            | Self::Upstream(SendError::ShareSpent)
            | Self::Overloaded
            | Self::UnknownTenant
            | Self::Suspended(_)
            | Self::Pending
            | Self::Maintenance { .. }
            | Self::Deleted => Fault::Client,
            Self::Loop
            | Self::Upstream(_)
            | Self::BadUpgrade
            | Self::DirectoryDown
            | Self::Unnamed
            | Self::UnknownPool => Fault::App,
        }
    }

    /// Whether the connection must not be used again (HTTP/1.1): what follows on it cannot be told apart for sure.
    #[must_use]
    pub fn closes(&self) -> bool {
        match self {
            Self::BadHost(_)
            | Self::Ambiguous(_)
            | Self::BadTarget(_)
            | Self::BadFraming(_)
            | Self::BadHeader(_)
            | Self::BadHead(_)
            | Self::HeadTooLarge
            | Self::UnknownCoding
            | Self::UnknownProtocol
            | Self::Expectation
            | Self::TargetTooLong
            | Self::BodyTooLarge
            | Self::BodyStalled
            | Self::Overloaded
            | Self::Method => true,
            Self::Misdirected
            | Self::TooManyTunnels
            | Self::Forbidden
            | Self::NetworkDenied
            | Self::AddressRate(_)
            | Self::TenantRate(_)
            | Self::TenantConcurrency
            | Self::UnknownPool
            | Self::UnknownTenant
            | Self::DirectoryDown
            | Self::Unnamed
            | Self::Suspended(_)
            | Self::Pending
            | Self::Maintenance { .. }
            | Self::Deleted
            | Self::Loop
            | Self::Upstream(_)
            | Self::BadUpgrade => false,
        }
    }

    /// Seconds for `Retry-After`, where coming back helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Pending
            | Self::DirectoryDown
            | Self::Upstream(
                SendError::Connect {
                    source: ConnectError::Refused(_),
                    ..
                }
                | SendError::QueueFull
                | SendError::QueueTimeout
                | SendError::ShareSpent,
            ) => Some(5),
            Self::AddressRate(limited) | Self::TenantRate(limited) => Some(limited.wait),
            Self::TenantConcurrency => Some(1),
            Self::UnknownPool => Some(60),
            Self::Overloaded => Some(10),
            Self::Maintenance { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

impl Limited {
    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) of the policy `name`.
    #[must_use]
    pub fn headers(self, name: &str) -> [String; 2] {
        let Rate { count, per } = self.rate;
        [
            format!("\"{name}\";q={count};w={}", per.as_secs()),
            format!("\"{name}\";r=0;t={}", self.wait),
        ]
    }
}

/// Every label, for metrics with a fixed set of them.
pub const LABELS: &[&str] = &[
    "address-rate",
    "ambiguous-host",
    "bad-framing",
    "bad-head",
    "bad-header",
    "bad-host",
    "bad-target",
    "body-stalled",
    "body-too-large",
    "client-gone",
    "deleted",
    "directory-down",
    "expectation",
    "forbidden",
    "head-too-large",
    "loop",
    "maintenance",
    "method",
    "misdirected",
    "network-denied",
    "overloaded",
    "pending",
    "suspended",
    "target-too-long",
    "tenant-concurrency",
    "tenant-rate",
    "tenant-share",
    "tenant-unnamed",
    "too-many-tunnels",
    "unknown-coding",
    "unknown-pool",
    "unknown-protocol",
    "unknown-tenant",
    "upstream-bad-upgrade",
    "upstream-body",
    "upstream-connect",
    "upstream-connect-timeout",
    "upstream-dns",
    "upstream-exchange",
    "upstream-interim",
    "upstream-queue-full",
    "upstream-queue-timeout",
    "upstream-response-timeout",
    "upstream-tls",
];

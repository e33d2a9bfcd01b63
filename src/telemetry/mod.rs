//! What Portico tells its operator while it runs: messages, the access log and metrics.
//!
//! | module | for | cost on the request path |
//! |---|---|---|
//! | [`log`] | people and alarms: what changed, what failed | none unless something is wrong |
//! | [`access`] | one record per request | rendered into a buffer of the worker's own |
//! | [`metrics`] | counts and durations for a scraper | plain loads and stores on lines no other core writes |
//! | [`tenants`] | what each tenant has used | an entry in a map of the worker's own |
//!
//! Nothing here knows the configuration, and nothing here makes a worker wait for a disk or a pipe.

pub mod access;
pub mod log;
pub mod metrics;
pub mod tenants;

/// The version of HTTP that a request came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Protocol {
    /// Every version, in the order of the discriminants.
    pub const ALL: [Self; 3] = [Self::Http10, Self::Http11, Self::Http2];

    /// The name in the access log and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

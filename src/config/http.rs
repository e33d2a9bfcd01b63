//! `[http]`: what is done to requests and responses.

use std::time::Duration;

use ipnet::IpNet;

/// HTTP behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// `Strict-Transport-Security` on every https answer. Default: one year, no subdomains.
    pub hsts: Hsts,
    /// Networks whose `X-Forwarded-*` headers are believed (a load balancer in front). Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// The name in `Via`; requests that carry it already are a loop and get 508. Default `portico`.
    pub via: String,
    /// Whether `Via` is added to responses too. Default `false`.
    pub via_on_responses: bool,
}

/// `Strict-Transport-Security` (RFC 6797).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hsts {
    /// `hsts = "off"`.
    Off,
    /// `hsts = "365d"`, with `hsts_subdomains = true` for the bare domain's subdomains.
    MaxAge {
        /// How long a browser remembers.
        age: Duration,
        /// Adds `includeSubDomains`.
        subdomains: bool,
    },
}

impl Default for Http {
    fn default() -> Self {
        Self {
            hsts: Hsts::MaxAge { age: Duration::from_secs(365 * 86400), subdomains: false },
            trusted_proxies: Vec::new(),
            via: "portico".to_owned(),
            via_on_responses: false,
        }
    }
}

//! `[http]`: what is done to requests and responses.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::problem::Flaw;
use super::reader::Reader;
use super::value;
use crate::units::format_duration;

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
    /// `hsts = "365d"`, with `hsts_subdomains = true` for each answering host's subdomains too.
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
            hsts: Hsts::MaxAge {
                age: Duration::from_secs(365 * 86400),
                subdomains: false,
            },
            trusted_proxies: Vec::new(),
            via: "portico".to_owned(),
            via_on_responses: false,
        }
    }
}

/// `0s` makes browsers forget the site (RFC 6797 §6.1.1), so it is a value of its own and not an absurd one.
const HSTS_AGES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3650 * 86400);

impl Http {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("http");
        let mut http = Self::default();
        let mut subdomains = false;
        section.text(
            "hsts",
            &mut http.hsts,
            "How long browsers remember to use https only (`Strict-Transport-Security`), or `off`",
            Hsts::parse,
        );
        section.flag(
            "hsts_subdomains",
            &mut subdomains,
            "Whether this holds for all subdomains of each answering host",
        );
        match &mut http.hsts {
            Hsts::MaxAge {
                subdomains: slot, ..
            } => *slot = subdomains,
            Hsts::Off if subdomains => {
                section.refuse(
                    "hsts_subdomains",
                    "the key has no use with `hsts = \"off\"`",
                    "remove it, or set `hsts = \"365d\"`",
                );
            }
            Hsts::Off => {}
        }
        section.list(
            "trusted_proxies",
            &mut http.trusted_proxies,
            "Networks whose `X-Forwarded-*` headers are believed (a load balancer in front)",
            value::trusted_network,
        );
        section.text(
            "via",
            &mut http.via,
            "The name in `Via`; a request that carries it already is a loop and gets 508",
            via,
        );
        section.flag(
            "via_on_responses",
            &mut http.via_on_responses,
            "Whether `Via` is added to responses too",
        );
        http
    }
}

impl Hsts {
    fn parse(text: &str) -> Result<Self, Flaw> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let hint = "write `\"365d\"`, or `\"off\"`";
        value::duration(text, &HSTS_AGES, hint).map(|age| Self::MaxAge {
            age,
            subdomains: false,
        })
    }
}

impl fmt::Display for Hsts {
    /// The value of `hsts`; subdomains stand under a key of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::MaxAge { age, .. } => f.write_str(&format_duration(*age)),
        }
    }
}

/// A pseudonym: one token (RFC 9110 §7.6.3), which is what a header name is too.
fn via(text: &str) -> Result<String, Flaw> {
    if text.len() > 64 || HeaderName::from_bytes(text.as_bytes()).is_err() {
        return Err(Flaw::new(
            "not a name for `Via`",
            "write one word of at most 64 letters, digits, `-`, `.` or `_`",
        ));
    }
    Ok(text.to_owned())
}

//! `[on_demand]`: certificates for the custom domains of tenants.

use std::fmt;
use std::time::Duration;

use super::reader::Reader;
use super::section::Section;
use super::{CertOrigin, Challenge, Config, value};
use crate::host::Host;

/// Certificates for names that only a row of the tenant directory has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDemand {
    /// Whether there are any. Default `false`.
    pub enabled: bool,
    /// How the names are proven. Default [`Challenge::TlsAlpn01`].
    pub challenge: Challenge,
    /// Whether a name is ordered as soon as its row is there; otherwise when a client first asks for it. Default `true`.
    pub ahead: bool,
    /// What a tenant has to publish before a certificate is ordered. Default [`Ownership::None`].
    pub proof: Ownership,
    /// The domain below which each tenant has a name of its own, for [`Ownership::Cname`].
    pub cname_base: Option<Host>,
    /// Most orders in any hour, renewals included; a fifth of it is kept for renewals. Default 80.
    pub orders_per_hour: u32,
    /// Most new certificates for one tenant in any day. Default 50.
    pub tenant_orders_per_day: u32,
    /// Most new certificates below one registered domain in any seven days. Default 40.
    pub domain_orders_per_week: u32,
    /// Most names. Default 100,000.
    pub names: u32,
    /// Most certificates in memory at once. Default 10,000.
    pub cache: u32,
    /// How long a certificate is renewed after its row has gone. Default 30 days.
    pub keep_gone: Duration,
}

/// How a tenant shows that a name is its own, beyond what the CA asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Not at all: the row is enough.
    None,
    /// The name is a CNAME to a name that only this tenant is given.
    Cname,
    /// A TXT record at `_portico-verify.` and the name, with a value that only this tenant is given.
    Txt,
}

const PROOFS: &[(&str, Ownership)] = &[
    ("none", Ownership::None),
    ("cname", Ownership::Cname),
    ("txt", Ownership::Txt),
];

const CHALLENGES: &[(&str, Challenge)] = &[
    ("tls-alpn-01", Challenge::TlsAlpn01),
    ("http-01", Challenge::Http01),
    ("dns-01", Challenge::Dns01),
];

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = PROOFS.iter().find(|(_, proof)| proof == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

impl Default for OnDemand {
    fn default() -> Self {
        Self {
            enabled: false,
            challenge: Challenge::TlsAlpn01,
            ahead: true,
            proof: Ownership::None,
            cname_base: None,
            orders_per_hour: 80,
            tenant_orders_per_day: 50,
            domain_orders_per_week: 40,
            names: 100_000,
            cache: 10_000,
            keep_gone: Duration::from_secs(30 * 86400),
        }
    }
}

impl OnDemand {
    /// `before` has what stands above in the file: listeners, `[acme]`, where certificates come from.
    pub(super) fn read(reader: &mut Reader<'_>, before: &Config) -> Self {
        let mut section = reader.section("on_demand");
        let mut own = Self::default();
        section.flag(
            "enabled",
            &mut own.enabled,
            "Whether hosts that only the tenant directory names get certificates of their own",
        );
        let clear = section.choice(
            "challenge",
            &mut own.challenge,
            CHALLENGES,
            "How they are proven: `tls-alpn-01` or `http-01` (by the running proxy), or `dns-01` by a CNAME at `_acme-challenge`",
        );
        section.flag(
            "ahead",
            &mut own.ahead,
            "Whether a name is ordered as soon as its row is there; `false`: when a client first asks for it",
        );
        section.choice(
            "proof",
            &mut own.proof,
            PROOFS,
            "What a tenant publishes before anything is ordered: `none`, `cname`, or `txt` (`portico cert ownership` prints it)",
        );
        own.cname_base = section.maybe_text(
            "cname_base",
            "required for `proof = \"cname\"`",
            "For `cname`: the domain below which each tenant has a target of its own; point `*.` and it to this edge",
            value::host,
        );
        own.read_bounds(&mut section);
        if own.enabled {
            own.check(&mut section, clear, before);
        }
        own
    }

    fn read_bounds(&mut self, section: &mut Section<'_, '_>) {
        section.number(
            "orders_per_hour",
            &mut self.orders_per_hour,
            1..=10_000,
            "Most orders in any hour, renewals included; a fifth of them is kept for renewals",
        );
        section.number(
            "tenant_orders_per_day",
            &mut self.tenant_orders_per_day,
            1..=100_000,
            "Most new certificates of one tenant in any 24 hours",
        );
        section.number(
            "domain_orders_per_week",
            &mut self.domain_orders_per_week,
            1..=100_000,
            "Most new certificates below one registered domain in any 7 days",
        );
        section.number(
            "names",
            &mut self.names,
            1..=1_000_000,
            "Most names that get certificates; further ones are refused, with an error in the log",
        );
        section.number(
            "cache",
            &mut self.cache,
            16..=1_000_000,
            "Most certificates in memory; the others are read at a handshake",
        );
        section.duration(
            "keep_gone",
            &mut self.keep_gone,
            Duration::ZERO..=Duration::from_secs(3650 * 86400),
            "How long a certificate is still renewed after its row has gone; then it is served until it expires",
        );
    }

    /// `clear`: the challenge is the one that was meant.
    fn check(&self, section: &mut Section<'_, '_>, clear: bool, before: &Config) {
        if matches!(before.certs, CertOrigin::Files(_)) {
            section.refuse(
                "enabled",
                "with `certs = \"files\"` Portico gets no certificates",
                "write `certs = \"acme\"`, or remove the line",
            );
        }
        if clear && self.challenge.needs_provider() && !before.acme.changes_dns() {
            section.refuse(
                "challenge",
                "a DNS provider is needed for this kind, and there is none",
                "add `[acme.dns]` with a `provider`, or write `challenge = \"tls-alpn-01\"`",
            );
        }
        if clear && self.challenge == Challenge::Http01 && before.listen.http.is_empty() {
            section.refuse(
                "challenge",
                "`http-01` is answered on port 80, and there is no plain listener",
                "write `http = [\"[::]:80\"]` below `[listen]`, or `challenge = \"tls-alpn-01\"`",
            );
        }
        if self.proof == Ownership::Cname && !section.has("cname_base") {
            section.missing(
                "cname_base",
                "write `cname_base = \"edge.example.com\"`, a domain that leads to this edge",
            );
        }
    }
}

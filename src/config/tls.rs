//! `[tls]` and `[[client_auth]]`: what a handshake asks of clients.

use std::fmt;
use std::path::PathBuf;

use super::problem::Flaw;
use super::reader::Reader;
use super::{Config, value};
use crate::host::Host;

/// Handshakes with clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether a client that sends no server name is refused. Default `false`: it gets the first domain's certificate.
    pub require_sni: bool,
}

/// Hosts whose clients must show a certificate (mutual TLS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// The hosts. A request for one of them on a connection without the certificate gets 421.
    pub hosts: Vec<HostPattern>,
    /// Certificates of the CAs that sign the clients', as PEM.
    pub ca_file: PathBuf,
}

/// A host, or every name one label below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// `a.example.com`, or for `*.example.com` what follows the first point.
    pub host: Host,
    /// Whether it began with `*.`.
    pub wildcard: bool,
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.host)
    }
}

impl Tls {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("tls");
        let mut tls = Self::default();
        section.flag(
            "require_sni",
            &mut tls.require_sni,
            "Whether a client that sends no server name is refused",
        );
        tls
    }
}

impl ClientAuth {
    /// `before` has what stands above in the file: domains and certificates.
    pub(super) fn read_all(reader: &mut Reader<'_>, before: &Config) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        reader.tables("client_auth", |section| {
            let taken: Vec<HostPattern> = all.iter().flat_map(|it| it.hosts.clone()).collect();
            let hosts = section.maybe_list(
                "hosts",
                "required",
                "Hosts whose clients must show a certificate; `*.example.com` is every name one level below",
                |text| {
                    let pattern = HostPattern::parse(text)?;
                    if taken.contains(&pattern) {
                        let hint = "remove one of the two";
                        return Err(Flaw::new("another `[[client_auth]]` has this host", hint));
                    }
                    pattern.check(before)?;
                    Ok(pattern)
                },
            );
            let ca_file = section.maybe_path(
                "ca_file",
                "required",
                "Certificates (PEM) of the CAs that sign the clients'",
            );
            let hint = "write `hosts = [\"internal.example.com\"]` below `[[client_auth]]`";
            if section.is_present() {
                if !section.has("hosts") {
                    section.missing("hosts", hint);
                }
                if !section.has("ca_file") {
                    let hint = "write `ca_file = \"/etc/portico/clients.pem\"` below `[[client_auth]]`";
                    section.missing("ca_file", hint);
                }
            }
            section.refuse_empty("hosts", hint);
            if let (Some(hosts), Some(ca_file)) = (hosts, ca_file) {
                all.push(Self { hosts, ca_file });
            }
        });
        all
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, Flaw> {
        let (host, wildcard) = match text.strip_prefix("*.") {
            Some(parent) => (value::host(parent)?, true),
            None => (value::host(text)?, false),
        };
        Ok(Self { host, wildcard })
    }

    /// A host that is never served would be a rule without effect, and a typing error in it a hole.
    fn check(&self, config: &Config) -> Result<(), Flaw> {
        let parent = self.host.split_first().map(|(_, parent)| parent);
        let own = config.domains.contains(&self.host);
        let below = config
            .domains
            .iter()
            .any(|domain| parent == Some(domain.as_str()));
        let mut single = config.certificates.iter().flat_map(|it| &it.names);
        let served = own || (!self.wildcard && (below || single.any(|name| *name == self.host)));
        if served || config.domains.is_empty() {
            return Ok(());
        }
        Err(Flaw::new(
            "no certificate covers this host",
            "name a domain of `domains`, `*.` and one, a name one level below, or one of `[[certificates]]`",
        ))
    }
}

//! `[acme.dns]`: how the TXT records of DNS-01 are published.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::certificates::Challenge;
use super::problem::Flaw;
use super::reader::Reader;
use super::secret::CredentialSource;
use super::section::Section;
use super::value;

/// How the TXT records of DNS-01 are published.
#[derive(Debug, Clone, PartialEq)]
pub struct Dns {
    /// The way to publish.
    pub provider: DnsProvider,
    /// The zone that holds the records. Default: none, found by a walk over SOA records.
    pub zone: Option<String>,
    /// Waited at least, after the records are visible. Default `0s`.
    pub propagation_floor: Duration,
    /// Waited at most for all authoritative servers to show the records. Default `120s`.
    pub propagation_timeout: Duration,
    /// Resolvers used to find the authoritative servers. Default: empty, the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Authoritative servers to ask, in place of those that are found through the resolvers: for a hidden primary, a
    /// split view, or a test. Default: empty.
    pub nameservers: Vec<SocketAddr>,
}

/// The ways to publish a TXT record.
#[derive(Debug, Clone, PartialEq)]
pub enum DnsProvider {
    /// `"rfc2136"`: dynamic update signed with TSIG; `credentials` names an ini file with certbot's keys
    /// `dns_rfc2136_server`, `dns_rfc2136_port`, `dns_rfc2136_name`, `dns_rfc2136_secret`, `dns_rfc2136_algorithm`.
    Rfc2136 {
        /// The ini file.
        credentials: CredentialSource,
    },
    /// `"responder"`: Portico answers for the delegated `_acme-challenge` zone itself while an order runs.
    Responder {
        /// UDP and TCP addresses to answer on. Default `["[::]:53"]`.
        listen: Vec<SocketAddr>,
        /// The name that the delegation's NS record points to, answered in SOA and NS. Default: none, `ns.` + zone.
        name_server: Option<String>,
    },
    /// `"digitalocean"`: the API; `credentials` names an ini file with `dns_digitalocean_token`.
    DigitalOcean {
        /// The ini file.
        credentials: CredentialSource,
    },
    /// `"exec"`: a hook of the operator's, called with certbot's variables.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// `"manual"`: the record is printed and a person publishes it.
    Manual,
    /// No `provider`: nothing is published, which is enough for `dns-persist-01`.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProviderName {
    None,
    Rfc2136,
    Responder,
    DigitalOcean,
    Exec,
    Manual,
}

const PROVIDERS: &[(&str, ProviderName)] = &[
    ("rfc2136", ProviderName::Rfc2136),
    ("responder", ProviderName::Responder),
    ("digitalocean", ProviderName::DigitalOcean),
    ("exec", ProviderName::Exec),
    ("manual", ProviderName::Manual),
];

/// The keys that only some providers have.
const OWN_KEYS: &[(&str, &[ProviderName])] = &[
    (
        "credentials",
        &[ProviderName::Rfc2136, ProviderName::DigitalOcean],
    ),
    ("listen", &[ProviderName::Responder]),
    ("name_server", &[ProviderName::Responder]),
    ("command", &[ProviderName::Exec]),
];

const PROPAGATION: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

impl Default for Dns {
    /// The system's resolvers and no provider.
    fn default() -> Self {
        Self {
            provider: DnsProvider::None,
            zone: None,
            propagation_floor: Duration::ZERO,
            propagation_timeout: Duration::from_secs(120),
            resolvers: Vec::new(),
            nameservers: Vec::new(),
        }
    }
}

impl Dns {
    /// `None` if the section is missing or names no provider that is known. Only some challenges need a provider.
    pub(super) fn read(reader: &mut Reader<'_>, challenge: Challenge) -> Option<Self> {
        let mut section = reader.section("acme.dns");
        let base = section.base();
        let provider = section.maybe_choice(
            "provider",
            "required for `dns-01` and `dns-account-01` unless `acme.run = \"off\"`",
            PROVIDERS,
            "How TXT records are published: `rfc2136`, `responder`, `digitalocean`, `exec` or `manual`",
        );
        let credentials = section.maybe_text(
            "credentials",
            "required for `rfc2136` and `digitalocean`",
            "The ini file with the secrets (mode 0600), or `credential:NAME` for one that systemd passes",
            |text| CredentialSource::parse(text, base),
        );
        let zone = section.maybe_text(
            "zone",
            "found by a walk over SOA records",
            "The zone that holds the records",
            value::dns_name,
        );
        let mut propagation_seconds = 0;
        section.number(
            "propagation_seconds",
            &mut propagation_seconds,
            0..=3600,
            "Seconds to wait at least, after the records are visible",
        );
        let mut propagation_timeout = Duration::from_secs(120);
        section.duration(
            "propagation_timeout",
            &mut propagation_timeout,
            PROPAGATION,
            "Longest wait for all authoritative servers to show the records",
        );
        let (resolvers, nameservers) = read_servers(&mut section);
        let (listen, name_server) = read_responder(&mut section);
        let command = section.maybe_command(
            "command",
            "required for `exec`",
            "The hook that `exec` calls: a program, or a list of program and arguments",
            "write `command = [\"/usr/local/bin/dns-hook\", \"--flag\"]`",
        );
        if !section.is_present() {
            return None;
        }
        let provider = match provider {
            Some(provider) => provider,
            None if section.has("provider") => return None,
            None if !challenge.needs_provider() => ProviderName::None,
            None => {
                let hint = "write `provider = \"digitalocean\"` or another one below `[acme.dns]`";
                section.missing("provider", hint);
                return None;
            }
        };
        check_own_keys(&mut section, provider);
        let provider = match provider {
            ProviderName::Rfc2136 => DnsProvider::Rfc2136 {
                credentials: credentials?,
            },
            ProviderName::DigitalOcean => DnsProvider::DigitalOcean {
                credentials: credentials?,
            },
            ProviderName::Responder => DnsProvider::Responder {
                listen,
                name_server,
            },
            ProviderName::Exec => DnsProvider::Exec { command: command? },
            ProviderName::Manual => DnsProvider::Manual,
            ProviderName::None => DnsProvider::None,
        };
        Some(Self {
            provider,
            zone,
            propagation_floor: Duration::from_secs(propagation_seconds),
            propagation_timeout,
            resolvers,
            nameservers,
        })
    }
}

/// Who is asked: to find the authoritative servers, and in their place.
fn read_servers(section: &mut Section<'_, '_>) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let mut resolvers = Vec::new();
    section.list(
        "resolvers",
        &mut resolvers,
        "Resolvers used to find the authoritative servers; an empty list is the system's",
        parse_resolver,
    );
    let mut nameservers = Vec::new();
    section.list(
        "nameservers",
        &mut nameservers,
        "Authoritative servers to ask in place of those that are found; for a hidden primary or a split view",
        parse_resolver,
    );
    (resolvers, nameservers)
}

/// The keys of `responder`: where it answers, and its own name.
fn read_responder(section: &mut Section<'_, '_>) -> (Vec<SocketAddr>, Option<String>) {
    let mut listen = vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 53))];
    section.list(
        "listen",
        &mut listen,
        "UDP and TCP addresses that `responder` answers on",
        |text| value::socket_address(text, 53),
    );
    section.refuse_empty(
        "listen",
        "write `listen = [\"[::]:53\"]`, or remove the key",
    );
    let name_server = section.maybe_text(
        "name_server",
        "`ns.` and the zone",
        "The name that the delegation's NS record points to, for `responder`",
        value::dns_name,
    );
    (listen, name_server)
}

/// An address; port 53 if it has none.
fn parse_resolver(text: &str) -> Result<SocketAddr, Flaw> {
    let address = text
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, 53));
    let address = address.or_else(|_with_port| text.parse());
    address.map_err(|_neither| Flaw::new("not an address", "write `9.9.9.9` or `9.9.9.9:53`"))
}

/// Refuses keys of other providers and asks for the ones that this provider needs.
fn check_own_keys(section: &mut Section<'_, '_>, provider: ProviderName) {
    let word = |provider| {
        PROVIDERS
            .iter()
            .find(|(_, known)| *known == provider)
            .map_or("", |(word, _)| *word)
    };
    for (key, owners) in OWN_KEYS {
        if section.has(key) && !owners.contains(&provider) {
            let message = format!(
                "the key has no use with `provider = \"{}\"`",
                word(provider)
            );
            let owners: Vec<String> = owners
                .iter()
                .map(|owner| format!("`provider = \"{}\"`", word(*owner)))
                .collect();
            let hint = format!("remove it, or set {}", owners.join(" or "));
            section.refuse(key, &message, &hint);
        }
    }
    let needed = match provider {
        ProviderName::Rfc2136 | ProviderName::DigitalOcean => Some((
            "credentials",
            "write `credentials = \"credential:dns\"` for the one that systemd passes, or a path to a file of mode 0600",
        )),
        ProviderName::Exec => Some(("command", "write `command = \"/usr/local/bin/dns-hook\"`")),
        ProviderName::Responder | ProviderName::Manual | ProviderName::None => None,
    };
    if let Some((key, hint)) = needed
        && !section.has(key)
    {
        section.missing(key, hint);
    }
}

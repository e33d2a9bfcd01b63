//! `[acme.dns]`: how the TXT records of DNS-01 are published.

mod own_keys;
mod services;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use self::own_keys::{check_own_keys, parse_endpoint, read_hooks};
use super::certificates::Challenge;
use super::problem::Flaw;
use super::reader::Reader;
use super::secret::CredentialSource;
use super::section::Section;
use super::value;

pub use self::services::{Client, SERVICES, Service, Tested, Values};

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
    /// Whether a name server that no address of answers is passed over once the timeout is reached. Default `false`.
    pub allow_dead_ns: bool,
    /// Resolvers used to find the authoritative servers. Default: empty, the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Authoritative servers to ask, in place of those that are found through the resolvers: for a hidden primary, a
    /// split view, or a test. Default: empty.
    pub nameservers: Vec<SocketAddr>,
    /// Resolvers that must show the records too, once every authoritative server does. Default: empty.
    pub check_resolvers: Vec<SocketAddr>,
    /// The port of the servers that are found: 53. No key sets it; tests do, whose servers cannot have that port.
    pub port: u16,
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
    /// `"acme-dns"`: a server of the acme-dns project; `credentials` names the JSON file of its clients.
    AcmeDns {
        /// The JSON file.
        credentials: CredentialSource,
        /// The server's URL, for files that do not name it.
        endpoint: Option<String>,
    },
    /// `"httpreq"`: lego's JSON over HTTP; `credentials` names an ini file with `httpreq_endpoint`.
    HttpReq {
        /// The ini file.
        credentials: CredentialSource,
    },
    /// A hosted service that the `dns-update` library knows; `credentials` names an ini file with the service's keys.
    Hosted {
        /// Which.
        service: &'static Service,
        /// The file.
        credentials: CredentialSource,
    },
    /// `"exec"` with `hook = "lego"`: a hook of the operator's, called as lego calls it.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// `"exec"` with `hook = "certbot"`: hooks of the operator's, called as certbot calls them.
    CertbotHook {
        /// What `--manual-auth-hook` would name: program and arguments.
        auth: Vec<String>,
        /// What `--manual-cleanup-hook` would name.
        cleanup: Vec<String>,
    },
    /// `"manual"`: the record is printed and a person publishes it.
    Manual,
    /// No `provider`: nothing is published, which is enough for `dns-persist-01`.
    None,
}

impl DnsProvider {
    /// The file that holds its secrets, if it has any.
    #[must_use]
    pub fn credentials(&self) -> Option<&CredentialSource> {
        match self {
            Self::Rfc2136 { credentials }
            | Self::AcmeDns { credentials, .. }
            | Self::HttpReq { credentials }
            | Self::Hosted { credentials, .. } => Some(credentials),
            Self::Responder { .. }
            | Self::Exec { .. }
            | Self::CertbotHook { .. }
            | Self::Manual
            | Self::None => None,
        }
    }
}

const PROPAGATION: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

impl Default for Dns {
    /// The system's resolvers and no provider.
    fn default() -> Self {
        Self {
            provider: DnsProvider::None,
            zone: None,
            propagation_floor: Duration::ZERO,
            propagation_timeout: Duration::from_secs(120),
            allow_dead_ns: false,
            resolvers: Vec::new(),
            nameservers: Vec::new(),
            check_resolvers: Vec::new(),
            port: 53,
        }
    }
}

impl Dns {
    /// `None` if the section is missing or names no provider that is known. Only some challenges need a provider.
    pub(super) fn read(reader: &mut Reader<'_>, challenge: Challenge) -> Option<Self> {
        let mut section = reader.section("acme.dns");
        let base = section.base();
        let service = section.maybe_text(
            "provider",
            "required for `dns-01` and `dns-account-01` unless `acme.run = \"off\"`",
            "How TXT records are published: `rfc2136`, `responder`, `acme-dns`, `httpreq`, `exec`, `manual` or a hosted service; `portico dns providers` lists all",
            parse_provider,
        );
        let credentials = section.maybe_text(
            "credentials",
            "required for most providers",
            "The file with the secrets (mode 0600), or `credential:NAME` for one that systemd passes",
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
        let mut allow_dead_ns = false;
        section.flag(
            "allow_dead_ns",
            &mut allow_dead_ns,
            "Whether a name server without any address that answers is passed over at the timeout, with a warning",
        );
        let [resolvers, nameservers, check_resolvers] = read_servers(&mut section);
        let responder = read_responder(&mut section);
        let endpoint = section.maybe_text(
            "endpoint",
            "as the credentials file says",
            "The server's URL, for `acme-dns`",
            parse_endpoint,
        );
        let hooks = read_hooks(&mut section);
        if !section.is_present() || (service.is_none() && section.has("provider")) {
            return None;
        }
        if service.is_none() && challenge.needs_provider() {
            let hint = "write `provider = \"digitalocean\"` or another one below `[acme.dns]`";
            section.missing("provider", hint);
            return None;
        }
        check_own_keys(&mut section, service);
        let provider = match service {
            None => DnsProvider::None,
            Some(service) => match service.name {
                "responder" => responder,
                "exec" => hooks?,
                "manual" => DnsProvider::Manual,
                _ => with_credentials(service, credentials?, endpoint),
            },
        };
        Some(Self {
            provider,
            zone,
            propagation_floor: Duration::from_secs(propagation_seconds),
            propagation_timeout,
            allow_dead_ns,
            resolvers,
            nameservers,
            check_resolvers,
            port: 53,
        })
    }
}

/// One of the providers that read a file.
fn with_credentials(
    service: &'static Service,
    credentials: CredentialSource,
    endpoint: Option<String>,
) -> DnsProvider {
    match service.name {
        "rfc2136" => DnsProvider::Rfc2136 { credentials },
        "acme-dns" => DnsProvider::AcmeDns {
            credentials,
            endpoint,
        },
        "httpreq" => DnsProvider::HttpReq { credentials },
        _ => DnsProvider::Hosted {
            service,
            credentials,
        },
    }
}

/// A provider's name.
fn parse_provider(text: &str) -> Result<&'static Service, Flaw> {
    let choices: Vec<(&str, &'static Service)> = SERVICES
        .iter()
        .map(|service| (service.name, service))
        .collect();
    value::choose(text, &choices).map_err(|flaw| match flaw.hint.starts_with("write ") {
        true => flaw,
        // Too many to be listed.
        false => Flaw::new(
            flaw.message,
            "`portico dns providers` lists them; for any other service write a hook (`provider = \"exec\"`) or \
             delegate to `provider = \"responder\"`",
        ),
    })
}

/// Who is asked: to find the authoritative servers, in their place, and after them.
fn read_servers(section: &mut Section<'_, '_>) -> [Vec<SocketAddr>; 3] {
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
    let mut check_resolvers = Vec::new();
    section.list(
        "check_resolvers",
        &mut check_resolvers,
        "Resolvers that must show the records too, after all authoritative servers do; one that does not answer is \
         passed over",
        parse_resolver,
    );
    [resolvers, nameservers, check_resolvers]
}

/// The keys of `responder`: where it answers, and its own name.
fn read_responder(section: &mut Section<'_, '_>) -> DnsProvider {
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
    DnsProvider::Responder {
        listen,
        name_server,
    }
}

/// An address; port 53 if it has none.
fn parse_resolver(text: &str) -> Result<SocketAddr, Flaw> {
    let address = text
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, 53));
    let address = address.or_else(|_with_port| text.parse());
    address.map_err(|_neither| Flaw::new("not an address", "write `9.9.9.9` or `9.9.9.9:53`"))
}

//! `[acme]` and `[acme.dns]`: where certificates come from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The ACME client's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Acme {
    /// Contact given to the CA. Default: none.
    pub email: Option<String>,
    /// The CA's directory URL. Default: Let's Encrypt production.
    pub directory: String,
    /// Extra root certificates (PEM) for the connection to the CA, for a private CA or Pebble. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Certificate profile to ask for, as in `tlsserver`. Default: none, the CA's own choice.
    pub profile: Option<String>,
    /// Who renews. Default [`AcmeRun::Timer`].
    pub run: AcmeRun,
    /// How DNS-01 is answered. Default: none, which is an error unless `run = "off"`.
    pub dns: Option<Dns>,
}

/// Who runs renewals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeRun {
    /// `"timer"`: the systemd timer, in a unit of its own; the proxy only loads what it finds.
    Timer,
    /// `"daemon"`: a task inside `portico run`, for containers and the demo.
    Daemon,
    /// `"off"`: nobody; certificates are put into the store by `portico cert import`.
    Off,
}

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
}

/// The ways to publish a TXT record.
#[derive(Debug, Clone, PartialEq)]
pub enum DnsProvider {
    /// `"rfc2136"`: dynamic update signed with TSIG; `credentials` names an ini file with certbot's keys
    /// `dns_rfc2136_server`, `dns_rfc2136_port`, `dns_rfc2136_name`, `dns_rfc2136_secret`, `dns_rfc2136_algorithm`.
    Rfc2136 {
        /// The ini file.
        credentials: PathBuf,
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
        credentials: PathBuf,
    },
    /// `"exec"`: a hook of the operator's, called with certbot's variables.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// `"manual"`: the record is printed and a person publishes it.
    Manual,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            email: None,
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            ca_file: None,
            profile: None,
            run: AcmeRun::Timer,
            dns: None,
        }
    }
}

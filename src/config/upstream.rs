//! `[upstream]`: where requests go.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::listen::{AdminAddress, Listen};
use super::problem::Flaw;
use super::reader::Reader;
use super::value::{self, TIMEOUT};

/// The app servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The servers of the pool. No default: at least one is needed.
    pub servers: Vec<UpstreamAddress>,
    /// Longest wait for a connection. Default `3s`.
    pub connect_timeout: Duration,
    /// Longest wait for the head of a response. Default `60s`.
    pub response_timeout: Duration,
    /// How long an unused connection is kept. Below gunicorn's keep-alive of 2 s, so that Portico and not the app
    /// closes first. Default `1500ms`.
    pub keepalive: Duration,
    /// Unused connections kept by each worker for each server. Default 256.
    pub keepalive_connections: usize,
}

/// One app server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpstreamAddress {
    /// `"http://127.0.0.1:8000"` or `"http://app.internal:8000"`.
    Tcp {
        /// Name or address.
        host: String,
        /// Port; 80 if the URL has none.
        port: u16,
    },
    /// `"unix:/run/gunicorn.sock"`.
    Unix(PathBuf),
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(60),
            keepalive: Duration::from_millis(1500),
            keepalive_connections: 256,
        }
    }
}

impl Upstream {
    /// `listen` is needed to refuse a loop.
    pub(super) fn read(reader: &mut Reader<'_>, listen: &Listen) -> Self {
        let mut section = reader.section("upstream");
        let mut upstream = Self::default();
        let base = section.base();
        upstream.servers = section.required_list(
            "servers",
            "unix:/run/gunicorn.sock",
            "The app servers: `http://host:port` or `unix:/path`",
            |text| {
                let address = UpstreamAddress::parse(text, base)?;
                if address.is_own(listen) {
                    return Err(Flaw::new(
                        "Portico itself listens there, so each request would go round for ever",
                        "name the address that the app server listens on",
                    ));
                }
                Ok(address)
            },
        );
        section.duration(
            "connect_timeout",
            &mut upstream.connect_timeout,
            TIMEOUT,
            "Longest wait for a connection to an app server",
        );
        section.duration(
            "response_timeout",
            &mut upstream.response_timeout,
            TIMEOUT,
            "Longest wait for the head of a response",
        );
        section.duration(
            "keepalive",
            &mut upstream.keepalive,
            TIMEOUT,
            "How long an unused connection is kept; must be below the app server's own keep-alive",
        );
        section.number(
            "keepalive_connections",
            &mut upstream.keepalive_connections,
            0..=65_536,
            "Unused connections kept by each worker for each server; 0 closes each after its response",
        );
        upstream
    }
}

/// What an app server's address may look like.
const SHAPES: &str = "write `http://127.0.0.1:8000` or `unix:/run/app.sock`";

impl UpstreamAddress {
    fn parse(text: &str, base: &Path) -> Result<Self, Flaw> {
        if let Some(path) = text.strip_prefix("unix:") {
            return value::socket_path(path, base).map(Self::Unix);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let hint = match Self::parse(&format!("http://{text}"), base) {
                _ if text.starts_with('/') => format!("write `unix:{text}`"),
                Ok(address) => format!("write `{address}`"),
                Err(flaw) if flaw.hide => return Err(flaw),
                Err(_) => SHAPES.to_owned(),
            };
            return Err(Flaw::new("neither `http://` nor `unix:`", hint));
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') {
            let hint = "remove everything up to the `@`: Portico does not log in to app servers";
            return Err(Flaw::new("a user name or password in the address", hint).hidden());
        }
        match scheme {
            "http" if authority != rest => {
                let hint = format!("write `http://{authority}`: each request keeps its own path");
                Err(Flaw::new(
                    "an app server is an address without a path",
                    hint,
                ))
            }
            "http" => Self::parse_authority(authority),
            "https" => Err(Flaw::new(
                "https to app servers is not supported yet",
                SHAPES,
            )),
            _ => Err(Flaw::new("neither `http://` nor `unix:`", SHAPES)),
        }
    }

    fn parse_authority(authority: &str) -> Result<Self, Flaw> {
        let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(brackets) => {
                let (inner, port) = brackets.unwrap_or_default();
                let Ok(address) = inner.parse::<Ipv6Addr>() else {
                    return Err(Flaw::new(
                        "not an IPv6 address in the brackets",
                        "write `http://[::1]:8000`",
                    ));
                };
                (address.to_string(), port)
            }
            None => {
                let (host, port) =
                    authority.split_at(authority.find(':').unwrap_or(authority.len()));
                if port
                    .strip_prefix(':')
                    .is_some_and(|rest| rest.contains(':'))
                {
                    return Err(Flaw::new(
                        "an IPv6 address stands in brackets",
                        "write `http://[::1]:8000`",
                    ));
                }
                let address = host.parse::<Ipv4Addr>().map(|address| address.to_string());
                let name = address.or_else(|_name| value::dns_name(host));
                (
                    name.map_err(|_neither| Flaw::new("neither a name nor an address", SHAPES))?,
                    port,
                )
            }
        };
        let port = match port.strip_prefix(':') {
            None => Some(80).filter(|_| port.is_empty()),
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0 && !digits.starts_with('+')),
        };
        match port {
            Some(port) => Ok(Self::Tcp { host, port }),
            None => Err(Flaw::new(
                "the port is not a number from 1 to 65535",
                SHAPES,
            )),
        }
    }

    /// Whether a connection to this address ends at one of Portico's own listeners.
    fn is_own(&self, listen: &Listen) -> bool {
        let (host, port) = match self {
            Self::Unix(path) => {
                return matches!(&listen.admin, AdminAddress::Unix(own) if own == path);
            }
            Self::Tcp { host, port } => (host, *port),
        };
        let loopback = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ];
        let addresses = match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
            // To connect to the unspecified address is to connect to this machine.
            Ok(address) if address.is_unspecified() => loopback.to_vec(),
            Ok(address) => vec![address],
            Err(_) if host == "localhost" || host.ends_with(".localhost") => loopback.to_vec(),
            Err(_) => Vec::new(),
        };
        listen
            .addresses()
            .filter(|own| own.port() == port)
            .any(|own| {
                let own = own.ip().to_canonical();
                addresses.iter().any(|address| {
                    // `[::]` takes IPv4 as well.
                    let all = own.is_unspecified() && (own.is_ipv6() || address.is_ipv4());
                    own == *address || (all && address.is_loopback())
                })
            })
    }
}

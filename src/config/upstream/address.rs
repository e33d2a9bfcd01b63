//! Addresses of app servers, as `upstream.servers` has them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::super::listen::{AdminAddress, Listen};
use super::super::problem::Flaw;
use super::super::value;

/// One server of `upstream.servers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it is and how it is spoken to.
    pub address: UpstreamAddress,
    /// Its share of the requests, beside the others' weights: 1 to 1000.
    pub weight: u32,
}

/// Where an app server is, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpstreamAddress {
    /// `"http://127.0.0.1:8000"`, `"https://app.internal"` or `"h2c://127.0.0.1:50051"`.
    Tcp {
        /// The scheme.
        transport: Transport,
        /// Name or address.
        host: String,
        /// Port; 80 if the URL has none, 443 for `https`.
        port: u16,
    },
    /// `"unix:/run/gunicorn.sock"`, spoken to in HTTP/1.1.
    Unix(PathBuf),
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// `http`: HTTP/1.1.
    Http,
    /// `h2c`: HTTP/2 without TLS, with prior knowledge (RFC 9113 §3.3).
    H2c,
    /// `https`: TLS, verified; HTTP/2 or HTTP/1.1 by ALPN.
    Https,
}

impl Transport {
    fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp {
                transport,
                host,
                port,
            } => {
                let scheme = transport.scheme();
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for UpstreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weight {
            1 => self.address.fmt(f),
            weight => write!(f, "{} weight={weight}", self.address),
        }
    }
}

impl From<UpstreamAddress> for UpstreamServer {
    fn from(address: UpstreamAddress) -> Self {
        Self { address, weight: 1 }
    }
}

impl UpstreamServer {
    pub(super) fn parse(text: &str, base: &Path, listen: &Listen) -> Result<Self, Flaw> {
        let (address, weight) = match text.split_once(" weight=") {
            None => (text, 1),
            Some((address, digits)) => {
                let weight = digits
                    .parse()
                    .ok()
                    .filter(|weight| (1..=1000).contains(weight) && !digits.starts_with('+'));
                let Some(weight) = weight else {
                    return Err(Flaw::new(
                        "the weight is not a number from 1 to 1000",
                        format!("write `{address} weight=2`"),
                    ));
                };
                (address, weight)
            }
        };
        let address = UpstreamAddress::parse(address, base)?;
        if address.is_own(listen) {
            return Err(Flaw::new(
                "Portico itself listens there, so each request would go round for ever",
                "name the address that the app server listens on",
            ));
        }
        Ok(Self { address, weight })
    }
}

/// What an app server's address may look like.
const SHAPES: &str = "write `http://127.0.0.1:8000` or `unix:/run/app.sock`";
/// What is wrong with anything else.
const UNKNOWN: &str = "neither `http://`, `https://`, `h2c://` nor `unix:`";

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
            return Err(Flaw::new(UNKNOWN, hint));
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') {
            let hint = "remove everything up to the `@`: Portico does not log in to app servers";
            return Err(Flaw::new("a user name or password in the address", hint).hidden());
        }
        let transport = match scheme {
            "http" => Transport::Http,
            "h2c" => Transport::H2c,
            "https" => Transport::Https,
            _ => return Err(Flaw::new(UNKNOWN, SHAPES)),
        };
        if authority != rest {
            let hint = format!("write `{scheme}://{authority}`: each request keeps its own path");
            return Err(Flaw::new(
                "an app server is an address without a path",
                hint,
            ));
        }
        Self::parse_authority(transport, authority)
    }

    fn parse_authority(transport: Transport, authority: &str) -> Result<Self, Flaw> {
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
            None if transport == Transport::Https => Some(443).filter(|_| port.is_empty()),
            None => Some(80).filter(|_| port.is_empty()),
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0 && !digits.starts_with('+')),
        };
        match port {
            Some(port) => Ok(Self::Tcp {
                transport,
                host,
                port,
            }),
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
            Self::Tcp { host, port, .. } => (host, *port),
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

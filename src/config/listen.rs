//! `[listen]`: the sockets.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::problem::Flaw;
use super::reader::Reader;
use super::value;

/// Where Portico listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// TLS listeners. Default `["[::]:443"]`, which takes IPv4 as well.
    pub https: Vec<SocketAddr>,
    /// Plain listeners: they redirect to https, and answer the CA for http-01. Default `["[::]:80"]`.
    pub http: Vec<SocketAddr>,
    /// Health, metrics and status. Default `127.0.0.1:9180`.
    pub admin: AdminAddress,
    /// Networks whose connections to both kinds of listeners begin with a header of the PROXY protocol, version 1 or 2.
    /// Default: none. From elsewhere the header is not looked for, so there it is a malformed request.
    pub proxy_protocol: Vec<IpNet>,
    /// The port that clients see, if it differs from the listener's (behind NAT or a port forward). Default: none,
    /// each listener's own.
    pub public_port: Option<u16>,
}

/// The address of the admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// `"127.0.0.1:9180"`; only loopback addresses are accepted.
    Tcp(SocketAddr),
    /// `"unix:/run/portico/admin.sock"`.
    Unix(PathBuf),
    /// `"off"`.
    Off,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            https: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 443))],
            http: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80))],
            admin: AdminAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 9180))),
            proxy_protocol: Vec::new(),
            public_port: None,
        }
    }
}

impl Listen {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("listen");
        let mut listen = Self::default();
        let base = section.base();
        section.list(
            "https",
            &mut listen.https,
            "TLS listeners; `[::]` takes IPv4 as well",
            |text| value::socket_address(text, 443),
        );
        section.refuse_empty("https", "write `https = [\"[::]:443\"]`, or remove the key");
        let taken = listen.https.clone();
        section.list(
            "http",
            &mut listen.http,
            "Plain listeners: they redirect to https, and answer the CA for `http-01`",
            |text| free(value::socket_address(text, 80)?, &taken),
        );
        let taken = [listen.https.clone(), listen.http.clone()].concat();
        section.text(
            "admin",
            &mut listen.admin,
            "Health, metrics and status: a loopback address, `unix:` with a path, or `off`",
            |text| match AdminAddress::parse(text, base)? {
                AdminAddress::Tcp(address) => free(address, &taken).map(AdminAddress::Tcp),
                other => Ok(other),
            },
        );
        section.list(
            "proxy_protocol",
            &mut listen.proxy_protocol,
            "Networks of load balancers whose connections must begin with a PROXY protocol header (version 1 or 2)",
            value::trusted_network,
        );
        listen.public_port = section.maybe_number(
            "public_port",
            "each listener's own port",
            1..=65535,
            "The port that clients see, if a port forward changes it",
        );
        listen
    }

    /// All addresses that Portico itself answers on.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let admin = match self.admin {
            AdminAddress::Tcp(address) => Some(address),
            AdminAddress::Unix(_) | AdminAddress::Off => None,
        };
        self.https.iter().chain(&self.http).copied().chain(admin)
    }
}

/// Refuses the address of another listener. Port 0 is a free port, another one each time.
fn free(address: SocketAddr, taken: &[SocketAddr]) -> Result<SocketAddr, Flaw> {
    if address.port() != 0 && taken.contains(&address) {
        return Err(Flaw::new(
            "another listener has this address",
            "choose another port",
        ));
    }
    Ok(address)
}

impl AdminAddress {
    fn parse(text: &str, base: &Path) -> Result<Self, Flaw> {
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return value::socket_path(path, base).map(Self::Unix);
        }
        let address = value::socket_address(text, 9180)?;
        if !address.ip().to_canonical().is_loopback() {
            let hint = format!(
                "write `127.0.0.1:{}`, `unix:/run/portico/admin.sock` or `off`",
                address.port()
            );
            return Err(Flaw::new(
                "the admin listener is for this machine only",
                hint,
            ));
        }
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Off => f.write_str("off"),
        }
    }
}

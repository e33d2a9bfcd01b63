//! `[listen]`: the sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Where Portico listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// TLS listeners. Default `["[::]:443"]`, which takes IPv4 as well.
    pub https: Vec<SocketAddr>,
    /// Plain listeners: they redirect to https and answer nothing else. Default `["[::]:80"]`.
    pub http: Vec<SocketAddr>,
    /// Health, metrics and status. Default `127.0.0.1:9180`.
    pub admin: AdminAddress,
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
            public_port: None,
        }
    }
}

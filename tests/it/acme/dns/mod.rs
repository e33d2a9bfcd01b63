//! DNS-01 through everything that DNS can be: several name servers, recursors with caches and views of their own, CNAMEs,
//! delegations, services that fail half-way. The names `case_NN` are those of the list of failure cases in `tests/ACME.md`.

mod agreement;
pub(super) mod delegation;
mod digitalocean;
mod hooks;
mod refusals;
mod servers;
mod services;
mod sharing;
mod verbs;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;
use std::time::Duration;

use portico::cli::cert::Verdict;
use portico::config::{Config, DnsProvider};
use tempfile::TempDir;

use super::issue;
use crate::support::bind::Bind;
use crate::support::knot::{KEY_SECRET, Knot, nsupdate};
use crate::support::pebble::Pebble;
use crate::support::port;
use crate::support::unbound::Unbound;

/// Which implementation is the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brand {
    Knot,
    Bind,
}

const BRANDS: [Brand; 2] = [Brand::Knot, Brand::Bind];

/// An authority of either brand whose key may change every TXT record.
pub(super) enum Authority {
    Knot(Knot),
    Bind(Bind),
}

impl Authority {
    /// Starts it; BIND listens on addresses that an interface has, and of loopback's that is 127.0.0.1 alone.
    pub(super) fn start(brand: Brand, address: SocketAddr, zones: &[(&str, String)]) -> Self {
        match brand {
            Brand::Knot => Self::Knot(Knot::at(address, zones)),
            Brand::Bind => Self::Bind(Bind::at(address, zones)),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Knot(server) => server.address(),
            Self::Bind(server) => server.address(),
        }
    }

    pub(super) fn txt(&self, name: &str) -> Vec<String> {
        crate::support::dns::txt(self.address(), name)
    }

    pub(super) fn update(&self, zone: &str, lines: &[&str]) -> Output {
        nsupdate(self.address(), KEY_SECRET, zone, lines)
    }
}

/// Addresses of loopback that have one port in common, as name servers have 53.
#[derive(Debug, Clone, Copy)]
struct Lab {
    port: u16,
}

impl Lab {
    fn new() -> Self {
        Self { port: port::free() }
    }

    /// `127.0.0.last`.
    fn at(self, last: u8) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), self.port))
    }

    /// The settings of an operator whose resolver is `resolver` and whose name servers have our port.
    fn config(
        self,
        state: &TempDir,
        pebble: &Pebble,
        provider: DnsProvider,
        resolver: &Unbound,
    ) -> Config {
        let mut config = issue::config(state.path(), pebble, provider, resolver.address());
        let dns = config.acme.dns.as_mut().unwrap();
        dns.nameservers = Vec::new();
        dns.resolvers = vec![resolver.address()];
        dns.port = self.port;
        dns.propagation_timeout = Duration::from_secs(60);
        config
    }
}

/// A zone with a name server `ns1`, `ns2` … for each address, and lines of its own.
pub(super) fn zone(name: &str, servers: &[u8], lines: &str) -> (String, String) {
    let mut text = format!("$ORIGIN {name}.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 900 86400 60\n");
    for (index, last) in servers.iter().enumerate() {
        let number = index + 1;
        let _ = write!(text, "@ NS ns{number}\nns{number} A 127.0.0.{last}\n");
    }
    let _ = write!(text, "@ A 127.0.0.1\n* A 127.0.0.1\n{lines}");
    (name.to_owned(), text)
}

/// What a server takes.
pub(super) fn zones(all: &[(String, String)]) -> Vec<(&str, String)> {
    all.iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect()
}

/// Does what is due while the test looks on.
fn background(config: Config) -> tokio::task::JoinHandle<(Verdict, String)> {
    tokio::task::spawn_blocking(move || {
        tokio::runtime::Handle::current().block_on(issue::run(&config, issue::DUE))
    })
}

/// How many challenges the CA was told to look at.
fn challenge_posts(pebble: &Pebble) -> usize {
    posts(pebble, "/chalZ/")
}

/// How many orders were asked for.
fn new_orders(pebble: &Pebble) -> usize {
    posts(pebble, "/order-plz")
}

fn posts(pebble: &Pebble, path: &str) -> usize {
    let line = format!("POST {path}");
    pebble.log().matches(&line).count()
}

//! `[upstream]`: where requests go.

mod address;

use std::path::PathBuf;
use std::time::Duration;

use super::listen::Listen;
use super::problem::Flaw;
use super::reader::Reader;
use super::section::Section;
use super::value::{self, TIMEOUT};

pub use self::address::{Transport, UpstreamAddress, UpstreamServer};

/// The app servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The servers. No default: at least one is needed.
    pub servers: Vec<UpstreamServer>,
    /// Longest wait for a connection, TLS included. Default `3s`.
    pub connect_timeout: Duration,
    /// Longest wait for the head of a response. Default `60s`.
    pub response_timeout: Duration,
    /// How long an unused connection is kept. Below gunicorn's keep-alive of 2 s, so that Portico and not the app
    /// closes first. Default `1500ms`.
    pub keepalive: Duration,
    /// Unused connections kept by each worker for each server. Default 256.
    pub keepalive_connections: usize,
    /// Whether each connection to a server begins with a PROXY protocol header (version 2) that names the client. Such
    /// a connection carries one request. Default false.
    pub send_proxy_protocol: bool,
    /// Most requests under way on each server, of all workers together.
    pub server_requests: Option<u32>,
    /// Most connections to each server, of all workers together.
    pub server_connections: Option<u32>,
    /// Most requests that wait while all servers are full. Default 100.
    pub queue: u32,
    /// Longest wait in that queue. Default `5s`.
    pub queue_timeout: Duration,
    /// Repeated requests for each 100 first ones. Default 20.
    pub retry_percent: u32,
    /// Failures in a row after which a server is left alone; 0 is never. Default 5.
    pub eject_failures: u32,
    /// For how long, the first time. Default `5s`.
    pub eject_time: Duration,
    /// How long a server that is back gets less than its share. Default `10s`.
    pub slow_start: Duration,
    /// How often names are looked up. Default `30s`.
    pub resolve_interval: Duration,
    /// Active probes, if `upstream.probe.path` is set.
    pub probe: Option<Probe>,
    /// TLS to servers with `https`.
    pub tls: UpstreamTls,
}

/// How each server is asked whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The path that is asked for.
    pub path: String,
    /// `Host`; without it the first base domain.
    pub host: Option<String>,
    /// From one probe to the next. Default `5s`.
    pub interval: Duration,
    /// Longest wait for the answer, connection included. Default `2s`.
    pub timeout: Duration,
    /// Good answers in a row that bring a server back. Default 2.
    pub rise: u32,
    /// Bad ones in a row that take it out. Default 3.
    pub fall: u32,
    /// Good statuses, first and last. Default `200-399`.
    pub status: (u16, u16),
}

/// How servers with `https` are verified. Verification cannot be switched off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Roots (PEM) to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificate must have; without it the server's own.
    pub server_name: Option<String>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            path: String::new(),
            host: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            status: (200, 399),
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
            send_proxy_protocol: false,
            server_requests: None,
            server_connections: None,
            queue: 100,
            queue_timeout: Duration::from_secs(5),
            retry_percent: 20,
            eject_failures: 5,
            eject_time: Duration::from_secs(5),
            slow_start: Duration::from_secs(10),
            resolve_interval: Duration::from_secs(30),
            probe: None,
            tls: UpstreamTls::default(),
        }
    }
}

/// How long a server may be left alone at first, or wait for the next look-up of its name.
const PAUSE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(3600);

impl Upstream {
    /// `listen` is needed to refuse a loop.
    pub(super) fn read(reader: &mut Reader<'_>, listen: &Listen) -> Self {
        Self::read_group(reader, "upstream", listen)
    }

    /// The same keys in the section `name`.
    pub(super) fn read_group(reader: &mut Reader<'_>, name: &str, listen: &Listen) -> Self {
        let mut upstream = Self::default();
        let mut section = reader.section(name.to_owned());
        let base = section.base();
        upstream.servers = section.required_list(
            "servers",
            "unix:/run/gunicorn.sock",
            "The app servers: `http://host:port`, `https://host:port`, `h2c://host:port` (HTTP/2 without TLS) or \
             `unix:/path`; ` weight=2` behind it doubles a server's share",
            |text| UpstreamServer::parse(text, base, listen),
        );
        upstream.refuse_twice(&mut section);
        upstream.read_connections(&mut section);
        upstream.refuse_proxy_protocol(&mut section);
        upstream.read_failures(&mut section);
        upstream.probe = Probe::read(name, &mut reader.section(format!("{name}.probe")));
        let https = upstream.servers.iter().any(|server| {
            matches!(&server.address, UpstreamAddress::Tcp { transport, .. } if *transport == Transport::Https)
        });
        upstream.tls = UpstreamTls::read(name, &mut reader.section(format!("{name}.tls")), https);
        upstream
    }

    /// One address with two weights.
    fn refuse_twice(&self, section: &mut Section<'_, '_>) {
        for (at, server) in self.servers.iter().enumerate() {
            let before = self.servers.iter().take(at);
            if before.clone().any(|other| other.address == server.address) {
                let message = format!("`{}` is listed twice, with two weights", server.address);
                section.refuse("servers", &message, "remove one of the two");
            }
        }
    }

    /// HTTP/2 is for many requests on a connection, and a header names the client of all of them.
    fn refuse_proxy_protocol(&self, section: &mut Section<'_, '_>) {
        let h2c = self.servers.iter().find(|server| {
            matches!(&server.address, UpstreamAddress::Tcp { transport, .. } if *transport == Transport::H2c)
        });
        if self.send_proxy_protocol
            && let Some(server) = h2c
        {
            let message = format!(
                "a PROXY protocol header names one client, and connections to `{}` are shared",
                server.address
            );
            let hint = "set `send_proxy_protocol = false`, or use `http://` or `https://`; h2c apps read \
                        `X-Forwarded-For`";
            section.refuse("send_proxy_protocol", &message, hint);
        }
    }

    fn read_connections(&mut self, section: &mut Section<'_, '_>) {
        section.duration(
            "connect_timeout",
            &mut self.connect_timeout,
            TIMEOUT,
            "Longest wait for a connection to an app server",
        );
        section.duration(
            "response_timeout",
            &mut self.response_timeout,
            TIMEOUT,
            "Longest wait for the head of a response",
        );
        section.duration(
            "keepalive",
            &mut self.keepalive,
            TIMEOUT,
            "How long an unused connection is kept; must be below the app server's own keep-alive",
        );
        section.number(
            "keepalive_connections",
            &mut self.keepalive_connections,
            0..=65_536,
            "Unused connections kept by each worker for each server; 0 closes each after its response",
        );
        section.flag(
            "send_proxy_protocol",
            &mut self.send_proxy_protocol,
            "Whether each connection to an app server begins with a PROXY protocol header (version 2) that names the \
             client; each request then has a connection of its own",
        );
        self.server_requests = section.maybe_number(
            "server_requests",
            "no limit",
            1..=1_000_000,
            "Requests under way at once on each server, all workers together; more wait in the queue",
        );
        self.server_connections = section.maybe_number(
            "server_connections",
            "no limit",
            1..=1_000_000,
            "Connections at once to each server, all workers together",
        );
        section.number(
            "queue",
            &mut self.queue,
            0..=1_000_000,
            "Requests that may wait while every server is at its limit; beyond it, 503",
        );
        section.duration(
            "queue_timeout",
            &mut self.queue_timeout,
            TIMEOUT,
            "Longest wait in the queue; then 503",
        );
    }

    fn read_failures(&mut self, section: &mut Section<'_, '_>) {
        section.number(
            "retry_percent",
            &mut self.retry_percent,
            0..=100,
            "Requests sent again, where that is safe, for each 100 requests; 10 in a second are always allowed; 0 \
             sends none again that was written",
        );
        section.number(
            "eject_failures",
            &mut self.eject_failures,
            0..=1000,
            "Failed connections and exchanges in a row after which a server is left alone while others are there; 0 \
             is never",
        );
        section.duration(
            "eject_time",
            &mut self.eject_time,
            PAUSE,
            "For how long; each time in a row twice as long, up to 32 times",
        );
        section.duration(
            "slow_start",
            &mut self.slow_start,
            Duration::ZERO..=Duration::from_secs(3600),
            "How long a server that is back after a failure gets less than its share; `0s` is not at all",
        );
        section.duration(
            "resolve_interval",
            &mut self.resolve_interval,
            PAUSE,
            "How often the names of servers are looked up again; all addresses of a name are used",
        );
    }
}

impl Probe {
    fn read(group: &str, section: &mut Section<'_, '_>) -> Option<Self> {
        let mut probe = Self::default();
        let path = section.maybe_text(
            "path",
            "no probes",
            "The path that each server is asked for to see whether it is well",
            |text| {
                if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    let hint = "write a path, as in `/healthz`";
                    return Err(Flaw::new("not a path", hint));
                }
                Ok(text.to_owned())
            },
        );
        probe.host = section.maybe_text(
            "host",
            "the first of `domains`",
            "`Host` of a probe; the app must accept it",
            |text| value::host(text).map(|host| host.to_string()),
        );
        section.duration(
            "interval",
            &mut probe.interval,
            PAUSE,
            "From one probe of a server to the next",
        );
        section.duration(
            "timeout",
            &mut probe.timeout,
            TIMEOUT,
            "Longest wait for a probe's answer, the connection included",
        );
        section.number(
            "rise",
            &mut probe.rise,
            1..=100,
            "Good answers in a row that bring a server back",
        );
        section.number(
            "fall",
            &mut probe.fall,
            1..=100,
            "Bad answers in a row that take a server out",
        );
        let mut status = StatusRange(probe.status);
        section.text(
            "status",
            &mut status,
            "Statuses that are good answers: one, or a range",
            StatusRange::parse,
        );
        probe.status = status.0;
        match path {
            Some(path) => Some(Self { path, ..probe }),
            None => {
                let keys = ["host", "interval", "timeout", "rise", "fall", "status"];
                if keys.iter().any(|key| section.has(key)) && !section.has("path") {
                    section.missing(
                        "path",
                        &format!("write `path = \"/healthz\"` below `[{group}.probe]`"),
                    );
                }
                None
            }
        }
    }
}

/// First and last of a range of statuses.
struct StatusRange((u16, u16));

impl StatusRange {
    fn parse(text: &str) -> Result<Self, Flaw> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>()
                .ok()
                .filter(|status| digits && (200..=599).contains(status))
        };
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self((first, last))),
            _ => Err(Flaw::new(
                "not a status or a range of them, within 200 and 599",
                "write `200` or `200-399`",
            )),
        }
    }
}

impl std::fmt::Display for StatusRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl UpstreamTls {
    /// `https`: whether any server is spoken to by TLS.
    fn read(group: &str, section: &mut Section<'_, '_>, https: bool) -> Self {
        let ca_file = section.maybe_path(
            "ca_file",
            "the system's roots",
            "Root certificates (PEM) that servers with `https` are verified by, in place of the system's",
        );
        let server_name = section.maybe_text(
            "server_name",
            "each server's own name or address",
            "The name that the certificates of servers with `https` must have",
            |text| value::host(text).map(|host| host.to_string()),
        );
        if !https {
            for key in ["ca_file", "server_name"] {
                if section.has(key) {
                    section.refuse(
                        key,
                        "the key has no use without a server with `https`",
                        &format!(
                            "write `https://host:port` in `{group}.servers`, or remove the key"
                        ),
                    );
                }
            }
        }
        Self {
            ca_file,
            server_name,
        }
    }
}

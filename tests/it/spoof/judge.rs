//! What an app may see of a request, judged without a line of the proxy's own code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderMap;

use crate::support::site::DOMAIN;

/// The tenants that requests are for.
pub(crate) const TENANTS: &[&str] = &[
    "acme",
    "globex",
    "initech",
    "umbrella-corp",
    "t7",
    "xn--bcher-kva",
];

/// How a request can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sin {
    /// No tenant line at all.
    NoTenant,
    /// More than one line that an app may read as the tenant's.
    TwoTenants,
    /// Another tenant than the host's.
    WrongTenant,
    /// A managed name that is not exactly the edge's own line.
    Managed,
    /// A name that a gateway would fold into another.
    Underscore,
    /// A header of one connection only.
    HopByHop,
    /// A managed name after the body.
    Trailer,
    /// `Host` is not there once, in its normal form.
    Host,
}

/// The names that an app reads once from the edge, with what they must say: `None` is anything but empty.
fn own(tenant: &str, host: &str, port: u16) -> [(&'static str, Option<String>); 7] {
    [
        ("x-forwarded-for", Some("127.0.0.1".to_owned())),
        ("x-forwarded-host", Some(host.to_owned())),
        ("x-forwarded-port", Some(port.to_string())),
        ("x-forwarded-proto", Some("https".to_owned())),
        ("x-real-ip", Some("127.0.0.1".to_owned())),
        ("x-request-id", None),
        ("x-tenant", Some(tenant.to_owned())),
    ]
}

/// Other names that only a proxy would say, folded.
const FOREIGN: &[&str] = &[
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "x-scheme",
    "x-url-scheme",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "client-ip",
    "front-end-https",
    "proxy",
    "script-name",
    "path-info",
    "remote-user",
    "remote-addr",
    "server-name",
    "server-port",
];

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "te",
    "upgrade",
    "proxy-connection",
    "x-hop",
];

/// Counts requests and keeps what is wrong with them. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Judge(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    port: AtomicUsize,
    http1: AtomicUsize,
    http2: AtomicUsize,
    trailers: AtomicUsize,
    sins: Mutex<BTreeMap<Sin, (usize, String)>>,
}

impl Judge {
    /// The https port that clients use, once it is known.
    pub(super) fn expect_port(&self, port: u16) {
        self.0.port.store(port.into(), Ordering::Relaxed);
    }

    /// Requests judged: HTTP/1.1, HTTP/2 and how many had trailers left.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (
            load(&self.0.http1),
            load(&self.0.http2),
            load(&self.0.trailers),
        )
    }

    /// Each sin with its count and its first example.
    pub(super) fn sins(&self) -> BTreeMap<Sin, (usize, String)> {
        self.0.sins.lock().expect("never held over a panic").clone()
    }

    /// Judges a request for `path`, which names its tenant.
    pub(super) fn head(&self, path: &str, headers: &HeaderMap) {
        let port = u16::try_from(self.0.port.load(Ordering::Relaxed)).expect("a port");
        let tenant = path.split('/').nth(1).unwrap_or_default();
        let via = headers.get_all("via").iter().next_back();
        let counter = match via.is_some_and(|via| via.as_bytes().starts_with(b"2 ")) {
            true => &self.0.http2,
            false => &self.0.http1,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        for sin in sins(tenant, port, headers) {
            self.note(sin, || format!("{path}: {headers:?}"));
        }
    }

    /// Judges the trailers of a request.
    pub(super) fn trailers(&self, path: &str, trailers: &HeaderMap) {
        self.0.trailers.fetch_add(1, Ordering::Relaxed);
        let bad = trailers.keys().any(|name| {
            let fold = fold(name.as_str());
            name.as_str().contains('_') || is_managed(&fold) || fold == "host"
        });
        if bad {
            self.note(Sin::Trailer, || format!("{path}: {trailers:?}"));
        }
    }

    fn note(&self, sin: Sin, example: impl FnOnce() -> String) {
        let mut sins = self.0.sins.lock().expect("never held over a panic");
        sins.entry(sin).or_insert_with(|| (0, example())).0 += 1;
    }
}

fn sins(tenant: &str, port: u16, headers: &HeaderMap) -> Vec<Sin> {
    let mut sins = Vec::new();
    let mut tenant_lines = 0;
    let name = format!("{tenant}.{DOMAIN}");
    let hosts: Vec<&[u8]> = headers
        .get_all("host")
        .iter()
        .map(|value| value.as_bytes())
        .collect();
    let with_port = format!("{name}:{port}");
    let host = match hosts[..] {
        [host] if host == name.as_bytes() => name.as_str(),
        [host] if host == with_port.as_bytes() => with_port.as_str(),
        _ => {
            sins.push(Sin::Host);
            ""
        }
    };
    let own = own(tenant, host, port);
    let mut seen = [0; 7];
    for (key, value) in headers {
        let key = key.as_str();
        if key.contains('_') {
            sins.push(Sin::Underscore);
        }
        // The edge's own: trailers pass through it in both directions.
        let trailers =
            (key == "te" && value == "trailers") || (key == "connection" && value == "te");
        if HOP_BY_HOP.contains(&key) && !trailers {
            sins.push(Sin::HopByHop);
        }
        let fold = fold(key);
        if fold.starts_with("x-tenant") && fold != "x-tenants" {
            tenant_lines += 1;
            if key == "x-tenant" && value != tenant {
                sins.push(Sin::WrongTenant);
            }
        }
        if let Some(at) = own.iter().position(|(name, _)| *name == key) {
            seen[at] += 1;
            let right = own[at].1.as_deref().is_none_or(|wanted| value == wanted);
            if key != "x-tenant" && (!right || value.is_empty()) {
                sins.push(Sin::Managed);
            }
        } else if is_managed(&fold) {
            sins.push(Sin::Managed);
        }
    }
    if seen[..6] != [1; 6] {
        sins.push(Sin::Managed);
    }
    match tenant_lines {
        0 => sins.push(Sin::NoTenant),
        1 if seen[6] == 1 => {}
        _ => sins.push(Sin::TwoTenants),
    }
    sins.sort();
    sins.dedup();
    sins
}

/// As CGI, WSGI, Rack and PHP do it, at their most generous.
fn fold(name: &str) -> String {
    let fold: String = name
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    fold.strip_prefix("http-")
        .map(str::to_owned)
        .unwrap_or(fold)
}

fn is_managed(fold: &str) -> bool {
    FOREIGN.contains(&fold)
        || fold == "x-tenant"
        || fold.starts_with("x-tenant-")
        || fold == "x-forwarded"
        || fold.starts_with("x-forwarded-")
}

//! `[upstream]`: where requests go.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Unused connections kept by each worker for each server. Default 64.
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
            keepalive_connections: 64,
        }
    }
}

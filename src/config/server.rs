//! `[server]`: workers and shutdown.

use std::time::Duration;

/// Process-wide settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Worker threads. Default: none, one for each core that the process may use.
    pub workers: Option<usize>,
    /// How long open requests and tunnels may go on after SIGTERM. Default `30s`.
    pub drain_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self { workers: None, drain_timeout: Duration::from_secs(30) }
    }
}

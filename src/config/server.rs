//! `[server]`: workers and shutdown.

use std::time::Duration;

use super::reader::Reader;
use super::value::TIMEOUT;

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
        Self {
            workers: None,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Server {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("server");
        let mut server = Self {
            workers: section.maybe_number(
                "workers",
                "one for each core",
                1..=1024,
                "Worker threads",
            ),
            ..Self::default()
        };
        section.duration(
            "drain_timeout",
            &mut server.drain_timeout,
            TIMEOUT,
            "How long open requests and tunnels may go on after SIGTERM",
        );
        server
    }
}

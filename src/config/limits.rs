//! `[limits]`: deadlines and caps. Every wait on a peer has one; all are by progress, none by total time.

use std::time::Duration;

use crate::units::ByteSize;

/// Deadlines and caps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once. Default: none, derived from the limit of open files.
    pub connections: Option<usize>,
    /// Client connections at once from one address (/64 for IPv6). 0 is no limit. Default 256.
    pub connections_per_address: usize,
    /// Longest TLS handshake. Default `10s`.
    pub handshake_timeout: Duration,
    /// Longest wait for a whole request head once its first byte, or the connection, is there. Default `10s`.
    pub header_timeout: Duration,
    /// Longest wait for the next bytes of a request body, and for the client to take bytes of an answer.
    /// Default `30s`.
    pub body_timeout: Duration,
    /// How long a connection without a request is kept. Default `60s`.
    pub idle_timeout: Duration,
    /// Longest silence of the app in the middle of an answer. Default `5m`.
    pub stream_timeout: Duration,
    /// Longest silence on an upgraded connection (WebSocket), both ways. Default `1h`.
    pub tunnel_timeout: Duration,
    /// Largest request head. Default `32KiB`.
    pub header_size: ByteSize,
    /// Largest request body. Default: none, no limit (bodies are streamed).
    pub body_size: Option<ByteSize>,
    /// HTTP/2 streams at once on one connection. Default 100.
    pub http2_streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_address: 256,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            stream_timeout: Duration::from_secs(300),
            tunnel_timeout: Duration::from_secs(3600),
            header_size: ByteSize(32 << 10),
            body_size: None,
            http2_streams: 100,
        }
    }
}

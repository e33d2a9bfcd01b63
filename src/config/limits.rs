//! `[limits]`: deadlines and caps. Every wait on a peer has one; all are by progress, none by total time.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Reader;
use super::section::Section;
use super::value::TIMEOUT;
use crate::units::ByteSize;

/// Deadlines and caps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once. Default: none, derived from the limit of open files.
    pub connections: Option<usize>,
    /// Client connections at once from one address (/64 for IPv6). 0 is no limit. Default 256.
    pub connections_per_address: usize,
    /// Requests on one connection, after which it is closed in good order. 0 is no limit, the default.
    pub requests_per_connection: u32,
    /// TLS handshakes of each worker that may wait for their turn at the processor; more are refused. Default 2048.
    pub handshakes: usize,
    /// Memory of this process beyond which requests get 503. Default: none, 80 % of what the machine or the control
    /// group has.
    pub memory: Option<ByteSize>,
    /// Least rate of a request's body, in bytes for each second spent waiting for the client. 0 is no limit.
    /// Default `64B`.
    pub body_rate: ByteSize,
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
            requests_per_connection: 0,
            handshakes: 2048,
            memory: None,
            body_rate: ByteSize(64),
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

/// A tunnel may be silent for longer than anything else.
const LONGEST_TUNNEL: Duration = Duration::from_secs(7 * 86400);
/// Below, ordinary cookies do not fit; above, one connection takes too much memory.
const HEADER_SIZES: RangeInclusive<ByteSize> = ByteSize(4 << 10)..=ByteSize(1 << 20);

impl Limits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("limits");
        let mut limits = Self {
            connections: section.maybe_number(
                "connections",
                "as many as the limit of open files allows",
                1..=10_000_000,
                "Client connections at once",
            ),
            ..Self::default()
        };
        limits.read_load(&mut section);
        for (name, slot, meaning) in [
            (
                "handshake_timeout",
                &mut limits.handshake_timeout,
                "Longest TLS handshake",
            ),
            (
                "header_timeout",
                &mut limits.header_timeout,
                "Longest wait for a whole request head",
            ),
            (
                "body_timeout",
                &mut limits.body_timeout,
                "Longest wait for the next bytes of a request body, and for the client to take bytes of an answer",
            ),
            (
                "idle_timeout",
                &mut limits.idle_timeout,
                "How long a connection without a request is kept",
            ),
            (
                "stream_timeout",
                &mut limits.stream_timeout,
                "Longest silence of the app in the middle of an answer",
            ),
        ] {
            section.duration(name, slot, TIMEOUT, meaning);
        }
        section.duration(
            "tunnel_timeout",
            &mut limits.tunnel_timeout,
            *TIMEOUT.start()..=LONGEST_TUNNEL,
            "Longest silence on an upgraded connection (WebSocket), both ways",
        );
        section.size(
            "header_size",
            &mut limits.header_size,
            HEADER_SIZES,
            "Largest request head",
        );
        limits.body_size = section.maybe_size(
            "body_size",
            "no limit",
            ByteSize(1)..=ByteSize(1 << 40),
            "Largest request body; bodies are streamed, not stored",
        );
        section.number(
            "http2_streams",
            &mut limits.http2_streams,
            1..=10_000,
            "HTTP/2 streams at once on one connection",
        );
        limits
    }

    /// How much of what there may be, before the deadlines.
    fn read_load(&mut self, section: &mut Section<'_, '_>) {
        section.number(
            "connections_per_address",
            &mut self.connections_per_address,
            0..=10_000_000,
            "Client connections at once from one address (/64 for IPv6); 0 is no limit",
        );
        section.number(
            "requests_per_connection",
            &mut self.requests_per_connection,
            0..=1_000_000_000,
            "Requests on one connection before it is closed in good order; 0 is no limit",
        );
        section.number(
            "handshakes",
            &mut self.handshakes,
            8..=1_000_000,
            "TLS handshakes of each worker that may wait for their turn at the processor; more are refused",
        );
        self.memory = section.maybe_size(
            "memory",
            "80 % of what the machine or the control group has",
            ByteSize(16 << 20)..=ByteSize(1 << 50),
            "Memory of this process beyond which requests get 503 instead of an answer",
        );
        section.size(
            "body_rate",
            &mut self.body_rate,
            ByteSize(0)..=ByteSize(1 << 20),
            "Least rate of a request's body, in bytes for each second of waiting for the client; `0B` is no limit",
        );
    }
}

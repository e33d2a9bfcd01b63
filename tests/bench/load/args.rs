//! The command line.

use std::{net::SocketAddr, path::PathBuf};

#[derive(clap::Parser)]
#[command(about = "Load generator and origin server for tests/bench/run")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(clap::Subcommand)]
pub(crate) enum Mode {
    /// Keep-alive HTTP/1.1 upstream: `/` 1 KiB, `/1m` 1 MiB (both need an X-Tenant that fits Host), `/headers` echoes the
    /// request head, `/stats` counts.
    Origin {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Keep-alive HTTP/1.1: one request at a time on each connection.
    H1(Load),
    /// HTTP/2: `--streams` requests at a time on each connection.
    H2(Load),
    /// A unit is: connect, full TLS handshake, one HTTP/1.1 request, close.
    Handshake(Load),
    /// Answers of 1 MiB over keep-alive HTTP/1.1.
    Body(Load),
    /// Opens connections, one request on each, and holds them.
    Idle(Idle),
}

#[derive(clap::Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) target: Target,
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Concurrent requests on each HTTP/2 connection.
    #[arg(long, default_value_t = 32)]
    pub(crate) streams: usize,
    /// Length of the counted run.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Length of the same load before it, which is not counted.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) warmup: f64,
    /// Print `{"ready":…}` after the warm-up and wait for a line on standard input; after the result, wait for its end.
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(clap::Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) target: Target,
    #[arg(long, default_value_t = 2000)]
    pub(crate) connections: usize,
    /// HTTP/2 in place of HTTP/1.1.
    #[arg(long)]
    pub(crate) h2: bool,
}

/// The proxy under load.
#[derive(clap::Args)]
pub(crate) struct Target {
    /// Address of the proxy.
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// PEM file of the only CA that is trusted.
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// The parent of the tenants' host names.
    #[arg(long, default_value = "bench.test")]
    pub(crate) domain: String,
    /// How many host names to spread the connections over.
    #[arg(long, default_value_t = 100)]
    pub(crate) tenants: usize,
    /// Offer X25519MLKEM768 before X25519. Off, so that every proxy does the same key exchange.
    #[arg(long)]
    pub(crate) post_quantum: bool,
}

impl Target {
    /// The host name that connection number `n` asks for.
    pub(crate) fn host(&self, n: usize) -> String {
        format!("t{}.{}", n % self.tenants.max(1), self.domain)
    }
}

//! The accept loop: it only accepts, and it never ends by an error.
//!
//! Errors of a single connection (reset before it was accepted) are passed over; anything else, above all "too many
//! open files", is waited out with a pause and a log line at most once in ten seconds, because a loop that spins or
//! ends is an outage either way.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

/// Pause after an error that concerns the whole process.
const PAUSE: Duration = Duration::from_millis(100);
/// Most streams taken from a socket's queue at its end: the length of the queue.
const MOST_LEFT: usize = 4096;
/// Least time between two log lines about it.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Accepts for ever and gives each stream to `take`. Ends only by being dropped.
pub async fn run(
    listener: &TcpListener,
    mut take: impl FnMut(TcpStream, SocketAddr),
) -> std::convert::Infallible {
    let mut logged: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => take(stream, peer),
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                    logged = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections; trying on\n  hint: raise LimitNOFILE= if the files are used up");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Accepts what already waits in the socket's queue, so that closing the socket resets nobody.
pub fn drain(listener: TcpListener, mut take: impl FnMut(TcpStream, SocketAddr)) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    for (stream, peer) in std::iter::from_fn(|| listener.accept().ok()).take(MOST_LEFT) {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            take(stream, peer);
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

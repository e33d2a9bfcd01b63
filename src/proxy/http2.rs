//! The HTTP/2 adapter: hyper's connection, driven under the connection's deadlines.
//!
//! It reads no setting but the caps of streams and head; everything else is in [`service::handle`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::ClientConn;
use super::service;
use crate::net::conn::Expired;
use crate::net::local;

/// Most of an upload that one stream may send before the app has taken it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Most of an answer that waits for the client, for each stream, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that we reset because of the client's errors, before the connection is closed (CVE-2025-8671).
const MAX_ERROR_RESETS: usize = 64;

/// Runs a stream's work on the worker that has the connection.
#[derive(Debug, Clone, Copy)]
struct OnThisWorker;

impl<F> hyper::rt::Executor<F> for OnThisWorker
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, work: F) {
        // Handed over as it is: a stream's future is some kilobytes, and a wrapper would copy it once more.
        drop(local::spawn(work));
    }
}

/// Serves a connection to its end.
pub async fn serve<T>(conn: Rc<ClientConn>, stream: T)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    conn.activity.set_multiplexed();
    let limits = conn.context.view().snapshot.limits.clone();
    let handle = {
        let conn = Rc::clone(&conn);
        service_fn(move |request| {
            let conn = Rc::clone(&conn);
            async move { Ok::<_, Infallible>(service::handle(conn, request).await) }
        })
    };
    let http = http2::Builder::new(OnThisWorker)
        .max_concurrent_streams(limits.http2_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size.0).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .serve_connection(TokioIo::new(stream), handle);
    let mut http = pin!(http);
    let mut closing = false;
    poll_fn(|cx| {
        if conn.context.is_draining() && !closing {
            closing = true;
            http.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(end) = http.as_mut().poll(cx) {
            if let Err(error) = end {
                tracing::debug!(%error, "connection ended");
            }
            return Poll::Ready(());
        }
        if let Poll::Ready(expired) = conn.activity.poll_expired(cx) {
            if expired == Expired::Idle && !closing {
                // GOAWAY; with no stream open that is the end.
                http.as_mut().graceful_shutdown();
                drop(http.as_mut().poll(cx));
            }
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

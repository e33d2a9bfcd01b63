//! One client connection, from accept to its end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;

use crate::cert::live::Live;
use crate::host::Host;
use crate::net::conn::{Activity, ConnInfo};
use crate::net::socket::Socket;
use crate::proxy::context::OpenConn;
use crate::proxy::exchange::ClientConn;
use crate::proxy::{http1, http2};
use crate::tls::accept::{self, Accepted};

/// What a listening socket is for.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// Whether its connections begin with TLS.
    pub https: bool,
    /// Its port as clients see it.
    pub public_port: u16,
    /// The https port as clients see it.
    pub https_port: u16,
}

/// Serves `stream` to its end. The protocol is what ALPN chose; a plain listener speaks HTTP/1.1 only.
pub async fn serve(
    open: OpenConn,
    stream: TcpStream,
    info: ConnInfo,
    https: bool,
    live: Arc<Live>,
) {
    let context = Rc::clone(&open.context);
    let view = context.view();
    let waits = view.snapshot.client_waits();
    let activity = Activity::new(&context.timers, waits);
    let socket = Socket::new(stream, activity.clone());
    if !https {
        drop(view);
        activity.handshake_done();
        let conn = ClientConn::new(open, info, None, activity);
        return http1::serve(conn, socket).await;
    }
    let policies = Arc::clone(&view.snapshot.tls);
    let longest = view.snapshot.limits.handshake_timeout;
    // Before the first wait: settings that a reload has replaced are not to be held by a client that says nothing.
    drop(view);
    let began = Instant::now();
    let deadline = context.timers.deadline();
    let accepted = accept::accept(&policies, &live, socket, &deadline, longest).await;
    context.timers.recycle(deadline);
    drop((policies, live));
    match accepted {
        Ok(Accepted::Validation(name)) => {
            let name = name.as_ref().map(Host::as_str);
            tracing::info!(client = %info.client, name, "a CA validates by tls-alpn-01");
        }
        Ok(Accepted::Client(stream, tls)) => {
            context
                .metrics
                .handshake(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            drop(context);
            activity.handshake_done();
            let http2 = tls.http2;
            let conn = ClientConn::new(open, info, Some(tls), activity);
            if http2 {
                // Boxed: the state of an HTTP/2 connection is large, and most connections of a plain client are not.
                Box::pin(http2::serve(conn, stream)).await;
            } else {
                http1::serve(conn, stream).await;
            }
        }
        Err(error) => {
            context.metrics.handshake_failed(error.label());
            tracing::debug!(client = %info.client, error = %error, "no handshake");
        }
    }
}

/// The labels of failed handshakes, for metrics.
pub const HANDSHAKE: &[&str] = &["timeout", "failed", "no_certificate"];

//! One client connection, from accept to its end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::on_demand::{self, Allowed};
use super::worker::{self, DENIED, PROXY_HEADER};
use crate::cert::live::Live;
use crate::host::Host;
use crate::net::conn::{Activity, ConnInfo};
use crate::net::proxy_header::{self, Header};
use crate::net::socket::Socket;
use crate::proxy::context::OpenConn;
use crate::proxy::exchange::ClientConn;
use crate::proxy::{http1, http2};
use crate::tls::accept::{self, Accepted, Gate, TlsError};

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

/// What a connection begins with.
#[derive(Debug, Clone, Copy)]
pub struct Begins {
    /// With TLS.
    pub https: bool,
    /// With a PROXY protocol header in front of everything else, which names the client.
    pub named: bool,
}

/// Longest wait for a PROXY protocol header. Balancers send it at once.
const PROXY_HEADER_WAIT: Duration = Duration::from_secs(5);

/// Serves `stream` to its end. The protocol is what ALPN chose; a plain listener speaks HTTP/1.1 only.
///
/// Not an `async fn`, which would hold what it is given twice for as long as the connection lives.
pub fn serve(
    mut open: OpenConn,
    mut stream: TcpStream,
    mut info: ConnInfo,
    begins: Begins,
    live: Arc<Live>,
) -> impl Future<Output = ()> {
    let context = Rc::clone(&open.context);
    let began = Instant::now();
    async move {
        if begins.named {
            match proxied(&mut stream, &mut open, info).await {
                Ok(named) => info = named,
                Err(refused) => return context.metrics.refused(refused),
            }
        }
        let view = context.view();
        let waits = view.snapshot.client_waits();
        let activity = Activity::new(&context.timers, waits);
        let socket = Socket::new(stream, activity.clone());
        if !begins.https {
            drop(view);
            activity.handshake_done();
            let conn = ClientConn::new(open, info, None, activity);
            return http1::serve(conn, socket).await;
        }
        let policies = Arc::clone(&view.snapshot.tls);
        // What the header took is part of the handshake's time.
        let longest = view.snapshot.limits.handshake_timeout;
        let longest = longest.saturating_sub(began.elapsed());
        let gate = Gate {
            turns: &context.turns,
            client: info.client,
            most: view.snapshot.limits.handshakes,
        };
        // Before the first wait: settings that a reload has replaced are not to be held by a client that says nothing.
        drop(view);
        let deadline = context.timers.deadline();
        let accepted = accept::accept(&policies, &live, socket, gate, &deadline, longest).await;
        context.timers.recycle(deadline);
        drop(policies);
        match accepted {
            Ok(Accepted::Validation(name)) => {
                let name = name.as_ref().map(Host::as_str);
                tracing::info!(client = %info.client, name, "a CA validates by tls-alpn-01");
            }
            Ok(Accepted::Client(stream, tls)) => {
                context
                    .metrics
                    .handshake(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
                drop((context, live));
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
                if let TlsError::NoCertificate(Some(host)) = &error
                    && let Some(domains) = live.on_demand()
                    && matches!(
                        on_demand::may_have(&context.view().snapshot, host),
                        Allowed::Tenant(_) | Allowed::Ask
                    )
                {
                    domains.wish(host.clone());
                }
                context.metrics.handshake_failed(error.label());
                tracing::debug!(client = %info.client, error = %error, "no handshake");
            }
        }
    }
}

/// Reads the header of the PROXY protocol, and counts and checks the client that it names. The label says why not.
async fn proxied(
    stream: &mut TcpStream,
    open: &mut OpenConn,
    info: ConnInfo,
) -> Result<ConnInfo, &'static str> {
    let context = Rc::clone(&open.context);
    let longest = context.view().snapshot.limits.handshake_timeout;
    let deadline = context.timers.deadline();
    let header = deadline
        .limit(
            PROXY_HEADER_WAIT.min(longest),
            Box::pin(proxy_header::read(stream)),
        )
        .await;
    context.timers.recycle(deadline);
    let header = match header {
        Some(Ok(header)) => header,
        Some(Err(error)) => {
            tracing::debug!(peer = %info.peer, %error, "no PROXY protocol header");
            return Err(PROXY_HEADER);
        }
        None => {
            tracing::debug!(peer = %info.peer, "no PROXY protocol header in time");
            return Err(PROXY_HEADER);
        }
    };
    let Header::Proxied {
        source,
        destination,
    } = header
    else {
        // The balancer's own, as its health checks are.
        return Ok(info);
    };
    let info = info.proxied(source, destination);
    let view = context.view();
    // A trusted proxy behind the balancer speaks for many, too.
    if view.snapshot.trusted_proxies.contains(info.client) {
        return Ok(info);
    }
    if !view.snapshot.access.admits(info.client) {
        return Err(DENIED);
    }
    open.permit.count(info.client).map_err(worker::label)?;
    Ok(info)
}

/// The labels of failed handshakes, for metrics.
pub const HANDSHAKE: &[&str] = &["timeout", "failed", "no_certificate", "busy"];

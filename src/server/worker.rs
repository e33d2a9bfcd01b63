//! One worker: a thread with a runtime of its own, its own listening sockets and all that its connections need.
//!
//! A connection lives and dies here. Nothing that a worker does for a request takes a lock that another may hold.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Begins, Door};
use crate::cert::live::Live;
use crate::net::accept;
use crate::net::access::Networks;
use crate::net::conn::ConnInfo;
use crate::net::deadline::TICK;
use crate::net::local;
use crate::net::permit::{Permits, Refused};
use crate::net::pressure::Pressure;
use crate::policy::accounts::Accounts;
use crate::proxy::context::Context;
use crate::snapshot::Current;
use crate::telemetry::access::AccessWriter;
use crate::telemetry::metrics::Shard;
use crate::telemetry::tenants;

/// What all workers share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The settings in effect.
    pub current: Arc<Current>,
    /// The certificates in service.
    pub live: Arc<Live>,
    /// Counts of open connections.
    pub permits: Arc<Permits>,
    /// Whether memory runs short.
    pub pressure: Pressure,
    /// What limited tenants use.
    pub accounts: Arc<Accounts>,
    /// Whose connections begin with a PROXY protocol header.
    pub proxy_protocol: Arc<Networks>,
    /// Cancelled: take no new work.
    pub drain: CancellationToken,
    /// Cancelled: end, whatever is under way.
    pub stop: CancellationToken,
}

/// A socket and what it is for.
#[derive(Debug)]
pub struct Socket {
    /// The listening socket of this worker.
    pub socket: StdListener,
    /// What its connections are.
    pub door: Door,
}

/// What is a worker's own.
#[derive(Debug)]
pub struct Own {
    /// Its number, from 0.
    pub index: usize,
    /// Its sockets.
    pub sockets: Vec<Socket>,
    /// Its access log.
    pub log: AccessWriter,
    /// Its counters.
    pub metrics: Shard,
    /// Its sums of what tenants use.
    pub used: tenants::Writer,
    /// Makes its request ids unlike those of others.
    pub seed: u64,
    /// Counts its ticks, so that the watchdog sees that it turns.
    pub pulse: Arc<AtomicU64>,
}

/// Starts a worker.
///
/// # Errors
/// The thread or its runtime cannot be made.
pub fn start(shared: Shared, own: Own) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    drop(runtime?); // A runtime cannot move to the thread; this only shows that one can be made.
    thread::Builder::new()
        .name(format!("worker-{}", own.index))
        .spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(serve(shared, own));
                    // A name look-up may hang in the system's resolver; nobody waits for its answer any more.
                    runtime.shutdown_background();
                }
                Err(error) => tracing::error!(%error, "a worker cannot make its runtime"),
            }
        })
}

async fn serve(shared: Shared, own: Own) {
    let context = Context::new(
        Arc::clone(&shared.current),
        Arc::clone(&shared.live),
        (own.log, own.used),
        own.metrics,
        own.seed,
        shared.pressure.clone(),
        Arc::clone(&shared.accounts),
    );
    drop(local::spawn(tick(Rc::clone(&context), own.pulse)));
    let passes = Rc::clone(&context);
    drop(local::spawn(async move { passes.turns.pass_on().await }));
    let mut listeners = Vec::new();
    for Socket { socket, door } in own.sockets {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                let take = Take {
                    context: Rc::clone(&context),
                    shared: shared.clone(),
                    door,
                    local: listener
                        .local_addr()
                        .ok()
                        .filter(|at| !at.ip().is_unspecified()),
                };
                listeners.push(local::spawn(listen(listener, take)));
            }
            Err(error) => tracing::error!(%error, "a worker cannot use its socket"),
        }
    }
    shared.drain.cancelled().await;
    for listener in listeners {
        // Ends by the same token, when the socket's queue is empty. A panic in it has been reported already.
        drop(listener.await);
    }
    context.drain();
    tokio::select! {
        () = context.all_closed() => {}
        () = shared.stop.cancelled() => {}
    }
}

async fn tick(context: Rc<Context>, pulse: Arc<AtomicU64>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        context.tick();
        pulse.fetch_add(1, Relaxed);
    }
}

async fn listen(listener: TcpListener, take: Take) {
    let drain = take.shared.drain.clone();
    tokio::select! {
        never = accept::run(&listener, |stream, peer| take.take(stream, peer)) => match never {},
        () = drain.cancelled() => {}
    }
    accept::drain(listener, |stream, peer| take.take(stream, peer));
}

/// Takes accepted streams in.
struct Take {
    context: Rc<Context>,
    shared: Shared,
    door: Door,
    /// The address that its streams came to; none if the socket listens on all, so that each has to be asked.
    local: Option<SocketAddr>,
}

impl Take {
    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(local) = self.local.or_else(|| stream.local_addr().ok()) else {
            return; // The client is gone already.
        };
        let info = ConnInfo::new(peer, local, self.door.public_port, self.door.https_port);
        let named = self.shared.proxy_protocol.contains(info.client);
        let view = self.context.view();
        // A balancer speaks for many clients: it is neither counted nor on a list; those whom it names are.
        let permit = if named || view.snapshot.trusted_proxies.contains(info.client) {
            self.shared.permits.acquire_nameless()
        } else if view.snapshot.access.admits(info.client) {
            self.shared.permits.acquire(info.client)
        } else {
            self.context.metrics.refused(DENIED);
            return;
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(refused) => {
                self.context.metrics.refused(label(refused));
                return;
            }
        };
        let open = self.context.open(permit);
        let live = Arc::clone(&self.shared.live);
        drop(local::spawn(connection::serve(
            open,
            stream,
            info,
            Begins {
                https: self.door.https,
                named,
            },
            live,
        )));
    }
}

/// The labels of refused connections, for metrics.
pub const REFUSED: &[&str] = &["total", "address", DENIED, PROXY_HEADER];

/// The address is not let in (`[access]`).
pub(super) const DENIED: &str = "denied";
/// No PROXY protocol header where there must be one.
pub(super) const PROXY_HEADER: &str = "proxy-header";

pub(super) fn label(refused: Refused) -> &'static str {
    match refused {
        Refused::Total => "total",
        Refused::Address => "address",
    }
}

//! One request, from its head to the last byte of its answer, as log and metrics see it.
//!
//! An [`Exchange`] travels with the request through the pipeline and ends up in the body of the answer. When it is
//! dropped (answer through, client gone, task cancelled) it writes the one access record, counts, and tells the
//! connection that it may be idle. No path can leave that out.

use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Version, header, request};

use super::context::{Context, OpenConn, RequestId};
use super::hosts::Named;
use super::seen::Seen;
use super::tap::Notes;
use crate::clock::UnixMillis;
use crate::host::Host;
use crate::net::conn::{Activity, ConnInfo};
use crate::net::proxy_header::Header;
use crate::net::quota::Taken;
use crate::telemetry::Protocol;
use crate::telemetry::access::AccessRecord;
use crate::telemetry::tenants::Tally;
use crate::tenant::Tenant;
use crate::tls::accept::TlsInfo;

/// A client connection, as its requests see it. Lives as long as any of them, tunnels included.
#[derive(Debug)]
pub struct ClientConn {
    /// The worker's part.
    pub context: Rc<Context>,
    /// Facts below TLS.
    pub info: ConnInfo,
    /// Facts of the handshake; none on a plain listener.
    pub tls: Option<TlsInfo>,
    /// Phase and deadlines.
    pub activity: Activity,
    /// The client's address as a header value.
    pub client: HeaderValue,
    /// What the tap of an HTTP/1.1 connection has to say.
    pub notes: Arc<Notes>,
    heads: Cell<u64>,
    /// Requests so far.
    pub requests: Cell<u32>,
    /// Tunnels over streams of HTTP/2, those that are asked for included.
    pub tunnels: Cell<u32>,
    most_requests: u32,
    _open: OpenConn,
}

impl ClientConn {
    /// A connection that counts as open until it is dropped.
    #[must_use]
    pub fn new(
        open: OpenConn,
        info: ConnInfo,
        tls: Option<TlsInfo>,
        activity: Activity,
    ) -> Rc<Self> {
        let client = HeaderValue::try_from(info.client.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        Rc::new(Self {
            context: Rc::clone(&open.context),
            info,
            tls,
            activity,
            client,
            notes: Arc::default(),
            heads: Cell::new(0),
            requests: Cell::new(0),
            tunnels: Cell::new(0),
            most_requests: open.context.view().snapshot.limits.requests_per_connection,
            _open: open,
        })
    }

    /// Counts a request of an HTTP/1.1 connection: its number, from 0.
    #[must_use]
    pub fn next_head(&self) -> u64 {
        self.heads.replace(self.heads.get() + 1)
    }
}

impl ClientConn {
    /// Whether it has had as many requests as one connection may have.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.most_requests != 0 && self.requests.get() >= self.most_requests
    }
}

/// One request and what becomes of it.
#[derive(Debug)]
pub struct Exchange {
    /// The connection it came on.
    pub conn: Rc<ClientConn>,
    /// Behind a trusted proxy: whom it is from and the proxies that passed it on, the nearest last. Otherwise empty.
    pub chain: Vec<IpAddr>,
    /// The id that app and log know it by.
    pub request_id: RequestId,
    /// The host that is asked for, once known to be valid.
    pub named: Option<Rc<Named>>,
    /// The tenant, once resolved.
    pub tenant: Option<Arc<Tenant>>,
    /// Its place among the tenant's requests under way, if those are limited.
    pub running: Option<Taken>,
    /// Status of the answer; 0 until there is one.
    pub status: u16,
    /// Why the edge answered by itself, or why the answer was cut.
    pub error: Option<&'static str>,
    /// The app server that answered.
    pub upstream: Option<Arc<str>>,
    /// Until the head of its answer, in microseconds.
    pub upstream_us: Option<u64>,
    /// Bytes of the answer's body given to the client's connection.
    pub bytes_out: u64,
    method: Method,
    path: Option<PathAndQuery>,
    protocol: Protocol,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    /// Bytes of the request's body read so far; most have none.
    bytes_in: OnceCell<Rc<Cell<u64>>>,
    started: Instant,
    /// The same by the wall clock.
    begun: UnixMillis,
}

impl Exchange {
    /// Begins with a complete request head, which has the headers `seen`.
    #[must_use]
    pub fn begin(conn: Rc<ClientConn>, head: &request::Parts, seen: Seen) -> Box<Self> {
        let value = |seen_as: Seen, name: HeaderName| {
            let value = seen.has(seen_as).then(|| head.headers.get(name));
            value.flatten().cloned()
        };
        conn.activity.exchange_began();
        conn.requests.set(conn.requests.get().saturating_add(1));
        let begun = UnixMillis::now();
        Box::new(Self {
            chain: Vec::new(),
            request_id: conn.context.request_id(begun),
            begun,
            named: None,
            tenant: None,
            running: None,
            status: 0,
            error: None,
            upstream: None,
            upstream_us: None,
            bytes_out: 0,
            bytes_in: OnceCell::new(),
            method: head.method.clone(),
            path: head.uri.path_and_query().cloned(),
            protocol: match head.version {
                Version::HTTP_2 => Protocol::Http2,
                Version::HTTP_10 => Protocol::Http10,
                _ => Protocol::Http11,
            },
            user_agent: value(Seen::USER_AGENT, header::USER_AGENT),
            referer: value(Seen::REFERER, header::REFERER),
            started: Instant::now(),
            conn,
        })
    }

    /// Whom the request is from: the connection's client, or the one that a trusted proxy names.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.chain.first().copied().unwrap_or(self.conn.info.client)
    }

    /// The client and the address that it came to, as a header of the PROXY protocol says it to the app. A client that
    /// `X-Forwarded-For` names has no port: 0.
    #[must_use]
    pub fn proxy_header(&self) -> Header {
        let (info, client) = (&self.conn.info, self.client());
        let port = if client == info.client {
            info.client_port
        } else {
            0
        };
        Header::Proxied {
            source: SocketAddr::new(client, port),
            destination: info.destination,
        }
    }

    /// The host that is asked for, if it is valid.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.named.as_deref().map(|named| &named.authority.host)
    }

    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The version that the request came with.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The count of the bytes of the request's body that have been read.
    #[must_use]
    pub fn bytes_in(&self) -> &Rc<Cell<u64>> {
        self.bytes_in.get_or_init(Rc::default)
    }

    /// When the head was complete.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Microseconds since the head was complete.
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration_us = self.elapsed_us();
        let bytes_in = self.bytes_in.get().map_or(0, |count| count.get());
        let context = &self.conn.context;
        if self.status == 0 {
            self.error = Some("client-gone");
        }
        let metrics = &context.metrics;
        metrics.request(self.protocol, self.status, duration_us);
        metrics.moved(bytes_in, self.bytes_out);
        if let Some(label) = self.error {
            metrics.edge_error(label);
        }
        if let Some(tenant) = &self.tenant {
            let tally = Tally::of(self.status, bytes_in, self.bytes_out);
            context.used.borrow_mut().note(tenant.id.shared(), tally);
        }
        let mut log = context.log.borrow_mut();
        let tenant = self.tenant.as_ref();
        let wished = tenant.is_none_or(|tenant| tenant.attributes.access_log != Some(false));
        if log.is_on() && wished {
            let tls = self.conn.tls.as_ref();
            log.write(&AccessRecord {
                started: self.begun,
                client: self.client(),
                tenant: tenant.map(|tenant| tenant.id.as_str()),
                host: self.host().map(Host::as_str),
                method: self.method.as_str(),
                path: self
                    .path
                    .as_ref()
                    .map_or(b"", |path| path.as_str().as_bytes()),
                protocol: self.protocol,
                status: self.status,
                bytes_in,
                bytes_out: self.bytes_out,
                duration_us,
                upstream: self.upstream.as_deref(),
                upstream_us: self.upstream_us,
                request_id: self.request_id.as_str(),
                user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
                referer: self.referer.as_ref().map(HeaderValue::as_bytes),
                tls: tls.map(|tls| tls.version),
                error: self.error,
            });
        }
        drop(log);
        self.conn.activity.exchange_ended();
    }
}

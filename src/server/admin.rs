//! The admin listener: liveness, readiness, metrics, status and a command, for machines and operators on this host.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 while the control plane turns |
//! | `/readyz` | 200, or 503 with reasons; what is not as it should be but can be served with is `degraded` |
//! | `/metrics` | Prometheus' text format |
//! | `/status` | JSON for people |
//! | `/jwks.json` | the public keys of tenant tokens (RFC 7517) |
//! | `/tenants…` | see [`tenants`] |
//! | `POST /tenants/resync` | 202: tenants are compared with their source; with `?force=1`, even if most of them would go |
//!
//! No secret is shown, and nothing is changed but by commands, which need the header `Portico-Command`. It listens on loopback (the configuration sees to
//! it) or on a Unix socket for owner and group. What it shows comes from an [`AdminSource`]; it runs on the control
//! plane, one exchange per connection, under a deadline, and never touches a worker.

mod listener;
pub mod tenants;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::listener::{Accept, Socket};
pub use self::listener::{AdminListener, BindError};
pub use self::tenants::Question;

/// From accept to the end of the answer.
const EXCHANGE: Duration = Duration::from_secs(10);
/// For the request's head, within that.
const HEAD: Duration = Duration::from_secs(5);
/// For the request's head; hyper allows no less.
const HEAD_BYTES: usize = 8 * 1024;
/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;

/// The header of commands, with any value.
pub const COMMAND: HeaderName = HeaderName::from_static("portico-command");

/// What the admin listener shows.
pub trait AdminSource: Send + Sync {
    /// Whether the proxy takes new work; if not, why, in words for an operator.
    ///
    /// # Errors
    /// The reasons.
    fn ready(&self) -> Result<(), Vec<String>>;
    /// What is not as it should be but does not keep the proxy from serving.
    fn degraded(&self) -> Vec<String> {
        Vec::new()
    }
    /// Has tenants compared with their source. Returns whether there is a source to compare with.
    fn resync(&self, _force: bool) -> bool {
        false
    }
    /// The answer to `/status`.
    fn status(&self) -> Value;
    /// The answer to `/jwks.json`.
    fn jwks(&self) -> Value;
    /// The answer to `/metrics`, in Prometheus' text format 0.0.4.
    fn metrics(&self) -> String;
    /// The answer to a question about tenants. Bounded in time by the source.
    fn about_tenants(&self, question: Question) -> Told;
}

/// A status and JSON, when they are known.
pub type Told = Pin<Box<dyn Future<Output = (StatusCode, Value)> + Send>>;

/// Answers until `shutdown`. Connections run as tasks of `tasks`; after `shutdown` they end within seconds.
///
/// Cancel it last: a balancer has to read from `/readyz` that the proxy drains.
///
/// # Errors
/// The listener cannot be handed to the runtime.
pub async fn serve(
    listener: AdminListener,
    source: Arc<dyn AdminSource>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let (socket, _file) = listener.into_async()?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = async {
                // Never closed, so never an error.
                let permit = Arc::clone(&permits).acquire_owned().await.ok();
                (permit, socket.accept().await)
            } => accepted,
        };
        let (permit, stream) = match accepted {
            (permit, Ok(stream)) => (permit, stream),
            (_, Err(error)) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let answers = Answers {
            source: Arc::clone(&source),
            over_tcp: matches!(socket, Socket::Tcp(_)),
        };
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            match stream {
                Accept::Tcp(stream) => connection(stream, answers, shutdown).await,
                Accept::Unix(stream) => connection(stream, answers, shutdown).await,
            }
            drop(permit);
        });
    }
}

async fn connection<S>(stream: S, answers: Answers, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let answer = answers.to(&request);
        async move {
            Ok::<_, Infallible>(match answer {
                Ok(answer) => answer,
                Err(told) => {
                    let (status, value) = told.await;
                    json_response(status, &value)
                }
            })
        }
    });
    let exchange = async {
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(HEAD_BYTES)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
        );
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    match tokio::time::timeout(EXCHANGE, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection failed"),
        Err(_elapsed) => tracing::debug!("an admin connection took too long"),
    }
}

/// Makes the answers of one connection.
struct Answers {
    source: Arc<dyn AdminSource>,
    over_tcp: bool,
}

impl Answers {
    /// The answer, or where it comes from.
    fn to<B>(&self, request: &Request<B>) -> Result<Response<Full<Bytes>>, Told> {
        if self.over_tcp && !names_this_host(request) {
            return Ok(error(
                StatusCode::MISDIRECTED_REQUEST,
                "the host has to be an address or localhost",
            ));
        }
        if request.method() == Method::POST && request.uri().path() == "/tenants/resync" {
            return Ok(self.resync(request));
        }
        if request.uri().path().starts_with("/tenants") {
            return match tenants::question(request) {
                Ok(question) => Err(self.source.about_tenants(question)),
                Err((status, text)) => Ok(error(status, text)),
            };
        }
        Ok(self.at_once(request))
    }

    fn at_once<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let answer: fn(&Self) -> Response<Full<Bytes>> = match request.uri().path() {
            "/livez" => |_| json_response(StatusCode::OK, &json!({ "live": true })),
            "/readyz" => |this| match this.source.ready() {
                Ok(()) => {
                    let degraded = this.source.degraded();
                    let answer = if degraded.is_empty() {
                        json!({ "ready": true, "reasons": [] })
                    } else {
                        json!({ "ready": true, "reasons": [], "degraded": degraded })
                    };
                    json_response(StatusCode::OK, &answer)
                }
                Err(reasons) => json_response(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &json!({ "ready": false, "reasons": reasons }),
                ),
            },
            "/metrics" => |this| {
                response(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    this.source.metrics(),
                )
            },
            "/status" => |this| json_response(StatusCode::OK, &this.source.status()),
            "/jwks.json" => |this| json_response(StatusCode::OK, &this.source.jwks()),
            _ => return error(StatusCode::NOT_FOUND, "not found"),
        };
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refusal = error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            let methods = HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(ALLOW, methods);
            return refusal;
        }
        answer(self)
    }

    /// A page in a browser on this host can send requests here without reading the answers, but no header of its own: the
    /// browser would ask first whether it may, and nobody says yes.
    fn resync<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if let Err((status, text)) = tenants::refuse_browsers(request.headers()) {
            return error(status, text);
        }
        let force = match request.uri().query() {
            None => false,
            Some("force=1") => true,
            Some(_) => return error(StatusCode::BAD_REQUEST, "the one parameter is force=1"),
        };
        if self.source.resync(force) {
            json_response(StatusCode::ACCEPTED, &json!({ "resync": true }))
        } else {
            error(
                StatusCode::CONFLICT,
                "no source of tenants can be compared with; `portico tenant purge` has one that is asked host by host asked again",
            )
        }
    }
}

/// Whether the request asks for an address or `localhost`. A web page in a browser on this host can send requests here
/// and read the answers if its own name is made to resolve to 127.0.0.1 (DNS rebinding), but it cannot send another
/// name than its own. A request without a name does not come from a browser.
fn names_this_host<B>(request: &Request<B>) -> bool {
    let authority = match (request.uri().authority(), request.headers().get(HOST)) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => Authority::try_from(host.as_bytes()).ok(),
        (None, None) => return true,
    };
    authority.is_some_and(|authority| {
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        host.eq_ignore_ascii_case("localhost") || bare.unwrap_or(host).parse::<IpAddr>().is_ok()
    })
}

fn error(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    json_response(status, &json!({ "error": text }))
}

fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    response(status, "application/json", format!("{value}\n"))
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;

//! The fault proxy's inside: a request, its fault, Pebble, the answer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Answer, Call, Fault, Kind, Plan, http_date};
use crate::support::body::{self, Body};
use crate::support::tls;

/// Between two bytes of a dripping answer.
const DRIP: Duration = Duration::from_secs(1);

/// Pebble: each request gets a connection of its own, so a restart of it is not noticed.
#[derive(Clone)]
pub(super) struct Upstream {
    address: SocketAddr,
    tls: ClientConfig,
}

impl Upstream {
    pub(super) fn new(address: SocketAddr, tls: ClientConfig) -> Self {
        Self { address, tls }
    }

    async fn send(&self, request: Request<Body>) -> io::Result<Answer> {
        let stream = tls::connect(self.address, "localhost", self.tls.clone()).await?;
        let (mut sender, connection) = client::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = tokio::spawn(connection);
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        };
        let answer = answer.await.map_err(io::Error::other);
        driver.abort();
        answer
    }
}

/// Serves until the task is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ca: Upstream,
    plan: Arc<Mutex<Plan>>,
) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (acceptor, ca, plan) = (acceptor.clone(), ca.clone(), Arc::clone(&plan));
        tokio::spawn(async move {
            let line = Arc::new(Line::new(&stream));
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| {
                let (ca, plan, line) = (ca.clone(), Arc::clone(&plan), Arc::clone(&line));
                async move { exchange(request, &ca, &plan, &line).await }
            });
            // How a connection ends is the client's business, or the fault's.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// The socket of a connection, for a reset: whoever closes it last sends what is set here.
struct Line(socket2::Socket);

impl Line {
    fn new(stream: &TcpStream) -> Self {
        let socket = socket2::SockRef::from(stream);
        Self(socket.try_clone().expect("a file descriptor"))
    }

    /// The error ends the connection, and the client sees a reset.
    fn reset(&self) -> io::Error {
        self.0
            .set_linger(Some(Duration::ZERO))
            .expect("an open socket");
        io::ErrorKind::ConnectionReset.into()
    }
}

async fn exchange(
    request: Request<Incoming>,
    ca: &Upstream,
    plan: &Mutex<Plan>,
    line: &Line,
) -> io::Result<Response<Body>> {
    let (mut head, incoming) = request.into_parts();
    let content = incoming.collect().await.map_err(io::Error::other)?;
    let content = content.to_bytes();
    let kind = Kind::of(head.uri.path());
    let (number, fault) = {
        let mut plan = plan.lock().expect("never held over a panic");
        plan.calls.push(Call {
            at: Instant::now(),
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            kind,
            payload: payload(&content),
            by_ca: None,
            answered: None,
        });
        (plan.calls.len() - 1, plan.next(kind))
    };
    let note = |by_ca: Option<u16>, answered: Option<u16>| {
        let mut plan = plan.lock().expect("never held over a panic");
        // Forgotten meanwhile: nobody wants to know.
        if let Some(call) = plan.calls.get_mut(number) {
            (call.by_ca, call.answered) = (by_ca, answered);
        }
    };
    match &fault {
        Some(Fault::Answer(answer)) => {
            note(None, Some(answer.status));
            return Ok(response(answer.clone(), plan, body::full));
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return Err(line.reset()),
        _ => {}
    }
    head.headers.remove(TRANSFER_ENCODING);
    let mut answer = ca
        .send(Request::from_parts(head, body::full(content)))
        .await?;
    let by_ca = Some(answer.status);
    match fault {
        Some(Fault::ResetAfter) => {
            note(by_ca, None);
            return Err(line.reset());
        }
        Some(Fault::Drip) => {
            note(by_ca, None);
            return Ok(response(answer, plan, drip));
        }
        Some(Fault::Change(change)) => answer = change(answer),
        _ => {}
    }
    note(by_ca, Some(answer.status));
    Ok(response(answer, plan, body::full))
}

/// The answer for the wire. Its length is that of the body it has now.
fn response(
    answer: Answer,
    plan: &Mutex<Plan>,
    make: impl FnOnce(Bytes) -> Body,
) -> Response<Body> {
    let mut headers: HeaderMap = answer.headers;
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    let skew = plan.lock().expect("never held over a panic").skew;
    let date = http_date(OffsetDateTime::now_utc() + time::Duration::seconds(skew));
    headers.insert(DATE, HeaderValue::from_str(&date).expect("ASCII"));
    let mut response = Response::new(make(answer.body));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).expect("a status");
    *response.headers_mut() = headers;
    response
}

fn drip(content: Bytes) -> Body {
    let (sender, body) = body::channel();
    tokio::spawn(async move {
        for byte in content {
            // The client has hung up: nothing more to do.
            let piece = Frame::data(Bytes::from(vec![byte]));
            if sender.send(Ok(piece)).await.is_err() {
                return;
            }
            tokio::time::sleep(DRIP).await;
        }
    });
    body
}

/// The content of a signed request (RFC 7515 section 7.2.2).
fn payload(body: &[u8]) -> Value {
    let read = || {
        let signed: Value = serde_json::from_slice(body).ok()?;
        let content = BASE64_URL_SAFE_NO_PAD
            .decode(signed.get("payload")?.as_str()?)
            .ok()?;
        serde_json::from_slice(&content).ok()
    };
    read().unwrap_or(Value::Null)
}

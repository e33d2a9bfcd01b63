//! GET requests to one server, over connections that are kept for the next ones.
//!
//! A connection is driven only while a request is under way, so an idle one costs nothing. One that the server has closed
//! meanwhile is replaced, once. The caller sees to the deadline.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderValue};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::HttpError;
use crate::net::dial;

/// Largest answer that is read: a row is some hundred bytes.
const LARGEST: usize = 64 << 10;
/// Connections kept.
const KEPT: usize = 32;
/// For TCP and TLS, over all addresses; mostly the caller has less.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection idle for longer is not used again.
const IDLE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error + Send + Sync>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Driver = Connection<TokioIo<Box<dyn Stream>>, Empty<Bytes>>;

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The server.
pub(super) struct Client {
    /// Host and port.
    server: String,
    host: String,
    port: u16,
    /// As the server is to be told.
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Whether what is sent must not be read on the way.
    secret: bool,
    // Held for a push or a pop only, never over an await.
    idle: Mutex<Vec<Line>>,
}

struct Line {
    sender: SendRequest<Empty<Bytes>>,
    driver: Pin<Box<Driver>>,
    since: Instant,
}

impl Client {
    pub(super) fn new(url: &Uri, ca_file: Option<&Path>, secret: bool) -> Result<Self, HttpError> {
        let https = url.scheme_str() == Some("https");
        let host = url.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let bad = |_invalid| HttpError::Tls("not a host: change `tenants.http.url`".to_owned());
        let tls = if https {
            let name = ServerName::try_from(host.clone()).map_err(|_invalid| {
                HttpError::Tls("not a name for a certificate: change `tenants.http.url`".to_owned())
            })?;
            Some((connector(ca_file)?, name))
        } else {
            None
        };
        Ok(Self {
            server: authority.to_owned(),
            authority: HeaderValue::from_str(authority).map_err(bad)?,
            host,
            port,
            tls,
            secret,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Host and port, for messages.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Asks for `target` (path and query).
    pub(super) async fn get(&self, target: &str, headers: HeaderMap) -> Result<Answer, Failure> {
        let request = || -> Result<Request<Empty<Bytes>>, Failure> {
            let mut request = Request::get(target).body(Empty::new())?;
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(HOST, self.authority.clone());
            Ok(request)
        };
        if let Some(line) = self.reusable().await
            && let Ok(answer) = self.exchange(line, request()?).await
        {
            return Ok(answer);
        }
        self.exchange(self.connect().await?, request()?).await
    }

    async fn exchange(
        &self,
        mut line: Line,
        request: Request<Empty<Bytes>>,
    ) -> Result<Answer, Failure> {
        let answer = line.send(request).await?;
        if !line.sender.is_closed() {
            line.since = Instant::now();
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT {
                idle.push(line);
            }
        }
        Ok(answer)
    }

    /// A kept connection that is still open.
    async fn reusable(&self) -> Option<Line> {
        loop {
            let kept = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let mut line = kept?;
            if line.since.elapsed() < IDLE && line.is_alive().await {
                return Some(line);
            }
        }
    }

    async fn connect(&self) -> Result<Line, Failure> {
        let mut addresses: Vec<SocketAddr> =
            tokio::net::lookup_host((self.host.as_str(), self.port))
                .await?
                .collect();
        if self.secret && self.tls.is_none() {
            addresses.retain(|address| address.ip().is_loopback());
            if addresses.is_empty() {
                return Err("a token is sent over https only, but to this machine itself".into());
            }
        }
        let stream = dial::first(&addresses, CONNECT, |address| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match &self.tls {
                Some((tls, name)) => Box::new(tls.connect(name.clone(), stream).await?),
                None => Box::new(stream),
            };
            Ok::<_, std::io::Error>(stream)
        })
        .await?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Line {
            sender,
            driver: Box::pin(driver),
            since: Instant::now(),
        })
    }
}

impl Line {
    /// Whether the other side has not closed it meanwhile. Waits for nothing.
    async fn is_alive(&mut self) -> bool {
        poll_fn(|context| {
            let open = self.driver.as_mut().poll(context).is_pending();
            Poll::Ready(open && matches!(self.sender.poll_ready(context), Poll::Ready(Ok(()))))
        })
        .await
    }

    /// Sends the request and reads the whole answer, driving the connection meanwhile.
    async fn send(&mut self, request: Request<Empty<Bytes>>) -> Result<Answer, Failure> {
        let Self { sender, driver, .. } = self;
        let exchange = async {
            poll_fn(|context| sender.poll_ready(context)).await?;
            let (parts, body) = sender.send_request(request).await?.into_parts();
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: read(body).await?,
            })
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // The driver ends when the other side closes; the answer may be complete by then.
            ended = driver => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error.into()),
            },
        }
    }
}

async fn read(mut body: Incoming) -> Result<Bytes, Failure> {
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if content.len() + data.len() > LARGEST {
                return Err(format!("the answer is larger than {} KiB", LARGEST >> 10).into());
            }
            content.extend_from_slice(&data);
        }
    }
    Ok(content.freeze())
}

/// TLS that trusts the roots of `ca_file`, or the system's.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, HttpError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let bad = |reason: &dyn std::fmt::Display| {
            HttpError::Tls(format!(
                "cannot read the roots in `{}`: {reason}\n  hint: `tenants.http.ca_file` is a file of PEM certificates",
                path.display()
            ))
        };
        let content = std::fs::read(path).map_err(|error| bad(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&content) {
            let certificate = certificate.map_err(|error| bad(&error))?;
            roots.add(certificate).map_err(|error| bad(&error))?;
        }
        if roots.is_empty() {
            return Err(bad(&"there is no certificate in it"));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let text = "this machine trusts no CA, so `tenants.http.url` cannot be verified\n  hint: install the package \
                        `ca-certificates`, or set `tenants.http.ca_file`";
            return Err(HttpError::Tls(text.to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

//! HTTPS to the CA, with deadlines and caps, for the ACME library and for requests of our own.
//!
//! Of the CA's addresses the first that is ready is taken. One connection at a time is kept open between calls. What
//! the library drops from a reply (status, `Retry-After`, `Date`) is kept aside in [`Reply`]. Nothing is retried here,
//! and plain HTTP is refused.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{DATE, HOST, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error as LibraryError, HttpClient};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::AcmeError;
use crate::clock::UnixTime;
use crate::net::dial;

/// For name, TCP and TLS, over all addresses.
const CONNECT: Duration = Duration::from_secs(10);
/// For a whole call.
const TOTAL: Duration = Duration::from_secs(30);
/// Largest body read.
const BODY: usize = 256 << 10;
/// A connection idle for longer is not used again: the other side may be closing it.
const IDLE: Duration = Duration::from_secs(4);
/// What a `Retry-After` may ask for at most.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 86400);
/// RFC 8555 §6.5.1.
const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");
/// RFC 8555 §6.1 wants the client named.
const AGENT: &str = concat!("portico/", env!("CARGO_PKG_VERSION"));

/// What the library drops from the last reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// 0 if there was none.
    pub(super) status: u16,
    /// When the CA wants the next try.
    pub(super) retry_after: Option<UnixTime>,
    /// The CA's clock.
    pub(super) date: Option<UnixTime>,
    /// The address of what was made.
    pub(super) location: Option<String>,
}

/// The answer to a request that is not the library's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<UnixTime>,
    /// The address of what was made or found.
    pub(super) location: Option<String>,
    /// For the next signed request (RFC 8555 §6.5).
    pub(super) nonce: Option<String>,
    pub(super) body: Bytes,
}

/// The client. Cloning gives the same one.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    tls: TlsConnector,
    // Held for a few instructions only, never over an await.
    idle: Mutex<Option<Line>>,
    reply: Mutex<Reply>,
}

/// A connection with its driver, which runs only while a call does.
struct Line {
    host: String,
    sender: SendRequest<BodyWrapper<Bytes>>,
    driver: Pin<Box<Driver>>,
    since: Instant,
}

/// What moves the bytes of a connection.
type Driver = Connection<TokioIo<TlsStream<TcpStream>>, BodyWrapper<Bytes>>;

pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    /// Trusts the system's roots and those of `ca_file`.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, AcmeError> {
        Ok(Self(Arc::new(Inner {
            tls: connector(ca_file)?,
            idle: Mutex::new(None),
            reply: Mutex::new(Reply::default()),
        })))
    }

    /// What the library dropped from the last reply.
    pub(super) fn reply(&self) -> Reply {
        let reply = self.0.reply.lock();
        reply.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, reply: Reply) {
        *self.0.reply.lock().unwrap_or_else(PoisonError::into_inner) = reply;
    }

    /// A GET without account or nonce, whatever the status of the answer.
    pub(super) async fn get(&self, url: &str) -> Result<Answer, Failure> {
        self.send(Request::get(url).body(BodyWrapper::default())?)
            .await
    }

    /// One request with the deadlines and caps of all, whatever the status of the answer.
    pub(super) async fn send(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<Answer, Failure> {
        let called = tokio::time::timeout(TOTAL, self.exchange(request)).await;
        let (parts, body) =
            called.map_err(|_elapsed| format!("no answer within {} s", TOTAL.as_secs()))??;
        Ok(Answer {
            status: parts.status,
            retry_after: self.reply().retry_after,
            location: text(&parts.headers, &LOCATION),
            nonce: text(&parts.headers, &REPLAY_NONCE),
            body,
        })
    }

    async fn call(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Failure> {
        let directory = request.method() == Method::GET;
        let (parts, body) = self.exchange(request).await?;
        // The library does not look at the status of the directory.
        if directory && parts.status != StatusCode::OK {
            return Err(format!("the ACME directory answered {}", parts.status).into());
        }
        Ok(BytesResponse::from(Response::from_parts(
            parts,
            Full::new(body),
        )))
    }

    async fn exchange(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Result<(http::response::Parts, Bytes), Failure> {
        self.note(Reply::default());
        let host = target(&mut request)?;
        let mut line = match self.reusable(&host).await {
            Some(line) => line,
            None => self.connect(host).await?,
        };
        let (parts, body) = line.send(request).await?;
        self.note(Reply {
            status: parts.status.as_u16(),
            retry_after: retry_after(&parts.headers, UnixTime::now()),
            date: parts.headers.get(DATE).and_then(http_date),
            location: text(&parts.headers, &LOCATION),
        });
        if !line.sender.is_closed() {
            line.since = Instant::now();
            *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }
        Ok((parts, body))
    }

    /// The kept connection, if it goes to `host` and is still open.
    async fn reusable(&self, host: &str) -> Option<Line> {
        let line = self
            .0
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut line = line.filter(|line| line.host == host && line.since.elapsed() < IDLE)?;
        line.alive().await.then_some(line)
    }

    async fn connect(&self, host: String) -> Result<Line, Failure> {
        let (name, port) = split(&host)?;
        let began = Instant::now();
        let addresses: Vec<SocketAddr> =
            tokio::time::timeout(CONNECT, tokio::net::lookup_host((name, port)))
                .await
                .map_err(|_elapsed| format!("`{name}` was not found in {} s", CONNECT.as_secs()))??
                .collect();
        let left = CONNECT.saturating_sub(began.elapsed());
        let tls = self.dial(name, &addresses, left).await?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        Ok(Line {
            host,
            sender,
            driver: Box::pin(driver),
            since: Instant::now(),
        })
    }

    async fn dial(
        &self,
        name: &str,
        addresses: &[SocketAddr],
        limit: Duration,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let server = ServerName::try_from(name.to_owned())?;
        let dialled = dial::first(addresses, limit, |address| {
            let server = server.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                self.0.tls.connect(server, stream).await
            }
        });
        let failed = |error| Failure::from(format!("no connection to `{name}`: {error}"));
        dialled.await.map_err(failed)
    }
}

impl Line {
    /// Whether the other side has not closed it meanwhile. Waits for nothing.
    async fn alive(&mut self) -> bool {
        poll_fn(|context| {
            let open = self.driver.as_mut().poll(context).is_pending();
            Poll::Ready(open && matches!(self.sender.poll_ready(context), Poll::Ready(Ok(()))))
        })
        .await
    }

    /// Sends the request and reads the whole answer, driving the connection meanwhile.
    async fn send(
        &mut self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<(http::response::Parts, Bytes), Failure> {
        let Self { sender, driver, .. } = self;
        let exchange = async {
            poll_fn(|context| sender.poll_ready(context)).await?;
            let (parts, body) = sender.send_request(request).await?.into_parts();
            Ok((parts, read(body).await?))
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

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, LibraryError>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let called = tokio::time::timeout(TOTAL, client.call(request)).await;
            called
                .unwrap_or_else(|_elapsed| {
                    Err(format!("no answer within {} s", TOTAL.as_secs()).into())
                })
                .map_err(LibraryError::Other)
        })
    }
}

/// TLS that trusts the system's roots and those of `ca_file`.
pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, AcmeError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (mut trusted, _) = roots.add_parsable_certificates(native.certs);
    for certificate in named_roots(ca_file)? {
        roots.add(certificate).map_err(|error| {
            let path = ca_file.unwrap_or_else(|| Path::new("")).display();
            AcmeError::Config(format!("`ca_file` `{path}`: {error}"))
        })?;
        trusted += 1;
    }
    if trusted == 0 {
        let text = "this machine trusts no CA, so the connection to the ACME directory cannot be checked\nhint: \
                    install the package `ca-certificates`";
        return Err(AcmeError::Config(text.to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| AcmeError::Config(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// The certificates of `ca_file`.
pub(super) fn named_roots(
    ca_file: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, AcmeError> {
    let Some(path) = ca_file else {
        return Ok(Vec::new());
    };
    let bad =
        |reason: String| AcmeError::Config(format!("`ca_file` `{}`: {reason}", path.display()));
    let content = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    CertificateDer::pem_slice_iter(&content)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(error.to_string()))
}

/// Turns the request into one for this server (origin form and `Host`) and gives back `host:port`.
fn target(request: &mut Request<BodyWrapper<Bytes>>) -> Result<String, Failure> {
    let uri = request.uri().clone();
    let authority = uri
        .authority()
        .ok_or_else(|| format!("`{uri}` names no host"))?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("`{uri}` is not https").into());
    }
    let host = format!(
        "{}:{}",
        authority.host(),
        authority.port_u16().unwrap_or(443)
    );
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path)?;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(authority.as_str())?);
    request
        .headers_mut()
        .insert(USER_AGENT, HeaderValue::from_static(AGENT));
    Ok(host)
}

fn split(host: &str) -> Result<(&str, u16), Failure> {
    let (name, port) = host.rsplit_once(':').ok_or("no port")?;
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    Ok((name, port.parse()?))
}

async fn read(mut body: Incoming) -> Result<Bytes, Failure> {
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if content.len() + data.len() > BODY {
                return Err(format!("the reply is larger than {} KiB", BODY >> 10).into());
            }
            content.extend_from_slice(&data);
        }
    }
    Ok(content.freeze())
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3), as a time within the next seven days.
fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<UnixTime> {
    let value = headers.get(RETRY_AFTER)?;
    let text = value.to_str().ok()?.trim();
    let until = match text.parse::<u64>() {
        Ok(seconds) => now.plus(Duration::from_secs(seconds)),
        Err(_) => http_date(value)?,
    };
    Some(until.clamp(now, now.plus(LONGEST_WAIT)))
}

/// The one form of date that may be sent (RFC 9110 §5.6.7).
fn http_date(value: &HeaderValue) -> Option<UnixTime> {
    let form = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let text = value.to_str().ok()?;
    let date = time::PrimitiveDateTime::parse(text.trim(), form).ok()?;
    Some(UnixTime(
        OffsetDateTime::new_utc(date.date(), date.time()).unix_timestamp(),
    ))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A client and a server with a certificate that it trusts.
    fn pair() -> (Client, TlsAcceptor) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let mut pem = std::fs::File::create(&file).unwrap();
        std::io::Write::write_all(&mut pem, made.cert.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (
            Client::new(Some(&file)).unwrap(),
            TlsAcceptor::from(Arc::new(server)),
        )
    }

    #[tokio::test]
    async fn an_address_that_is_silent_or_speaks_no_tls_gives_way_to_the_next() {
        let (client, acceptor) = pair();
        // The kernel takes the connection, and nobody answers.
        let (_nobody, silent) = listener().await;
        let (bad, not_tls) = listener().await;
        let (good, alive) = listener().await;
        let answer_plainly = async {
            // Closed with something unread, it would be a reset.
            let mut held = Vec::new();
            loop {
                let (mut stream, _peer) = bad.accept().await.unwrap();
                let answer = b"HTTP/1.0 400 Bad Request\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                held.push(stream);
            }
        };
        let serve = async {
            loop {
                let (stream, _peer) = good.accept().await.unwrap();
                acceptor.accept(stream).await.unwrap();
            }
        };
        let check = async {
            for first in [silent, not_tls] {
                let began = Instant::now();
                let tls = client.dial("localhost", &[first, alive], CONNECT).await;
                let peer = tls.unwrap().get_ref().0.peer_addr().unwrap();
                assert_eq!(peer, alive);
                assert!(began.elapsed() < CONNECT / 2, "{:?}", began.elapsed());
            }
            let limit = Duration::from_secs(2);
            let none = client.dial("localhost", &[silent, not_tls], limit).await;
            let error = none.unwrap_err().to_string();
            let found = error.starts_with("no connection to `localhost`: ")
                && error.contains(&format!("{silent}: no answer in "))
                && error.contains(&format!("{not_tls}: received corrupt message"));
            assert!(found, "{error}");
        };
        tokio::select! {
            () = check => {}
            () = answer_plainly => {}
            () = serve => {}
        }
    }

    #[test]
    fn retry_after_reads_seconds_and_dates_and_is_bounded() {
        let now = UnixTime(1_784_000_000);
        let read = |text: &str| {
            let headers =
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            retry_after(&headers, now).map(|time| time.seconds_since(now))
        };
        assert_eq!(read("3600"), Some(3600));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("99999999999"), Some(7 * 86400));
        assert_eq!(read("Fri, 31 Dec 1999 23:59:59 GMT"), Some(0));
        assert_eq!(
            read("Tue, 14 Jul 2026 04:33:20 GMT"),
            Some(1_784_003_600 - now.0)
        );
        for bad in ["-5", "soon", "", "1.5"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

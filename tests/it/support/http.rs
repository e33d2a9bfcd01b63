//! HTTP clients by hyper: the same call over HTTP/1.1 and HTTP/2, so that one case runs over both.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::body::{self, Body};
use super::curl::Curl;
use super::raw::Raw;
use super::tls::{self, Alpn, Trust};
use super::{port, wait};

/// Headers that belong between proxy and upstream, or to one hop: a client must never see them.
const LEAKS: &[&str] = &[
    "keep-alive",
    "proxy-connection",
    "te",
    "x-tenant",
    "x-tenant-id",
    "x-tenant-schema",
    "x-tenant-signature",
    "x-tenant-slug",
];

/// Headers that HTTP/2 forbids (RFC 9113 section 8.2.2).
const NOT_IN_HTTP2: &[&str] = &["connection", "transfer-encoding", "upgrade"];

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

impl Protocol {
    /// Both, for a case that must behave the same over either.
    pub(crate) const BOTH: [Self; 2] = [Self::Http1, Self::Http2];
}

/// The public side of a proxy under test: a TLS port on 127.0.0.1 and what its clients trust.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    address: SocketAddr,
    client: Ipv4Addr,
    trust: Trust,
}

impl Edge {
    /// Clients of `port` that trust `trust`.
    pub(crate) fn new(port: u16, trust: Trust) -> Self {
        Self {
            address: port::local(port),
            client: Ipv4Addr::LOCALHOST,
            trust,
        }
    }

    /// The same for a client with another address of loopback.
    pub(crate) fn from(&self, client: Ipv4Addr) -> Self {
        Self {
            client,
            ..self.clone()
        }
    }

    /// A connection with SNI and Host `host` (a port in it goes into Host only).
    pub(crate) async fn connect(&self, protocol: Protocol, host: &str) -> Connection {
        self.connect_with(protocol, host, |_| {}).await
    }

    /// The same for an odd client: `change` its TLS.
    pub(crate) async fn connect_with(
        &self,
        protocol: Protocol,
        host: &str,
        change: impl FnOnce(&mut rustls::ClientConfig),
    ) -> Connection {
        let alpn = match protocol {
            Protocol::Http1 => Alpn::Http1,
            Protocol::Http2 => Alpn::Http2,
        };
        let sni = host.split(':').next().unwrap_or(host);
        let mut config = self.trust.config(alpn);
        change(&mut config);
        let stream = tls::connect_from(self.client, self.address, sni, config)
            .await
            .expect("TLS handshake");
        let stream = TokioIo::new(stream);
        let sender = match protocol {
            Protocol::Http1 => http1_sender(stream).await,
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
                    .await
                    .expect("HTTP/2 preface");
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Connection {
            sender,
            host: host.to_owned(),
            behind_proxy: true,
            always: HeaderMap::new(),
        }
    }

    /// One GET over a connection of its own.
    pub(crate) async fn get(&self, protocol: Protocol, host: &str, path: &str) -> Answer {
        self.connect(protocol, host)
            .await
            .request("GET", path)
            .send()
            .await
    }

    /// A TLS connection to write bytes to.
    pub(crate) async fn raw(&self, sni: &str, alpn: Alpn) -> Raw {
        let stream = tls::connect(self.address, sni, self.trust.config(alpn)).await;
        Raw::new(stream.expect("TLS handshake"))
    }

    /// `curl` that finds `host` at this port and trusts what this edge's clients trust.
    pub(crate) fn curl(&self, host: &str) -> Curl {
        Curl::new(host, self.address, self.trust.file())
    }
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

async fn http1_sender(
    stream: impl hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
) -> Sender {
    let (sender, connection) = http1::handshake(stream).await.expect("HTTP/1.1 connection");
    tokio::spawn(connection.with_upgrades());
    Sender::Http1(sender)
}

/// One open connection; requests go out one after the other.
pub(crate) struct Connection {
    sender: Sender,
    host: String,
    /// Answers come through the proxy, so they are checked for leaks.
    behind_proxy: bool,
    /// Headers of every request.
    always: HeaderMap,
}

impl Connection {
    /// HTTP/1.1 without TLS, for the redirect port.
    pub(crate) async fn plain(port: u16, host: &str) -> Self {
        let stream = TcpStream::connect(port::local(port))
            .await
            .expect("a listener");
        Self {
            behind_proxy: true,
            ..Self::over(stream, host).await
        }
    }

    /// HTTP/1.1 straight to an origin over TCP.
    pub(crate) async fn tcp(address: SocketAddr, host: &str) -> Self {
        Self::over(TcpStream::connect(address).await.expect("a listener"), host).await
    }

    /// HTTP/1.1 straight to an origin over a Unix socket.
    pub(crate) async fn unix(socket: &Path, host: &str) -> Self {
        Self::over(UnixStream::connect(socket).await.expect("a listener"), host).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &str,
    ) -> Self {
        let sender = http1_sender(TokioIo::new(stream)).await;
        Self {
            sender,
            host: host.to_owned(),
            behind_proxy: false,
            always: HeaderMap::new(),
        }
    }

    /// Adds a header to every request from now on.
    pub(crate) fn always(&mut self, name: &'static str, value: &'static str) {
        self.always.insert(name, HeaderValue::from_static(value));
    }

    /// A request to `target` (path and query).
    pub(crate) fn request(&mut self, method: &str, target: &str) -> Ask<'_> {
        let mut request = Request::new(body::empty());
        *request.method_mut() = method.parse().expect("a method");
        request.headers_mut().clone_from(&self.always);
        let version = match self.sender {
            Sender::Http1(_) => Version::HTTP_11,
            Sender::Http2(_) => Version::HTTP_2,
        };
        *request.version_mut() = version;
        if version == Version::HTTP_2 {
            *request.uri_mut() = format!("https://{}{target}", self.host)
                .parse()
                .expect("a URI");
        } else {
            *request.uri_mut() = target.parse().expect("a target");
            let host = HeaderValue::from_str(&self.host).expect("a host");
            request.headers_mut().insert(http::header::HOST, host);
        }
        Ask {
            connection: self,
            request,
        }
    }
}

/// A request being put together.
pub(crate) struct Ask<'c> {
    connection: &'c mut Connection,
    request: Request<Body>,
}

impl Ask<'_> {
    /// Appends a header (twice the same name gives two lines).
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        self.request.headers_mut().append(name, value);
        self
    }

    /// Asks for another host than the connection's.
    pub(crate) fn host(mut self, host: &str) -> Self {
        if self.request.version() == Version::HTTP_2 {
            let target = self.request.uri().path_and_query().expect("a target");
            *self.request.uri_mut() = format!("https://{host}{target}").parse().expect("a URI");
        } else {
            let host = HeaderValue::from_str(host).expect("a host");
            self.request.headers_mut().insert(http::header::HOST, host);
        }
        self
    }

    /// Sets the body; see [`body`] for the kinds.
    pub(crate) fn body(mut self, body: Body) -> Self {
        *self.request.body_mut() = body;
        self
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.expect("an answer")
    }

    /// The same for requests that may fail: reset, closed, cut short.
    pub(crate) async fn try_send(self) -> hyper::Result<Answer> {
        let behind_proxy = self.connection.behind_proxy;
        let (parts, incoming) = self.try_head().await?.into_parts();
        let collected = wait::within("the end of the answer", incoming.collect()).await?;
        let answer = Answer {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            trailers: collected.trailers().cloned(),
            body: collected.to_bytes(),
        };
        if behind_proxy {
            answer.assert_no_leaks();
        }
        Ok(answer)
    }

    /// Sends it and returns as soon as the answer's head is there.
    pub(crate) async fn try_head(self) -> hyper::Result<Response<Incoming>> {
        let Self {
            connection,
            request,
        } = self;
        wait::within("an answer", async {
            match &mut connection.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }
}

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header that may be there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().expect("a text");
        assert!(
            values.next().is_none(),
            "{name} is there twice: {:?}",
            self.headers
        );
        Some(value)
    }

    fn assert_no_leaks(&self) {
        let forbidden = if self.version == Version::HTTP_2 {
            NOT_IN_HTTP2
        } else {
            &[]
        };
        for &name in LEAKS.iter().chain(forbidden) {
            assert!(
                !self.headers.contains_key(name),
                "`{name}` leaked: {:?}",
                self.headers
            );
        }
    }
}

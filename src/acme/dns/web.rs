//! One JSON request to a web service that keeps TXT records for us.
//!
//! Over HTTPS with the system's roots; without TLS only to this machine itself, since credentials travel along. Each
//! request has a connection of its own, to the service's first address that is ready, a deadline and a cap on the answer.
//! Redirects are not followed.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::super::client::connector;
use crate::net::dial;

/// For name, connection, request and answer together.
const PATIENCE: Duration = Duration::from_secs(20);
/// For connection and TLS, over all addresses.
const CONNECT: Duration = Duration::from_secs(10);
/// Largest answer read.
const LARGEST: usize = 64 << 10;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Posts `body` and gives back status and answer. The error names the host and its addresses only.
pub(super) async fn post_json(
    url: &str,
    headers: HeaderMap,
    body: &serde_json::Value,
) -> Result<(StatusCode, Bytes), String> {
    let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    let called = tokio::time::timeout(PATIENCE, call(&uri, headers, body.to_string())).await;
    match called {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{host}: {error}")),
        Err(_elapsed) => Err(format!("{host}: no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn call(
    uri: &Uri,
    mut headers: HeaderMap,
    body: String,
) -> Result<(StatusCode, Bytes), Failure> {
    let authority = uri.authority().ok_or("the URL names no host")?;
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let agent = concat!("portico/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let mut request = Request::post(path).body(Full::new(Bytes::from(body)))?;
    *request.headers_mut() = headers;
    if uri.scheme_str() == Some("https") {
        let addresses = look_up(name, authority.port_u16().unwrap_or(443)).await?;
        let (connector, server) = (connector(None)?, ServerName::try_from(name.to_owned())?);
        let tls = dial::first(&addresses, CONNECT, |address| {
            let (connector, server) = (connector.clone(), server.clone());
            async move {
                let stream = TcpStream::connect(address).await?;
                connector.connect(server, stream).await
            }
        });
        return exchange(tls.await?, request).await;
    }
    let mut addresses = look_up(name, authority.port_u16().unwrap_or(80)).await?;
    addresses.retain(|address| address.ip().is_loopback());
    if addresses.is_empty() {
        let text = "credentials are sent over HTTPS only, but to this machine itself\nhint: write `https://`";
        return Err(text.into());
    }
    let stream = dial::first(&addresses, CONNECT, TcpStream::connect).await?;
    exchange(stream, request).await
}

async fn look_up(name: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, port)).await?.collect())
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Failure> {
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (parts, mut body) = sender.send_request(request).await?.into_parts();
        let mut content = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                if content.len() + data.len() > LARGEST {
                    return Err(Failure::from("the answer is too large"));
                }
                content.extend_from_slice(&data);
            }
        }
        Ok((parts.status, content.freeze()))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The other side closed; the answer may be complete by then.
        ended = driver => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}

//! One question to the admin listener of the running proxy.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::AdminAddress;
use crate::server::admin::tenants::HEADER;

/// For the whole exchange; the admin listener takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer: a list of 100,000 hosts.
const LARGEST: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// There is no admin listener.
    #[error(
        "the proxy has no admin listener: `listen.admin` is `off`\n  hint: set `listen.admin = \"127.0.0.1:9180\"`, or a path as in `unix:/run/portico/admin.sock`"
    )]
    Off,
    /// The proxy does not answer.
    #[error(
        "the proxy does not answer at `{address}`: {reason}\n  hint: does it run with this configuration, and may this user connect? `systemctl status portico`"
    )]
    NoAnswer {
        /// Of the admin listener.
        address: String,
        /// What happened.
        reason: String,
    },
    /// It says no.
    #[error(
        "{0}\n  hint: `portico tenant list` shows what is in memory, `portico tenant explain HOST` asks the source"
    )]
    Refused(String),
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Asks, and waits for the answer.
pub(super) fn ask(address: &AdminAddress, method: Method, path: &str) -> Result<Value, AskError> {
    let shown = match address {
        AdminAddress::Off => return Err(AskError::Off),
        AdminAddress::Tcp(address) => address.to_string(),
        AdminAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let no_answer = |reason: String| AskError::NoAnswer {
        address: shown.clone(),
        reason,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| no_answer(error.to_string()))?;
    let asked = runtime.block_on(tokio::time::timeout(
        PATIENCE,
        exchange(address, method, path),
    ));
    let (status, body) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(no_answer(error.to_string())),
        Err(_elapsed) => {
            return Err(no_answer(format!(
                "nothing within {} s",
                PATIENCE.as_secs()
            )));
        }
    };
    let answer: Value =
        serde_json::from_slice(&body).map_err(|error| no_answer(format!("not JSON: {error}")))?;
    if status == StatusCode::OK {
        return Ok(answer);
    }
    let error = answer.get("error").and_then(Value::as_str);
    Err(AskError::Refused(error.map_or_else(
        || format!("the proxy answered {status}"),
        str::to_owned,
    )))
}

async fn exchange(
    address: &AdminAddress,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), Failure> {
    match address {
        AdminAddress::Tcp(address) => send(TcpStream::connect(address).await?, method, path).await,
        AdminAddress::Unix(socket) => send(UnixStream::connect(socket).await?, method, path).await,
        AdminAddress::Off => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), Failure> {
    let request = match method {
        Method::Get => Request::get(path),
        Method::Post => Request::post(path),
    };
    let request = request
        .header(HOST, "localhost")
        .header(HEADER, "1")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
        Ok((parts.status, body))
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

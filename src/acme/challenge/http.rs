//! http-01 (RFC 8555 §8.3): asking a listener of ours as the CA will.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::served::ANSWER;
use crate::cert::answers::HTTP_PATH;
use crate::host::Host;

/// Largest answer read; a key authorization has some 90 bytes.
const LARGEST: usize = 4 << 10;

/// Whether the listener answers `token` with `expected`; the reason if not.
pub(super) async fn probe(
    listener: SocketAddr,
    host: &Host,
    token: &str,
    expected: &str,
) -> Result<(), String> {
    let (status, body) = timeout(ANSWER, get(listener, host, &format!("{HTTP_PATH}{token}")))
        .await
        .map_err(|_elapsed| format!("no answer within {} s", ANSWER.as_secs()))??;
    if status != StatusCode::OK {
        return Err(format!("it answers {status}"));
    }
    if body != expected {
        return Err("it answers another text".to_owned());
    }
    Ok(())
}

async fn get(listener: SocketAddr, host: &Host, path: &str) -> Result<(StatusCode, Bytes), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(listener)
        .await
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let request = Request::get(path)
        .header(HOST, host.as_str())
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let exchange = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(|error| failed(&error))?;
        Ok((head.status, body.to_bytes()))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // It ends when the other side closes; the answer may be complete by then.
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(failed(&error)),
        },
    }
}

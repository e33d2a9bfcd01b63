//! Active probes: one GET over a connection of its own, and what a row of answers means.
//!
//! Driven by the control plane, never by a request. It knows no clock: the caller says when.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use thiserror::Error;

use super::connect::{ConnectError, How, connect};
use super::server::Server;
use super::spec::Spec;
use super::wire;
use crate::config::Probe;
use crate::net::proxy_header::Header;

/// Why a probe is bad.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// No connection.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// No answer, or one that is not HTTP.
    #[error("{0}")]
    Exchange(#[from] hyper::Error),
    /// Another status.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// Too slow.
    #[error("no answer within {}", crate::units::format_duration(*.0))]
    Timeout(Duration),
    /// A path or host that cannot stand in a request.
    #[error("the probe is not a request: {0}")]
    Request(#[from] http::Error),
}

/// Asks `server` once.
///
/// # Errors
/// [`ProbeError`] says what is wrong with the server.
pub async fn ask(spec: &Spec, probe: &Probe, server: &Server) -> Result<(), ProbeError> {
    let status = tokio::time::timeout(probe.timeout, exchange(spec, probe, server))
        .await
        .map_err(|_elapsed| ProbeError::Timeout(probe.timeout))??;
    let (first, last) = probe.status;
    if (first..=last).contains(&status.as_u16()) {
        Ok(())
    } else {
        Err(ProbeError::Status(status))
    }
}

async fn exchange(spec: &Spec, probe: &Probe, server: &Server) -> Result<StatusCode, ProbeError> {
    let mut request = Request::get(&probe.path)
        .header(header::HOST, &spec.probe_host)
        .header(header::USER_AGENT, "portico-probe")
        .header(header::ACCEPT, "*/*")
        .header("x-forwarded-proto", "https")
        .body(Empty::<Bytes>::new())?;
    let how = How {
        tls: spec.tls.as_ref(),
        only_http1: spec.settings.send_proxy_protocol,
        // A probe is nobody's: the address that the server sees is the right one.
        header: spec.settings.send_proxy_protocol.then_some(Header::Local),
        turn: 0,
        limit: probe.timeout,
    };
    let connected = connect(server, how).await?;
    let tls = matches!(connected.stream, super::connect::Stream::Tls(_));
    let stream = TokioIo::new(connected.stream);
    // The connection is driven here and goes with the probe.
    let response = if connected.http2 {
        let scheme = if tls {
            http::uri::Scheme::HTTPS
        } else {
            http::uri::Scheme::HTTP
        };
        wire::for_http2(&mut request, &scheme);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        drive(sender.send_request(request), connection).await?
    } else {
        request
            .headers_mut()
            .insert(header::CONNECTION, http::HeaderValue::from_static("close"));
        let (mut sender, connection) = http1::handshake(stream).await?;
        drive(sender.send_request(request), connection).await?
    };
    Ok(response.status())
}

/// The answer, with the connection polled beside it.
async fn drive<T>(
    answer: impl Future<Output = hyper::Result<T>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> hyper::Result<T> {
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The end of the connection ends the wait for the answer too, with a better word for it.
        _ = connection => answer.await,
    }
}

/// How many answers in a row were of one kind, and what a server is taken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streak {
    good: u32,
    bad: u32,
}

impl Streak {
    /// Takes in one answer. `Some(down)` once the row is long enough to say so.
    pub fn note(&mut self, good: bool, probe: &Probe) -> Option<bool> {
        if good {
            self.bad = 0;
            self.good = self.good.saturating_add(1);
            (self.good >= probe.rise).then_some(false)
        } else {
            self.good = 0;
            self.bad = self.bad.saturating_add(1);
            (self.bad >= probe.fall).then_some(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_row_of_answers() {
        let probe = Probe {
            rise: 2,
            fall: 3,
            ..Probe::default()
        };
        let mut streak = Streak::default();
        let said: Vec<_> = [false, false, true, false, false, false, false, true, true]
            .iter()
            .map(|&good| streak.note(good, &probe))
            .collect();
        let (up, down) = (Some(false), Some(true));
        assert_eq!(said, [None, None, None, None, None, down, down, None, up]);
    }
}

//! The origin's inside: connections to requests to records.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::{Body, KEPT, Record, Seen, Stream};

/// Where connections come from.
pub(super) enum Listener {
    Tcp(TcpListener),
    H2c(TcpListener, u32),
    Tls(TcpListener, TlsAcceptor),
    Unix(UnixListener),
}

impl Listener {
    /// The next connection, as what makes it ready (the handshake must not stall the others).
    async fn accept(
        &self,
    ) -> io::Result<impl Future<Output = io::Result<(Box<dyn Stream>, bool)>> + use<>> {
        let plain: (Box<dyn Stream>, _) = match self {
            Self::Tcp(listener) => (Box::new(listener.accept().await?.0), None),
            Self::Tls(listener, acceptor) => {
                (Box::new(listener.accept().await?.0), Some(acceptor.clone()))
            }
            Self::Unix(listener) => (Box::new(listener.accept().await?.0), None),
            Self::H2c(listener, _) => (Box::new(listener.accept().await?.0), None),
        };
        let prior_knowledge = matches!(self, Self::H2c(..));
        Ok(async move {
            let (stream, Some(acceptor)) = plain else {
                return Ok((plain.0, prior_knowledge));
            };
            let stream = acceptor.accept(stream).await?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok((Box::new(stream) as Box<dyn Stream>, http2))
        })
    }
}

/// Serves until the task is dropped.
pub(super) async fn serve<H, F>(listener: Listener, handler: H, record: Arc<Record>)
where
    H: Fn(Seen) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    loop {
        let opening = listener.accept().await.expect("a connection");
        let most = match &listener {
            Listener::H2c(_, most) => Some(*most),
            _ => None,
        };
        let connection = record.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let (handler, record) = (handler.clone(), Arc::clone(&record));
        let service = service_fn(move |request| {
            let (handler, record) = (handler.clone(), Arc::clone(&record));
            async move {
                record.begun.fetch_add(1, Ordering::SeqCst);
                let seen = read(request, connection).await;
                record
                    .seen
                    .lock()
                    .expect("never held over a panic")
                    .push(seen.clone());
                // A task of its own: a panic must not take the connection's other requests along unseen.
                tokio::spawn(async move { handler(seen).await })
                    .await
                    .map_err(|error| {
                        let message = panic_message(error);
                        *record.panic.lock().expect("never held over a panic") =
                            Some(message.clone());
                        io::Error::other(message)
                    })
            }
        });
        tokio::spawn(async move {
            let Ok((stream, is_http2)) = opening.await else {
                return;
            };
            let stream = TokioIo::new(stream);
            // How a connection ends is the client's business: tests look at requests.
            let _ = if is_http2 {
                let mut server = http2::Builder::new(TokioExecutor::new());
                if let Some(most) = most {
                    server.max_concurrent_streams(most);
                }
                server.serve_connection(stream, service).await
            } else {
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(stream, service)
                    .await
            };
        });
    }
}

async fn read(request: Request<Incoming>, connection: usize) -> Seen {
    let (head, mut incoming) = request.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    let mut seen = Seen {
        method: head.method.to_string(),
        target: head
            .uri
            .path_and_query()
            .filter(|_| head.version == Version::HTTP_2)
            .map_or_else(|| head.uri.to_string(), ToString::to_string),
        authority: head.uri.authority().map(ToString::to_string),
        version: head.version,
        headers: headers.collect(),
        trailers: None,
        body: Bytes::new(),
        body_len: 0,
        complete: true,
        connection,
    };
    let mut kept = Vec::new();
    while let Some(frame) = incoming.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                seen.body_len += data.len() as u64;
                kept.extend(data.iter().take(KEPT - kept.len()));
            }
            Ok(Err(trailers)) => seen.trailers = trailers.into_trailers().ok(),
            Err(_) => {
                seen.complete = false;
                break;
            }
        }
    }
    seen.body = kept.into();
    seen
}

fn panic_message(error: tokio::task::JoinError) -> String {
    error.try_into_panic().map_or_else(
        |error| error.to_string(),
        |payload| match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload
                .downcast::<&str>()
                .map_or_else(|_| "no message".into(), |text| (*text).into()),
        },
    )
}

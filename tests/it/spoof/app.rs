//! The app of the spoof test: judges every request and answers with its path; and a proxy that gets it wrong.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::judge::Judge;
use crate::support::body::{self, Body};
use crate::support::site::DOMAIN;

/// A server on a thread of its own; dropping it ends it.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start<H, F>(handle: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("our own socket");
        let address = listener.local_addr().expect("a bound socket");
        let (stop, mut stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::from_std(listener).expect("inside the runtime");
                loop {
                    let stream = tokio::select! {
                        accepted = listener.accept() => accepted.expect("a connection").0,
                        _ = &mut stopped => return,
                    };
                    let handle = handle.clone();
                    let service = service_fn(move |request| {
                        let answer = handle(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::spawn(connection);
                }
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The app.
pub(super) fn app(judge: &Judge) -> Server {
    let judge = judge.clone();
    Server::start(move |request: Request<Incoming>| {
        let judge = judge.clone();
        async move {
            let (head, mut body) = request.into_parts();
            judge.head(head.uri.path(), &head.headers);
            while let Some(Ok(frame)) = body.frame().await {
                if let Some(trailers) = frame.trailers_ref() {
                    judge.trailers(head.uri.path(), trailers);
                }
            }
            let mut response = Response::new(body::empty());
            let path = HeaderValue::from_str(head.uri.path()).expect("a path");
            response.headers_mut().insert("x-echo", path);
            response
        }
    })
}

/// What a sloppy proxy gets wrong; the rest it does right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slip {
    /// Its tenant line is put beside the client's.
    Appends,
    /// It knows the client's line by its exact name only.
    ExactName,
    /// It removes what `Connection` nominates after it has set its own.
    NominatedLast,
    /// It passes trailers as they come.
    Trailers,
    /// It passes `Host` as it comes.
    Host,
    /// It believes what the client says in place of what it would say itself.
    Believes,
}

impl Slip {
    pub(super) const ALL: [Self; 6] = [
        Self::Appends,
        Self::ExactName,
        Self::NominatedLast,
        Self::Trailers,
        Self::Host,
        Self::Believes,
    ];
}

/// A pass-through without TLS that makes one mistake. `port` is what it claims its https port to be.
pub(super) fn sloppy(app: SocketAddr, slip: Slip, port: u16) -> Server {
    Server::start(move |request| async move {
        let (mut head, body) = request.into_parts();
        rewrite(&mut head.headers, slip, port);
        let collected = body.collect().await.expect("a whole request");
        let trailers = collected.trailers().cloned();
        let data = collected.to_bytes();
        head.headers.remove("content-length");
        let body = match trailers {
            Some(trailers) if slip == Slip::Trailers => {
                let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
                let line = HeaderValue::from_str(&names.join(", ")).expect("names");
                head.headers.insert("trailer", line);
                body::with_trailers(data, trailers)
            }
            _ => body::full(data),
        };
        let stream = TcpStream::connect(app).await.expect("the app");
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("a connection");
        tokio::spawn(connection);
        let answer = sender.send_request(Request::from_parts(head, body)).await;
        let (head, _) = answer.expect("an answer").into_parts();
        Response::from_parts(
            head,
            Empty::<Bytes>::new()
                .map_err(|never| match never {})
                .boxed(),
        )
    })
}

fn rewrite(headers: &mut HeaderMap, slip: Slip, port: u16) {
    let asked = headers.get("host").map_or(&b""[..], HeaderValue::as_bytes);
    let asked = String::from_utf8_lossy(asked).to_ascii_lowercase();
    let name = asked.split(':').next().unwrap_or_default();
    let tenant = name
        .trim_end_matches('.')
        .trim_end_matches(&format!(".{DOMAIN}"))
        .to_owned();
    let nominated: Vec<String> = headers
        .get_all("connection")
        .iter()
        .flat_map(|line| line.to_str().unwrap_or_default().split(','))
        .map(|token| token.trim().to_ascii_lowercase())
        .collect();
    let drop_nominated = |headers: &mut HeaderMap| {
        for name in &nominated {
            headers.remove(name.as_str());
        }
    };
    if slip != Slip::NominatedLast {
        drop_nominated(headers);
    }
    for name in ["connection", "keep-alive", "te", "transfer-encoding"] {
        headers.remove(name);
    }
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names {
        let fold: String = name
            .as_str()
            .chars()
            .map(|char| {
                if char.is_ascii_alphanumeric() {
                    char
                } else {
                    '-'
                }
            })
            .collect();
        let fold = fold.strip_prefix("http-").unwrap_or(&fold);
        let honest = [
            "via",
            "trailer",
            "tenant",
            "x-tenants",
            "x-dotted-name",
            "host",
            "content-length",
        ];
        let tenant_line = fold.starts_with("x-tenant") && fold != "x-tenants";
        let keep = match slip {
            Slip::Appends if name == "x-tenant" => true,
            Slip::ExactName if tenant_line => name != "x-tenant",
            Slip::Believes if fold == "x-real-ip" => name == "x-real-ip",
            _ => honest.contains(&fold),
        };
        if !keep {
            headers.remove(&name);
        }
    }
    put_own(headers, slip, &tenant, port);
    if slip == Slip::NominatedLast {
        drop_nominated(headers);
    }
}

fn put_own(headers: &mut HeaderMap, slip: Slip, tenant: &str, port: u16) {
    let value = |text: &str| HeaderValue::from_str(text).expect("a value");
    let host = format!("{tenant}.{DOMAIN}");
    if slip != Slip::Host {
        headers.insert("host", value(&host));
    }
    for (name, text) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", &host),
        ("x-forwarded-port", &port.to_string()),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "1"),
    ] {
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            value(text),
        );
    }
    headers.entry("x-real-ip").or_insert(value("127.0.0.1"));
    if slip == Slip::Appends {
        headers.append("x-tenant", value(tenant));
    } else {
        headers.insert("x-tenant", value(tenant));
    }
}

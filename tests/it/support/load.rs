//! Clients that never stop: for changes under load that no client may notice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::{Request, Version};
use rustls::ClientConfig;
use tokio::task::JoinHandle;

use super::http::Protocol;
use super::port;
use super::raw::Raw;
use super::site::Site;
use super::tls::{self, Alpn};
use super::wait;

/// Requests on one connection before a client makes another.
const ON_ONE: usize = 40;

/// Clients at work. What they ask is `GET /load`.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    stop: AtomicBool,
    /// The proxy is ending: that it takes no connection is no failure any more.
    ending: AtomicBool,
    answers: Mutex<BTreeMap<String, usize>>,
    failures: Mutex<Vec<String>>,
}

/// How many answers had which body, and what failed.
pub(crate) struct Outcome {
    pub(crate) answers: BTreeMap<String, usize>,
    pub(crate) failures: Vec<String>,
}

impl Load {
    /// Starts `count` clients of each protocol.
    pub(crate) fn start(site: &Site, count: usize) -> Self {
        let shared = Arc::new(Shared {
            address: port::local(site.portico.https_port()),
            stop: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            answers: Mutex::default(),
            failures: Mutex::default(),
        });
        let mut tasks = Vec::new();
        for protocol in Protocol::BOTH {
            let alpn = match protocol {
                Protocol::Http1 => Alpn::Http1,
                Protocol::Http2 => Alpn::Http2,
            };
            for _ in 0..count {
                let config = site.ca.trust().config(alpn);
                tasks.push(tokio::spawn(client(Arc::clone(&shared), protocol, config)));
            }
        }
        Self { shared, tasks }
    }

    /// Answers so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared
            .answers
            .lock()
            .expect("never held over a panic")
            .values()
            .sum()
    }

    /// Waits until `more` requests have been answered from now on.
    pub(crate) async fn wait_answers(&self, more: usize) {
        let wanted = self.answered() + more;
        wait::until_async("answers under load", async || {
            (self.answered() >= wanted).then_some(())
        })
        .await;
    }

    /// From now on a client that finds no listener ends in peace.
    pub(crate) fn expect_end(&self) {
        self.shared.ending.store(true, Ordering::SeqCst);
    }

    /// Lets every client finish its request, and tells.
    pub(crate) async fn stop(self) -> Outcome {
        self.shared.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            wait::within("a client to finish", task)
                .await
                .expect("no client panics");
        }
        let take =
            |list: &Mutex<Vec<String>>| list.lock().expect("never held over a panic").clone();
        Outcome {
            answers: self
                .shared
                .answers
                .lock()
                .expect("never held over a panic")
                .clone(),
            failures: take(&self.shared.failures),
        }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn fail(&self, what: String) {
        self.failures
            .lock()
            .expect("never held over a panic")
            .push(what);
    }

    fn answer(&self, status: u16, body: &[u8]) {
        if status == 200 {
            let body = String::from_utf8_lossy(body).into_owned();
            *self
                .answers
                .lock()
                .expect("never held over a panic")
                .entry(body)
                .or_default() += 1;
        } else {
            self.fail(format!("status {status}"));
        }
    }
}

async fn client(shared: Arc<Shared>, protocol: Protocol, config: ClientConfig) {
    while !shared.stopped() {
        let stream = match tls::connect(shared.address, "acme.example.test", config.clone()).await {
            Ok(stream) => stream,
            Err(_) if shared.ending.load(Ordering::SeqCst) => return,
            Err(error) => {
                shared.fail(format!("handshake: {error}"));
                return;
            }
        };
        match protocol {
            Protocol::Http1 => http1(&shared, Raw::new(stream)).await,
            Protocol::Http2 => http2(&shared, stream).await,
        }
    }
}

async fn http1(shared: &Shared, mut raw: Raw) {
    for _ in 0..ON_ONE {
        if shared.stopped() {
            return;
        }
        raw.write("GET /load HTTP/1.1\r\nHost: acme.example.test\r\n\r\n")
            .await;
        match raw.response().await {
            Some(answer) => {
                shared.answer(answer.status, &answer.body);
                if answer.header("connection") == Some("close") {
                    return;
                }
            }
            None => return shared.fail("written, but not answered (HTTP/1.1)".to_owned()),
        }
    }
}

async fn http2<S>(shared: &Shared, stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Ok((sender, connection)) = h2::client::handshake(stream).await else {
        return shared.fail("no HTTP/2 preface".to_owned());
    };
    let driver = tokio::spawn(connection);
    for _ in 0..ON_ONE {
        // An end that was announced before the request is no failure.
        let (false, Ok(mut ready)) = (shared.stopped(), sender.clone().ready().await) else {
            break;
        };
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = "https://acme.example.test/load".parse().expect("a URI");
        let Ok((answer, _)) = ready.send_request(request, true) else {
            break;
        };
        if let Err(error) = http2_answer(shared, answer).await {
            // GOAWAY without error says that this stream was not begun (RFC 9113 section 6.8).
            let reason = error.reason();
            let unbegun = reason == Some(h2::Reason::REFUSED_STREAM)
                || (error.is_go_away() && reason == Some(h2::Reason::NO_ERROR));
            if !unbegun {
                shared.fail(format!("HTTP/2: {error}"));
            }
            break;
        }
    }
    drop(sender);
    driver.abort();
}

async fn http2_answer(
    shared: &Shared,
    answer: h2::client::ResponseFuture,
) -> Result<(), h2::Error> {
    let answer = wait::within("an answer", answer).await?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        bytes.extend_from_slice(&piece?);
    }
    shared.answer(status, &bytes);
    Ok(())
}

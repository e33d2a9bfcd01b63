//! WebSocket on both ends: an app that echoes, and a client through the edge.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use super::port;
use super::site::Site;
use super::tls::{self, Alpn};
use super::wait;

/// The headers of one request for a WebSocket.
pub(crate) type Head = Vec<(String, String)>;

/// An app that sends every message back. Lives on a thread of its own.
pub(crate) struct EchoApp {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<Head>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EchoApp {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("our own socket");
        let address = listener.local_addr().expect("a bound socket");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (stop, mut stopped) = oneshot::channel();
        let record = Arc::clone(&heads);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::from_std(listener).expect("inside the runtime");
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let stream = accepted.expect("a connection").0;
                            tokio::spawn(echo(stream, Arc::clone(&record)));
                        }
                        _ = &mut stopped => return,
                    }
                }
            });
        });
        Self {
            address,
            heads,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// For `[upstream] servers`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The headers of every request for a WebSocket.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.heads.lock().expect("never held over a panic").clone()
    }
}

impl Drop for EchoApp {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn echo(stream: TcpStream, record: Arc<Mutex<Vec<Head>>>) {
    #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
    let note = |request: &Request, response: Response| {
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        };
        let head = request.headers().iter().map(line).collect();
        record.lock().expect("never held over a panic").push(head);
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, note).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// A client's WebSocket through the edge.
pub(crate) struct Client(pub(crate) WebSocketStream<TlsStream<TcpStream>>);

impl Client {
    /// Opens one for `acme`.
    pub(crate) async fn open(site: &Site) -> Self {
        // Boxed: the buffers of a handshake are part of its future.
        Box::pin(Self::opening(site)).await
    }

    async fn opening(site: &Site) -> Self {
        let address = port::local(site.portico.https_port());
        let config = site.ca.trust().config(Alpn::Http1);
        let stream = tls::connect(address, "acme.example.test", config).await;
        let opening = client_async(
            "wss://acme.example.test/chat?room=1",
            stream.expect("TLS handshake"),
        );
        let (socket, answer) = wait::within("a WebSocket", Box::pin(opening))
            .await
            .expect("101");
        assert_eq!(answer.status(), 101);
        Self(socket)
    }

    /// Sends a message and reads what comes back.
    pub(crate) async fn echo(&mut self, message: Message) -> Message {
        self.0.send(message).await.expect("an open socket");
        let back = wait::within("the echo", self.0.next()).await;
        back.expect("an open socket").expect("a message")
    }

    /// Closes properly and waits for the end.
    pub(crate) async fn close(mut self) {
        self.0.close(None).await.expect("an open socket");
        while let Some(Ok(_)) = wait::within("the end", self.0.next()).await {}
    }
}

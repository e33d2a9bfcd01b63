//! A stand-in of somebody's web API: plain on loopback, or with TLS behind an HTTP proxy's CONNECT, so that a client that
//! obeys `HTTPS_PROXY` reaches it under the real host name.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wait;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    /// Lower-case names.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Call {
    /// The value of a header; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// A value of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query
            .split('&')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    }
}

/// What a call is answered.
pub(crate) enum Reply {
    /// A status, and a JSON body.
    Status(u16, String),
    /// Nothing: the connection is held until the client gives up.
    Silence,
}

type Handler = dyn Fn(&Call) -> Reply + Send + Sync;

/// A running stand-in.
pub(crate) struct WebService {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WebService {
    /// Plain HTTP.
    pub(crate) fn plain(handler: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(handler))
    }

    /// A proxy that takes CONNECT to anywhere and answers there itself, with TLS.
    pub(crate) fn behind_connect(
        mut tls: ServerConfig,
        handler: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self::start(Some(Arc::new(tls)), Arc::new(handler))
    }

    fn start(tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (heard, stopped) = (Arc::clone(&calls), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.expect("a connection");
                let (tls, heard, handler) = (tls.clone(), Arc::clone(&heard), Arc::clone(&handler));
                // A client that goes away ends its thread with an error, which is nobody's business.
                std::thread::spawn(move || connection(stream, tls, &heard, &*handler));
            }
        });
        Self {
            address,
            calls,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("never held over a panic").clone()
    }
}

impl Drop for WebService {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn connection(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    heard: &Mutex<Vec<Call>>,
    handler: &Handler,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(wait::DEADLINE * 2))?;
    let Some(tls) = tls else {
        return serve(stream, heard, handler);
    };
    // Byte by byte: what follows the head belongs to TLS.
    let (mut head, mut stream) = (Vec::new(), stream);
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"CONNECT "), "a proxy is asked to connect");
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let tls = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    serve(StreamOwned::new(tls, stream), heard, handler)
}

fn serve(
    stream: impl Read + Write,
    heard: &Mutex<Vec<Call>>,
    handler: &Handler,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut words = lines[0].split(' ').map(str::to_owned);
        let headers: Vec<(String, String)> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut call = Call {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            headers,
            body: String::new(),
        };
        let mut body = vec![0; call.header("content-length").parse().unwrap_or(0)];
        stream.read_exact(&mut body)?;
        call.body = String::from_utf8(body).map_err(std::io::Error::other)?;
        heard
            .lock()
            .expect("never held over a panic")
            .push(call.clone());
        match handler(&call) {
            Reply::Status(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    if status == 204 { 0 } else { body.len() }
                );
                let stream = stream.get_mut();
                stream.write_all(head.as_bytes())?;
                if status != 204 {
                    stream.write_all(body.as_bytes())?;
                }
                stream.flush()?;
            }
            Reply::Silence => {
                let mut rest = [0];
                let _ = stream.read(&mut rest);
                return Ok(());
            }
        }
    }
}

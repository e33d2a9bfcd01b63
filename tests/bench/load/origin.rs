//! The upstream behind every proxy: HTTP/1.1 keep-alive with answers rendered beforehand, so that it costs next to nothing.

use crate::{Error, gate::Gate};
use bytes::BytesMut;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A path of the origin and the length of its body.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    pub(crate) path: &'static str,
    pub(crate) length: usize,
}

pub(crate) const SMALL: Page = Page {
    path: "/",
    length: 1024,
};
pub(crate) const LARGE: Page = Page {
    path: "/1m",
    length: 1 << 20,
};

struct Origin {
    small: Vec<u8>,
    large: Vec<u8>,
    connections: AtomicU64,
    requests: AtomicU64,
}

/// Serves until standard input ends.
pub(crate) async fn serve(listen: SocketAddr) -> Result<(), Error> {
    let origin = Arc::new(Origin {
        small: render("200 OK", &vec![b'x'; SMALL.length]),
        large: render("200 OK", &vec![b'x'; LARGE.length]),
        connections: AtomicU64::new(0),
        requests: AtomicU64::new(0),
    });
    let listener = TcpListener::bind(listen).await?;
    let mut gate = Gate::stdin();
    println!(
        "{}",
        serde_json::json!({ "listening": listener.local_addr()?.to_string() })
    );
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                origin.connections.fetch_add(1, Relaxed);
                let origin = Arc::clone(&origin);
                // A connection that breaks is the proxy's to report.
                tokio::spawn(async move { drop(origin.connection(stream).await) });
            }
            () = gate.closed() => return Ok(()),
        }
    }
}

impl Origin {
    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut input = BytesMut::with_capacity(16 * 1024);
        while stream.read_buf(&mut input).await? > 0 {
            while let Some(end) = head_end(&input) {
                let head = input.split_to(end);
                self.answer(&head, &mut stream).await?;
            }
            input.reserve(4 * 1024);
        }
        Ok(())
    }

    /// Only GET is understood: nothing here has a body.
    async fn answer(&self, head: &[u8], stream: &mut TcpStream) -> io::Result<()> {
        let mut words = head.split(|&byte| byte == b' ');
        let path = match words.next() {
            Some(b"GET") => words.next(),
            _ => None,
        };
        match path {
            Some(b"/" | b"/1m") if !tenant_fits_host(head) => {
                stream
                    .write_all(&render("500 Internal Server Error", b"wrong tenant"))
                    .await
            }
            Some(b"/") => {
                self.requests.fetch_add(1, Relaxed);
                stream.write_all(&self.small).await
            }
            Some(b"/1m") => {
                self.requests.fetch_add(1, Relaxed);
                stream.write_all(&self.large).await
            }
            Some(b"/headers") => stream.write_all(&render("200 OK", head)).await,
            Some(b"/stats") => {
                let stats = serde_json::json!({
                    "connections": self.connections.load(Relaxed),
                    "requests": self.requests.load(Relaxed),
                });
                stream
                    .write_all(&render("200 OK", stats.to_string().as_bytes()))
                    .await
            }
            _ => stream.write_all(&render("404 Not Found", b"")).await,
        }
    }
}

/// A proxy that mixes up its tenants, or leaves them out, is not worth measuring.
fn tenant_fits_host(head: &[u8]) -> bool {
    let value = |wanted: &[u8]| {
        head.split(|&byte| byte == b'\n').find_map(|line| {
            let (name, value) = line.split_at_checked(wanted.len())?;
            let value = value.strip_prefix(b":")?;
            name.eq_ignore_ascii_case(wanted)
                .then_some(value.trim_ascii())
        })
    };
    let (Some(host), Some(tenant)) = (value(b"host"), value(b"x-tenant")) else {
        return false;
    };
    let rest = host.strip_prefix(tenant);
    !tenant.is_empty() && rest.is_some_and(|rest| rest.starts_with(b"."))
}

/// Where the first request head in the buffer ends; nearly always that is the end of the buffer.
fn head_end(input: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let first = input.windows(END.len()).position(|window| window == END)?;
    Some(first + END.len())
}

fn render(status: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nserver: origin\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         content-type: text/plain\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

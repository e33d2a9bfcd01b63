//! A client that sends exactly the bytes it is told to.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{port, wait};

/// Any connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection (TLS by `Edge::raw`, or plain) and what it has received but not yet handed out.
pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
        }
    }

    /// Without TLS.
    pub(crate) async fn plain(port: u16) -> Self {
        Self::new(
            TcpStream::connect(port::local(port))
                .await
                .expect("a listener"),
        )
    }

    /// Writes these bytes; a peer that has closed already is fine, its answer tells.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let sent = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        let _ = wait::within("room to write", sent).await;
        self
    }

    /// The next bytes, or `None` at the end (a reset counts as the end).
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() && !self.fill().await {
            return None;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// The head of an answer up to and with its empty line; `None` when the peer closed instead.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                assert!(
                    self.buffer.is_empty(),
                    "cut off in the head: {:?}",
                    String::from_utf8_lossy(&self.buffer)
                );
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        Some(String::from_utf8(head).expect("a head in ASCII"))
    }

    /// One whole answer by its Content-Length, its chunks (kept as they are) or the end of the connection.
    pub(crate) async fn response(&mut self) -> Option<RawResponse> {
        let head = self.head().await?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
        let response = |body| {
            Some(RawResponse {
                status,
                head: head.clone(),
                body,
            })
        };
        if matches!(status, 100..=199 | 204 | 304) {
            return response(Vec::new());
        }
        let wanted: Option<usize> =
            field(&head, "content-length").map(|n| n.parse().expect("a length"));
        let chunked = field(&head, "transfer-encoding").is_some();
        loop {
            let complete = match wanted {
                Some(length) => (self.buffer.len() >= length).then_some(length),
                None if chunked => find(&self.buffer, b"0\r\n\r\n").map(|at| at + 5),
                None => None,
            };
            if let Some(end) = complete {
                return response(self.buffer.drain(..end).collect());
            }
            if !self.fill().await {
                assert!(
                    wanted.is_none() && !chunked,
                    "cut off in the body of {head:?}"
                );
                return response(std::mem::take(&mut self.buffer));
            }
        }
    }

    /// Everything until the peer closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Ends our direction only.
    pub(crate) async fn shutdown(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    async fn fill(&mut self) -> bool {
        let read = wait::within("bytes or the end", self.stream.read_buf(&mut self.buffer)).await;
        matches!(read, Ok(1..))
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl RawResponse {
    /// The value of the first header line with this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

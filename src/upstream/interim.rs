//! Counts the interim answers (1xx) that an app gives to one request.
//!
//! hyper takes them and goes on waiting for the final one, without an end. They say nothing that the edge passes on, so
//! an app that sends more than [`MOST`] is not waited for: its connection is closed. For HTTP/1.1; of HTTP/2 nothing tells
//! them apart from outside, and `response_timeout` ends the wait.
//!
//! They are counted where the bytes are read: to have hyper call for each one would cost every request four allocations,
//! and most answers are told by their first twelve bytes. No byte is changed. An answer that is not framed as the parser
//! wants it is its to refuse; here it can only be counted or not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most interim answers to one request. An honest app sends a 100 and a few 103.
pub const MOST: u32 = 16;

/// The count of one connection, whose requests come one after the other on one thread.
#[derive(Debug, Default)]
pub struct Interim {
    count: AtomicU32,
    /// Whether a request has been sent since the last answer was looked at.
    asked: AtomicBool,
}

impl Interim {
    /// Begins to count those to a request, before it is sent.
    pub fn watch(&self) {
        self.count.store(0, Relaxed);
        self.asked.store(true, Relaxed);
    }

    /// Whether there were more than [`MOST`].
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        self.count.load(Relaxed) > MOST
    }
}

/// A stream from an app, of which the interim answers are counted.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    interim: Arc<Interim>,
    at: At,
}

/// The place in an answer.
#[derive(Debug, Clone, Copy)]
enum At {
    /// In the status line: so many bytes of it have come, and these of its code.
    Status(usize, [u8; 3]),
    /// In an interim head, behind the code; whether nothing of its line has come.
    Head(bool),
    /// In the final answer, or behind it.
    Final,
}

impl At {
    const START: Self = Self::Status(0, [0; 3]);

    /// Goes over `bytes`. Returns how many interim heads have ended in them.
    fn pass(&mut self, bytes: &[u8]) -> u32 {
        // `HTTP/1.1 200`: most answers have no other part before the final one.
        if let (Self::Status(0, _), [b'H', _, _, _, _, _, _, _, b' ', b'2'..=b'5', _, _, ..]) =
            (*self, bytes)
        {
            *self = Self::Final;
            return 0;
        }
        let mut ended = 0;
        for &byte in bytes {
            *self = match *self {
                // The parser passes over empty lines before an answer.
                Self::Status(0, code) if matches!(byte, b'\r' | b'\n') => Self::Status(0, code),
                Self::Status(seen, mut code) => {
                    if let Some(digit) = seen.checked_sub(9).and_then(|at| code.get_mut(at)) {
                        *digit = byte;
                    }
                    match code {
                        _ if seen < 11 => Self::Status(seen + 1, code),
                        // Its head is the last one that is HTTP.
                        [b'1', b'0', b'1'] => Self::Final,
                        [b'1', ..] => Self::Head(false),
                        _ => Self::Final,
                    }
                }
                Self::Head(true) if byte == b'\n' => {
                    ended += 1;
                    Self::START
                }
                Self::Head(empty) => Self::Head(byte == b'\n' || (empty && byte == b'\r')),
                Self::Final => return ended,
            };
        }
        ended
    }
}

impl<S> Watched<S> {
    /// Counts in `interim` what comes on `stream`.
    #[must_use]
    pub fn new(stream: S, interim: Arc<Interim>) -> Self {
        Self {
            stream,
            interim,
            at: At::Final,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.interim.asked.load(Relaxed) {
            self.interim.asked.store(false, Relaxed);
            self.at = At::START;
        }
        if !matches!(self.at, At::Final) {
            let ended = self.at.pass(buf.filled().get(before..).unwrap_or_default());
            if ended != 0 {
                let count = self.interim.count.load(Relaxed);
                let count = count.saturating_add(ended);
                self.interim.count.store(count, Relaxed);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt as _, Empty};
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn interim_heads_are_counted_however_they_are_cut() {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX: 1\r\n\r\n";
        let bare = "HTTP/1.0 199\n\n";
        let last = "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 \r\n\r\n";
        let switch = "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 100 \r\n\r\n";
        for (text, expected) in [
            (last.to_owned(), 0),
            (switch.to_owned(), 0),
            (format!("\r\n{last}"), 0),
            (format!("{early}{last}"), 1),
            (format!("{early}{switch}"), 1),
            (format!("{early}\r\n{bare}\n{early}{last}"), 3),
            (early.repeat(40), 40),
            (bare.repeat(17), 17),
            ("HTTP/1.1 1".to_owned(), 0),
            ("HTTP/1.1 100 Continue\r\nX: \r \n".to_owned(), 0),
        ] {
            for size in 1..=text.len() {
                let mut at = At::START;
                let ended: u32 = text.as_bytes().chunks(size).map(|part| at.pass(part)).sum();
                assert_eq!(ended, expected, "{text:?} in parts of {size}");
            }
        }
    }

    /// An answer with interim heads before it, in pieces: all that the parser takes in one way or another.
    fn answer() -> impl Strategy<Value = (Vec<u8>, usize)> {
        let end = prop_oneof![Just("\r\n"), Just("\n")];
        let field = prop_oneof![
            Just("Link: </a>"),
            Just("X: HTTP/1.1 100"),
            Just("Content-Length: 9"),
            Just("Y:"),
        ];
        let head = (
            prop_oneof![Just(""), Just("\r\n"), Just("\n\n")],
            prop_oneof![Just("1.1"), Just("1.0")],
            prop_oneof![Just("100"), Just("102"), Just("103"), Just("199")],
            prop_oneof![Just(""), Just(" "), Just(" Early Hints")],
            prop::collection::vec((field, end.clone()), 0..4),
            end,
        );
        let heads = prop::collection::vec(head, 0..20);
        (heads, 1_usize..40).prop_map(|(heads, piece)| {
            let mut text = String::new();
            for (before, version, code, reason, fields, end) in heads {
                text.push_str(&format!("{before}HTTP/{version} {code}{reason}{end}"));
                for (field, end) in fields {
                    text.push_str(&format!("{field}{end}"));
                }
                text.push_str(end);
            }
            text.push_str("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHTTP/1.1 100\n");
            (text.into_bytes(), piece)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn as_many_are_counted_as_hyper_takes((text, piece) in answer()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (counted, taken) = runtime.block_on(async move {
                let (mut app, edge) = tokio::io::duplex(1 << 16);
                let interim = Arc::new(Interim::default());
                let edge = TokioIo::new(Watched::new(edge, Arc::clone(&interim)));
                let (mut sender, connection) = http1::handshake(edge).await.unwrap();
                let taken = Arc::new(AtomicU32::new(0));
                let mut request = Request::new(Empty::<Bytes>::new());
                let count = Arc::clone(&taken);
                hyper::ext::on_informational(&mut request, move |_| {
                    count.fetch_add(1, Relaxed);
                });
                interim.watch();
                let write = async {
                    // What comes before the request is sent ends the connection.
                    assert_ne!(app.read(&mut [0; 512]).await.unwrap(), 0);
                    for part in text.chunks(piece) {
                        app.write_all(part).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                let ask = async move {
                    let answer = sender.send_request(request).await.unwrap();
                    answer.into_body().collect().await.unwrap().to_bytes()
                };
                let ((), body, end) = tokio::join!(write, ask, connection);
                assert_eq!(body.len(), 13);
                end.unwrap();
                (interim.count.load(Relaxed), taken.load(Relaxed))
            });
            prop_assert_eq!(counted, taken);
        }
    }

    #[tokio::test]
    async fn each_request_begins_anew() {
        let (mut app, edge) = tokio::io::duplex(1 << 16);
        let interim = Arc::new(Interim::default());
        let mut edge = Watched::new(edge, Arc::clone(&interim));
        let early = "HTTP/1.1 103 \r\n\r\n";
        for (sent, too_many) in [(16, false), (17, true), (3, false)] {
            interim.watch();
            let mut text = early.repeat(sent);
            text.push_str("HTTP/1.1 204 No Content\r\n\r\n");
            app.write_all(text.as_bytes()).await.unwrap();
            let mut read = vec![0; text.len()];
            edge.read_exact(&mut read).await.unwrap();
            assert_eq!(read, text.as_bytes());
            assert_eq!(interim.is_too_many(), too_many, "{sent}");
        }
    }
}

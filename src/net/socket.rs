//! The client's TCP stream, reporting progress to [`Activity`].
//!
//! It lies below TLS, so that what counts as progress is bytes that the kernel took or gave. It changes no byte, but in a
//! handshake it gathers those that TLS writes in several calls, until the client is waited for ([`Socket::gather`]).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::conn::Activity;

/// A TCP stream that reports progress.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    activity: Activity,
    /// Whether writes are held.
    gathers: bool,
    /// What was written and is not sent yet; without memory when empty.
    held: Vec<u8>,
}

impl Socket {
    /// Wraps an accepted stream.
    #[must_use]
    pub fn new(stream: TcpStream, activity: Activity) -> Self {
        Self {
            stream,
            activity,
            gathers: false,
            held: Vec::new(),
        }
    }

    /// From now on what is written is held until a read finds nothing, which is when the client must get it; what is written
    /// after that is held again.
    pub fn gather(&mut self) {
        self.gathers = true;
    }

    /// Ends [`Socket::gather`]. What is held goes out in front of the next write or of the end, or by
    /// [`Socket::poll_release`]. A flush leaves it: HTTP libraries flush at every turn.
    pub fn gather_no_more(&mut self) {
        self.gathers = false;
    }

    /// Sends what is held.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_behind(cx, &[]).map_ok(drop)
    }

    /// Ready when a read would give bytes, the end of the stream, or an error.
    ///
    /// # Errors
    /// Those of the runtime's I/O driver.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    fn note(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &poll {
            Poll::Ready(_) => self.activity.write_progress(),
            Poll::Pending => self.activity.write_blocked(),
        }
        poll
    }

    /// Sends what is held and after it `bytes`, if there are any, in one call; says how much of `bytes` was taken.
    fn poll_write_behind(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let both = [IoSlice::new(&self.held), IoSlice::new(bytes)];
            let poll = if bytes.is_empty() {
                Pin::new(&mut self.stream).poll_write(cx, &self.held)
            } else {
                Pin::new(&mut self.stream).poll_write_vectored(cx, &both)
            };
            let taken = ready!(self.note(poll))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(rest) = taken.checked_sub(self.held.len()) {
                self.held = Vec::new();
                if rest > 0 {
                    return Poll::Ready(Ok(rest));
                }
            } else {
                self.held.drain(..taken);
            }
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(poll)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if poll.is_pending() && self.gathers {
            ready!(self.poll_release(cx))?;
        }
        ready!(poll)?;
        if buf.filled().len() > before {
            self.activity.read_progress();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.gathers {
            let before = self.held.len();
            for piece in bufs {
                self.held.extend_from_slice(piece);
            }
            return Poll::Ready(Ok(self.held.len() - before));
        }
        if !self.held.is_empty() {
            let first = bufs.iter().find(|piece| !piece.is_empty());
            return self.poll_write_behind(cx, first.map_or(&[], |piece| piece));
        }
        // `writev` costs the kernel half a microsecond more than `send`, and most answers are one piece.
        let poll = match bufs {
            [only] => Pin::new(&mut self.stream).poll_write(cx, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::conn::ClientWaits;
    use crate::net::deadline::Timers;

    /// A socket of ours and its client.
    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), client);
        let wait = Duration::from_secs(60);
        let waits = ClientWaits {
            header: wait,
            idle: wait,
            write: wait,
            tunnel: wait,
        };
        let activity = Activity::new(&Timers::default(), waits);
        (Socket::new(accepted.unwrap().0, activity), client.unwrap())
    }

    /// What `client` can read now.
    fn there(client: &TcpStream) -> Vec<u8> {
        let mut bytes = [0; 4096];
        match client.try_read(&mut bytes) {
            Ok(size) => bytes.iter().take(size).copied().collect(),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                Vec::new()
            }
        }
    }

    #[tokio::test]
    async fn what_is_gathered_goes_out_when_a_read_finds_nothing() {
        let (mut socket, client) = pair().await;
        socket.gather();
        socket.write_all(b"one ").await.unwrap();
        socket.flush().await.unwrap();
        socket.write_all(b"two").await.unwrap();
        assert_eq!(socket.held, b"one two");
        client.writable().await.unwrap();
        client.try_write(b"hello").unwrap();
        let mut read = [0; 5];
        socket.read_exact(&mut read).await.unwrap();
        assert_eq!(socket.held, b"one two", "the client had said something");
        let waiting = std::future::poll_fn(|cx| {
            let pending = Pin::new(&mut socket).poll_read(cx, &mut ReadBuf::new(&mut read));
            Poll::Ready(pending.is_pending())
        });
        assert!(waiting.await);
        client.readable().await.unwrap();
        assert_eq!(there(&client), b"one two");
        assert_eq!(socket.held.capacity(), 0);
    }

    #[tokio::test]
    async fn what_is_left_goes_out_in_front_of_the_next_write_or_of_the_end_or_when_told() {
        let (mut socket, mut client) = pair().await;
        for last in ["write", "release", "shutdown"] {
            socket.gather();
            socket.write_all(b"ticket ").await.unwrap();
            socket.gather_no_more();
            socket.flush().await.unwrap();
            assert_eq!(socket.held, b"ticket ");
            match last {
                "write" => socket.write_all(b"answer").await.unwrap(),
                "release" => std::future::poll_fn(|cx| socket.poll_release(cx))
                    .await
                    .unwrap(),
                _ => socket.shutdown().await.unwrap(),
            }
            client.readable().await.unwrap();
            let expected: &[u8] = if last == "write" {
                b"ticket answer"
            } else {
                b"ticket "
            };
            assert_eq!(there(&client), expected, "{last}");
        }
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_client_that_takes_little_gets_all_in_order() {
        let (mut socket, mut client) = pair().await;
        socket.gather();
        // More than the kernel takes at once.
        let ticket = vec![1; 12 << 20];
        socket.write_all(&ticket).await.unwrap();
        socket.gather_no_more();
        let answer = vec![2; 1 << 20];
        let writes = async {
            socket.write_all(&answer).await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let ((), all) = tokio::join!(writes, client.read_to_end(&mut read));
        all.unwrap();
        assert!(read == [ticket, answer].concat());
    }
}

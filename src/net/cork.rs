//! Holds small writes back until the task that drives the connection has done its turn.
//!
//! The HTTP/2 library writes and flushes each frame by itself. Below it is TLS, where each write becomes a record and a
//! system call. Between the two, a [`Cork`] makes one record and one call of all the answers that are ready in the same
//! turn: whoever polls the connection calls [`Cork::poll_release`] after it.
//!
//! A flush from above is therefore none; [`Cork::poll_release`] is, and `shutdown`. It flushes also what was passed on before:
//! TLS takes more than the socket does and sends the rest only by a flush, for which the library above has no reason once it
//! has written all. A reader that does not keep up holds the writer back as ever: no more than one record is held. An idle
//! connection holds no buffer.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are held: the most that one TLS record takes (RFC 8446 §5.1).
const MOST: usize = 16 << 10;
/// A write of this size or more is passed on as it is: copying it would cost more than the call.
const LARGE: usize = 8 << 10;

/// A stream whose small writes wait for [`Cork::poll_release`]. Clones are handles on the same stream.
#[derive(Debug)]
pub struct Cork<S>(Rc<RefCell<Inner<S>>>);

#[derive(Debug)]
struct Inner<S> {
    stream: S,
    held: Vec<u8>,
    /// How much of `held` is written already.
    written: usize,
    /// Whether the stream may hold something that it was given.
    unflushed: bool,
}

impl<S> Clone for Cork<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    /// Wraps a stream.
    pub fn new(stream: S) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            stream,
            held: Vec::new(),
            written: 0,
            unflushed: false,
        })))
    }

    /// Passes on what is held. Ready when all that was ever written has left the stream below.
    ///
    /// # Errors
    /// What the stream says.
    pub fn poll_release(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        if inner.unflushed {
            ready!(Pin::new(&mut inner.stream).poll_flush(cx))?;
            inner.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.held.get(self.written..) {
            self.unflushed = true;
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                size => self.written += size,
            }
        }
        if self.written > 0 {
            self.held = Vec::new();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room for `size` bytes; `false` if they are too many to be held.
    fn poll_room(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<io::Result<bool>> {
        if size >= LARGE || self.held.len() + size > MOST {
            ready!(self.poll_drain(cx))?;
        }
        if size >= LARGE {
            return Poll::Ready(Ok(false));
        }
        if self.held.capacity() == 0 {
            self.held.reserve_exact(MOST);
        }
        Poll::Ready(Ok(true))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cork<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if ready!(inner.poll_room(cx, bytes.len()))? {
            inner.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        inner.unflushed = true;
        Pin::new(&mut inner.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        let size = pieces.iter().map(|piece| piece.len()).sum();
        if ready!(inner.poll_room(cx, size))? {
            for piece in pieces {
                inner.held.extend_from_slice(piece);
            }
            return Poll::Ready(Ok(size));
        }
        inner.unflushed = true;
        Pin::new(&mut inner.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cork<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Counts the writes that reach it and takes a few bytes of each only. As TLS does it sends them with a flush.
    #[derive(Default)]
    struct Counting {
        calls: usize,
        taken: Vec<u8>,
        sent: usize,
        /// Flushes that are not done at once.
        full: usize,
        most: usize,
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let size = bytes.len().min(self.most);
            self.calls += 1;
            self.taken.extend(bytes.iter().take(size));
            Poll::Ready(Ok(size))
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if let Some(left) = self.full.checked_sub(1) {
                self.full = left;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.sent = self.taken.len();
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    async fn release(stream: &Cork<Counting>) {
        std::future::poll_fn(|cx| stream.poll_release(cx))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn small_writes_become_one_and_an_idle_stream_holds_nothing() {
        let most = usize::MAX;
        let mut stream = Cork::new(Counting {
            most,
            ..Counting::default()
        });
        for _ in 0..10 {
            stream.write_all(b"frame").await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(stream.0.borrow().stream.calls, 0);
        release(&stream).await;
        let inner = stream.0.borrow();
        assert_eq!(inner.stream.calls, 1);
        assert_eq!(inner.stream.taken, b"frame".repeat(10));
        assert_eq!(inner.held.capacity(), 0);
    }

    #[tokio::test]
    async fn what_the_stream_keeps_is_flushed_until_it_has_left() {
        let most = usize::MAX;
        let mut stream = Cork::new(Counting {
            most,
            ..Counting::default()
        });
        for size in [LARGE, LARGE + 1, 1, MOST] {
            stream.0.borrow_mut().stream.full = 2;
            stream.write_all(&vec![7; size]).await.unwrap();
            release(&stream).await;
            let inner = stream.0.borrow();
            assert_eq!(inner.stream.sent, inner.stream.taken.len(), "{size}");
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_full_holds_the_writer_back() {
        let (near, mut far) = tokio::io::duplex(1000);
        let mut stream = Cork::new(near);
        let writer = async {
            for _ in 0..100 {
                stream.write_all(&[7; 1000]).await.unwrap();
                assert!(stream.0.borrow().held.len() <= MOST);
            }
            stream.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, read_all) = tokio::join!(writer, far.read_to_end(&mut read));
        read_all.unwrap();
        assert_eq!(read, [7; 100_000]);
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(
            writes in proptest::collection::vec((0..20_000_usize, any::<u8>(), any::<bool>()), 0..20),
            most in 1..30_000_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut stream = Cork::new(Counting { most, ..Counting::default() });
                let mut expected = Vec::new();
                for (size, byte, release_now) in writes {
                    let bytes = vec![byte; size];
                    stream.write_all(&bytes).await.unwrap();
                    expected.extend(bytes);
                    if release_now {
                        release(&stream).await;
                        assert_eq!(stream.0.borrow().stream.taken, expected);
                        assert_eq!(stream.0.borrow().stream.sent, expected.len());
                    }
                }
                stream.shutdown().await.unwrap();
                assert_eq!(stream.0.borrow().stream.taken, expected);
                assert_eq!(stream.0.borrow().stream.sent, expected.len());
            });
        }
    }
}

//! A client's stream with the tap in it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Next, Notes, Tap};

/// Most bytes that are kept of what comes after a request for a WebSocket, before its answer. A client has to wait for
/// that; reading at all is for noticing that it leaves.
const MOST_EARLY: usize = 4 << 10;

/// What reads give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What the tap lets through.
    Framed,
    /// Nothing, until the tunnel is open.
    Waits,
    /// Everything.
    Tunnel,
    /// Nothing any more.
    Refused,
    /// An error.
    Broken,
}

/// A stream of which HTTP reads only what the tap lets through. Writes go through as they are.
#[derive(Debug)]
pub struct Tapped<T> {
    stream: T,
    tap: Tap,
    notes: Arc<Notes>,
    phase: Phase,
    /// Let through, and not read yet.
    passed: Bytes,
    /// Not let through: part of a head, or what comes after a request for a WebSocket.
    held: BytesMut,
}

impl<T> Tapped<T> {
    /// Puts a tap into `stream`. `most` is the longest head in bytes.
    #[must_use]
    pub fn new(stream: T, most: usize, notes: Arc<Notes>) -> Self {
        Self {
            stream,
            tap: Tap::new(most),
            notes,
            phase: Phase::Framed,
            passed: Bytes::new(),
            held: BytesMut::new(),
        }
    }

    /// The stream below.
    pub fn stream(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Takes back what was read and not used.
    pub fn unread(&mut self, bytes: Bytes) {
        if self.passed.is_empty() {
            self.passed = bytes;
        } else {
            self.passed = [bytes, std::mem::take(&mut self.passed)].concat().into();
        }
    }

    /// Whether part of a message has come that was not read.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        !self.passed.is_empty() || !self.held.is_empty()
    }

    /// Whether the client may be in the middle of sending: a close would be a reset that takes the answer with it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.has_unread() || !self.tap.is_between_messages()
    }

    /// What follows the bytes that the tap has let through.
    fn then(&mut self, next: Next) {
        self.phase = match next {
            Next::More => Phase::Framed,
            Next::Waits => {
                self.notes.wait(self.tap.heads() - 1);
                Phase::Waits
            }
            Next::Refused(refusal, stand_in) => {
                self.notes.refuse(self.tap.heads(), refusal);
                self.held = BytesMut::new();
                if self.passed.is_empty() {
                    self.passed = stand_in.into();
                } else {
                    self.passed = [&self.passed[..], &stand_in].concat().into();
                }
                Phase::Refused
            }
            Next::Broken => {
                self.held = BytesMut::new();
                Phase::Broken
            }
        };
    }
}

impl<T: AsyncRead + Unpin> Tapped<T> {
    /// Reads what is to be kept until the tunnel is open: ready at the end of the stream, or on an error.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < MOST_EARLY {
            let mut bytes = [0; 512];
            let mut buf = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(buf.filled());
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.passed.is_empty() {
                let size = this.passed.len().min(buf.remaining());
                buf.put_slice(this.passed.get(..size).unwrap_or_default());
                this.passed.advance(size);
                return Poll::Ready(Ok(()));
            }
            match this.phase {
                Phase::Framed => {}
                Phase::Waits if this.notes.is_open() => {
                    this.phase = Phase::Tunnel;
                    this.passed = std::mem::take(&mut this.held).freeze();
                    continue;
                }
                Phase::Waits => return this.poll_early(cx),
                Phase::Tunnel => return Pin::new(&mut this.stream).poll_read(cx, buf),
                // Not the end of the stream: hyper would give up the answer with it.
                Phase::Refused => return Poll::Pending,
                Phase::Broken => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the body is not framed as it should be",
                    )));
                }
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let read = buf.filled().get(before..).unwrap_or_default();
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                // Most often all of it goes through, where it lies.
                let (size, next) = this.tap.feed(read);
                if size < read.len() && matches!(next, Next::More | Next::Waits) {
                    this.held = read.get(size..).unwrap_or_default().into();
                }
                buf.set_filled(before + size);
                this.then(next);
                if size > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                this.held.extend_from_slice(read);
                buf.set_filled(before);
                let (size, next) = this.tap.feed(&this.held);
                this.passed = this.held.split_to(size).freeze();
                if this.held.is_empty() {
                    // What is left of a split buffer would keep all of it.
                    this.held = BytesMut::new();
                }
                this.then(next);
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
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

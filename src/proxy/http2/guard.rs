//! Watches the frames that a client sends, as the bytes pass, and charges them to the connection's [`Meter`].
//!
//! Reads the heads of frames (RFC 9113 §4.1) as the bytes pass, and nothing else of them but this: h2 leaves out
//! pseudo-headers in trailers, where they make the request malformed (§8.1), and fields that are too large, so trailers are
//! looked into. What h2 calls PROTOCOL_ERROR though the RFC names another error (sizes of frames, too large a window,
//! streams that their client has ended) is found here first, so that the client is told which.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::{Breach, Meter, SETTINGS_COST};
use super::trailers::{self, Flaw};

/// Length of a client's first words (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// Length of the head of a frame.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const HAS_PRIORITY: u8 = 0x20;

/// Most streams that are watched for frames behind their end. With more at once that is left to h2.
const MOST_OPEN: usize = 256;
/// Most bytes of trailers that are looked into; longer ones are refused.
const MOST_TRAILERS: usize = 64 << 10;
/// An entry of SETTINGS (§6.5.1): its identifier and its value.
const ENTRY: usize = 6;
const INITIAL_WINDOW_SIZE: u16 = 4;
const LARGEST_WINDOW: u32 = u32::MAX >> 1;

/// A stream of HTTP/2 whose incoming frames are counted. After a breach it reads nothing more.
#[derive(Debug)]
pub(super) struct Guard<S> {
    stream: S,
    frames: Frames,
    meter: Rc<Meter>,
}

impl<S> Guard<S> {
    /// Watches `stream`, from its first byte. `largest_head` is from where on h2 leaves out fields.
    pub(super) fn new(stream: S, meter: Rc<Meter>, largest_head: usize) -> Self {
        Self {
            stream,
            frames: Frames {
                skip: PREFACE,
                head: [0; HEAD],
                have: 0,
                highest: 0,
                open: Some(Vec::new()),
                trailers: None,
                settings: None,
                // What does not reach it with one field is noticed by its sum.
                largest_field: largest_head / 2,
            },
            meter,
        }
    }
}

/// Where in the stream of frames the client is.
#[derive(Debug)]
struct Frames {
    /// Bytes to pass over before the next head.
    skip: usize,
    head: [u8; HEAD],
    /// How many bytes of `head` are there.
    have: usize,
    /// The highest stream so far.
    highest: u32,
    /// Streams that the client has not ended, and whether it has reset them. None once that cannot be told for sure.
    open: Option<Vec<(u32, bool)>>,
    /// Trailers, as far as they have come.
    trailers: Option<Box<Trailers>>,
    /// The entry of SETTINGS that is coming in, and how many bytes of it are there.
    settings: Option<([u8; ENTRY], usize)>,
    /// Largest field of trailers.
    largest_field: usize,
}

#[derive(Debug, Default)]
struct Trailers {
    /// Those of the first frame that tell what stands around the fields; `END_HEADERS` is that of the last.
    flags: u8,
    block: Vec<u8>,
    /// There was more than is looked into.
    cut: bool,
}

impl Trailers {
    /// At the end of the first frame: takes the padding and the priority off.
    fn strip(&mut self) {
        if self.flags & PADDED != 0 && !self.block.is_empty() {
            let padding = usize::from(self.block.remove(0));
            self.block
                .truncate(self.block.len().saturating_sub(padding));
        }
        if self.flags & HAS_PRIORITY != 0 {
            drop(self.block.drain(..self.block.len().min(5)));
        }
        self.flags &= END_HEADERS;
    }
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8], meter: &Meter) {
        while !bytes.is_empty() && meter.breach().is_none() {
            if self.skip > 0 {
                let (skipped, rest) = bytes.split_at(self.skip.min(bytes.len()));
                self.skip -= skipped.len();
                bytes = rest;
                self.collect(skipped, meter);
                continue;
            }
            let (part, rest) = bytes.split_at((HEAD - self.have).min(bytes.len()));
            for (to, from) in self.head.iter_mut().skip(self.have).zip(part) {
                *to = *from;
            }
            self.have += part.len();
            bytes = rest;
            if self.have == HEAD {
                self.have = 0;
                self.begin(meter);
            }
        }
    }

    fn begin(&mut self, meter: &Meter) {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.head;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & (u32::MAX >> 1);
        self.skip = usize::try_from(length).unwrap_or(usize::MAX);
        // In the middle of a header block any other frame is the greater mistake, and h2 says so.
        if !has_right_size(kind, flags, length) && !meter.is_block_open() {
            return meter.end(Breach::FrameSize);
        }
        if self.is_over(kind, stream) && !meter.is_block_open() {
            return meter.end(Breach::Closed);
        }
        self.follow(kind, flags, stream);
        match kind {
            DATA if length == 0 && flags & END_STREAM == 0 => meter.idle(1),
            DATA => {}
            HEADERS => {
                meter.block(flags & END_HEADERS == 0);
                if stream > self.highest {
                    self.highest = stream;
                    meter.stream();
                } else {
                    self.trailers = Some(Box::new(Trailers {
                        flags,
                        ..Trailers::default()
                    }));
                }
            }
            CONTINUATION => {
                meter.block(flags & END_HEADERS == 0);
                if let Some(trailers) = &mut self.trailers {
                    trailers.flags = trailers.flags & !END_HEADERS | flags & END_HEADERS;
                }
                meter.idle(1);
            }
            RST_STREAM => meter.reset(),
            SETTINGS => {
                self.settings = (flags & ACK == 0).then_some(([0; ENTRY], 0));
                meter.idle(SETTINGS_COST);
            }
            GOAWAY => meter.idle(SETTINGS_COST),
            // PRIORITY, PING, WINDOW_UPDATE and types that nobody knows.
            _ => meter.idle(1),
        }
        if self.skip == 0 {
            self.collect(&[], meter);
        }
    }

    /// Whether the client ended this stream before (§5.1: STREAM_CLOSED). DATA that follows a reset h2 answers well.
    fn is_over(&self, kind: u8, stream: u32) -> bool {
        let Some(open) = self.open.as_ref().filter(|_| stream <= self.highest) else {
            return false;
        };
        let known = open.iter().find(|(id, _)| *id == stream);
        match kind {
            DATA => stream % 2 == 1 && known.is_none(),
            HEADERS => stream % 2 == 1 && known.is_none_or(|(_, reset)| *reset),
            _ => false,
        }
    }

    /// Keeps the list of streams that are not ended.
    fn follow(&mut self, kind: u8, flags: u8, stream: u32) {
        let Some(open) = &mut self.open else {
            return;
        };
        let ends = flags & END_STREAM != 0;
        match kind {
            HEADERS if stream > self.highest => {
                // Streams that were left out were never there, and a frame on one of them is another error (§5.1.1).
                let next = if self.highest == 0 {
                    1
                } else {
                    self.highest + 2
                };
                if stream != next || open.len() == MOST_OPEN {
                    self.open = None;
                } else if !ends {
                    open.push((stream, false));
                }
            }
            DATA | HEADERS if ends => open.retain(|(id, _)| *id != stream),
            RST_STREAM => {
                if let Some((_, reset)) = open.iter_mut().find(|(id, _)| *id == stream) {
                    *reset = true;
                }
            }
            _ => {}
        }
    }

    /// Takes part of a frame's payload if it is one of trailers or settings.
    fn collect(&mut self, part: &[u8], meter: &Meter) {
        if let Some((entry, have)) = &mut self.settings {
            for &byte in part {
                if let Some(place) = entry.get_mut(*have) {
                    *place = byte;
                }
                *have += 1;
                if *have == ENTRY {
                    *have = 0;
                    check_setting(*entry, meter);
                }
            }
            if self.skip == 0 {
                self.settings = None;
            }
            return;
        }
        let Some(trailers) = &mut self.trailers else {
            return;
        };
        if trailers.block.len() + part.len() <= MOST_TRAILERS {
            trailers.block.extend_from_slice(part);
        } else {
            trailers.cut = true;
        }
        if self.skip > 0 {
            return;
        }
        trailers.strip();
        if trailers.flags & END_HEADERS == 0 {
            return;
        }
        match trailers::flaw(&trailers.block, self.largest_field) {
            Some(Flaw::Pseudo) => meter.end(Breach::Malformed),
            Some(Flaw::TooLarge) => meter.end(Breach::Trailers),
            None if trailers.cut => meter.end(Breach::Trailers),
            None => {}
        }
        self.trailers = None;
    }
}

/// Whether a frame has as many octets as its type wants (§6.3 to §6.9). h2 looks at those that have too many.
fn has_right_size(kind: u8, flags: u8, length: u32) -> bool {
    match kind {
        PRIORITY => length == 5,
        RST_STREAM | WINDOW_UPDATE => length == 4,
        SETTINGS if flags & ACK != 0 => length == 0,
        SETTINGS => length.is_multiple_of(6),
        PING => length == 8,
        GOAWAY => length >= 8,
        _ => true,
    }
}

/// §6.5.2: only a window has an error of its own; h2 looks at the others.
fn check_setting(entry: [u8; ENTRY], meter: &Meter) {
    let [i0, i1, v0, v1, v2, v3] = entry;
    let too_large = u32::from_be_bytes([v0, v1, v2, v3]) > LARGEST_WINDOW;
    if u16::from_be_bytes([i0, i1]) == INITIAL_WINDOW_SIZE && too_large {
        meter.end(Breach::Window);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.breach().is_some() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        let this = &mut *self;
        this.frames.pass(new, &this.meter);
        if self.meter.breach().is_some() {
            // What came with it does not count either. The connection's task looks for the breach after each turn.
            buf.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.meter.wrote(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.meter.wrote(written.is_pending());
        written
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

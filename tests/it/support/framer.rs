//! HTTP/2 frame by frame (RFC 9113): a client that sends exactly the frames it is told to, right or wrong, and reads
//! what comes back. It shares no code with the library that the proxy stands on.

pub(crate) mod hpack;
mod huffman;

use std::time::Duration;

use tokio::time::timeout;

use self::hpack::{Block, Decoder, Field};
use super::http::Edge;
use super::raw::Raw;
use super::tls::Alpn;
use super::wait;

/// What a client begins with (section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
    /// A request without a body, in one frame.
    pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;
}

/// Error codes (section 7).
pub(crate) mod code {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const PROTOCOL_ERROR: u32 = 1;
    pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(crate) const STREAM_CLOSED: u32 = 5;
    pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const COMPRESSION_ERROR: u32 = 9;
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// Settings (section 6.5.2, RFC 8441 section 3).
pub(crate) mod setting {
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// Frames to be sent, one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames(pub(crate) Vec<u8>);

impl Frames {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// These bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Any frame.
    pub(crate) fn frame(mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).expect("less than 4 GiB");
        self.0.extend(&length.to_be_bytes()[1..]);
        self.0.extend([kind, flags]);
        self.0.extend(stream.to_be_bytes());
        self.raw(payload)
    }

    /// HEADERS.
    pub(crate) fn headers(self, stream: u32, flags: u8, block: &Block) -> Self {
        self.frame(kind::HEADERS, flags, stream, &block.0)
    }

    /// A request without a body.
    pub(crate) fn get(self, stream: u32) -> Self {
        self.headers(stream, flag::WHOLE, &request())
    }

    /// The head of a request whose body is to follow.
    pub(crate) fn post(self, stream: u32) -> Self {
        self.headers(stream, flag::END_HEADERS, &post())
    }

    pub(crate) fn continuation(self, stream: u32, flags: u8, fragment: &[u8]) -> Self {
        self.frame(kind::CONTINUATION, flags, stream, fragment)
    }

    pub(crate) fn data(self, stream: u32, flags: u8, data: &[u8]) -> Self {
        self.frame(kind::DATA, flags, stream, data)
    }

    pub(crate) fn priority(self, stream: u32, exclusive: bool, on: u32, weight: u8) -> Self {
        self.frame(kind::PRIORITY, 0, stream, &priority(exclusive, on, weight))
    }

    pub(crate) fn reset(self, stream: u32, code: u32) -> Self {
        self.frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    pub(crate) fn settings(self, settings: &[(u16, u32)]) -> Self {
        let each = |&(id, value): &(u16, u32)| {
            let mut bytes = id.to_be_bytes().to_vec();
            bytes.extend(value.to_be_bytes());
            bytes
        };
        let payload: Vec<u8> = settings.iter().flat_map(each).collect();
        self.frame(kind::SETTINGS, 0, 0, &payload)
    }

    pub(crate) fn settings_ack(self) -> Self {
        self.frame(kind::SETTINGS, flag::ACK, 0, &[])
    }

    pub(crate) fn ping(self, data: [u8; 8]) -> Self {
        self.frame(kind::PING, 0, 0, &data)
    }

    pub(crate) fn goaway(self, code: u32) -> Self {
        let payload = [0_u32.to_be_bytes(), code.to_be_bytes()].concat();
        self.frame(kind::GOAWAY, 0, 0, &payload)
    }

    pub(crate) fn window(self, stream: u32, more: u32) -> Self {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
    }
}

/// The payload of PRIORITY, which HEADERS may begin with too.
pub(crate) fn priority(exclusive: bool, on: u32, weight: u8) -> Vec<u8> {
    let on = on | if exclusive { 1 << 31 } else { 0 };
    [&on.to_be_bytes()[..], &[weight]].concat()
}

/// The host that requests here ask for.
pub(crate) const HOST: &str = "acme.example.test";

/// The pseudo-headers of a request.
pub(crate) fn asking(method: &str, path: &str) -> Block {
    Block::of(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", path),
    ])
}

/// A GET.
pub(crate) fn request() -> Block {
    asking("GET", "/")
}

/// A POST.
pub(crate) fn post() -> Block {
    asking("POST", "/")
}

/// A frame that came.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// What a wait for a frame ended with.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Frame),
    Closed,
    /// Time is up.
    Nothing,
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With END_STREAM.
    Whole,
    /// With RST_STREAM and this code.
    Reset(u32),
    /// With the connection; the code of its GOAWAY.
    Closed(Option<u32>),
}

/// What a stream brought.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) end: End,
    pub(crate) headers: Vec<Field>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<Field>,
}

impl Answer {
    /// The status, or 0 without one.
    pub(crate) fn status(&self) -> u16 {
        self.header(":status")
            .map_or(0, |status| status.parse().expect("a number"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter(|(key, _)| key == name);
        lines.next().map(|(_, value)| value.as_str())
    }

    /// Status, or how it ended instead: for tables.
    pub(crate) fn verdict(&self) -> String {
        match (self.status(), &self.end) {
            (0, End::Reset(code)) => format!("reset {code}"),
            (0, End::Closed(code)) => format!("closed {code:?}"),
            (status, End::Whole | End::Reset(code::NO_ERROR)) => status.to_string(),
            (status, end) => format!("{status}, {end:?}"),
        }
    }
}

/// A connection.
pub(crate) struct Framer {
    raw: Raw,
    buffer: Vec<u8>,
    decoder: Decoder,
    /// What the server has set, in its first SETTINGS.
    pub(crate) server: Vec<(u16, u32)>,
    /// Frames that came while another was waited for.
    kept: Vec<Frame>,
}

impl Framer {
    /// Any connection, nothing sent yet.
    pub(crate) fn new(raw: Raw) -> Self {
        Self {
            raw,
            buffer: Vec::new(),
            decoder: Decoder::default(),
            server: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// TLS with ALPN `h2`, nothing sent yet.
    pub(crate) async fn connect(edge: &Edge) -> Self {
        Self::new(edge.raw(HOST, Alpn::Http2).await)
    }

    /// Preface and settings are through in both directions.
    pub(crate) async fn open(edge: &Edge) -> Self {
        let mut framer = Self::connect(edge).await;
        framer.begin(&[]).await;
        framer
    }

    /// Sends preface and settings, and waits for the server's and its acknowledgement.
    pub(crate) async fn begin(&mut self, settings: &[(u16, u32)]) {
        assert!(
            self.try_begin(settings, wait::DEADLINE).await,
            "no settings"
        );
    }

    /// The same for servers that may not answer; `longest` is for each frame.
    pub(crate) async fn try_begin(&mut self, settings: &[(u16, u32)], longest: Duration) -> bool {
        self.write(Frames::new().raw(PREFACE).settings(settings))
            .await;
        let mut acknowledged = false;
        while !acknowledged || self.server.is_empty() {
            let Next::Frame(frame) = self.next(longest).await else {
                return false;
            };
            if frame.kind == kind::SETTINGS && frame.has(flag::ACK) {
                acknowledged = true;
            } else if frame.kind == kind::SETTINGS {
                self.server = frame.payload.chunks(6).map(parse_setting).collect();
                self.write(Frames::new().settings_ack()).await;
            }
        }
        true
    }

    pub(crate) async fn write(&mut self, frames: Frames) {
        self.raw.write(&frames.0).await;
    }

    /// The next frame, `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        match self.next(wait::DEADLINE).await {
            Next::Frame(frame) => Some(frame),
            Next::Closed => None,
            Next::Nothing => panic!("waited {:?} in vain for a frame", wait::DEADLINE),
        }
    }

    /// The next frame, if one comes in time.
    pub(crate) async fn next(&mut self, longest: Duration) -> Next {
        let frame = async {
            loop {
                if let Some(frame) = self.parse() {
                    return Next::Frame(frame);
                }
                match self.raw.read().await {
                    Some(bytes) => self.buffer.extend(bytes),
                    None => return Next::Closed,
                }
            }
        };
        timeout(longest, frame).await.unwrap_or(Next::Nothing)
    }

    /// A frame out of what has been read.
    fn parse(&mut self) -> Option<Frame> {
        let head = self.buffer.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (kind, flags) = (head[3], head[4]);
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }

    /// Everything on `stream` until it ends, or the connection does. Frames of other streams are kept for their turn;
    /// HEADERS are decoded in the order in which they are asked for, so ask in the order of arrival.
    pub(crate) async fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer {
            end: End::Closed(None),
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
        };
        let mut kept = std::mem::take(&mut self.kept).into_iter();
        let mut others = Vec::new();
        loop {
            let next = match kept.next() {
                Some(frame) => Some(frame),
                None => self.frame().await,
            };
            let Some(frame) = next else { break };
            let ends = matches!(frame.kind, kind::HEADERS | kind::DATA)
                && frame.stream == stream
                && frame.has(flag::END_STREAM);
            match frame.kind {
                kind::GOAWAY => answer.end = End::Closed(Some(frame.code())),
                kind::SETTINGS | kind::PING | kind::WINDOW_UPDATE => {}
                _ if frame.stream != stream => others.push(frame),
                kind::RST_STREAM => {
                    if answer.end != End::Whole {
                        answer.end = End::Reset(frame.code());
                    }
                    break;
                }
                kind::HEADERS => {
                    assert!(frame.has(flag::END_HEADERS), "answers here fit one frame");
                    let fields = self.decoder.decode(&frame.payload);
                    if answer.headers.is_empty() {
                        answer.headers = fields;
                    } else {
                        answer.trailers = fields;
                    }
                }
                kind::DATA => answer.body.extend(&frame.payload),
                _ => panic!("a frame that no server sends: {frame:?}"),
            }
            if ends {
                answer.end = End::Whole;
                break;
            }
        }
        others.extend(kept);
        self.kept = others;
        answer
    }

    /// The head of the answer on `stream`; empty if it ended without one. For streams that are a tunnel from then on.
    pub(crate) async fn head(&mut self, stream: u32) -> Vec<Field> {
        match self.next_of(stream).await {
            Some(frame) if frame.kind == kind::HEADERS => self.decoder.decode(&frame.payload),
            _ => Vec::new(),
        }
    }

    /// The next bytes on `stream`, or how it ended.
    pub(crate) async fn data(&mut self, stream: u32) -> Result<Vec<u8>, End> {
        loop {
            let Some(frame) = self.next_of(stream).await else {
                return Err(End::Closed(None));
            };
            match frame.kind {
                kind::DATA if !frame.payload.is_empty() => {
                    if frame.has(flag::END_STREAM) {
                        self.kept.insert(
                            0,
                            Frame {
                                payload: Vec::new(),
                                ..frame.clone()
                            },
                        );
                    }
                    return Ok(frame.payload);
                }
                kind::DATA if frame.has(flag::END_STREAM) => return Err(End::Whole),
                kind::RST_STREAM => return Err(End::Reset(frame.code())),
                _ => {}
            }
        }
    }

    /// The next frame on `stream`, from those that were kept first; `None` when the connection has ended.
    async fn next_of(&mut self, stream: u32) -> Option<Frame> {
        if let Some(at) = self.kept.iter().position(|frame| frame.stream == stream) {
            return Some(self.kept.remove(at));
        }
        loop {
            let frame = self.frame().await?;
            if frame.stream == stream && frame.kind != kind::WINDOW_UPDATE {
                return Some(frame);
            }
            if frame.stream != 0 {
                self.kept.push(frame);
            }
        }
    }

    /// One request without a body, answered.
    pub(crate) async fn ask(&mut self, stream: u32, block: &Block) -> Answer {
        self.write(Frames::new().headers(stream, flag::WHOLE, block))
            .await;
        self.answer(stream).await
    }

    /// Waits for the answer to a PING: everything sent before has been read.
    pub(crate) async fn round_trip(&mut self) -> bool {
        self.write(Frames::new().ping(*b"portico!")).await;
        while let Some(frame) = self.frame().await {
            match frame.kind {
                kind::PING if frame.has(flag::ACK) => return true,
                kind::SETTINGS | kind::PING | kind::WINDOW_UPDATE => {}
                _ => self.kept.push(frame),
            }
        }
        false
    }

    /// The code of GOAWAY once the connection has ended; `None` if it ended without one.
    pub(crate) async fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.frame().await {
            if frame.kind == kind::GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }
}

fn parse_setting(bytes: &[u8]) -> (u16, u32) {
    let id = u16::from_be_bytes([bytes[0], bytes[1]]);
    (
        id,
        u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]),
    )
}

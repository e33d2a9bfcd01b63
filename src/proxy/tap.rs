//! The tap: frames what an HTTP/1.1 client sends before hyper does, and lets through only what has one reading.
//!
//! hyper hides from us what it forgives: a bare LF, a `Content-Length` beside a `Transfer-Encoding`, two codings, a
//! fragment in the target (design: "What hyper cannot tell us"). [`Tap`] is a pure state machine over the client's bytes:
//! head, body by its length or in chunks, next head. It does not ask when hyper is between two messages, so it is right
//! for pipelining too. It takes a strict subset of RFC 9112 in which framing is unambiguous, so that the tap, hyper and
//! any app behind agree on where each message ends; hyper still parses everything itself.
//!
//! A head goes on only when it is whole and good. In place of one that is refused, hyper gets a stand-in of ours with
//! the same request line, and nothing after it; [`Notes`] tells the request path which request that is and why. So the
//! refusal is answered in its turn, with our page, a line of the access log and `Connection: close`. In the middle of a
//! body there is no such place: there the connection ends, and no app sees a whole request.
//!
//! It never changes a byte of what it lets through, and it judges neither the host nor field values that do not frame:
//! those are [`super::target`]'s and [`super::headers`]' part.

mod chunks;
mod head;
mod notes;
mod refusal;
mod stream;

pub use notes::Notes;
pub use refusal::Refusal;
pub use stream::Tapped;

pub(super) use head::coding;

use chunks::{Chunks, Progress};
use head::{Framing, HeadScan};

/// What a client sends next.
#[derive(Debug)]
enum State {
    /// A head, or nothing.
    Head(HeadScan),
    /// This many bytes of a body.
    Body(u64),
    /// A body in chunks.
    Chunked(Chunks),
    /// Whatever comes after a request for a WebSocket: no HTTP, until somebody says what it is.
    Waits,
    /// Nothing that is worth a look.
    Over,
}

/// What follows the bytes that may go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Part of a head, or nothing. It must be given again, with what comes after it.
    More,
    /// A head that is refused. The bytes are a head that stands in for it; nothing after it may go on.
    Refused(Refusal, Vec<u8>),
    /// A body that is not framed as it should be. The connection must end without the end of the message.
    Broken,
    /// What comes after a request for a WebSocket. It may go on once the tunnel is open, and not as HTTP.
    Waits,
}

/// The framing of one client connection.
#[derive(Debug)]
pub struct Tap {
    state: State,
    /// Longest head in bytes.
    most: usize,
    /// Heads let through.
    heads: u64,
}

impl Tap {
    /// The tap of a new connection. `most` is the longest head in bytes, with the empty line.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            state: State::Head(HeadScan::default()),
            most,
            heads: 0,
        }
    }

    /// Judges `bytes`: how many of them may go on, and what follows these.
    ///
    /// The next call must begin with the byte after those.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Next) {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            if rest.is_empty() {
                return (passed, Next::More);
            }
            match &mut self.state {
                State::Head(scan) => match scan.scan(rest, self.most) {
                    Ok(None) => return (passed, Next::More),
                    Ok(Some((length, framing))) => {
                        passed += length;
                        self.heads += 1;
                        self.state = match framing {
                            Framing::None => State::Head(HeadScan::default()),
                            Framing::Length(length) => State::Body(length),
                            Framing::Chunked => State::Chunked(Chunks::default()),
                            Framing::WebSocket => State::Waits,
                        };
                        if framing == Framing::WebSocket {
                            return (passed, Next::Waits);
                        }
                    }
                    Err(refusal) => {
                        let stand_in = scan.stand_in(rest);
                        self.state = State::Over;
                        return (passed, Next::Refused(refusal, stand_in));
                    }
                },
                State::Body(left) => {
                    let here = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    passed += here;
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Head(HeadScan::default());
                    }
                }
                State::Chunked(chunks) => match chunks.feed(rest) {
                    Progress::More => return (bytes.len(), Next::More),
                    Progress::End(length) => {
                        passed += length;
                        self.state = State::Head(HeadScan::default());
                    }
                    Progress::Bad(at) => {
                        self.state = State::Over;
                        return (passed + at, Next::Broken);
                    }
                },
                State::Waits => return (passed, Next::Waits),
                State::Over => return (passed, Next::Broken),
            }
        }
    }

    /// Heads let through so far.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether all that was let through are whole messages, and no byte of another has come.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        matches!(&self.state, State::Head(scan) if !scan.has_begun())
    }
}

#[cfg(test)]
mod tests;

//! Servers that are wrong on purpose: the suite must find them out.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::Expect;
use crate::support::framer::hpack::Block;
use crate::support::framer::{Frames, PREFACE, flag, kind};

/// What a server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Takes everything: knows no error, no window, and answers every HEADERS with a body.
    Credulous,
    /// Ends the connection at the first frame after the settings, for no reason of the protocol.
    Curt,
    /// Acknowledges the first settings before it sends its own, and does nothing more.
    Silent,
}

impl Fault {
    pub(super) const ALL: [Self; 3] = [Self::Credulous, Self::Curt, Self::Silent];

    /// Whether a server with this fault must fail a case.
    pub(super) fn must_fail(self, expect: Expect) -> bool {
        let error = matches!(
            expect,
            Expect::Closed
                | Expect::GoAway(_)
                | Expect::Reset(..)
                | Expect::Connection(_)
                | Expect::Stream(..)
        );
        match self {
            Self::Credulous => error || matches!(expect, Expect::Data(_) | Expect::OnlyPing(_)),
            Self::Curt => {
                !error && !matches!(expect, Expect::PingOrClose(_) | Expect::FirstSettings)
            }
            Self::Silent => true,
        }
    }

    /// Listens for the rest of the test's life and tells its port.
    pub(super) fn listen(self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                std::thread::spawn(move || self.serve(stream));
            }
        });
        port
    }

    fn serve(self, mut stream: TcpStream) -> Option<()> {
        let mut start = [0; 24];
        stream.read_exact(&mut start).ok()?;
        let first = match self {
            Self::Silent => Frames::new().settings_ack().settings(&[]),
            Self::Credulous | Self::Curt => Frames::new().settings(&[(3, 100)]).settings_ack(),
        };
        stream.write_all(&first.0).ok()?;
        let mut settings = 0;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).ok()?;
            // The client's settings and its acknowledgement of ours.
            let opening = start == PREFACE && head[3] == kind::SETTINGS && settings < 2;
            settings += 1;
            match self {
                Self::Silent => {}
                _ if opening => {}
                Self::Curt => {
                    let _ = stream.write_all(&Frames::new().goaway(2).0);
                    return None;
                }
                Self::Credulous => {
                    let stream_id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    stream
                        .write_all(&answer(head[3], stream_id, &payload).0)
                        .ok()?;
                }
            }
        }
    }
}

fn answer(kind: u8, stream: u32, payload: &[u8]) -> Frames {
    let frames = Frames::new();
    match kind {
        kind::SETTINGS => frames.settings_ack(),
        kind::PING => frames.frame(kind::PING, flag::ACK, 0, payload),
        kind::HEADERS => frames
            .headers(stream, flag::END_HEADERS, &Block::default().indexed(8))
            .data(stream, flag::END_STREAM, b"a body of an answer"),
        _ => frames,
    }
}

//! A name server that is not quite there yet: it passes questions on to a real one and can spoil the answers about TXT.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use super::wait;

/// How long the threads take to notice the end of the test.
const TICK: Duration = Duration::from_millis(100);

/// What is done to answers about TXT records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Nothing.
    Good,
    /// It has not heard of the record yet.
    Late,
    /// SERVFAIL.
    Failing,
}

struct State {
    address: SocketAddr,
    backend: SocketAddr,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
    stop: AtomicBool,
}

/// A running front; its threads end with it.
pub(crate) struct Front {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

impl Front {
    /// Answers at `address`, over UDP and TCP, with what `backend` says.
    pub(crate) fn start(address: SocketAddr, backend: SocketAddr, mood: Mood) -> Self {
        let state = Arc::new(State {
            address,
            backend,
            mood: Mutex::new(mood),
            asked: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let socket = UdpSocket::bind(address).expect("an address of our own");
        socket.set_read_timeout(Some(TICK)).expect("a timeout");
        let listener = TcpListener::bind(address).expect("an address of our own");
        listener.set_nonblocking(true).expect("a listener");
        let (one, two) = (Arc::clone(&state), Arc::clone(&state));
        let threads = vec![
            std::thread::spawn(move || one.serve_udp(&socket)),
            std::thread::spawn(move || two.serve_tcp(&listener)),
        ];
        Self { state, threads }
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// Changes what it does from now on.
    pub(crate) fn set(&self, mood: Mood) {
        *self.state.mood.lock().expect("never held over a panic") = mood;
    }

    /// How often it was asked for TXT records.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while !self.stop.load(Ordering::SeqCst) {
            if let Ok((size, from)) = socket.recv_from(&mut buffer)
                && let Some(answer) = self.answer(&buffer[..size], |question| {
                    let backend = UdpSocket::bind("127.0.0.1:0")?;
                    backend.set_read_timeout(Some(wait::DEADLINE))?;
                    backend.send_to(question, self.backend)?;
                    let mut answer = vec![0; 65_535];
                    let size = backend.recv(&mut answer)?;
                    answer.truncate(size);
                    Ok(answer)
                })
            {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((mut stream, _)) = listener.accept() else {
                std::thread::sleep(TICK / 10);
                continue;
            };
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_read_timeout(Some(wait::DEADLINE));
            let Ok(question) = read_framed(&mut stream) else {
                continue;
            };
            let answer = self.answer(&question, |question| {
                let mut backend = TcpStream::connect(self.backend)?;
                write_framed(&mut backend, question)?;
                read_framed(&mut backend)
            });
            if let Some(answer) = answer {
                let _ = write_framed(&mut stream, &answer);
            }
        }
    }

    fn answer(
        &self,
        question: &[u8],
        ask: impl FnOnce(&[u8]) -> std::io::Result<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let asked = Message::from_vec(question).ok()?;
        let real = ask(question).ok()?;
        if asked.queries.first()?.query_type() != RecordType::TXT {
            return Some(real);
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answer = Message::from_vec(&real).ok()?;
        match *self.mood.lock().expect("never held over a panic") {
            Mood::Good => return Some(real),
            Mood::Late => answer.answers.clear(),
            Mood::Failing => {
                answer.answers.clear();
                answer.metadata.response_code = ResponseCode::ServFail;
            }
        }
        answer.to_vec().ok()
    }
}

fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn write_framed(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat())
}

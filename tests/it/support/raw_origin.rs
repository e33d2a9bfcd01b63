//! An upstream that keeps the bytes it is sent and answers with the bytes it is told to: for hostile and broken
//! servers, and for seeing a request exactly as it left the proxy.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wait;

/// Listens on a free port; every connection gets a thread that runs the closure.
pub(crate) struct RawOrigin {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RawOrigin {
    /// Runs `script` for every connection; the connection closes when it returns.
    pub(crate) fn new(script: impl Fn(&mut RawConnection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (record, stopped, script) = (Arc::clone(&heard), Arc::clone(&stop), Arc::new(script));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut connection =
                    RawConnection::new(stream.expect("a connection"), Arc::clone(&record));
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(&mut connection));
            }
        });
        Self {
            address,
            heard,
            stop,
            thread: Some(thread),
        }
    }

    /// Reads one head (and nothing after it), answers `answer`, closes.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |connection| {
            if connection.read_head().is_some() {
                connection.write(&answer);
            }
        })
    }

    /// For `[upstream] servers`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// All bytes heard, one entry a connection.
    pub(crate) fn heard(&self) -> Vec<String> {
        let heard = self.heard.lock().expect("never held over a panic");
        heard
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    /// Waits until some connection has brought `text`.
    pub(crate) fn wait_heard(&self, text: &str) {
        wait::until(&format!("{text:?} at the origin"), || {
            self.heard()
                .iter()
                .any(|bytes| bytes.contains(text))
                .then_some(())
        });
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes accept
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection of a [`RawOrigin`].
pub(crate) struct RawConnection {
    stream: TcpStream,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    index: usize,
    /// How many of its bytes `read_head` has handed out.
    taken: usize,
    /// Whether a write has failed.
    failed: bool,
}

impl RawConnection {
    fn new(stream: TcpStream, heard: Arc<Mutex<Vec<Vec<u8>>>>) -> Self {
        stream
            .set_read_timeout(Some(wait::DEADLINE))
            .expect("our own socket");
        let index = {
            let mut heard = heard.lock().expect("never held over a panic");
            heard.push(Vec::new());
            heard.len() - 1
        };
        Self {
            stream,
            heard,
            index,
            taken: 0,
            failed: false,
        }
    }

    /// The next head with its empty line; `None` when the proxy closed.
    pub(crate) fn read_head(&mut self) -> Option<String> {
        loop {
            {
                let heard = self.heard.lock().expect("never held over a panic");
                let rest = &heard[self.index][self.taken..];
                if let Some(at) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&rest[..at + 4]).into_owned();
                    self.taken += at + 4;
                    return Some(head);
                }
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    /// Everything heard on this connection so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let heard = self.heard.lock().expect("never held over a panic");
        heard[self.index].clone()
    }

    /// Reads whatever comes next into the record; false at the end.
    pub(crate) fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.heard.lock().expect("never held over a panic")[self.index]
                    .extend(&buffer[..length]);
                true
            }
        }
    }

    /// Sends bytes; that the proxy has gone is fine.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let written = self.stream.write_all(bytes.as_ref());
        self.failed |= written.is_err();
    }

    /// Sends bytes one at a time with a pause between, until done or the proxy has gone.
    pub(crate) fn drip(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes {
            if self.stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// Whether the proxy has closed, as far as writing can tell.
    pub(crate) fn is_gone(&self) -> bool {
        self.failed
    }

    /// Closes with RST instead of FIN.
    pub(crate) fn reset(&mut self) {
        let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("our own socket");
    }

    /// Ends our direction and waits until the proxy closes too.
    pub(crate) fn finish(&mut self) {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => panic!("{error}"),
            _ => while self.read_more() {},
        }
    }
}

//! Free ports on 127.0.0.1, for servers that cannot be given a bound socket.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::Mutex;

/// Below the kernel's own choice (32768 and up), so no outgoing connection takes one in between.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// What keeps other test processes from the same number: an abstract socket, held until this process ends.
static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port free for TCP and UDP that no other test on this machine will be given while this process lives.
pub(crate) fn free() -> u16 {
    let mut taken = TAKEN.lock().expect("no test panics while it holds this");
    let len = RANGE.len();
    let start = std::process::id() as usize * 31;
    (0..len)
        .map(|step| {
            RANGE.start + u16::try_from((start + step) % len).expect("below the range's length")
        })
        .find_map(|port| {
            let name = UnixAddr::from_abstract_name(format!("portico-test-port-{port}")).ok()?;
            let lock = UnixListener::bind_addr(&name).ok()?;
            TcpListener::bind(local(port)).ok()?;
            UdpSocket::bind(local(port)).ok()?;
            taken.push(lock);
            Some(port)
        })
        .expect("a free port between 20000 and 32000")
}

/// `127.0.0.1:port`.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

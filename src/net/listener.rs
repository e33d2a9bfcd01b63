//! Listening sockets.
//!
//! Each worker has a socket of its own on the same address (`SO_REUSEPORT`), so the kernel spreads connections and
//! no worker hands one to another. Because that option would also let a second Portico take half of the first one's
//! connections unnoticed, an address is probed without it first.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use thiserror::Error;

/// Connections that the kernel holds for each socket before they are accepted.
const BACKLOG: i32 = 4096;
/// A connection silent for this long is asked whether its client is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// And again so often, until it answers or the system gives up.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {}\n  hint: {}", reason(source), hint(source, *address))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there already".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        _ => error.to_string(),
    }
}

fn hint(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("`ss -ltnp 'sport = :{port}'` names it; or choose another port")
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "ports below 1024 need CAP_NET_BIND_SERVICE, as systemd/portico.service gives it"
                .to_owned()
        }
        _ => "check the address in `[listen]`".to_owned(),
    }
}

/// Binds `count` sockets to `address`. With port 0 all of them get the port that the kernel gives the first.
///
/// # Errors
/// [`ListenError`]; nothing stays bound.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, ListenError> {
    let fail = |source| ListenError { address, source };
    if address.port() != 0 {
        drop(open(address, false).map_err(fail)?);
    }
    let first = open(address, true).map_err(fail)?;
    let bound = first.local_addr().map_err(fail)?;
    let mut sockets = vec![first];
    while sockets.len() < count {
        sockets.push(open(bound, true).map_err(fail)?);
    }
    Ok(sockets)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
        // Linux hands both down to accepted sockets. Without the first small writes (window updates of HTTP/2 above
        // all) wait for the client's delayed acknowledgement; with the second a client that vanished during a long
        // silence is noticed.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_AFTER)
                .with_interval(KEEPALIVE_EVERY),
        )?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_one_call_share_a_port_and_a_second_call_is_refused() {
        let sockets = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
        let address = sockets.first().unwrap().local_addr().unwrap();
        assert!(
            sockets
                .iter()
                .all(|socket| socket.local_addr().unwrap() == address)
        );
        let error = bind(address, 1).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("another process listens there already"),
            "{error}"
        );
    }

    #[test]
    fn accepted_sockets_send_small_writes_at_once() {
        let sockets = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let listener = sockets.first().unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }
}

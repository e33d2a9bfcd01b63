//! Commands to the running proxy, by its admin listener.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::AdminAddress;
use crate::server::admin::COMMAND;

/// Longest wait for the connection, and for each piece of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const LONGEST: u64 = 64 << 10;

/// Sends a command; the status of the answer and its text.
pub(super) fn post(address: &AdminAddress, target: &str) -> io::Result<(u16, String)> {
    match address {
        AdminAddress::Off => Err(io::Error::other("`listen.admin` is `off`")),
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            exchange(stream, target)
        }
        AdminAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            exchange(stream, target)
        }
    }
}

/// One exchange: the listener ends the connection after it.
fn exchange(mut stream: impl Read + Write, target: &str) -> io::Result<(u16, String)> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\n{COMMAND}: 1\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    let none = || io::Error::other("not an answer of the admin listener");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(none)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(none)?, body.to_owned()))
}

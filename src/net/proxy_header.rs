//! The PROXY protocol, versions 1 and 2: what a load balancer says of a connection before its first byte.
//!
//! [`parse`] is pure and takes any bytes. [`read`] takes exactly the header from a socket and leaves what follows to
//! TLS or HTTP. Whom to believe is the caller's: the header of a stranger is a lie told for free, so it must not even
//! be looked for. [`Header::to_bytes`] is what we send, always of version 2 and without TLVs.
//! Source: `proxy-protocol.txt` of HAProxy, 2020/03/05.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What every header of version 2 begins with (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What every header of version 1 begins with (§2.1).
const WORD: &[u8] = b"PROXY ";
/// Longest line of version 1, with its end (§2.1).
const LONGEST_LINE: usize = 107;
/// Bytes of version 2 before the addresses.
const FIXED: usize = 16;
/// Version 2 and its two commands.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Families, each with the transport: what is not said, and TCP.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Most bytes of addresses and TLVs. Balancers send some hundred; the format allows 64 KiB.
const LARGEST: usize = 2048;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The connection is a client's.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// The balancer itself (a health check), or a client it cannot name: the socket's own addresses count.
    Local,
}

impl Header {
    /// The header of version 2 that says this (§2.2).
    ///
    /// Addresses of two families become two of IPv6, as a header has one family for both: the one of IPv4 is mapped.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let Self::Proxied {
            source,
            destination,
        } = self
        else {
            return [&SIGNATURE[..], &[LOCAL, UNSPECIFIED, 0, 0]].concat();
        };
        let ports = [
            source.port().to_be_bytes(),
            destination.port().to_be_bytes(),
        ]
        .concat();
        match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let fixed = [PROXY, TCP4, 0, 12];
                [&SIGNATURE[..], &fixed, &from.octets(), &to.octets(), &ports].concat()
            }
            (from, to) => {
                let (from, to) = (as_ipv6(from).octets(), as_ipv6(to).octets());
                let fixed = [PROXY, TCP6, 0, 36];
                [&SIGNATURE[..], &fixed, &from, &to, &ports].concat()
            }
        }
    }
}

fn as_ipv6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// How far the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// They may become a header; all of them belong to it.
    Partial,
    /// A whole header.
    Done {
        /// What it says.
        header: Header,
        /// Its bytes; what follows is the client's.
        length: usize,
    },
}

/// No header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no header of the PROXY protocol: {0}")]
pub struct Malformed(&'static str);

/// Looks at the first bytes of a connection.
///
/// # Errors
/// [`Malformed`] as soon as no bytes that may follow could make a header of it.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let begins = |with: &[u8]| {
        let length = with.len().min(bytes.len());
        bytes.get(..length) == with.get(..length)
    };
    if begins(&SIGNATURE) {
        return version2(bytes);
    }
    if begins(WORD) {
        return version1(bytes);
    }
    Err(Malformed("neither version's first bytes"))
}

fn version1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let window = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        if window.len() == LONGEST_LINE {
            return Err(Malformed("a line that does not end"));
        }
        return Ok(Parsed::Partial);
    };
    let line = window.get(WORD.len()..end).unwrap_or_default();
    let line =
        std::str::from_utf8(line).map_err(|_not_ascii| Malformed("a line that is no text"))?;
    let mut words = line.split(' ');
    let header = match words.next() {
        // Whatever follows is to be passed over.
        Some("UNKNOWN") => Header::Local,
        Some(family @ ("TCP4" | "TCP6")) => {
            let mut next = || words.next().unwrap_or_default();
            let (source, destination) = (address(family, next())?, address(family, next())?);
            let (from, to) = (port(next())?, port(next())?);
            if words.next().is_some() {
                return Err(Malformed("a line with more than its six words"));
            }
            Header::Proxied {
                source: SocketAddr::new(source, from),
                destination: SocketAddr::new(destination, to),
            }
        }
        _ => return Err(Malformed("another family than TCP4, TCP6 and UNKNOWN")),
    };
    Ok(Parsed::Done {
        header,
        length: end + 2,
    })
}

fn address(family: &str, text: &str) -> Result<IpAddr, Malformed> {
    let address = match family {
        "TCP4" => text.parse().map(IpAddr::V4),
        _ => text.parse().map(IpAddr::V6),
    };
    address.map_err(|_other| Malformed("no address of its family"))
}

fn port(text: &str) -> Result<u16, Malformed> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // `080` is a number to one reader and octal to another.
    let plain = digits && (text == "0" || !text.starts_with('0'));
    let port = plain.then(|| text.parse().ok()).flatten();
    port.ok_or(Malformed("no port"))
}

fn version2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    // What is there of the fixed part is judged at once, so that garbage does not wait for the rest.
    let command = match bytes.get(12) {
        None => return Ok(Parsed::Partial),
        Some(&LOCAL) => Command::Local,
        Some(&PROXY) => Command::Proxy,
        Some(_) => return Err(Malformed("another version or command")),
    };
    let Some([family, high, low]) = bytes.get(13..FIXED).and_then(|fixed| fixed.first_chunk())
    else {
        return Ok(Parsed::Partial);
    };
    let size = usize::from(u16::from_be_bytes([*high, *low]));
    if size > LARGEST {
        return Err(Malformed("more than 2 KiB of addresses and TLVs"));
    }
    let length = FIXED + size;
    let Some(payload) = bytes.get(FIXED..length) else {
        return Ok(Parsed::Partial);
    };
    let (header, rest) = match (command, family) {
        // §2.2: whatever a LOCAL header carries is to be passed over.
        (Command::Local, _) => (Header::Local, None),
        (Command::Proxy, &TCP4) => split(payload, 4)?,
        (Command::Proxy, &TCP6) => split(payload, 16)?,
        // Unspecified, or a Unix socket: a client that no address names. Only the addresses' size tells where TLVs begin.
        (Command::Proxy, &UNSPECIFIED) => (Header::Local, None),
        (Command::Proxy, 0x31) => (Header::Local, payload.get(216..)),
        (Command::Proxy, _) => return Err(Malformed("another family than TCP or Unix")),
    };
    if let Some(rest) = rest {
        check_tlvs(rest)?;
    }
    Ok(Parsed::Done { header, length })
}

enum Command {
    Local,
    Proxy,
}

/// Two addresses of `size` bytes, two ports, and the TLVs behind them.
fn split(payload: &[u8], size: usize) -> Result<(Header, Option<&[u8]>), Malformed> {
    let short = Malformed("fewer bytes than its addresses take");
    let ip = |from: usize| match payload.get(from..from + size) {
        Some(bytes) => match (bytes.first_chunk::<16>(), bytes.first_chunk::<4>()) {
            (Some(bytes), _) => Ok(IpAddr::V6(Ipv6Addr::from(*bytes))),
            (None, Some(bytes)) => Ok(IpAddr::V4(Ipv4Addr::from(*bytes))),
            (None, None) => Err(short),
        },
        None => Err(short),
    };
    let port = |from: usize| {
        let bytes = payload.get(from..).and_then(<[u8]>::first_chunk::<2>);
        bytes.map(|bytes| u16::from_be_bytes(*bytes)).ok_or(short)
    };
    let header = Header::Proxied {
        source: SocketAddr::new(ip(0)?, port(2 * size)?),
        destination: SocketAddr::new(ip(size)?, port(2 * size + 2)?),
    };
    Ok((header, payload.get(2 * size + 4..)))
}

/// TLVs are not used, but a header whose TLVs do not fill it exactly was written by something broken.
fn check_tlvs(mut rest: &[u8]) -> Result<(), Malformed> {
    while let Some([_kind, high, low]) = rest.first_chunk() {
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        rest = rest
            .get(3 + size..)
            .ok_or(Malformed("a TLV that is longer than the header"))?;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Malformed("bytes behind the last TLV"))
    }
}

/// Takes one header from `stream`, in however many pieces it comes, and not a byte more.
///
/// # Errors
/// Of the socket; `UnexpectedEof` if it ends before; `InvalidData` with [`Malformed`].
pub async fn read(stream: &mut TcpStream) -> io::Result<Header> {
    let mut header = Vec::new();
    let mut window = [0; 512];
    loop {
        let seen = stream.peek(&mut window).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = header.len();
        header.extend_from_slice(window.get(..seen).unwrap_or_default());
        let parsed =
            parse(&header).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let own = match parsed {
            Parsed::Partial => seen,
            Parsed::Done { length, .. } => length - before,
        };
        if let Some(own) = window.get_mut(..own) {
            stream.read_exact(own).await?;
        }
        if let Parsed::Done { header, .. } = parsed {
            return Ok(header);
        }
    }
}

#[cfg(test)]
mod tests;

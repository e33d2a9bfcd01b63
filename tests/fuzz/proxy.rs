//! The header of the PROXY protocol, as balancers and their impostors write it.

use std::net::{IpAddr, SocketAddr};

use portico::net::proxy_header::{Header, Parsed, parse};

use crate::names::outcome;

pub(crate) const SEEDS: &[&[u8]] = &[
    b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nGET /",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
    b"PROXY UNKNOWN ff::1 ::1 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbbGET /",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb\x01\0\x02h2",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24 \x01\r\xb8\0\0\0\0\0\0\0\0\0\0\0\x01 \x01\r\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\0\x01\xff\xff",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\x05abcde",
];
pub(crate) const WORDS: &[&str] = &[
    "PROXY ",
    "TCP4 ",
    "TCP6 ",
    "UNKNOWN",
    "\r\n",
    "\r\n\r\n\0\r\nQUIT\n",
    " ",
    "0",
    "65536",
    "::1",
    "\u{1}\0\u{1}a",
    "\0",
    "!\u{11}\0\u{c}",
    "!!\0$",
    " \0\0\0",
    "\u{4}\0\u{0}",
    "127.0.0.1 ",
    "::ffff:1.2.3.4 ",
    "080",
];

/// A verdict is the same however many bytes follow, no byte before its end changes it, and what a header says can be
/// said again.
pub(crate) fn header(bytes: &[u8]) -> u64 {
    let verdict = parse(bytes);
    match verdict {
        Ok(Parsed::Done { header, length }) => {
            assert!(length <= bytes.len() && length <= 16 + 2048);
            assert_eq!(parse(&bytes[..length]), verdict, "without what follows");
            // One byte at a time, a header is partial up to its last byte.
            assert_eq!(parse(&bytes[..length - 1]), Ok(Parsed::Partial));
            assert_eq!(parse(&bytes[..length / 2]), Ok(Parsed::Partial));
            let again = header.to_bytes();
            let Ok(Parsed::Done { header: read, .. }) = parse(&again) else {
                panic!("ours is not read: {again:?}");
            };
            assert_eq!(ends(read), ends(header));
        }
        Ok(Parsed::Partial) => {
            assert!(bytes.len() < 16 + 2048);
            for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
                assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Partial));
            }
        }
        Err(_) => {
            let longer = [bytes, b"\r\n\r\n"].concat();
            assert_eq!(parse(&longer), verdict, "what is wrong stays wrong");
        }
    }
    outcome(match verdict {
        Ok(Parsed::Partial) => format!("partial {}", bytes.len().min(20)),
        Ok(Parsed::Done { header, length }) => {
            format!("{:?} {}", ends(header).map(kind), length.min(60))
        }
        Err(error) => error.to_string(),
    })
}

/// Both ends of the connection; an IPv4 address mapped into IPv6 is the IPv4 address.
fn ends(header: Header) -> Option<[SocketAddr; 2]> {
    let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    match header {
        Header::Local => None,
        Header::Proxied {
            source,
            destination,
        } => Some([canonical(source), canonical(destination)]),
    }
}

fn kind(ends: [SocketAddr; 2]) -> [bool; 2] {
    ends.map(|end| matches!(end.ip(), IpAddr::V4(_)))
}

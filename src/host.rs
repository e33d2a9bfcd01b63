//! Host names: the one type for SNI, `Host`, `:authority`, configuration and certificate names.
//!
//! A [`Host`] is a lower-case DNS name of A-labels without port and without trailing dot. Whoever holds one need
//! not check it again. Nothing here looks anything up; nothing here knows about tenants.
//!
//! Rules (RFC 1123 §2.1, RFC 9110 §7.2 and the normalisation rules of the tenant design): ASCII letters, digits and
//! `-` only, labels of 1 to 63 bytes that neither begin nor end with `-`, 253 bytes in all, ONE trailing dot is
//! dropped, upper case is folded. An address literal and a name with `_` have errors of their own, because the edge
//! answers them differently from a malformed request.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Longest name in bytes, without the trailing dot (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
/// Longest label in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A normalised host name. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(Arc<str>);

/// Why a text is not a [`Host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostError {
    /// No name at all.
    #[error("the host name is empty")]
    Empty,
    /// A byte that no host name may contain.
    #[error("the host name has a character that is not a letter, digit, `-` or `.`")]
    BadCharacter,
    /// An empty label, one over 63 bytes, or one with a hyphen at an end.
    #[error("a label of the host name is empty, too long, or begins or ends with `-`")]
    BadLabel,
    /// A label with `_`: a DNS name, but no host name.
    #[error("a label of the host name has `_`")]
    Underscore,
    /// Over 253 bytes.
    #[error("the host name is longer than 253 bytes")]
    TooLong,
    /// An IPv4 or IPv6 address stands where a name is needed.
    #[error("an address stands where a host name is needed")]
    Address,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    BadPort,
}

impl Host {
    /// Parses and normalises `text`.
    ///
    /// # Errors
    /// [`HostError`] says which rule is broken; never [`HostError::BadPort`].
    pub fn parse(text: &str) -> Result<Self, HostError> {
        Self::from_bytes(text.as_bytes())
    }

    /// As [`Host::parse`], for bytes from the network.
    ///
    /// # Errors
    /// As [`Host::parse`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HostError> {
        let name = bytes.strip_suffix(b".").unwrap_or(bytes);
        if name.is_empty() {
            return Err(HostError::Empty);
        }
        if name.starts_with(b"[") {
            return Err(HostError::Address);
        }
        if name.len() > MAX_NAME {
            return Err(HostError::TooLong);
        }
        let mut underscore = false;
        for &byte in name {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => {}
                b'_' => underscore = true,
                _ => return Err(HostError::BadCharacter),
            }
        }
        for label in name.split(|&byte| byte == b'.') {
            if label.is_empty()
                || label.len() > MAX_LABEL
                || label.starts_with(b"-")
                || label.ends_with(b"-")
            {
                return Err(HostError::BadLabel);
            }
        }
        if underscore {
            return Err(HostError::Underscore);
        }
        let mut copy = [0; MAX_NAME];
        let lower = copy.get_mut(..name.len()).unwrap_or_default();
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let lower = std::str::from_utf8(lower).unwrap_or_default();
        // `1.2.3.4` is an address, and so is every name that a resolver would read as one (`0x7f.1`, `127.1`): the
        // last label of a real name is never all digits nor a hexadecimal number (RFC 3696 §2, WHATWG URL "ends in
        // a number").
        if lower.parse::<Ipv4Addr>().is_ok() || lower.rsplit('.').next().is_some_and(is_number) {
            return Err(HostError::Address);
        }
        Ok(Self(Arc::from(lower)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Splits `a.b.c` into (`a`, `b.c`); `None` for a name of one label.
    #[must_use]
    pub fn split_first(&self) -> Option<(&str, &str)> {
        self.0.split_once('.')
    }

    /// What stands before `.base`, if this name lies below `base`: (`acme` for `acme.example.com` below
    /// `example.com`), the empty text if both are equal, `None` if it lies elsewhere.
    #[must_use]
    pub fn below(&self, base: &Self) -> Option<&str> {
        let rest = self.0.strip_suffix(&*base.0)?;
        if rest.is_empty() {
            return Some("");
        }
        rest.strip_suffix('.')
    }
}

/// Whether a resolver would read this last label as a number.
fn is_number(label: &str) -> bool {
    let digits = label.bytes().all(|byte| byte.is_ascii_digit());
    let hex = label
        .strip_prefix("0x")
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits || hex
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        Self::parse(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::borrow::Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A host with the port that the client named, if it named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The name.
    pub host: Host,
    /// The port after the colon.
    pub port: Option<u16>,
}

impl Authority {
    /// Parses the value of `Host` or of `:authority` (RFC 9110 §7.2: `uri-host [ ":" port ]`; user information is
    /// refused).
    ///
    /// # Errors
    /// [`HostError`]; an empty port (`a:`) is [`HostError::BadPort`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HostError> {
        if bytes.starts_with(b"[") {
            let inner = bytes
                .iter()
                .position(|&byte| byte == b']')
                .and_then(|end| bytes.get(1..end));
            let address = inner
                .and_then(|text| std::str::from_utf8(text).ok())
                .and_then(|text| text.parse::<Ipv6Addr>().ok());
            return Err(if address.is_some() {
                HostError::Address
            } else {
                HostError::BadCharacter
            });
        }
        let Some(colon) = bytes.iter().rposition(|&byte| byte == b':') else {
            return Ok(Self {
                host: Host::from_bytes(bytes)?,
                port: None,
            });
        };
        let (name, port) = bytes.split_at(colon);
        let port = parse_port(port.get(1..).unwrap_or_default()).ok_or(HostError::BadPort)?;
        Ok(Self {
            host: Host::from_bytes(name)?,
            port: Some(port),
        })
    }
}

/// A port of 1 to 5 digits, 1 to 65535; nothing else (`+80`, `0x50`, empty) is one.
fn parse_port(bytes: &[u8]) -> Option<u16> {
    if bytes.is_empty() || bytes.len() > 5 || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = bytes
        .iter()
        .fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(number).ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_case_and_one_trailing_dot() {
        assert_eq!(
            Host::parse("ACME.Example.COM.").unwrap().as_str(),
            "acme.example.com"
        );
        assert_eq!(Host::parse("a.x..").unwrap_err(), HostError::BadLabel);
    }

    #[test]
    fn refuses_what_is_no_name() {
        for (text, error) in [
            ("", HostError::Empty),
            (".", HostError::Empty),
            ("a b", HostError::BadCharacter),
            ("a,b", HostError::BadCharacter),
            ("user@a", HostError::BadCharacter),
            ("%61.x", HostError::BadCharacter),
            ("bücher.de", HostError::BadCharacter),
            ("a..b", HostError::BadLabel),
            ("-a.x", HostError::BadLabel),
            ("a-.x", HostError::BadLabel),
            ("a_b.x", HostError::Underscore),
            ("1.2.3.4", HostError::Address),
            ("0x7f.1", HostError::Address),
            ("127.1", HostError::Address),
            ("a.0x10", HostError::Address),
            ("[::1]", HostError::Address),
        ] {
            assert_eq!(Host::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Host::parse(&"a".repeat(64)), Err(HostError::BadLabel));
        assert_eq!(
            Host::parse(&["a"; 127].join(".")).map(|host| host.as_str().len()),
            Ok(253)
        );
        assert_eq!(Host::parse(&["a"; 128].join(".")), Err(HostError::TooLong));
    }

    #[test]
    fn authority_takes_only_a_decimal_port() {
        let authority = Authority::from_bytes(b"A.x:8443").unwrap();
        assert_eq!(
            (authority.host.as_str(), authority.port),
            ("a.x", Some(8443))
        );
        for bad in ["a:", "a:0", "a:99999", "a:0x1bb", "a:-1", "a:+1", "a:1 "] {
            assert_eq!(
                Authority::from_bytes(bad.as_bytes()),
                Err(HostError::BadPort),
                "{bad}"
            );
        }
        assert_eq!(Authority::from_bytes(b"[::1]:80"), Err(HostError::Address));
        assert_eq!(Authority::from_bytes(b"[zz]"), Err(HostError::BadCharacter));
    }

    #[test]
    fn below_needs_a_label_border() {
        let base = Host::parse("example.com").unwrap();
        let below = |text: &str| Host::parse(text).unwrap().below(&base).map(str::to_owned);
        assert_eq!(below("acme.example.com").as_deref(), Some("acme"));
        assert_eq!(below("a.b.example.com").as_deref(), Some("a.b"));
        assert_eq!(below("example.com").as_deref(), Some(""));
        assert_eq!(below("badexample.com"), None);
    }
}

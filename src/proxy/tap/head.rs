//! The head of a request, line by line.
//!
//! A line is judged once, when its LF is there; a head that comes in many pieces is not read again. Only a CR without LF
//! is refused as it comes: a client that ends its lines so would wait for an answer in vain. What goes through here, hyper's
//! parser takes too: a test and the fuzzer compare them.

use http::Uri;
use memchr::memchr;

use super::Refusal;
use crate::proxy::target::{MAX_FIELDS, MAX_METHOD, MAX_TARGET};

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// None: the next message follows.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// No body, and perhaps no more HTTP.
    WebSocket,
}

/// A request line that is good, by its places in the head.
#[derive(Debug, Clone, Copy)]
struct RequestLine {
    start: usize,
    end: usize,
    old: bool,
    get: bool,
}

/// How far a head has come.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Where the present line begins.
    line: usize,
    /// Before this there is no end of the present line.
    seen: usize,
    blank: bool,
    request: Option<RequestLine>,
    fields: usize,
    length: Option<u64>,
    coding: Option<Result<(), Refusal>>,
    upgrades: usize,
    websocket: bool,
    connection_upgrade: bool,
}

impl HeadScan {
    /// Whether a byte of the head has been seen.
    pub(super) fn has_begun(&self) -> bool {
        self.seen > 0
    }

    /// Goes on with `head`, all that there is of it: its length in bytes and what follows, once it is whole.
    pub(super) fn scan(
        &mut self,
        head: &[u8],
        most: usize,
    ) -> Result<Option<(usize, Framing)>, Refusal> {
        loop {
            let Some(end) = memchr(b'\n', head.get(self.seen..).unwrap_or_default()) else {
                let new = self.seen.saturating_sub(1).max(self.line);
                refuse_bare_cr(head, new, head.len().min(most))?;
                self.seen = head.len();
                return if head.len() >= most {
                    Err(self.too_large())
                } else {
                    Ok(None)
                };
            };
            let end = self.seen + end;
            if end >= most {
                refuse_bare_cr(head, self.line, most)?;
                return Err(self.too_large());
            }
            let whole = head.get(self.line..end).unwrap_or_default();
            let Some(line) = whole.strip_suffix(b"\r") else {
                refuse_bare_cr(head, self.line, end)?;
                return Err(Refusal::LineEnd);
            };
            if self.request.is_none() {
                refuse_bare_cr(head, self.line, end)?;
                if line.is_empty() {
                    if self.blank {
                        return Err(Refusal::EmptyLines);
                    }
                    self.blank = true;
                } else {
                    self.request = Some(request_line(line, self.line)?);
                }
            } else if line.is_empty() {
                return Ok(Some((end + 1, self.framing()?)));
            } else {
                self.field(line)?;
            }
            self.line = end + 1;
            self.seen = end + 1;
        }
    }

    fn too_large(&self) -> Refusal {
        if self.request.is_none() {
            Refusal::TargetTooLong
        } else {
            Refusal::TooLarge
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let end = line
            .iter()
            .position(|&byte| !is_token(byte))
            .ok_or(Refusal::Name)?;
        let (name, value) = line.split_at(end);
        let Some((b':', value)) = value.split_first().filter(|_| !name.is_empty()) else {
            // A bare CR comes before all else, as in `refuse_bare_cr`.
            return Err(match (name.is_empty(), value.first()) {
                _ if memchr(b'\r', line).is_some() => Refusal::Control,
                (true, Some(b':')) => Refusal::Name,
                (true, Some(b' ' | b'\t')) => Refusal::Folded,
                (false, Some(b' ' | b'\t')) => Refusal::SpaceBeforeColon,
                _ if has_control(line) => Refusal::Control,
                _ => Refusal::Name,
            });
        };
        if has_control(value) {
            return Err(Refusal::Control);
        }
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(Refusal::TooMany);
        }
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrades += 1;
                self.websocket = trim(value).eq_ignore_ascii_case(b"websocket");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection_upgrade |= value
                    .split(|&byte| byte == b',')
                    .any(|token| trim(token).eq_ignore_ascii_case(b"upgrade"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::Lengths);
                }
                self.length = Some(length(trim(value)).ok_or(Refusal::Length)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.coding.is_some() {
                    return Err(Refusal::Codings);
                }
                self.coding = Some(coding(value));
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self) -> Result<Framing, Refusal> {
        let (old, get) = self
            .request
            .map_or((true, false), |line| (line.old, line.get));
        Ok(match (self.coding, self.length) {
            (Some(_), Some(_)) => return Err(Refusal::LengthAndCoding),
            (Some(_), None) if old => return Err(Refusal::CodingInOld),
            (Some(coding), None) => {
                coding?;
                Framing::Chunked
            }
            (None, Some(0)) => Framing::None,
            (None, Some(length)) => Framing::Length(length),
            // The same question as `upgrade::asked`, which decides.
            (None, None)
                if get
                    && !old
                    && self.upgrades == 1
                    && self.websocket
                    && self.connection_upgrade =>
            {
                Framing::WebSocket
            }
            (None, None) => Framing::None,
        })
    }

    /// A head that hyper takes for the refused one: with its request line, if that much of it was good.
    pub(super) fn stand_in(&self, head: &[u8]) -> Vec<u8> {
        let line = self
            .request
            .and_then(|line| head.get(line.start..line.end))
            .unwrap_or(UNKNOWN_REQUEST.as_bytes());
        [line, b"\r\nhost: invalid\r\nconnection: close\r\n\r\n"].concat()
    }
}

/// Refuses a CR in this part of a line that is not its last byte. Asked of each line before all else, so that the verdict
/// does not depend on the pieces that it comes in; of a header's line [`HeadScan::field`] asks it.
fn refuse_bare_cr(head: &[u8], start: usize, end: usize) -> Result<(), Refusal> {
    let part = head.get(start..end).unwrap_or_default();
    match memchr(b'\r', part) {
        Some(at) if at + 1 < part.len() => Err(Refusal::Control),
        _ => Ok(()),
    }
}

/// The request line of a stand-in when the client's own cannot be read.
pub(super) const UNKNOWN_REQUEST: &str = "- * HTTP/1.1";

/// `start` is where the line begins in the head.
fn request_line(line: &[u8], start: usize) -> Result<RequestLine, Refusal> {
    let end = line.iter().position(|&byte| !is_token(byte));
    let Some((method, rest)) = end.and_then(|end| line.split_at_checked(end)) else {
        return Err(Refusal::RequestLine);
    };
    let malformed = || {
        if has_control(line) {
            Refusal::Control
        } else {
            Refusal::RequestLine
        }
    };
    let Some(rest) = rest.strip_prefix(b" ").filter(|_| !method.is_empty()) else {
        return Err(malformed());
    };
    if method.len() > MAX_METHOD {
        return Err(Refusal::Method);
    }
    let Some(space) = rest.iter().rposition(|&byte| byte == b' ') else {
        return Err(malformed()); // HTTP/0.9 has no version.
    };
    let (target, version) = rest.split_at(space);
    let old = match version {
        b" HTTP/1.1" => false,
        b" HTTP/1.0" => true,
        _ if version.starts_with(b" HTTP/") && !has_control(version) => {
            return Err(Refusal::Version);
        }
        _ => return Err(malformed()),
    };
    if target.len() > MAX_TARGET {
        return Err(Refusal::TargetTooLong);
    }
    check_target(target)?;
    Ok(RequestLine {
        start,
        end: start + line.len(),
        old,
        get: method == b"GET",
    })
}

fn check_target(target: &[u8]) -> Result<(), Refusal> {
    let mut allowed = PATH;
    for &byte in target {
        if class(byte) & allowed == 0 {
            return Err(match byte {
                b' ' => Refusal::RequestLine,
                b'#' => Refusal::Fragment,
                _ if has_control(&[byte]) => Refusal::Control,
                _ => Refusal::Target,
            });
        }
        if byte == b'?' {
            allowed = QUERY;
        }
    }
    match target {
        [] => Err(Refusal::RequestLine),
        [b'/', ..] | b"*" => Ok(()),
        // Whatever else it may be; `target::parse` decides whether it is served.
        _ if Uri::try_from(target).is_ok() => Ok(()),
        _ => Err(Refusal::Target),
    }
}

/// A number of digits only, of at most 63 bits: what every app can count with.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for &byte in value {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (number <= u64::MAX >> 1).then_some(number)
}

/// Judges the value of `Transfer-Encoding`: `chunked` and nothing else (RFC 9112 §6.1).
pub(in crate::proxy) fn coding(value: &[u8]) -> Result<(), Refusal> {
    let value = trim(value);
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|&byte| byte == b',').map(trim).peekable();
    while let Some(coding) = codings.next() {
        let name = coding.split(|&byte| byte == b';').next().map(trim);
        let name = name.unwrap_or_default();
        let chunked = name.eq_ignore_ascii_case(b"chunked") && codings.peek().is_some();
        if chunked || name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return Err(Refusal::Coding);
        }
    }
    Err(Refusal::UnknownCoding)
}

/// Without the optional white space of RFC 9110 §5.6.3.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether a control character other than HTAB is in `bytes`.
fn has_control(bytes: &[u8]) -> bool {
    // Without a way out, so that many bytes are looked at in one step.
    bytes.iter().fold(false, |found, &byte| {
        found | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
    })
}

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;

/// What each byte may be part of.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut rest: &mut [u8] = &mut classes;
    let mut byte = 0;
    while let Some((class, after)) = rest.split_first_mut() {
        *class = class_of(byte);
        rest = after;
        byte = byte.wrapping_add(1);
    }
    classes
};

const fn class_of(byte: u8) -> u8 {
    // RFC 9110 §5.6.2.
    let mark = matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~'
    );
    let token = byte.is_ascii_alphanumeric() || mark;
    // RFC 3986 §3.3 and §3.4, and what clients are known to send as it is: it goes to the app byte for byte.
    let both = byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`');
    let path = both || byte == b'"';
    let query = both || byte == b'`';
    token as u8 * TOKEN + path as u8 * PATH + query as u8 * QUERY
}

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

/// A byte of a name or method.
pub(super) fn is_token(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

/// A byte of a field value (RFC 9110 §5.5, with obs-text).
pub(super) fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_passes_exactly_if_the_parser_takes_it_and_it_is_ascii() {
        for byte in 0..=u8::MAX {
            for before in ["/a", "/a?b", "/a?b?"] {
                let target = [before.as_bytes(), &[byte], b"c"].concat();
                let parsed = Uri::try_from(&target[..]);
                let expected = parsed.is_ok() && byte.is_ascii() && byte != b'#';
                assert_eq!(
                    check_target(&target).is_ok(),
                    expected,
                    "{before} {byte:#x}"
                );
            }
        }
    }

    #[test]
    fn a_length_is_digits_of_at_most_63_bits() {
        for (text, number) in [
            ("0", Some(0)),
            ("0005", Some(5)),
            ("9223372036854775807", Some(u64::MAX >> 1)),
            ("9223372036854775808", None),
            ("18446744073709551617", None),
            ("", None),
            ("+5", None),
            ("-1", None),
            ("5,5", None),
            ("5 5", None),
            ("0x5", None),
            ("5.0", None),
        ] {
            assert_eq!(length(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn a_coding_is_chunked_once_or_refused() {
        for (value, verdict) in [
            ("chunked", Ok(())),
            (" Chunked\t", Ok(())),
            ("chunked, chunked", Err(Refusal::Coding)),
            ("chunked, identity", Err(Refusal::Coding)),
            (",chunked", Err(Refusal::Coding)),
            ("chunked,", Err(Refusal::Coding)),
            ("", Err(Refusal::Coding)),
            ("\"chunked\"", Err(Refusal::Coding)),
            ("gzip, chunked", Err(Refusal::UnknownCoding)),
            ("cow, chunked", Err(Refusal::UnknownCoding)),
            ("xchunked", Err(Refusal::UnknownCoding)),
            ("identity", Err(Refusal::UnknownCoding)),
            ("chunked;q=1", Err(Refusal::UnknownCoding)),
            ("chun ked", Err(Refusal::Coding)),
        ] {
            assert_eq!(coding(value.as_bytes()), verdict, "{value:?}");
        }
    }
}

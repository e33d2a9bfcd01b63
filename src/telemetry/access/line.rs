//! The parts of a line of the access log: escaped text, numbers, addresses, times.
//!
//! Written by hand because this runs once per request: no formatter, no allocation, one pass over each text. Every
//! function appends to a buffer and takes any input; what it appends keeps the line one valid JSON object without a
//! line break or a character that a terminal would obey.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use time::OffsetDateTime;

use crate::clock::UnixMillis;

/// Appends `bytes` as the inside of a JSON string.
///
/// Quotes, backslashes and characters that end a line or steer a terminal are escaped. A byte that is not UTF-8 is
/// read as ISO-8859-1, as HTTP once defined field values, and escaped (`\u00e9`), so that no byte is lost.
pub(super) fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        escaped(out, bytes);
    }
}

/// Whether nothing in `bytes` needs a look: printable ASCII without `"` and `\`.
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // Eight bytes at a time. `x - ONES·n` has a high bit in some byte below n; all hits are masked by `!x`, and bytes
    // of 0x80 and more are hits anyway. A borrow can add false hits only beside a true one.
    let zero_byte = |x: u64| x.wrapping_sub(ONES) & !x;
    let suspect = |word: &[u8; 8]| {
        let x = u64::from_ne_bytes(*word);
        x | (x.wrapping_sub(ONES * 0x20) & !x)
            | zero_byte(x ^ (ONES * b'"' as u64))
            | zero_byte(x ^ (ONES * b'\\' as u64))
            | zero_byte(x ^ (ONES * 0x7f))
    };
    // The last eight once more where they overlap what was looked at: cheaper than byte by byte.
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes
            .iter()
            .all(|&b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\');
    };
    let (words, _) = bytes.as_chunks::<8>();
    let hits = words
        .iter()
        .fold(suspect(last), |hits, word| hits | suspect(word));
    hits & HIGH == 0
}

#[cold]
fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for piece in chunk.valid().split_inclusive(is_special) {
            let last = piece.chars().next_back().filter(|&c| is_special(c));
            let plain = piece.len() - last.map_or(0, char::len_utf8);
            out.extend_from_slice(piece.as_bytes().get(..plain).unwrap_or_default());
            match last {
                None => {}
                Some('"') => out.extend_from_slice(b"\\\""),
                Some('\\') => out.extend_from_slice(b"\\\\"),
                Some('\n') => out.extend_from_slice(b"\\n"),
                Some('\r') => out.extend_from_slice(b"\\r"),
                Some('\t') => out.extend_from_slice(b"\\t"),
                Some(c) => code_point(out, c as u32),
            }
        }
        for &byte in chunk.invalid() {
            code_point(out, u32::from(byte));
        }
    }
}

/// Whether a character needs an escape; all of them are below U+10000.
fn is_special(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control() || c == '"' || c == '\\';
    }
    // C1; marks that turn the direction of writing; line and paragraph separators.
    matches!(
        c,
        '\u{80}'..='\u{9f}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// Appends `\uXXXX`; `code` is below 0x10000.
fn code_point(out: &mut Vec<u8>, code: u32) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(hex_digit(code >> shift));
    }
}

fn hex_digit(value: u32) -> u8 {
    let value = (value & 0xf) as u8;
    if value < 10 {
        b'0' + value
    } else {
        b'a' + (value - 10)
    }
}

/// Appends a decimal number.
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20]; // u64::MAX has 20
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Appends an address as the standard library prints it (RFC 5952 for IPv6).
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => dotted(out, v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => {
                out.extend_from_slice(b"::ffff:");
                dotted(out, v4);
            }
            None => colons(out, v6),
        },
    }
}

fn dotted(out: &mut Vec<u8>, address: Ipv4Addr) {
    let [a, rest @ ..] = address.octets();
    number(out, u64::from(a));
    for octet in rest {
        out.push(b'.');
        number(out, u64::from(octet));
    }
}

fn colons(out: &mut Vec<u8>, address: Ipv6Addr) {
    let segments = address.segments();
    // The first of the longest runs of zeros, if longer than one, becomes `::` (RFC 5952 §4.2).
    let (mut run, mut best) = (0..0, 0..0);
    for (at, &segment) in segments.iter().enumerate() {
        run = if segment == 0 {
            if run.is_empty() {
                at..at + 1
            } else {
                run.start..at + 1
            }
        } else {
            0..0
        };
        if run.len() > best.len() {
            best = run.clone();
        }
    }
    if best.len() < 2 {
        best = 0..0;
    }
    for (at, &segment) in segments.iter().enumerate() {
        if best.contains(&at) {
            if at == best.start {
                out.extend_from_slice(b"::");
            }
            continue;
        }
        if at != 0 && at != best.end {
            out.push(b':');
        }
        let digits = (4 - segment.leading_zeros() / 4).max(1);
        for digit in (0..digits).rev() {
            out.push(hex_digit(u32::from(segment) >> (4 * digit)));
        }
    }
}

/// Prints times as RFC 3339 in UTC with milliseconds; keeps the text of the last second.
#[derive(Debug)]
pub(super) struct Stamp {
    second: u64,
    /// `2026-11-21T00:00:00.`
    text: [u8; 20],
}

impl Default for Stamp {
    fn default() -> Self {
        Self {
            second: 0,
            text: *b"1970-01-01T00:00:00.",
        }
    }
}

impl Stamp {
    /// Appends `time`. Times after the year 9999 print as its last second.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, time: UnixMillis) {
        let second = time.0 / 1000;
        if second != self.second {
            self.text = Self::print(second);
            self.second = second;
        }
        out.extend_from_slice(&self.text);
        let millis = (time.0 % 1000) as u16;
        let [hundreds, tens, ones] = [millis / 100, millis / 10 % 10, millis % 10];
        out.extend_from_slice(&[
            b'0' + hundreds as u8,
            b'0' + tens as u8,
            b'0' + ones as u8,
            b'Z',
        ]);
    }

    fn print(second: u64) -> [u8; 20] {
        const LAST: i64 = 253_402_300_799; // 9999-12-31T23:59:59Z
        let second = i64::try_from(second).unwrap_or(LAST).min(LAST);
        let time =
            OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let year = time.year().unsigned_abs();
        let pair = |value: u32| [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
        let [[y1, y2], [y3, y4]] = [pair(year / 100), pair(year % 100)];
        let [m1, m2] = pair(u32::from(u8::from(time.month())));
        let [d1, d2] = pair(u32::from(time.day()));
        let [h1, h2] = pair(u32::from(time.hour()));
        let [n1, n2] = pair(u32::from(time.minute()));
        let [s1, s2] = pair(u32::from(time.second()));
        [
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2,
            b'.',
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn appended(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_what_would_break_a_line_or_steer_a_terminal() {
        for (bytes, expected) in [
            (&b"/plain?a=b&c=%20"[..], "/plain?a=b&c=%20"),
            (b"\"quoted\"\\", r#"\"quoted\"\\"#),
            (b"a\r\n\tb", r"a\r\n\tb"),
            (b"\x00\x1b[31m\x7f", r"\u0000\u001b[31m\u007f"),
            ("\u{2028}\u{2029}".as_bytes(), r"\u2028\u2029"),
            ("\u{202e}gpj.exe".as_bytes(), r"\u202egpj.exe"),
            ("\u{9b}31m".as_bytes(), r"\u009b31m"),
            ("käse 🧀".as_bytes(), "käse 🧀"),
            (b"caf\xe9 \xff", r"caf\u00e9 \u00ff"),
            (b"cut \xe2\x82", r"cut \u00e2\u0082"),
        ] {
            assert_eq!(appended(|out| text(out, bytes)), expected);
        }
    }

    #[test]
    fn every_byte_at_every_place_of_a_word_is_judged_alike() {
        for byte in 0..=u8::MAX {
            let plain = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
            for before in 0..16 {
                for after in 0..9 {
                    let mut bytes = vec![b'~'; before];
                    bytes.push(byte);
                    bytes.extend(vec![b' '; after]);
                    assert_eq!(is_plain(&bytes), plain, "{byte:#x} {before} {after}");
                }
            }
        }
    }

    #[test]
    fn times_have_milliseconds_and_follow_the_second() {
        let mut stamp = Stamp::default();
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_219_200_007, "2026-11-21T00:00:00.007Z"),
            (1_795_219_200_999, "2026-11-21T00:00:00.999Z"),
            (1_795_219_199_050, "2026-11-20T23:59:59.050Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.615Z"),
        ] {
            assert_eq!(
                appended(|out| stamp.append(out, UnixMillis(millis))),
                expected
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_valid_json_string(bytes: Vec<u8>) {
            let line = appended(|out| {
                out.push(b'"');
                text(out, &bytes);
                out.push(b'"');
            });
            prop_assert!(!line.chars().any(char::is_control));
            let read: String = serde_json::from_str(&line).unwrap();
            if let Ok(valid) = std::str::from_utf8(&bytes) {
                prop_assert_eq!(read, valid);
            }
        }

        #[test]
        fn any_text_reads_back(written in ".*") {
            let line = appended(|out| {
                out.push(b'"');
                text(out, written.as_bytes());
                out.push(b'"');
            });
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), written);
        }

        #[test]
        fn numbers_print_as_in_std(value: u64, shift in 0_u32..64) {
            let value = value >> shift;
            prop_assert_eq!(appended(|out| number(out, value)), value.to_string());
        }

        #[test]
        fn addresses_print_as_in_std(bits: u128, mask: u128, v4: u32) {
            for bits in [bits, bits & mask, bits & (mask << 64), bits & (mask >> 64), u128::from(v4), 0, 1] {
                let v6 = IpAddr::V6(Ipv6Addr::from_bits(bits));
                prop_assert_eq!(appended(|out| address(out, v6)), v6.to_string());
            }
            let zeros = [0, 4, 8, 12].map(|n| (mask >> n) & 1).iter().fold(0, |all, bit| (all << 16) | (bit * 0xffff));
            for bits in [zeros | (zeros << 64), (zeros << 32) | zeros, (zeros << 96) | 0xfe80] {
                let v6 = IpAddr::V6(Ipv6Addr::from_bits(bits));
                prop_assert_eq!(appended(|out| address(out, v6)), v6.to_string());
            }
            let v4 = Ipv4Addr::from_bits(v4);
            prop_assert_eq!(appended(|out| address(out, IpAddr::V4(v4))), v4.to_string());
            let mapped = IpAddr::V6(v4.to_ipv6_mapped());
            prop_assert_eq!(appended(|out| address(out, mapped)), mapped.to_string());
        }
    }
}

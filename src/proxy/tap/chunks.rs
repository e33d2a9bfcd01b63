//! The framing of a body in chunks (RFC 9112 §7.1), a byte at a time; chunk data is skipped as a whole.
//!
//! Stricter than the grammar: no white space after the size, and bounds for extensions and trailers. Bytes are judged
//! as they come: a line that turns out bad has harmed nothing, since the message cannot end without its LF.

use super::head::{is_token, is_value};

/// Longest chunk size in digits: 64 bits.
const MOST_DIGITS: u8 = 16;
/// Most bytes of chunk extensions in one body.
const MOST_EXTENSIONS: u32 = 4 << 10;
/// Most bytes of trailers.
const MOST_TRAILERS: u32 = 8 << 10;
/// Most trailer lines.
const MOST_TRAILER_LINES: u32 = 100;

/// What is expected next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// A digit of a size, or what ends the size.
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataEnd,
    /// The first byte of a trailer line, or of the last line.
    Line,
    Name,
    Value,
    ValueEnd,
    LastEnd,
}

/// How far a body has come.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    digits: u8,
    /// Of the present chunk: what is left of it.
    left: u64,
    extensions: u32,
    /// In the middle of a quoted value of an extension. One that does not end in its line has two readings.
    quoted: bool,
    trailers: u32,
    lines: u32,
}

/// What became of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All are part of the body, which goes on.
    More,
    /// The body ends after this many.
    End(usize),
    /// The byte at this place must not be there.
    Bad(usize),
}

impl Chunks {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Progress {
        let mut place = 0;
        while let Some(&byte) = bytes.get(place) {
            if self.at == At::Data {
                let here =
                    (bytes.len() - place).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= here as u64;
                place += here;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            if self.at == At::LastEnd && byte == b'\n' {
                return Progress::End(place + 1);
            }
            match self.next(byte) {
                Some(at) => self.at = at,
                None => return Progress::Bad(place),
            }
            place += 1;
        }
        Progress::More
    }

    /// What follows `byte`; `None` if it must not be here.
    fn next(&mut self, byte: u8) -> Option<At> {
        if matches!(self.at, At::Line | At::Name | At::Value | At::ValueEnd) {
            self.trailers += 1;
            if self.trailers > MOST_TRAILERS {
                return None;
            }
        }
        Some(match (self.at, byte) {
            (At::Size, b';') if self.digits > 0 => At::Extension,
            (At::Size, b'\r') if self.digits > 0 => At::SizeEnd,
            (At::Size, _) if self.digits < MOST_DIGITS => {
                let digit = char::from(byte).to_digit(16)?;
                self.left = self.left << 4 | u64::from(digit);
                self.digits += 1;
                At::Size
            }
            (At::Extension, b'\r') if !self.quoted => At::SizeEnd,
            (At::Extension, b'\t' | b' '..=b'~') if self.extensions < MOST_EXTENSIONS => {
                self.extensions += 1;
                self.quoted ^= byte == b'"';
                At::Extension
            }
            (At::SizeEnd, b'\n') => {
                self.digits = 0;
                if self.left == 0 { At::Line } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataEnd,
            (At::DataEnd, b'\n') => At::Size,
            (At::Line, b'\r') => At::LastEnd,
            (At::Line, _) if is_token(byte) && self.lines < MOST_TRAILER_LINES => {
                self.lines += 1;
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Name, _) if is_token(byte) => At::Name,
            (At::Value, b'\r') => At::ValueEnd,
            (At::Value, _) if is_value(byte) => At::Value,
            (At::ValueEnd, b'\n') => At::Line,
            _ => return None,
        })
    }
}

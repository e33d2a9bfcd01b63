//! Sizes, durations and rates as an operator writes them: `"30s"`, `"1h30m"`, `"16KiB"`, `"600/m"`.
//!
//! Parsing is strict (a number always has its unit) and printing gives back a text that parses to the same value.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// No number, or no unit after it.
    #[error("a number with a unit is needed")]
    Shape,
    /// The unit is not one of the known ones.
    #[error("the unit is not known: `{0}`")]
    Unit(String),
    /// The value does not fit.
    #[error("the value is too large")]
    TooLarge,
}

/// A number of bytes, written with `B`, `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Parses `"64KiB"`.
    ///
    /// # Errors
    /// [`UnitError`].
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let mut parts = Parts(text);
        let (number, unit) = parts.next_part()?;
        if !parts.0.is_empty() {
            return Err(UnitError::Shape);
        }
        let factor: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            other => return Err(UnitError::Unit(other.to_owned())),
        };
        number
            .checked_mul(factor)
            .map(Self)
            .ok_or(UnitError::TooLarge)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// So many in a time: `"50/s"`, `"600/m"`, `"10000/h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

impl Rate {
    /// Reads `COUNT/s`, `COUNT/m` or `COUNT/h`; a bare number is per second.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let count = count.trim().parse().ok().filter(|&count| count > 0)?;
        Some(Self {
            count,
            per: Duration::from_secs(seconds),
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            60 => "m",
            3600 => "h",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Parses `"1500ms"`, `"30s"`, `"1h30m"` or `"7d"`.
///
/// # Errors
/// [`UnitError`].
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut parts = Parts(text);
    let mut total = Duration::ZERO;
    loop {
        let (number, unit) = parts.next_part()?;
        let step = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            "d" => number.checked_mul(86400).map(Duration::from_secs),
            other => return Err(UnitError::Unit(other.to_owned())),
        };
        total = step
            .and_then(|step| total.checked_add(step))
            .ok_or(UnitError::TooLarge)?;
        if parts.0.is_empty() {
            return Ok(total);
        }
    }
}

/// Prints a duration so that [`parse_duration`] reads it back (to the millisecond).
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut out = String::new();
    let mut seconds = duration.as_secs();
    for (unit, size) in [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)] {
        if seconds >= size {
            out.push_str(&format!("{}{unit}", seconds / size));
            seconds %= size;
        }
    }
    if duration.subsec_millis() > 0 || out.is_empty() {
        let millis = duration.subsec_millis();
        out.push_str(&if millis == 0 {
            "0s".to_owned()
        } else {
            format!("{millis}ms")
        });
    }
    out
}

/// What is left of a text of numbers with units.
struct Parts<'a>(&'a str);

impl<'a> Parts<'a> {
    fn next_part(&mut self) -> Result<(u64, &'a str), UnitError> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.0.split_at_checked(digits).ok_or(UnitError::Shape)?;
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, rest) = rest.split_at_checked(letters).ok_or(UnitError::Shape)?;
        if number.is_empty() || unit.is_empty() {
            return Err(UnitError::Shape);
        }
        self.0 = rest;
        Ok((
            number.parse().map_err(|_overflow| UnitError::TooLarge)?,
            unit,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for text in ["30s", "1h30m", "7d", "1s500ms", "0s", "250ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        for bad in ["", "30", "s", "3 s", "-3s", "1.5s", "30x"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse_duration("999999999999999999d"),
            Err(UnitError::TooLarge)
        );
    }

    #[test]
    fn sizes_round_trip() {
        for text in ["1B", "64KiB", "10MiB", "3GiB", "1500B"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "64", "64k", "64KB", "1KiB2B"] {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
    }
}

//! `portico cert check`: one line and an exit code for Nagios, Icinga and everything that understands their plugins.
//!
//! It reads files only. Exit codes are the plugins' own (0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN), and the numbers
//! after the bar are their performance data (Monitoring Plugins Development Guidelines).

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use super::status::Status;
use crate::acme::alarm::Level;
use crate::units;

/// How much time must be left: a part of the lifetime, or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// Thousandths of the lifetime.
    Part(u32),
    /// Seconds.
    Seconds(i64),
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("neither a percentage nor a duration: `{text}`; write `25%` or `20d`");
        if let Some(percent) = text.strip_suffix('%') {
            let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
            let whole: u32 = whole.parse().map_err(|_not_a_number| wrong())?;
            let tenth: u32 = match tenth.parse() {
                Ok(tenth) if tenth < 10 => tenth,
                _ => return Err(wrong()),
            };
            let part = whole.saturating_mul(10).saturating_add(tenth);
            return if part <= 1000 {
                Ok(Self::Part(part))
            } else {
                Err(wrong())
            };
        }
        let duration = units::parse_duration(text).map_err(|_not_one| wrong())?;
        i64::try_from(duration.as_secs())
            .map(Self::Seconds)
            .map_err(|_too_large| wrong())
    }
}

impl Threshold {
    /// Whether less than this is left.
    fn is_passed(self, status: &Status) -> bool {
        match (self, status.left_permille, status.seconds_left) {
            (Self::Part(part), Some(left), _) => left < part,
            (Self::Seconds(seconds), _, Some(left)) => left < seconds,
            _ => true,
        }
    }

    fn in_percent(self) -> String {
        match self {
            Self::Part(part) => format!("{}:", tenths(part)),
            Self::Seconds(_) => String::new(),
        }
    }

    fn in_seconds(self) -> String {
        match self {
            Self::Part(_) => String::new(),
            Self::Seconds(seconds) => format!("{seconds}:"),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(part) => write!(f, "{}%", tenths(*part)),
            Self::Seconds(seconds) => write!(f, "{seconds}s"),
        }
    }
}

/// What a plugin answers; the later the worse, but for `Unknown`, which only stands where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// 0
    Ok,
    /// 1
    Warning,
    /// 2
    Critical,
    /// 3
    Unknown,
}

impl Answer {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Judges every lineage and prints the line.
///
/// # Errors
/// The line cannot be printed.
pub fn check(
    all: &[Status],
    warning: Threshold,
    critical: Threshold,
    out: &mut dyn Write,
) -> io::Result<Answer> {
    let mut worst = Answer::Ok;
    let mut words = Vec::new();
    let mut numbers = Vec::new();
    for status in all {
        let answer = judge(status, warning, critical);
        worst = worst.max(answer);
        words.push(sentence(status, answer));
        if let (Some(left), Some(seconds)) = (status.left_permille, status.seconds_left) {
            let name = &status.domain;
            numbers.push(format!(
                "'{name}'={}%;{};{};0;100 '{name}_seconds'={seconds}s;{};{}",
                tenths(left),
                warning.in_percent(),
                critical.in_percent(),
                warning.in_seconds(),
                critical.in_seconds(),
            ));
        }
    }
    // A bar would end the words.
    let words = words.join("; ").replace(['|', '\n'], " ");
    writeln!(
        out,
        "CERT {} - {words} | {}",
        worst.word(),
        numbers.join(" ")
    )?;
    Ok(worst)
}

fn judge(status: &Status, warning: Threshold, critical: Threshold) -> Answer {
    if status.serial.is_none() || critical.is_passed(status) {
        return Answer::Critical;
    }
    let worry = status.level > Level::Fine || !status.problems.is_empty();
    if worry || warning.is_passed(status) {
        return Answer::Warning;
    }
    Answer::Ok
}

fn sentence(status: &Status, answer: Answer) -> String {
    let Some((left, days)) = status.left_permille.zip(status.days_left) else {
        return format!("{}: no certificate, {}", status.domain, status.next);
    };
    let mut text = format!("{}: {}% left ({days} days)", status.domain, tenths(left));
    if answer != Answer::Ok {
        for problem in &status.problems {
            text.push_str(", ");
            text.push_str(problem);
        }
        text.push_str(", ");
        text.push_str(&status.next);
    }
    text
}

fn tenths(permille: u32) -> String {
    format!("{}.{}", permille / 10, permille % 10)
}

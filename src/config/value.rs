//! Values that more than one section has: durations, sizes, words out of a few, paths; and how a value is shown.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::problem::Flaw;
use super::unknown::nearest;
use crate::host::{Host, HostError};
use crate::units::{ByteSize, UnitError, format_duration, parse_duration};

/// What every deadline may be: shorter ones fail under load, longer ones are none.
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86400);

/// Longest value shown in a report, in characters.
const LONGEST_SHOWN: usize = 80;
/// Longest path of a Unix socket (`sun_path` of Linux is 108 bytes with the final NUL).
const LONGEST_SOCKET: usize = 107;

/// A duration within `range`.
pub(super) fn duration(
    text: &str,
    range: &RangeInclusive<Duration>,
    hint: &str,
) -> Result<Duration, Flaw> {
    let outside = || {
        let (low, high) = (
            format_duration(*range.start()),
            format_duration(*range.end()),
        );
        out_of_range(low, high, hint)
    };
    let units = "the units are `ms`, `s`, `m`, `h`, `d`, as in `\"30s\"`";
    match parse_duration(text) {
        Ok(value) if range.contains(&value) => Ok(value),
        Ok(_) | Err(UnitError::TooLarge) => Err(outside()),
        Err(UnitError::Shape) => Err(Flaw::new("a duration is a number with a unit", units)),
        Err(UnitError::Unit(unit)) => Err(unknown_unit(&unit, units)),
    }
}

/// A size within `range`.
pub(super) fn size(
    text: &str,
    range: &RangeInclusive<ByteSize>,
    hint: &str,
) -> Result<ByteSize, Flaw> {
    let units = "the units are `B`, `KiB`, `MiB`, `GiB`, as in `\"64KiB\"`";
    match ByteSize::parse(text) {
        Ok(value) if range.contains(&value) => Ok(value),
        Ok(_) | Err(UnitError::TooLarge) => Err(out_of_range(range.start(), range.end(), hint)),
        Err(UnitError::Shape) => Err(Flaw::new("a size is a number with a unit", units)),
        Err(UnitError::Unit(unit)) => Err(unknown_unit(&unit, units)),
    }
}

fn unknown_unit(unit: &str, units: &str) -> Flaw {
    Flaw::new(format!("the unit `{}` is not known", shorten(unit)), units)
}

/// A value that is too small or too large.
pub(super) fn out_of_range(low: impl Display, high: impl Display, hint: &str) -> Flaw {
    Flaw::new(format!("not between `{low}` and `{high}`"), hint)
}

/// One of a few words.
pub(super) fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Flaw> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let hint = match nearest(text, choices.iter().map(|(word, _)| *word)) {
        Some(near) => format!("write `\"{near}\"`"),
        None => {
            let words: Vec<String> = choices
                .iter()
                .map(|(word, _)| format!("`\"{word}\"`"))
                .collect();
            format!("the choices are {}", words.join(", "))
        }
    };
    Err(Flaw::new("not one of the choices", hint))
}

/// A host name.
pub(super) fn host(text: &str) -> Result<Host, Flaw> {
    Host::parse(text).map_err(|error| {
        let hint = match error {
            HostError::Address => "a name is needed here, as in `example.com`",
            HostError::BadCharacter if !text.is_ascii() => {
                "write the name with A-labels, as in `xn--bcher-kva.example`"
            }
            _ => "write the name alone, as in `example.com`",
        };
        Flaw::new(error.to_string(), hint)
    })
}

/// A DNS name in lower case without the trailing dot; unlike a host name it may have `_`.
pub(super) fn dns_name(text: &str) -> Result<String, Flaw> {
    if Host::parse(&text.replace('_', "x")).is_err() {
        return Err(Flaw::new(
            "not a DNS name",
            "write a name, as in `ns.example.com`",
        ));
    }
    Ok(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
}

/// An address with its port; `port` is the one to propose where it is missing.
pub(super) fn socket_address(text: &str, port: u16) -> Result<SocketAddr, Flaw> {
    text.parse().map_err(|_invalid| {
        let only_port = text
            .rsplit_once(':')
            .filter(|(host, _)| matches!(*host, "" | "*"))
            .map_or(text, |(_, port)| port);
        let hint = match (text.parse::<IpAddr>(), only_port.parse::<u16>()) {
            (Ok(address), _) => format!("write `{}`", SocketAddr::new(address, port)),
            (_, Ok(port)) => format!("write `[::]:{port}` for all addresses of this machine"),
            _ => format!("write an address and a port, as in `[::]:{port}` or `127.0.0.1:{port}`"),
        };
        Flaw::new("not an address with a port", hint)
    })
}

/// A path; a relative one starts at `base`.
pub(super) fn path(text: &str, base: &Path) -> Result<PathBuf, Flaw> {
    if text.is_empty() {
        return Err(Flaw::new(
            "the path is empty",
            "write an absolute path, or one relative to this file",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Flaw::new(
            "the path has a control character",
            "write an absolute path, or one relative to this file",
        ));
    }
    if text.starts_with('~') {
        return Err(Flaw::new(
            "`~` is not expanded",
            "write an absolute path, or one relative to this file",
        ));
    }
    // The collection drops `.` and doubled slashes, so that equal paths compare and print alike.
    Ok(base.join(text).components().collect())
}

/// The path of a Unix socket, as it stands behind `unix:`.
pub(super) fn socket_path(text: &str, base: &Path) -> Result<PathBuf, Flaw> {
    if text.starts_with('@') {
        return Err(Flaw::new(
            "abstract sockets are not supported",
            "write a path, as in `unix:/run/app.sock`",
        ));
    }
    let path = path(text, base)?;
    if path.as_os_str().len() > LONGEST_SOCKET {
        return Err(Flaw::new(
            format!("the path of a socket has at most {LONGEST_SOCKET} bytes"),
            "move the socket to a shorter path, as in `/run/app.sock`",
        ));
    }
    Ok(path)
}

/// The value as a report shows it; `None` for lists and sections.
pub(super) fn shown(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(shorten(text)),
        DeValue::Integer(number) => Some(shorten(&number.to_string())),
        DeValue::Float(number) => Some(shorten(&number.to_string())),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, Flaw> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let Ok(network) = address.or_else(|_not_one| text.parse::<IpNet>()) else {
        return Err(Flaw::new(
            "not a network",
            "write an address or a network, as in `10.0.0.0/8` or `fd00::/8`",
        ));
    };
    if network != network.trunc() {
        return Err(Flaw::new(
            "not a network but an address in one",
            format!("write `{}`", network.trunc()),
        ));
    }
    Ok(network)
}

/// A network whose word on clients' addresses is taken.
pub(super) fn trusted_network(text: &str) -> Result<IpNet, Flaw> {
    let network = network(text)?;
    if network.prefix_len() == 0 {
        // Whoever is trusted names the client's address: with everybody trusted, every limit by address falls.
        return Err(Flaw::new(
            "this trusts every client",
            "name the addresses of the load balancer",
        ));
    }
    Ok(network)
}

/// A text, cut off where it is very long.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", text.split_at(end).0),
        None => text.to_owned(),
    }
}

/// A text on one line: whatever would move a terminal's cursor is escaped.
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out
}

/// What a value is, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

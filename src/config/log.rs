//! `[log]`: logs.

use std::fmt;
use std::path::{Path, PathBuf};

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::problem::Flaw;
use super::reader::Reader;
use super::value;

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Filter for Portico's own messages, as in `info` or `info,portico::acme=debug`. Default `info`.
    pub level: String,
    /// Shape of Portico's own messages on standard error. Default [`LogFormat::Text`].
    pub format: LogFormat,
    /// Where the access log goes, one JSON line a request. Default [`AccessLog::Stdout`].
    pub access: AccessLog,
    /// Bits of a client's IPv4 address that the access log keeps. Default 32, all.
    pub mask_ipv4: u8,
    /// Bits of a client's IPv6 address that the access log keeps. Default 128, all.
    pub mask_ipv6: u8,
    /// Whether the access log has queries. Default [`LogQuery::Keep`].
    pub query: LogQuery,
}

/// Queries in the access log, in `path` and `referer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogQuery {
    /// `"keep"`.
    Keep,
    /// `"drop"`: what stands behind `?` is left out.
    Drop,
}

/// Shape of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `"text"`.
    Text,
    /// `"json"`.
    Json,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// `"off"`.
    Off,
    /// `"stdout"`.
    Stdout,
    /// A path; opened for appending, opened again on SIGHUP (for logrotate).
    File(PathBuf),
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            access: AccessLog::Stdout,
            mask_ipv4: 32,
            mask_ipv6: 128,
            query: LogQuery::Keep,
        }
    }
}

const QUERIES: &[(&str, LogQuery)] = &[("keep", LogQuery::Keep), ("drop", LogQuery::Drop)];
const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

impl Log {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("log");
        let mut log = Self::default();
        let base = section.base();
        section.text(
            "level",
            &mut log.level,
            "Filter for Portico's own messages, as in `info,portico::acme=debug`",
            level,
        );
        section.choice(
            "format",
            &mut log.format,
            FORMATS,
            "Shape of Portico's own messages on standard error: `text` or `json`",
        );
        section.text(
            "access",
            &mut log.access,
            "Where the access log goes, one JSON line a request: `stdout`, `off` or a path, which is opened again on SIGHUP",
            |text| AccessLog::parse(text, base),
        );
        section.number(
            "mask_ipv4",
            &mut log.mask_ipv4,
            0..=32,
            "Bits of a client's IPv4 address that the access log keeps, as in 24 or 16; the rest is 0",
        );
        section.number(
            "mask_ipv6",
            &mut log.mask_ipv6,
            0..=128,
            "Bits of a client's IPv6 address that the access log keeps, as in 48",
        );
        section.choice(
            "query",
            &mut log.query,
            QUERIES,
            "Queries in the access log's `path` and `referer`: `keep`, or `drop` what stands behind `?`",
        );
        log
    }
}

/// Checks a filter. A lone word that is no level would be taken for the name of a crate and silence everything else.
fn level(text: &str) -> Result<String, Flaw> {
    let hint = "write a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or `info,portico::acme=debug`";
    if text.contains(char::is_whitespace) {
        return Err(Flaw::new("a filter has no spaces", hint));
    }
    for part in text.split(',') {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(Flaw::new(
                format!("the level `{}` is not known", value::shorten(level)),
                hint,
            ));
        }
    }
    match text.parse::<Targets>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Flaw::new(error.to_string(), hint)),
    }
}

impl AccessLog {
    fn parse(text: &str, base: &Path) -> Result<Self, Flaw> {
        match text {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            // A misspelled word must not become a file.
            word if !word.contains('/') => Err(Flaw::new(
                "neither `stdout` nor `off` nor a path",
                "a path has a `/`, as in `/var/log/portico/access.log`",
            )),
            text => value::path(text, base).map(Self::File),
        }
    }
}

impl fmt::Display for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

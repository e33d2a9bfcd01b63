//! `[log]`: logs.

use std::path::PathBuf;

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Filter for Portico's own messages, as in `info` or `info,portico::acme=debug`. Default `info`.
    pub level: String,
    /// Shape of Portico's own messages on standard error. Default [`LogFormat::Text`].
    pub format: LogFormat,
    /// Where the access log goes, one JSON line a request. Default [`AccessLog::Stdout`].
    pub access: AccessLog,
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
        Self { level: "info".to_owned(), format: LogFormat::Text, access: AccessLog::Stdout }
    }
}

//! The connection string, as libpq reads it, and what TLS it asks for.
//!
//! | `sslmode` | what holds |
//! |---|---|
//! | absent | `disable` for a Unix socket or a loopback address, else `verify-full` |
//! | `disable` | no TLS |
//! | `require`, `verify-full` | TLS; the certificate is valid, and for this host |
//! | `allow`, `prefer`, `verify-ca` | refused: whoever sits in between could read and change the answers |
//!
//! So `require` is stricter than in libpq, where it checks nothing. `sslrootcert` names a file of PEM certificates that are
//! trusted in place of the system's, or `system`. Nothing of the string ends up in an error or a log, for it may hold a
//! password.

use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;
use tokio_postgres::config::{Host, SslMode};

use super::tls::{Tls, TlsError};
use crate::config::{CredentialSource, SecretError};

/// Why the connection string is of no use.
#[derive(Debug, Error)]
pub enum DsnError {
    /// The file.
    #[error(transparent)]
    File(#[from] SecretError),
    /// Its text.
    #[error(
        "not a PostgreSQL connection string: {0}\n  hint: one line, `host=db.internal user=portico password=… dbname=app` or `postgresql://…`"
    )]
    Text(String),
    /// A mode of TLS that protects nothing.
    #[error(
        "`sslmode={0}` does not prove who answers\n  hint: `verify-full`, or `disable` on a network that nobody else is in"
    )]
    Mode(String),
    /// The trusted certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Where to connect, and how.
#[derive(Debug)]
pub(super) struct Dsn {
    /// As the client library takes it.
    pub(super) config: tokio_postgres::Config,
    /// Used if `config` says so.
    pub(super) tls: Tls,
}

impl Dsn {
    /// Reads the file. It is read for each connection, so that a new password needs no reload.
    pub(super) fn read(source: &CredentialSource) -> Result<Self, DsnError> {
        Self::parse(source.read_text()?.expose().trim())
    }

    fn parse(text: &str) -> Result<Self, DsnError> {
        let mut own = Own::default();
        let rest = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            own.take_from_url(text)
        } else {
            own.take_from_words(text)?
        };
        let mut config: tokio_postgres::Config = rest
            .parse()
            .map_err(|error: tokio_postgres::Error| DsnError::Text(source_text(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(DsnError::Text("it names no `host`".to_owned()));
        }
        let verify = match own.mode.as_deref() {
            None => !is_near(&config),
            Some("disable") => false,
            Some("require" | "verify-full") => true,
            Some(other) => return Err(DsnError::Mode(other.to_owned())),
        };
        let tls = if verify {
            config.ssl_mode(SslMode::Require);
            Tls::verifying(own.roots.as_deref())?
        } else {
            config.ssl_mode(SslMode::Disable);
            Tls::none()
        };
        if config.get_application_name().is_none() {
            config.application_name("portico");
        }
        Ok(Self { config, tls })
    }
}

/// The words that the client library does not know.
#[derive(Default)]
struct Own {
    mode: Option<String>,
    roots: Option<PathBuf>,
}

impl Own {
    /// Keeps the word if it is one of ours.
    fn take(&mut self, key: &str, value: &str) -> bool {
        match key {
            "sslmode" => self.mode = Some(value.to_owned()),
            "sslrootcert" => {
                self.roots = (value != "system").then(|| PathBuf::from(value));
            }
            _ => return false,
        }
        true
    }

    fn take_from_url(&mut self, text: &str) -> String {
        let Some((place, parameters)) = text.split_once('?') else {
            return text.to_owned();
        };
        let rest: Vec<&str> = parameters
            .split('&')
            .filter(|parameter| {
                let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                !self.take(key, &value.replace("%2F", "/").replace("%2f", "/"))
            })
            .collect();
        format!("{place}?{}", rest.join("&"))
            .trim_end_matches('?')
            .to_owned()
    }

    fn take_from_words(&mut self, text: &str) -> Result<String, DsnError> {
        let mut rest = text.trim_start();
        let mut others = String::new();
        while !rest.is_empty() {
            let word = Word::first(rest)
                .ok_or_else(|| DsnError::Text("not words of the form `key=value`".to_owned()))?;
            if !self.take(word.key, &word.value) {
                others.push_str(word.whole);
                others.push(' ');
            }
            rest = word.rest;
        }
        Ok(others)
    }
}

/// `key = value` or `key = 'value'`, in which `\` takes the next character as it is.
struct Word<'t> {
    key: &'t str,
    value: String,
    whole: &'t str,
    rest: &'t str,
}

impl<'t> Word<'t> {
    fn first(text: &'t str) -> Option<Self> {
        let (key, after) = text.split_once('=')?;
        let after = after.trim_start();
        let quoted = after.strip_prefix('\'');
        let mut value = String::new();
        let mut chars = quoted.unwrap_or(after).chars();
        let mut closed = quoted.is_none();
        loop {
            let before = chars.clone();
            match chars.next() {
                Some('\\') => value.push(chars.next()?),
                Some('\'') if quoted.is_some() => {
                    closed = true;
                    break;
                }
                Some(char) if quoted.is_none() && char.is_whitespace() => {
                    chars = before;
                    break;
                }
                Some(char) => value.push(char),
                None => break,
            }
        }
        let rest = chars.as_str();
        let whole = text.split_at_checked(text.len() - rest.len())?.0;
        closed.then(|| Self {
            key: key.trim(),
            value,
            whole,
            rest: rest.trim_start(),
        })
    }
}

/// Whether every server is on this machine.
fn is_near(config: &tokio_postgres::Config) -> bool {
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    });
    hosts && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

/// What the library says is wrong; never a value.
fn source_text(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> Result<SslMode, String> {
        Dsn::parse(text)
            .map(|dsn| dsn.config.get_ssl_mode())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn tls_is_verified_or_off_and_never_in_between() {
        for (text, expected) in [
            ("host=/run/postgresql user=a", SslMode::Disable),
            ("host=127.0.0.1 user=a dbname=b", SslMode::Disable),
            ("host=localhost,::1 user=a", SslMode::Disable),
            ("host=db.internal user=a", SslMode::Require),
            ("host=127.0.0.1,db.internal user=a", SslMode::Require),
            ("host=db.internal sslmode=disable", SslMode::Disable),
            ("host=127.0.0.1 sslmode = 'require'", SslMode::Require),
            ("postgresql://a:b@db.internal/app", SslMode::Require),
            (
                "postgres://a@127.0.0.1/app?sslmode=verify-full&connect_timeout=3",
                SslMode::Require,
            ),
            (
                "postgres://a@db.internal/app?sslmode=disable",
                SslMode::Disable,
            ),
        ] {
            assert_eq!(mode(text), Ok(expected), "{text}");
        }
        for weak in ["allow", "prefer", "verify-ca", "Require", ""] {
            let error = mode(&format!("host=a sslmode='{weak}'")).unwrap_err();
            assert!(error.contains("does not prove"), "{error}");
        }
    }

    #[test]
    fn quoted_words_arrive_and_wrong_ones_are_told_without_secrets() {
        let dsn = Dsn::parse(r"host=/run user='a\'b' password = 'x y\\z' sslmode=disable").unwrap();
        assert_eq!(dsn.config.get_user(), Some("a'b"));
        assert_eq!(dsn.config.get_password(), Some(&br"x y\z"[..]));
        assert_eq!(dsn.config.get_application_name(), Some("portico"));
        for text in [
            "",
            "user=a",
            "host",
            "host='a",
            "host=a colour=hunter2",
            "host=a port=hunter2",
            "host=a sslrootcert=/nowhere/at/all",
        ] {
            let error = mode(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("hint:"), "{error}");
        }
    }
}

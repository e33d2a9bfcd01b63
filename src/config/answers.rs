//! `[tenants.suspended]`, `[tenants.maintenance]`: what tenants that are not served answer, and who passes all the same.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::problem::Flaw;
use super::reader::Reader;
use super::secret::CredentialSource;
use super::value;

/// Answers of states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// `state = "suspended"`.
    pub suspended: Suspended,
    /// `state = "maintenance"`, and the whole edge's.
    pub maintenance: Maintenance,
}

/// What a suspended tenant answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    /// Default [`SuspendedStatus::PaymentRequired`].
    pub status: SuspendedStatus,
    /// Paths that reach the app all the same. Default: none.
    pub paths: Vec<OpenPath>,
    /// Where the page sends its reader. Default: nowhere.
    pub support: Option<String>,
}

/// The status of a suspended tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspendedStatus {
    /// `"402"`.
    PaymentRequired,
    /// `"403"`.
    Forbidden,
    /// `"503"`.
    Unavailable,
}

/// What a tenant under maintenance answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Whether every tenant is. Default: no.
    pub all: bool,
    /// `Retry-After`. Default 1 min.
    pub retry_after: Duration,
    /// Networks of clients that reach the app all the same. Default: none.
    pub bypass: Vec<IpNet>,
    /// The key of the cookie with which clients reach it. Default: there is none.
    pub bypass_key: Option<CredentialSource>,
}

/// A path that stays open: `/billing/` and all below it, or `/pay` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPath(String);

impl Default for Suspended {
    fn default() -> Self {
        Self {
            status: SuspendedStatus::PaymentRequired,
            paths: Vec::new(),
            support: None,
        }
    }
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            all: false,
            retry_after: Duration::from_secs(60),
            bypass: Vec::new(),
            bypass_key: None,
        }
    }
}

const STATUSES: &[(&str, SuspendedStatus)] = &[
    ("402", SuspendedStatus::PaymentRequired),
    ("403", SuspendedStatus::Forbidden),
    ("503", SuspendedStatus::Unavailable),
];

impl Answers {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            suspended: Suspended::read(reader),
            maintenance: Maintenance::read(reader),
        }
    }
}

impl Suspended {
    fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("tenants.suspended");
        let mut suspended = Self::default();
        section.choice(
            "status",
            &mut suspended.status,
            STATUSES,
            "What a suspended tenant answers: `402`, `403` or `503`",
        );
        section.list(
            "paths",
            &mut suspended.paths,
            "Paths that reach the app all the same: `/billing/` with all below it, `/pay` alone",
            OpenPath::parse,
        );
        suspended.support = section.maybe_text(
            "support",
            "no link",
            "Where the page of a suspended tenant sends its reader: `https://…` or `mailto:…`",
            support,
        );
        suspended
    }
}

impl Maintenance {
    fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("tenants.maintenance");
        let mut maintenance = Self::default();
        let base = section.base();
        section.flag(
            "all",
            &mut maintenance.all,
            "Whether every tenant is under maintenance, whatever its source says",
        );
        section.duration(
            "retry_after",
            &mut maintenance.retry_after,
            Duration::from_secs(1)..=Duration::from_secs(86_400),
            "`Retry-After` of a tenant under maintenance",
        );
        section.list(
            "bypass",
            &mut maintenance.bypass,
            "Networks of clients that reach the app all the same",
            value::network,
        );
        maintenance.bypass_key = section.maybe_text(
            "bypass_key",
            "no cookie opens",
            "The key of the cookie `__Host-portico-bypass` that opens one host: a path or `credential:NAME`",
            |text| CredentialSource::parse(text, base),
        );
        maintenance
    }
}

impl OpenPath {
    /// Takes paths only that there is one way to write.
    fn parse(text: &str) -> Result<Self, Flaw> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
        let segments = || text.split('/').skip(1);
        let clear = text.starts_with('/')
            && text.bytes().all(plain)
            && !text.contains("//")
            && !segments().any(|segment| matches!(segment, "." | ".."));
        if !clear {
            return Err(Flaw::new(
                "not a path that can be compared safely",
                "write it as in `/billing/`, with letters, digits, `-`, `_`, `.` and `~`",
            ));
        }
        if text == "/" {
            return Err(Flaw::new(
                "this opens everything",
                "name the paths that a suspended tenant needs",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as it stands in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OpenPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn support(text: &str) -> Result<String, Flaw> {
    let known = text.starts_with("https://") || text.starts_with("mailto:");
    let fits = text.len() <= 500 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if known && fits {
        Ok(text.to_owned())
    } else {
        Err(Flaw::new(
            "not a link",
            "write it as in `https://example.com/support` or `mailto:help@example.com`",
        ))
    }
}

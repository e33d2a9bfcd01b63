//! Why there is no certificate, and what that means for the next try.
//!
//! An error is born with its class; [`crate::acme::renew()`] turns the class into a waiting time and the command line
//! turns it into an exit code. Messages are for the operator; secrets never get into them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::client::Reply;
use super::dns::DnsError;
use super::key::KeyError;
use super::limits::Scope;
use super::propagation::PropagationError;
use crate::cert::bundle::BundleError;
use crate::cert::store::StoreError;
use crate::clock::UnixTime;

/// The wait for a rate limit without a time.
const RATE_LIMIT_GUESS: Duration = Duration::from_secs(3600);

/// What kind of failure it was: who is to blame, and so when it is worth trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The CA cannot be reached or is out of order.
    #[default]
    Transport,
    /// The CA named a time to wait.
    Limited,
    /// The DNS provider failed.
    Dns,
    /// The record did not show in time.
    Propagation,
    /// The CA looked and did not find what it wanted.
    Validation,
    /// Somebody must change something: configuration, credentials, CAA, an account.
    Blocked,
    /// The state directory does not work.
    Storage,
    /// The CA issued something that cannot be used.
    Certificate,
}

impl Class {
    /// The word used in metrics and in `state.json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Limited => "limited",
            Self::Dns => "dns",
            Self::Propagation => "propagation",
            Self::Validation => "validation",
            Self::Blocked => "blocked",
            Self::Storage => "storage",
            Self::Certificate => "certificate",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum AcmeError {
    /// The CA cannot be reached or is out of order.
    #[error("the CA cannot be used: {0}")]
    Transport(String),
    /// The CA named a time to wait.
    #[error("the CA allows the next try for {scope} at {until}: {detail}")]
    Limited {
        /// When.
        until: UnixTime,
        /// For whom.
        scope: Scope,
        /// Its words.
        detail: String,
    },
    /// The CA said no, and will again.
    #[error("the CA refused: {detail} (`{kind}`)\nhint: {hint}")]
    Refused {
        /// The ACME error type without its prefix.
        kind: String,
        /// Its words.
        detail: String,
        /// What to do.
        hint: &'static str,
    },
    /// The CA does not know our account any more.
    #[error("the CA does not know the account: {0}")]
    AccountGone(String),
    /// The CA looked and did not find what it wanted.
    #[error("the CA could not validate: {0}")]
    Validation(String),
    /// The order cannot be finished; a new one is needed.
    #[error("the order came to nothing: {0}")]
    OrderLost(String),
    /// The DNS provider failed.
    #[error("cannot change DNS: {0}")]
    Dns(#[from] DnsError),
    /// The record did not show in time, or has no place.
    #[error(transparent)]
    Propagation(#[from] PropagationError),
    /// What the CA would look for is not there, so it was not asked to look.
    #[error("{0}")]
    NotShown(String),
    /// The state directory does not work.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA issued something that cannot be used.
    #[error("the CA issued a certificate that cannot be used: {0}")]
    Certificate(#[from] BundleError),
    /// By the CA's clock nothing is due, and ours is far off.
    #[error(
        "this machine's clock is {seconds} s {} the CA's, and by the CA's clock the certificate is due only at {due}\n\
         hint: set the clock (`timedatectl`, NTP); no certificate is ordered until then",
        if *ahead { "ahead of" } else { "behind" }
    )]
    Clock {
        /// The difference.
        seconds: u64,
        /// Whether ours is ahead.
        ahead: bool,
        /// When it is due.
        due: UnixTime,
    },
    /// By the CA's clock nothing is due yet; ours differs by less than an hour.
    #[error("by the CA's clock the certificate is due only at {0}")]
    NotYet(UnixTime),
    /// The configuration does not say enough.
    #[error("{0}")]
    Config(String),
}

impl From<KeyError> for AcmeError {
    fn from(error: KeyError) -> Self {
        Self::Config(format!(
            "cannot sign: {error}\nhint: is the key's file whole? restore it from a backup"
        ))
    }
}

impl AcmeError {
    /// What kind of failure it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Transport(_) | Self::OrderLost(_) => Class::Transport,
            Self::Limited { .. } => Class::Limited,
            Self::Refused { .. }
            | Self::AccountGone(_)
            | Self::Config(_)
            | Self::Clock { .. }
            | Self::NotYet(_)
            | Self::Dns(DnsError::Refused(_)) => Class::Blocked,
            // A circle of CNAMEs, or no zone at all: waiting does not mend it.
            Self::Propagation(error) if error.is_permanent() => Class::Blocked,
            Self::Validation(_) => Class::Validation,
            Self::Dns(DnsError::Failed(_)) => Class::Dns,
            Self::Propagation(_) | Self::NotShown(_) => Class::Propagation,
            Self::Store(_) => Class::Storage,
            Self::Certificate(_) => Class::Certificate,
        }
    }

    /// The time before which the CA wants no other try.
    #[must_use]
    pub fn until(&self) -> Option<UnixTime> {
        match self {
            Self::Limited { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// To what a limit of the CA applies; for everything else the lineage itself.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Limited { scope, .. } => scope.clone(),
            _ => Scope::NameSet,
        }
    }

    /// Reads an error of the ACME library together with the last reply, which holds what the library drops.
    pub(super) fn from_library(error: instant_acme::Error, reply: &Reply) -> Self {
        if let Some(until) = reply
            .retry_after
            .filter(|_| matches!(reply.status, 429 | 503))
        {
            let detail = error.to_string();
            let scope = scope_of(&detail, reply.status);
            return Self::Limited {
                until,
                scope,
                detail,
            };
        }
        match error {
            // About the account, not about a name: a failed validation comes inside a reply that succeeds.
            instant_acme::Error::Api(problem)
                if matches!(reply.status, 401 | 403) && kind(&problem) == "unauthorized" =>
            {
                Self::Refused {
                    kind: "unauthorized".to_owned(),
                    detail: words(&problem),
                    hint: "is the ACME account still valid? read the CA's words",
                }
            }
            instant_acme::Error::Api(problem) => Self::from_problem(&problem),
            // A body that is not what the status promises: an error page of something in between.
            instant_acme::Error::Json(error) => Self::Transport(format!(
                "unreadable reply (status {}): {error}",
                reply.status
            )),
            instant_acme::Error::Timeout(_) => Self::Transport("it took too long".to_owned()),
            other => Self::Transport(other.to_string()),
        }
    }

    /// Reads a problem document (RFC 8555 §6.7).
    pub(super) fn from_problem(problem: &instant_acme::Problem) -> Self {
        let (kind, detail) = (kind(problem), words(problem));
        let hint = match kind {
            "accountDoesNotExist" => return Self::AccountGone(detail),
            "dns" | "unauthorized" | "connection" | "incorrectResponse" | "tls" => {
                return Self::Validation(detail);
            }
            "serverInternal" | "badNonce" => return Self::Transport(detail),
            "orderNotReady" => return Self::OrderLost(detail),
            // Without `Retry-After`: from the words if they say it, else an hour.
            "rateLimited" => {
                let now = UnixTime::now();
                let until = named_time(&detail).filter(|until| *until > now);
                let until = until.unwrap_or_else(|| now.plus(RATE_LIMIT_GUESS));
                let scope = scope_of(&detail, 429);
                return Self::Limited {
                    until,
                    scope,
                    detail,
                };
            }
            "caa" => "let the domain's CAA records allow this CA (`issue` and `issuewild`)",
            "externalAccountRequired" => {
                "this CA wants an external account binding: set `kid` and `key_file` in [acme.eab]"
            }
            "rejectedIdentifier" => "this CA does not issue for that name",
            "invalidContact" | "unsupportedContact" => "change `email` in [acme]",
            "invalidProfile" => "change or remove `profile` in [acme]",
            "userActionRequired" => "read what the CA asks for, at the address in its words",
            _ => "read the CA's words; the order was not made",
        };
        let kind = kind.to_owned();
        Self::Refused { kind, detail, hint }
    }
}

/// The ACME error type without its prefix.
fn kind(problem: &instant_acme::Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix("urn:ietf:params:acme:error:")
        .unwrap_or(kind)
}

/// The CA's words.
fn words(problem: &instant_acme::Problem) -> String {
    let mut words = problem.detail.clone().unwrap_or_default();
    for part in &problem.subproblems {
        words.push_str(&format!("; {part}"));
    }
    words
}

/// Who is limited, from Let's Encrypt's words; a 503 is about all that this machine asks. Words that are not known
/// hold back this set of names only, so that no lineage stalls another by a guess.
fn scope_of(words: &str, status: u16) -> Scope {
    let quoted = || words.split('"').nth(1).map(str::to_ascii_lowercase);
    let has = |text| words.contains(text);
    if has("exact set of") {
        return Scope::NameSet;
    }
    if has("already issued for") {
        return quoted().map_or(Scope::NameSet, Scope::RegisteredDomain);
    }
    if has("failed authorizations") {
        return quoted().map_or(Scope::NameSet, Scope::Identifier);
    }
    if has("new orders") || has("from this account") {
        return Scope::Account;
    }
    if has("registrations") || has("from this IP") || status == 503 {
        return Scope::Address;
    }
    Scope::NameSet
}

/// The time in Let's Encrypt's words: `… retry after 2026-11-21 10:00:00 UTC: …`.
fn named_time(words: &str) -> Option<UnixTime> {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let (_, rest) = words.split_once("retry after ")?;
    let time = PrimitiveDateTime::parse(rest.get(..19)?, form).ok()?;
    Some(UnixTime(time.assume_utc().unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> instant_acme::Problem {
        let json = serde_json::json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
        serde_json::from_value(json).unwrap()
    }

    fn class(kind: &str, status: u16) -> Class {
        let reply = Reply {
            status,
            ..Reply::default()
        };
        AcmeError::from_library(instant_acme::Error::Api(problem(kind, "words")), &reply).class()
    }

    #[test]
    fn says_who_is_to_blame() {
        for (kind, status, expected) in [
            ("unauthorized", 200, Class::Validation),
            ("unauthorized", 403, Class::Blocked),
            ("dns", 200, Class::Validation),
            ("caa", 403, Class::Blocked),
            ("rejectedIdentifier", 400, Class::Blocked),
            ("accountDoesNotExist", 400, Class::Blocked),
            ("serverInternal", 500, Class::Transport),
            ("rateLimited", 429, Class::Limited),
            ("somethingNew", 400, Class::Blocked),
        ] {
            assert_eq!(class(kind, status), expected, "{kind} {status}");
        }
    }

    #[test]
    fn a_limit_holds_back_those_that_it_names_and_no_others() {
        for (words, status, scope) in [
            (
                "too many new orders (300) from this account in the last 3h0m0s, retry after",
                429,
                Scope::Account,
            ),
            (
                "too many new registrations (10) from this IP address in the last 3h0m0s",
                429,
                Scope::Address,
            ),
            (
                "too many certificates (50) already issued for \"Example.com\" in the last 168h0m0s",
                429,
                Scope::RegisteredDomain("example.com".to_owned()),
            ),
            (
                "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s",
                429,
                Scope::NameSet,
            ),
            (
                "too many failed authorizations (5) for \"example.com\" in the last 1h0m0s",
                429,
                Scope::Identifier("example.com".to_owned()),
            ),
            ("slow down", 429, Scope::NameSet),
            ("<html>", 503, Scope::Address),
        ] {
            assert_eq!(scope_of(words, status), scope, "{words}");
        }
    }

    #[test]
    fn a_named_time_is_kept_wherever_it_stands() {
        let until = UnixTime(UnixTime::now().0 + 7200);
        let reply = Reply {
            status: 503,
            retry_after: Some(until),
            ..Reply::default()
        };
        let html = serde_json::from_str::<u8>("<html>").unwrap_err();
        let error = AcmeError::from_library(instant_acme::Error::Json(html), &reply);
        assert_eq!(error.until(), Some(until));
        assert_eq!(
            named_time(
                "too many certificates (5), retry after 2026-11-21 10:00:00 UTC: see https://x"
            ),
            Some(UnixTime(1_795_255_200))
        );
        for words in ["retry after", "retry after soon, or maybe later", "no time"] {
            assert_eq!(named_time(words), None);
        }
        let silent = AcmeError::from_problem(&problem("rateLimited", "too many"));
        let wait = silent.until().unwrap().seconds_since(UnixTime::now());
        assert!((3500..=3600).contains(&wait));
    }
}

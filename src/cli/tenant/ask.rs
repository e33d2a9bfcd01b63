//! One question about tenants to the running proxy, and why there is no answer.

use std::io;

use serde_json::Value;
use thiserror::Error;

use super::super::admin;
use crate::config::AdminAddress;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// There is no admin listener.
    #[error(
        "the proxy has no admin listener: `listen.admin` is `off`\n  hint: set `listen.admin = \"127.0.0.1:9180\"`, or a path as in `unix:/run/portico/admin.sock`"
    )]
    Off,
    /// The proxy does not answer.
    #[error(
        "the proxy does not answer at `{address}`: {source}\n  hint: does it run with this configuration, and may this user connect? `systemctl status portico`"
    )]
    NoAnswer {
        /// Of the admin listener.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// It says no.
    #[error(
        "{0}\n  hint: `portico tenant list` shows what is in memory, `portico tenant explain HOST` asks the source"
    )]
    Refused(String),
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// Asks, and waits for the answer.
pub(super) fn ask(address: &AdminAddress, method: Method, path: &str) -> Result<Value, AskError> {
    let shown = match address {
        AdminAddress::Off => return Err(AskError::Off),
        AdminAddress::Tcp(address) => address.to_string(),
        AdminAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let no_answer = |source| AskError::NoAnswer {
        address: shown.clone(),
        source,
    };
    let (status, body) = match method {
        Method::Get => admin::get(address, path),
        Method::Post => admin::post(address, path),
    }
    .map_err(no_answer)?;
    let answer: Value =
        serde_json::from_str(&body).map_err(|error| no_answer(io::Error::other(error)))?;
    if status == 200 {
        return Ok(answer);
    }
    let error = answer.get("error").and_then(Value::as_str);
    Err(AskError::Refused(error.map_or_else(
        || format!("the proxy answered {status}"),
        str::to_owned,
    )))
}

//! `portico cert status`: what is there and what happens next, a line each, without any network.

use std::io::Write;

use super::CertError;
use crate::acme::health::{self, Health};
use crate::clock::UnixTime;
use crate::config::Config;

/// What there is to tell of one domain.
pub type Status = Health;

/// Looks at every domain.
///
/// # Errors
/// [`CertError`] if the store cannot be read.
pub fn status(config: &Config, now: UnixTime) -> Result<Vec<Status>, CertError> {
    Ok(health::all(config, now)?)
}

/// Prints the status as one line for each domain, or as JSON.
///
/// # Errors
/// [`CertError`] if it cannot print.
pub fn print_status(all: &[Status], json: bool, out: &mut dyn Write) -> Result<(), CertError> {
    if json {
        serde_json::to_writer_pretty(&mut *out, all)?;
        return Ok(writeln!(out)?);
    }
    for status in all {
        writeln!(out, "{}", status.line())?;
    }
    Ok(())
}

//! What may keep an order from being made: a clock that is off, and validations that have failed too often.

use super::super::client::Client;
use super::super::error::AcmeError;
use super::super::limits::{self, Limits, Scope};
use super::super::state::Skew;
use super::super::view::SKEW;
use super::Job;
use crate::clock::UnixTime;

/// A clock that differs by more makes nothing due that the CA's clock does not.
const GREAT_SKEW: i64 = 3600;

/// By how many seconds this machine's clock is ahead of the CA's last reply; 0 for a difference that does not matter.
pub(super) fn ahead(client: &Client) -> i64 {
    let date = client.reply().date;
    let ahead = date.map_or(0, |date| UnixTime::now().seconds_since(date));
    if ahead.abs() <= SKEW { 0 } else { ahead }
}

impl Job<'_> {
    /// Compares this machine's clock with the CA's, and decides by the CA's if they differ.
    pub(super) fn check_clock(&self, client: &Client) -> Result<(), AcmeError> {
        let Some(date) = client.reply().date else {
            return Ok(());
        };
        let now = UnixTime::now();
        let seconds = now.seconds_since(date);
        self.journal
            .change(|state| state.clock = Some(Skew { seconds, at: now }))?;
        if seconds.abs() <= SKEW {
            return Ok(());
        }
        tracing::warn!(
            skew_seconds = seconds,
            "this machine's clock differs from the CA's; check NTP"
        );
        match self.due {
            Some(due) if date < due && seconds.abs() > GREAT_SKEW => Err(AcmeError::Clock {
                seconds: seconds.unsigned_abs(),
                ahead: seconds > 0,
                due,
            }),
            Some(due) if date < due => Err(AcmeError::NotYet(due)),
            _ => Ok(()),
        }
    }

    /// Whether so many validations may fail now: the CA pauses names that fail too often.
    pub(super) fn check_budget(&self) -> Result<(), AcmeError> {
        let (directory, name) = (&self.ca.directory, self.lineage.name.as_str());
        let limits = Limits::load(self.store)?;
        let count = self.names().len();
        match limits.next_validation(directory, name, count, UnixTime::now()) {
            None => Ok(()),
            Some(until) => Err(AcmeError::Limited {
                until,
                scope: Scope::Identifier(name.to_owned()),
                detail: format!(
                    "{} validations have failed lately; more would make the CA pause the name\nhint: `portico cert \
                     plan` looks for the cause without the CA",
                    limits::PER_HOUR
                ),
            }),
        }
    }

    /// The validations of this order did not fail.
    pub(super) fn give_back(&self, order: &str) -> Result<(), AcmeError> {
        Limits::change(self.store, UnixTime::now(), |limits| {
            limits.give_back(order)
        })
    }
}

//! What may keep an order from being made: a clock that is off, and validations that have failed too often.

use std::collections::HashMap;

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

/// What an order adds to the failed validations of a name if all goes wrong: the most that it wants of one host, two
/// for a domain and its wildcard. A CA counts by host and not by order, so the other hosts cost this one nothing.
pub(super) fn validations(names: &[String]) -> usize {
    let mut hosts: HashMap<&str, usize> = HashMap::new();
    for name in names {
        let host = name.strip_prefix("*.").unwrap_or(name);
        *hosts.entry(host).or_default() += 1;
    }
    hosts.into_values().max().unwrap_or(0)
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
        let count = validations(&self.names());
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

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = "https://ca.test/dir";

    #[test]
    fn an_order_costs_what_it_wants_of_one_host() {
        for (names, cost) in [
            ("", 0),
            ("a.test", 1),
            ("a.test *.a.test", 2),
            ("a.test b.test *.b.test x.b.test", 2),
            ("a.test b.test c.test d.test e.test", 1),
        ] {
            let all: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
            assert_eq!(validations(&all), cost, "{names}");
        }
    }

    #[test]
    fn a_failed_order_of_many_hosts_is_tried_again_within_the_hour() {
        let names: Vec<String> = (0..40).map(|number| format!("h{number}.test")).collect();
        let count = validations(&names);
        let mut limits = Limits::default();
        let mut now = UnixTime(1_000_000);
        for order in 0..limits::PER_HOUR {
            assert_eq!(limits.next_validation(CA, "h0.test", count, now), None);
            limits.spend(CA, "h0.test", &order.to_string(), count, now);
            now = UnixTime(now.0 + 600);
        }
        let next = limits.next_validation(CA, "h0.test", count, now);
        assert_eq!(next, Some(UnixTime(1_000_000 + 3600)));
    }
}

//! What is said of a lineage: what happens next, and the one line for people.

use std::time::Duration;

use super::super::alarm::Level;
use super::super::error::Class;
use super::super::notices::Notices;
use super::super::renew::View;
use super::super::schedule::Decision;
use super::super::state::Phase;
use super::Health;
use crate::config::{AcmeRun, Config};
use crate::units;

impl Health {
    pub(super) fn next_step(&self, config: &Config, view: &View, notices: &Notices) -> String {
        if notices.not_served().is_some() {
            return "is the proxy running with this `state_dir`? `systemctl restart portico`, then `portico cert \
                    reconcile`"
                .to_owned();
        }
        let run = match config.acme.run {
            AcmeRun::Daemon => "it is tried within a minute",
            AcmeRun::Timer | AcmeRun::Off => "`systemctl start portico-renew` tries now",
        };
        match (&self.failure, view.decision, config.acme.run) {
            (_, Decision::Renew(reason), AcmeRun::Off) => {
                format!("import a new one with `portico cert import` ({reason})")
            }
            (_, Decision::Wait(until), AcmeRun::Off) => {
                format!("import a new one with `portico cert import` before {until}")
            }
            (Some(failure), Decision::Renew(_), _) => {
                let todo = failure
                    .hint
                    .as_deref()
                    .map_or_else(String::new, |hint| format!("; {hint}"));
                if failure.class == Class::Blocked {
                    format!("somebody must act, tried again at {}{todo}", failure.until)
                } else {
                    format!("next try at {}{todo}", failure.until)
                }
            }
            (None, Decision::Renew(reason), _) => format!("due now: {reason}; {run}"),
            (_, Decision::Wait(until), _) => format!("renewal at {until}"),
        }
    }

    /// For people, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        match self.phase_since {
            Some(since) if self.phase != Phase::Idle => {
                format!("{}; {} since {since}", self.facts(), self.phase)
            }
            _ => self.facts(),
        }
    }

    fn facts(&self) -> String {
        let Some(((serial, end), left)) = self
            .serial
            .as_ref()
            .zip(self.not_after)
            .zip(self.seconds_left)
        else {
            let problems = self.listed_problems();
            return format!("{}: no certificate{problems}; {}", self.domain, self.next);
        };
        let left = match left {
            ..0 => "EXPIRED".to_owned(),
            // Whole hours for a short lifetime, days for a long one.
            0..172_800 => {
                let seconds = left.unsigned_abs() / 60 * 60;
                format!(
                    "{} left",
                    units::format_duration(Duration::from_secs(seconds))
                )
            }
            _ => format!("{} days left", left / 86400),
        };
        let generation = self
            .generation
            .map_or_else(String::new, |number| format!(", generation {number}"));
        format!(
            "{}: certificate {serial} for {}, {left} (until {end}){generation}{}; {}",
            self.domain,
            self.names.join(", "),
            self.listed_problems(),
            self.next
        )
    }

    fn listed_problems(&self) -> String {
        self.problems
            .iter()
            .fold(String::new(), |mut text, problem| {
                text.push_str("; ");
                if self.level > Level::Fine {
                    text.push_str(&self.level.word().to_uppercase());
                    text.push_str(": ");
                }
                text.push_str(problem);
                text
            })
    }
}

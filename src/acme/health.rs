//! How a lineage is doing, in facts and in one line that says what happens next or what to do.
//!
//! The one source of what `portico cert status`, `portico cert check`, `/status`, the metrics and the events say, so
//! that they agree. It reads files, opens no connection and changes nothing.

mod words;

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::alarm::{self, Dates, Level};
use super::error::{AcmeError, Class};
use super::limits::Limits;
use super::notices::Notices;
use super::renew::{self, View};
use super::schedule::Decision;
use super::state::{Phase, State};
use crate::cert::bundle::{self, Bundle};
use crate::cert::files::Files;
use crate::cert::lineage::Lineage;
use crate::cert::store::file::FileStore;
use crate::clock::UnixTime;
use crate::config::{AcmeRun, CertOrigin, Config};
use crate::host::Host;
use crate::units;

const DAY: i64 = 86400;
/// Two periods of the timer and its random delay.
const TIMER_SILENCE: i64 = 40 * 60;
/// The daemon looks every minute, and an order takes some.
const DAEMON_SILENCE: i64 = 10 * 60;
/// A clock that differs by more from the CA's is worth a warning, in seconds.
const SKEW: i64 = 300;

/// The state of one lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The lineage.
    pub domain: String,
    /// The names of the certificate; empty if there is none.
    pub names: Vec<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Who issued it.
    pub issuer: Option<String>,
    /// Start of its validity.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: Option<UnixTime>,
    /// Its end.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: Option<UnixTime>,
    /// Seconds until then; negative if it is over.
    pub seconds_left: Option<i64>,
    /// Whole days until then; negative if it is over.
    pub days_left: Option<i64>,
    /// What is left of its lifetime, in thousandths.
    pub left_permille: Option<u32>,
    /// Its number in the store; none if another program keeps it.
    pub generation: Option<u64>,
    /// When its renewal is or was due; none if nobody here renews.
    #[serde(serialize_with = "rfc3339")]
    pub renew_at: Option<UnixTime>,
    /// How far the engine is with it, or was when it died; the next run puts that right.
    pub phase: Phase,
    /// Since when; none if nothing is under way.
    #[serde(serialize_with = "rfc3339")]
    pub phase_since: Option<UnixTime>,
    /// The last try that failed, if none has succeeded since.
    pub failure: Option<Failure>,
    /// How near the end is.
    pub near: Level,
    /// How near the end is or how bad it is what else is wrong, whichever is worse.
    pub level: Level,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
    /// What happens next, or what to do, in one line.
    pub next: String,
}

/// A failure that holds the next try back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What kind.
    pub class: Class,
    /// The cause, in its first line.
    pub detail: String,
    /// Whom it holds back.
    pub scope: String,
    /// What to do about it, if that is known.
    pub hint: Option<String>,
    /// The next try.
    #[serde(serialize_with = "rfc3339_always")]
    pub until: UnixTime,
}

/// What a lineage shows beyond its [`Health`], for metrics: the engine's own notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notes {
    /// What the engine remembers.
    pub state: State,
    /// What all lineages share.
    pub limits: Limits,
    /// When the engine was last at work on any lineage.
    pub heartbeat: Option<UnixTime>,
    /// What an operator has been told.
    pub notices: Notices,
}

/// Health and notes of one lineage, as one look; without notes if another program renews.
///
/// # Errors
/// [`AcmeError`] if the store cannot be read at all.
pub fn look(
    config: &Config,
    store: &FileStore,
    domain: &Host,
    now: UnixTime,
) -> Result<(Health, Option<Notes>), AcmeError> {
    match &config.certs {
        CertOrigin::Files(files) => {
            let files = Files::new(files.clone());
            let lineage = Lineage::of(config, domain);
            Ok((of_files(&files, &lineage, now), None))
        }
        CertOrigin::Acme => {
            let view = renew::view(config, store, domain, now)?;
            let notices = Notices::read(store, domain);
            let health = of_view(config, &view, &notices, domain, now);
            let notes = Notes {
                state: view.state,
                limits: view.limits,
                heartbeat: view.heartbeat,
                notices,
            };
            Ok((health, Some(notes)))
        }
    }
}

/// The state of all lineages, in the order of the configuration.
///
/// # Errors
/// [`AcmeError`] if the store cannot be read at all.
pub fn all(config: &Config, now: UnixTime) -> Result<Vec<Health>, AcmeError> {
    let store = FileStore::new(&config.state_dir);
    Lineage::all(config)
        .iter()
        .map(|lineage| of(config, &store, &lineage.name, now))
        .collect()
}

/// The state of one lineage.
///
/// # Errors
/// [`AcmeError`] if the store cannot be read at all.
pub fn of(
    config: &Config,
    store: &FileStore,
    domain: &Host,
    now: UnixTime,
) -> Result<Health, AcmeError> {
    look(config, store, domain, now).map(|(health, _)| health)
}

fn of_files(files: &Files, lineage: &Lineage, now: UnixTime) -> Health {
    let domain = &lineage.name;
    let (bundle, fault) = match files.load(domain) {
        Ok(bundle) => (Some(bundle), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let mut health = Health::new(domain, bundle.as_ref(), now);
    health.near = health.nearness(now, None);
    health.level = health.near;
    health.next = match (&bundle, fault) {
        (Some(bundle), _) => {
            health.note_missing_names(lineage, bundle);
            health.note_missing_issuer(bundle);
            "renewed by another program (`certs = \"files\"`)".to_owned()
        }
        (None, fault) => {
            let (cause, hint) = split_hint(&fault.unwrap_or_default());
            health.problems.push(cause);
            hint.unwrap_or_else(|| "mend the pair; it is taken over within seconds".to_owned())
        }
    };
    health
}

fn of_view(
    config: &Config,
    view: &View,
    notices: &Notices,
    domain: &Host,
    now: UnixTime,
) -> Health {
    let stored = view.stored.as_ref();
    let mut health = Health::new(domain, stored.map(|stored| &stored.bundle), now);
    health.generation = stored.map(|stored| stored.generation);
    (health.phase, health.phase_since) = (view.state.phase, view.state.phase_since);
    let off = config.acme.run == AcmeRun::Off;
    if !off {
        health.renew_at = view.renew_at;
    }
    health.near = health.nearness(now, health.renew_at);
    health.level = health.near;
    if let Some(stored) = stored {
        health.note_missing_issuer(&stored.bundle);
    }
    if let (Some(waiting), Decision::Renew(_), false) = (&view.waiting, view.decision, off) {
        let (detail, hint) = split_hint(&waiting.detail);
        // Nobody but the operator can end this, so there is no time to lose.
        let level = if waiting.class == Class::Blocked {
            Level::Warning
        } else {
            Level::Fine
        };
        let tries = match view.state.consecutive_failures {
            0 | 1 => String::new(),
            count => format!(" ({count} failures in a row)"),
        };
        health.worry(level, format!("{detail}{tries}"));
        health.failure = Some(Failure {
            class: waiting.class,
            scope: waiting.scope.to_string(),
            detail,
            hint,
            until: waiting.until,
        });
    }
    if let Some(detail) = notices.not_served() {
        health.worry(
            Level::Warning,
            format!("the newest certificate is not served: {detail}"),
        );
    }
    if !off {
        engine_worries(&mut health, config.acme.run, view, now);
    }
    health.next = health.next_step(config, view, notices);
    health
}

/// What the engine's own notes give cause to worry about.
fn engine_worries(health: &mut Health, run: AcmeRun, view: &View, now: UnixTime) {
    let late = if run == AcmeRun::Daemon {
        DAEMON_SILENCE
    } else {
        TIMER_SILENCE
    };
    match view.heartbeat.map(|at| now.seconds_since(at)) {
        None if view.stored.is_some() => {
            let text = "the renewal has never run: is `portico-renew.timer` enabled?";
            health.worry(Level::Warning, text.to_owned());
        }
        Some(age) if age > late => {
            let level = if age > DAY {
                Level::Page
            } else {
                Level::Warning
            };
            let age = units::format_duration(Duration::from_secs(age.unsigned_abs() / 60 * 60));
            health.worry(level, format!("the renewal last ran {age} ago"));
        }
        _ => {}
    }
    let state = &view.state;
    if let Some(skew) = state.clock.filter(|skew| skew.seconds.abs() > SKEW) {
        let text = format!("this clock is {} s off the CA's: check NTP", skew.seconds);
        health.worry(Level::Warning, text);
    }
    let old = state
        .debts_since
        .is_some_and(|since| now.seconds_since(since) > DAY);
    if state.debts > 0 {
        let level = if old { Level::Warning } else { Level::Fine };
        let text = format!("{} TXT records of ours are still in DNS", state.debts);
        health.worry(level, text);
    }
    if let Some(url) = state
        .advice
        .as_ref()
        .and_then(|advice| advice.explanation_url.as_ref())
    {
        health.worry(Level::Fine, format!("the CA explains its advice at {url}"));
    }
}

impl Health {
    fn new(domain: &Host, bundle: Option<&Bundle>, now: UnixTime) -> Self {
        let left = bundle.map(|bundle| bundle.not_after().seconds_since(now));
        Self {
            domain: domain.to_string(),
            names: bundle.map_or_else(Vec::new, |bundle| {
                bundle.names().iter().map(ToString::to_string).collect()
            }),
            serial: bundle.map(|bundle| bundle.serial().to_owned()),
            issuer: bundle.map(|bundle| bundle.issuer().to_owned()),
            not_before: bundle.map(Bundle::not_before),
            not_after: bundle.map(Bundle::not_after),
            seconds_left: left,
            days_left: left.map(|left| left.div_euclid(86400)),
            left_permille: bundle.map(|bundle| dates(bundle).left(now)),
            generation: None,
            renew_at: None,
            phase: Phase::Idle,
            phase_since: None,
            failure: None,
            near: Level::Fine,
            level: Level::Fine,
            problems: Vec::new(),
            next: String::new(),
        }
    }

    fn nearness(&self, now: UnixTime, renew_at: Option<UnixTime>) -> Level {
        match (self.not_before, self.not_after) {
            (Some(not_before), Some(not_after)) => {
                let dates = Dates {
                    not_before,
                    not_after,
                };
                alarm::level(now, dates, renew_at)
            }
            _ => Level::Critical,
        }
    }

    fn worry(&mut self, level: Level, problem: String) {
        self.level = self.level.max(level);
        self.problems.push(problem);
    }

    fn note_missing_names(&mut self, lineage: &Lineage, bundle: &Bundle) {
        if let Err(error) = bundle.check_names(&lineage.names) {
            self.worry(Level::Warning, split_hint(&error.to_string()).0);
        }
    }

    fn note_missing_issuer(&mut self, bundle: &Bundle) {
        if bundle.lacks_issuer() {
            self.worry(Level::Warning, bundle::ALONE.to_owned());
        }
    }
}

/// The dates of a certificate.
#[must_use]
pub fn dates(bundle: &Bundle) -> Dates {
    Dates {
        not_before: bundle.not_before(),
        not_after: bundle.not_after(),
    }
}

/// The cause in its first line, and the hint without its name.
fn split_hint(text: &str) -> (String, Option<String>) {
    let first = text.lines().next().unwrap_or_default();
    let hint = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("hint: "));
    (first.to_owned(), hint.map(str::to_owned))
}

fn rfc3339<S: Serializer>(time: &Option<UnixTime>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(time),
        None => to.serialize_none(),
    }
}

fn rfc3339_always<S: Serializer>(time: &UnixTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

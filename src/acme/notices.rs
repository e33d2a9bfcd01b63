//! What the operator has been told of a lineage, so that each thing is told once. The rules are pure.
//!
//! Kept in `notices.json` beside the lineage's other state, because the run that tells and the one before are different
//! processes. A lost or damaged note costs one repeated event.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::alarm::Level;
use super::deploy::Deployed;
use super::event::Kind;
use crate::cert::disk;
use crate::cert::store::file::FileStore;
use crate::clock::UnixTime;
use crate::host::Host;

/// `notices.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notices {
    /// Whether the last try to get a certificate failed.
    pub failing: bool,
    /// The worst level that was told.
    pub level: Level,
    /// The last look whether a new generation is served.
    pub deploy: Option<Deploy>,
}

/// What a look at the listeners has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// The generation that was looked for.
    pub generation: u64,
    /// Its serial number.
    pub serial: String,
    /// When it was looked for.
    pub at: UnixTime,
    /// What is served instead, if it is not served.
    pub failed: Option<String>,
}

/// What a run has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// Nothing was done: the next try is held back, or another process is at work.
    Nothing,
    /// Nothing is due, so nothing fails any more: somebody has put a good certificate there.
    Settled,
    /// A new certificate is stored.
    Renewed,
    /// A try failed.
    Failed,
    /// A try failed for a reason that somebody must remove.
    Blocked,
}

impl Notices {
    /// What is noted of a lineage.
    #[must_use]
    pub fn read(store: &FileStore, lineage: &Host) -> Self {
        let content = disk::read_if_there(&path(store, lineage)).ok().flatten();
        content
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Writes it down. That it cannot be is a warning: what matters more fails louder.
    pub fn write(&self, store: &FileStore, lineage: &Host) {
        let path = path(store, lineage);
        let written = serde_json::to_vec_pretty(self)
            .map_err(std::io::Error::from)
            .and_then(|text| disk::write(&path, &text, disk::PUBLIC));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "cannot note what was told");
        }
    }

    /// Whether a generation has yet to be looked for at the listeners, or was not found there.
    #[must_use]
    pub fn wants_look(&self, generation: u64) -> bool {
        self.deploy
            .as_ref()
            .is_none_or(|deploy| deploy.generation != generation || deploy.failed.is_some())
    }

    /// Why the newest generation is not served, as far as is known.
    #[must_use]
    pub fn not_served(&self) -> Option<&str> {
        self.deploy
            .as_ref()
            .and_then(|deploy| deploy.failed.as_deref())
    }

    /// Notes what a look at the listeners has shown; the event that is due.
    pub fn looked(
        &mut self,
        (generation, serial): (u64, &str),
        deployed: &Deployed,
        now: UnixTime,
    ) -> Option<Kind> {
        let before = self.deploy.as_ref();
        let told = before.is_some_and(|deploy| deploy.failed.is_some());
        let same = before.is_some_and(|deploy| deploy.generation == generation);
        let failed = match deployed {
            Deployed::Failed { detail } => Some(detail.clone()),
            Deployed::Served { .. } | Deployed::Nobody | Deployed::NotAsked => None,
        };
        let kind = match &failed {
            Some(_) if told && same => None,
            Some(_) => Some(Kind::DeployFailed),
            None => told.then_some(Kind::Recovered),
        };
        self.deploy = Some(Deploy {
            generation,
            serial: serial.to_owned(),
            at: now,
            failed,
        });
        kind
    }

    /// Notes what a run has done; the events that are due.
    pub fn ran(&mut self, happened: Happened, level: Level) -> Vec<Kind> {
        let was = (self.failing, self.level);
        let mut kinds = Vec::new();
        match happened {
            Happened::Nothing => {}
            Happened::Settled => self.failing = false,
            Happened::Renewed => {
                self.failing = false;
                kinds.push(Kind::Renewed);
            }
            Happened::Failed => {
                self.failing = true;
                kinds.push(Kind::Failed);
            }
            Happened::Blocked => {
                self.failing = true;
                kinds.push(Kind::Blocked);
            }
        }
        if level > self.level {
            kinds.push(Kind::Expiring);
        }
        self.level = level;
        let over = (was.0 && !self.failing) || (was.1 > Level::Fine && level == Level::Fine);
        if over && !self.failing {
            kinds.push(Kind::Recovered);
        }
        kinds
    }
}

fn path(store: &FileStore, lineage: &Host) -> PathBuf {
    store.lineage(lineage).join("notices.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_told_once_and_its_end_too() {
        let mut notices = Notices::default();
        assert_eq!(notices.ran(Happened::Nothing, Level::Fine), []);
        assert_eq!(notices.ran(Happened::Failed, Level::Fine), [Kind::Failed]);
        assert_eq!(
            notices.ran(Happened::Nothing, Level::Warning),
            [Kind::Expiring]
        );
        assert_eq!(notices.ran(Happened::Nothing, Level::Warning), []);
        assert_eq!(
            notices.ran(Happened::Blocked, Level::Page),
            [Kind::Blocked, Kind::Expiring]
        );
        assert_eq!(
            notices.ran(Happened::Renewed, Level::Fine),
            [Kind::Renewed, Kind::Recovered]
        );
        assert_eq!(notices.ran(Happened::Renewed, Level::Fine), [Kind::Renewed]);
    }

    #[test]
    fn an_imported_certificate_ends_an_alarm_without_a_renewal() {
        let mut notices = Notices {
            level: Level::Critical,
            ..Notices::default()
        };
        assert_eq!(
            notices.ran(Happened::Settled, Level::Fine),
            [Kind::Recovered]
        );
        notices.failing = true;
        assert_eq!(notices.ran(Happened::Nothing, Level::Fine), []);
        assert_eq!(
            notices.ran(Happened::Settled, Level::Fine),
            [Kind::Recovered]
        );
    }

    #[test]
    fn a_failed_deployment_is_told_once_and_looked_for_again() {
        let mut notices = Notices::default();
        let now = UnixTime(0);
        assert!(notices.wants_look(1));
        let failed = Deployed::Failed {
            detail: "other".to_owned(),
        };
        assert_eq!(
            notices.looked((1, "a"), &failed, now),
            Some(Kind::DeployFailed)
        );
        assert!(notices.wants_look(1));
        assert_eq!(notices.looked((1, "a"), &failed, now), None);
        assert_eq!(
            notices.looked((2, "b"), &failed, now),
            Some(Kind::DeployFailed)
        );
        assert_eq!(notices.not_served(), Some("other"));
        let after = std::time::Duration::ZERO;
        assert_eq!(
            notices.looked((2, "b"), &Deployed::Served { after }, now),
            Some(Kind::Recovered)
        );
        assert!(!notices.wants_look(2) && notices.wants_look(3));
        assert_eq!(notices.looked((3, "c"), &Deployed::Nobody, now), None);
    }
}

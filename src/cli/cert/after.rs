//! What comes after a run on a lineage: is the newest certificate really served, and who has to hear what happened.
//!
//! A look at the listeners comes after each new generation, however it came to be, and again in each run until it is
//! served; nothing is issued again for it. When the newest generation was seen in service before, no connection is
//! opened.

use std::io::Write;
use std::time::Duration;

use super::Verdict;
use crate::acme::deploy::{self, Deployed};
use crate::acme::event::{Event, Hook, Kind};
use crate::acme::health::{self, Health};
use crate::acme::notices::{Happened, Notices};
use crate::acme::state::note_deploying;
use crate::acme::{AcmeError, Class, Outcome};
use crate::cert::store::Store;
use crate::cert::store::file::FileStore;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::host::Host;

/// A certificate that was not served for a whole minute is looked for only shortly by later runs.
const SHORT: Duration = Duration::from_secs(3);

/// What a run did, for events.
#[derive(Debug, Clone)]
pub struct Ended {
    happened: Happened,
    class: Option<Class>,
    detail: String,
}

/// Reads the end of a run.
#[must_use]
pub fn happened(ended: &Result<Outcome, AcmeError>) -> Ended {
    let (happened, class, detail) = match ended {
        Ok(Outcome::Issued { reason, .. }) => (
            Happened::Renewed,
            None,
            format!("a new certificate: {reason}"),
        ),
        Ok(Outcome::NotDue { .. }) => (Happened::Settled, None, String::new()),
        Ok(Outcome::Waiting { .. } | Outcome::Busy) => (Happened::Nothing, None, String::new()),
        Err(error) => {
            let class = error.class();
            let happened = if class == Class::Blocked {
                Happened::Blocked
            } else {
                Happened::Failed
            };
            (happened, Some(class), error.to_string())
        }
    };
    Ended {
        happened,
        class,
        detail,
    }
}

impl Ended {
    /// For verbs that do something else than a run of the engine.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            happened: Happened::Nothing,
            class: None,
            detail: String::new(),
        }
    }
}

/// Looks and tells, for all lineages of one run.
#[derive(Debug)]
pub struct Aftermath<'a> {
    config: &'a Config,
    store: &'a FileStore,
    hook: Hook,
}

impl<'a> Aftermath<'a> {
    /// Nothing is looked at yet.
    #[must_use]
    pub fn new(config: &'a Config, store: &'a FileStore) -> Self {
        Self {
            config,
            store,
            hook: Hook::new(config.acme.on_event.as_deref()),
        }
    }

    /// Looks and tells for one lineage. [`Verdict::Failed`] if the newest certificate is not served.
    pub async fn of(
        &mut self,
        domain: &Host,
        ended: &Ended,
        out: &mut (dyn Write + Send),
    ) -> Verdict {
        let before = Notices::read(self.store, domain);
        let mut notices = before.clone();
        let mut seen = Vec::new();
        let verdict = self.look(domain, &mut notices, &mut seen, out).await;
        // What was seen counts for the state that events tell.
        if notices != before {
            notices.write(self.store, domain);
        }
        let now = UnixTime::now();
        let health = match health::of(self.config, self.store, domain, now) {
            Ok(health) => health,
            Err(error) => {
                tracing::warn!(%domain, %error, "cannot tell how this certificate is doing");
                return verdict;
            }
        };
        let looked = notices.clone();
        // In the order in which it happened.
        let mut kinds = notices.ran(ended.happened, health.near);
        kinds.append(&mut seen);
        if notices != looked {
            notices.write(self.store, domain);
        }
        let events: Vec<Event> = kinds
            .into_iter()
            .map(|kind| event(kind, &health, &notices, ended, now))
            .collect();
        self.hook.tell(&events);
        verdict
    }

    async fn look(
        &self,
        domain: &Host,
        notices: &mut Notices,
        kinds: &mut Vec<Kind>,
        out: &mut (dyn Write + Send),
    ) -> Verdict {
        let Ok(Some(stored)) = self.store.load(domain) else {
            return Verdict::Fine;
        };
        if !notices.wants_look(stored.generation) {
            return Verdict::Fine;
        }
        let again = notices
            .deploy
            .as_ref()
            .is_some_and(|deploy| deploy.generation == stored.generation);
        let patience = if again { SHORT } else { deploy::PATIENCE };
        let bundle = &stored.bundle;
        note_deploying(self.store, domain, true);
        let deployed = deploy::confirm(self.config, domain, bundle, patience, out).await;
        note_deploying(self.store, domain, false);
        let seen = (stored.generation, bundle.serial());
        kinds.extend(notices.looked(seen, &deployed, UnixTime::now()));
        let serial = bundle.serial();
        let (line, verdict) = match &deployed {
            Deployed::NotAsked => return Verdict::Fine,
            Deployed::Served { after } => (
                format!("certificate {serial} is served ({} ms)", after.as_millis()),
                Verdict::Fine,
            ),
            Deployed::Nobody => (
                "no proxy listens here; it takes the certificate when it starts".to_owned(),
                Verdict::Fine,
            ),
            Deployed::Failed { detail } => (
                format!(
                    "DEPLOY FAILED: certificate {serial} is stored and not served: {detail}\nhint: is the proxy running \
                     with this `state_dir`? `systemctl restart portico`; if it listens elsewhere, set \
                     `acme.deploy_probe`"
                ),
                Verdict::Failed,
            ),
        };
        if let Err(error) = writeln!(out, "{domain}: {line}") {
            tracing::debug!(%error, "nobody reads what came of it");
        }
        verdict
    }

    /// Waits for the programs that were called.
    pub async fn finish(self) {
        self.hook.finish().await;
    }
}

fn event(kind: Kind, health: &Health, notices: &Notices, ended: &Ended, now: UnixTime) -> Event {
    let detail = match kind {
        Kind::Renewed | Kind::Failed | Kind::Blocked => ended.detail.clone(),
        Kind::DeployFailed => notices.not_served().unwrap_or_default().to_owned(),
        Kind::Expiring => match health.left_permille {
            Some(left) => format!("{}.{}% of its lifetime is left", left / 10, left % 10),
            None => "there is no certificate".to_owned(),
        },
        Kind::Recovered => "what failed works again".to_owned(),
    };
    let class = ended
        .class
        .filter(|_| matches!(kind, Kind::Failed | Kind::Blocked));
    Event {
        event: kind,
        lineage: health.domain.clone(),
        time: now.to_string(),
        level: health.level,
        class: class.map(|class| class.to_string()),
        detail,
        next: health.next.clone(),
        serial: health.serial.clone(),
        not_after: health.not_after.map(|end| end.to_string()),
        seconds_left: health.seconds_left,
    }
}

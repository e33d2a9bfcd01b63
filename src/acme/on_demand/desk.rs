//! One run at work on custom domains: what the proxy has left is taken up, and one name after the other is looked at or
//! ordered. Whatever becomes of a name is in the register before the next one begins. Only the register and the spool,
//! which are everybody's, end a run: a name whose own files cannot be read waits by itself.

use super::super::dns::Output;
use super::super::error::AcmeError;
use super::super::renew::{self, Outcome, Request};
use super::super::schedule::Decision;
use super::super::state::State;
use super::super::view::{View, view_lineage};
use super::ownership::{self, OwnershipKey};
use super::queue::{self, Budgets, Task};
use super::{Ended, is_covered, lineage};
use crate::cert::on_demand::register::{Entry, Register, Spent, Trouble};
use crate::cert::on_demand::spool::{Spool, Wish};
use crate::cert::store::file::FileStore;
use crate::cert::store::{Store, Stored};
use crate::clock::UnixTime;
use crate::config::{Config, Ownership};
use crate::host::Host;

/// Wishes taken up at once.
const WISHES: usize = 2000;
/// The CA is asked for advice about one certificate at most so often, in seconds.
const LOOK_PAUSE: i64 = 6 * 3600;
/// A name whose files cannot be read has no turn for so long, in seconds: somebody has to look.
const UNREADABLE: i64 = 3600;
/// Nothing is tried again sooner, in seconds.
const SHORTEST: i64 = 30;
/// Waits for a tenant's record, in seconds; the last one again and again.
const UNPROVEN: [i64; 5] = [60, 300, 900, 3600, 6 * 3600];

/// One run at work.
pub(super) struct Desk<'a> {
    config: &'a Config,
    store: FileStore,
    pub(super) register: Register,
    spool: Spool,
    key: OwnershipKey,
    pub(super) budgets: Budgets,
    /// What the spool was like at the last look.
    seen: Option<(i64, i64)>,
}

impl<'a> Desk<'a> {
    pub(super) fn open(config: &'a Config) -> Result<Option<Self>, AcmeError> {
        let Some(register) = Register::open(&config.state_dir)? else {
            return Ok(None);
        };
        let spool = Spool::new(&config.state_dir);
        spool.make()?;
        Ok(Some(Self {
            config,
            store: FileStore::domains(&config.state_dir),
            register,
            spool,
            key: OwnershipKey::open(&config.state_dir)?,
            budgets: Budgets::new(&config.on_demand),
            seen: None,
        }))
    }

    /// Takes in what the proxy has left, if anything is new.
    pub(super) fn take_up(&mut self) -> Result<(), AcmeError> {
        let seen = self.spool.fingerprint();
        if seen.is_some() && seen == self.seen {
            return Ok(());
        }
        self.note_gone()?;
        let wishes = self.spool.wishes(WISHES)?;
        let many = wishes.len() == WISHES;
        self.note_wishes(wishes)?;
        // A full load may have left some.
        self.seen = if many { None } else { self.spool.fingerprint() };
        Ok(())
    }

    fn note_gone(&mut self) -> Result<(), AcmeError> {
        let Some((at, gone)) = self.spool.gone()? else {
            return Ok(());
        };
        let at = at.min(UnixTime::now());
        let mut changed = Vec::new();
        for (host, entry) in &self.register.content().entries {
            match (entry.gone, gone.contains(host)) {
                (None, true) => {
                    tracing::info!(domain = %host, tenant = entry.tenant, "the directory has no row for this custom domain any more");
                    let gone = Some(at);
                    changed.push((
                        host.clone(),
                        Entry {
                            gone,
                            ..entry.clone()
                        },
                    ));
                }
                // Whoever has it now is to show that it is his.
                (Some(_), false) => {
                    tracing::info!(domain = %host, "the directory has a row for this custom domain again");
                    let back = Entry {
                        gone: None,
                        proven: false,
                        next: UnixTime(0),
                        ..entry.clone()
                    };
                    changed.push((host.clone(), back));
                }
                _ => {}
            }
        }
        Ok(self.register.put_all(changed)?)
    }

    fn note_wishes(&mut self, wishes: Vec<(Host, Wish)>) -> Result<(), AcmeError> {
        let most = usize::try_from(self.config.on_demand.names).unwrap_or(usize::MAX);
        let mut room = most.saturating_sub(self.register.content().entries.len());
        let (mut changed, mut refused) = (Vec::new(), 0_usize);
        for (host, wish) in &wishes {
            let known = self.register.content().entries.get(host);
            if known.is_none() && is_covered(self.config, host) {
                tracing::warn!(domain = %host, "no custom domain: a certificate of the configuration covers it");
            } else if let Some(entry) = self.wished(known, wish, &mut room) {
                changed.push((host.clone(), entry));
            } else if known.is_none() {
                refused += 1;
            }
        }
        if refused > 0 {
            tracing::error!(
                refused,
                most,
                "more custom domains than `on_demand.names`; these get no certificate"
            );
        }
        self.register.put_all(changed)?;
        for (host, _) in &wishes {
            self.spool.remove(host)?;
        }
        Ok(())
    }

    /// The entry as the wish wants it, if that is another one and there is room for it.
    fn wished(&self, known: Option<&Entry>, wish: &Wish, room: &mut usize) -> Option<Entry> {
        let Some(entry) = known else {
            *room = room.checked_sub(1)?;
            return Some(Entry {
                tenant: wish.tenant.clone(),
                since: UnixTime::now(),
                asked: wish.asked,
                ..Entry::default()
            });
        };
        let mut entry = entry.clone();
        entry.asked |= wish.asked;
        entry.gone = None;
        if entry.tenant != wish.tenant {
            entry.tenant.clone_from(&wish.tenant);
            entry.proven = false;
            entry.next = UnixTime(0);
        }
        (known != Some(&entry)).then_some(entry)
    }

    /// Asks the CA for its advice, and no more.
    pub(super) async fn look(&mut self, host: &Host) -> Result<(), AcmeError> {
        let Some(mut entry) = self.register.content().entries.get(host).cloned() else {
            return Ok(());
        };
        let lineage = lineage(self.config, host);
        let looked = renew::look(self.config, &self.store, &lineage).await;
        let now = UnixTime::now();
        let viewed = looked.and_then(|()| view_lineage(self.config, &self.store, &lineage, now));
        match viewed {
            Ok(view) => settle(&mut entry, &view, now),
            Err(error) => {
                tracing::warn!(domain = %host, %error, "cannot ask for advice");
                entry.next = UnixTime(now.0.saturating_add(LOOK_PAUSE));
            }
        }
        Ok(self.register.put(host, entry)?)
    }

    /// Orders a certificate, if the tenant has shown what it has to.
    pub(super) async fn order(
        &mut self,
        host: &Host,
        task: Task,
        request: Request,
        out: Output<'_>,
    ) -> Result<Ended, AcmeError> {
        let entries = &self.register.content().entries;
        let mut entry = entries.get(host).cloned().unwrap_or_default();
        if self.config.on_demand.proof != Ownership::None && !entry.proven {
            let record = self.key.record(self.config, &entry.tenant, host);
            let dns = self.config.acme.dns.as_ref();
            if let Err(detail) = ownership::check(dns, host, &record).await {
                return self.unproven(host, entry, &detail, out);
            }
            tracing::info!(domain = %host, tenant = entry.tenant, "the tenant has shown that the custom domain is its own");
            entry.proven = true;
        }
        let lineage = lineage(self.config, host);
        let spent = Spent {
            at: UnixTime::now(),
            host: host.to_string(),
            tenant: entry.tenant.clone(),
            new: task == Task::New,
        };
        // Before it is made: a run that dies in between has spent it.
        self.register.spend(spent)?;
        let (before, ended) = match State::load(&self.store, host) {
            Ok(state) => {
                let run = renew::renew_lineage(self.config, &self.store, &lineage, request, out);
                (state.order, Box::pin(run).await)
            }
            Err(error) => (None, Err(error)),
        };
        let now = UnixTime::now();
        let viewed = view_lineage(self.config, &self.store, &lineage, now);
        let order = viewed
            .as_ref()
            .ok()
            .and_then(|view| view.state.order.as_ref());
        let issued = matches!(ended, Ok(Outcome::Issued { .. }));
        if !issued && (order.is_none() || order == before.as_ref()) {
            self.register.refund(host)?;
        }
        let ended = settle_or_rest(&mut entry, viewed, ended, now);
        let ended = match ended {
            Ok(Outcome::Issued { stored, .. }) => {
                entry.trouble = None;
                serve(&mut entry, &stored);
                self.register.count(true)?;
                let (serial, end) = (stored.bundle.serial(), stored.bundle.not_after());
                tracing::info!(domain = %host, tenant = entry.tenant, serial, not_after = %end, "a custom domain has a new certificate");
                Ended::Issued(format!("new certificate {serial}, valid until {end}"))
            }
            Ok(Outcome::NotDue { until }) => {
                entry.trouble = None;
                Ended::Rests(format!("not due before {until}"))
            }
            Ok(Outcome::Busy) => {
                entry.next = UnixTime(now.0.saturating_add(SHORTEST));
                Ended::Rests("another process is at work on it".to_owned())
            }
            Ok(Outcome::Waiting { until, detail, .. }) => {
                entry.next = until;
                let waits = Trouble::after(None, false, &detail);
                entry.trouble = entry.trouble.or(Some(waits));
                Ended::Rests(format!("waiting until {until} after: {detail}"))
            }
            Err(error) => {
                let detail = error.to_string();
                entry.trouble = Some(Trouble::after(entry.trouble.as_ref(), false, &detail));
                entry.next = entry.next.max(UnixTime(now.0.saturating_add(SHORTEST)));
                self.register.count(false)?;
                Ended::Failed(error)
            }
        };
        self.register.put(host, entry)?;
        tell(host, &ended, out);
        Ok(ended)
    }

    fn unproven(
        &mut self,
        host: &Host,
        mut entry: Entry,
        detail: &str,
        out: Output<'_>,
    ) -> Result<Ended, AcmeError> {
        let trouble = Trouble::after(entry.trouble.as_ref(), true, detail);
        let step = usize::try_from(trouble.count.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = UNPROVEN.get(step).or(UNPROVEN.last()).copied();
        entry.next = UnixTime(UnixTime::now().0.saturating_add(wait.unwrap_or(SHORTEST)));
        if trouble.count == 1 {
            tracing::warn!(domain = %host, tenant = entry.tenant, "no certificate is ordered: {detail}");
        }
        entry.trouble = Some(trouble);
        self.register.put(host, entry)?;
        let ended = Ended::Unproven(detail.to_owned());
        tell(host, &ended, out);
        Ok(ended)
    }

    /// Removes certificates that have expired after their row had gone.
    pub(super) fn drop_what_is_over(&mut self) -> Result<(), AcmeError> {
        let (keep, now) = (self.budgets.keep_gone, UnixTime::now());
        let entries = &self.register.content().entries;
        let over = entries
            .iter()
            .filter(|(_, entry)| queue::is_over(entry, keep, now));
        let over: Vec<Host> = over.map(|(host, _)| host.clone()).collect();
        for host in over {
            // What is still in DNS can be removed only by who remembers it.
            match self.store.debts(&host) {
                Ok(debts) if debts.is_empty() => {}
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(domain = %host, %error, "a custom domain without a row cannot be forgotten");
                    continue;
                }
            }
            self.register.remove(&host)?;
            if let Err(error) = self.store.forget(&host) {
                tracing::warn!(domain = %host, %error, "files of a custom domain without a row stay; remove them");
            }
            tracing::info!(domain = %host, "a custom domain without a row is forgotten; it has no certificate any more");
        }
        Ok(())
    }
}

/// Takes the facts of the store into the entry. If they cannot be read, the name rests, and that is a failure but for a
/// certificate that was issued all the same.
fn settle_or_rest(
    entry: &mut Entry,
    viewed: Result<View, AcmeError>,
    ended: Result<Outcome, AcmeError>,
    now: UnixTime,
) -> Result<Outcome, AcmeError> {
    match (viewed, ended) {
        (Ok(view), ended) => {
            settle(entry, &view, now);
            ended
        }
        (Err(error), ended) => {
            entry.next = UnixTime(now.0.saturating_add(UNREADABLE));
            match ended {
                Ok(Outcome::Issued { .. }) | Err(_) => ended,
                Ok(_) => Err(error),
            }
        }
    }
}

/// Takes the facts of the store into the entry.
fn settle(entry: &mut Entry, view: &View, now: UnixTime) {
    if let Some(stored) = &view.stored {
        serve(entry, stored);
    }
    entry.renew_at = view.renew_at.unwrap_or_default();
    entry.next = match (view.decision, &view.waiting) {
        (Decision::Wait(until), _) => {
            let advice = view
                .state
                .advice
                .as_ref()
                .and_then(|advice| advice.next_fetch);
            let soonest = UnixTime(now.0.saturating_add(LOOK_PAUSE));
            advice.map_or(until, |fetch| until.min(fetch.max(soonest)))
        }
        (Decision::Renew(_), waiting) => {
            // Another CA, another set of names, a key that others know: due, whatever its dates.
            entry.renew_at = entry.renew_at.min(now);
            waiting.as_ref().map_or(now, |waiting| waiting.until)
        }
    };
}

fn serve(entry: &mut Entry, stored: &Stored) {
    entry.generation = stored.generation;
    entry.not_before = stored.bundle.not_before();
    entry.not_after = stored.bundle.not_after();
}

fn tell(host: &Host, ended: &Ended, out: Output<'_>) {
    let text = match ended {
        Ended::Issued(text) | Ended::Rests(text) => text.clone(),
        Ended::Unproven(detail) => format!("nothing is ordered: {detail}"),
        Ended::Failed(error) => format!("failed: {error}"),
    };
    if let Err(error) = writeln!(out, "{host}: {text}") {
        tracing::debug!(%error, "nobody reads what came of it");
    }
}

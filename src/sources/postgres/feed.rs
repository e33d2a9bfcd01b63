//! Keeps what is known true: connects, listens, reads all, follows; and begins again when the connection ends.
//!
//! Two connections: one that listens and reads single hosts, which stays, and one for each reading of all rows, so that a
//! change need not wait until a million rows have been read. What changes while all is being read is read once more when the
//! new table is put into service.

use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::Client;

use super::super::saved::Saved;
use super::error::FeedError;
use super::known::Known;
use super::mail::{CHECK, Mail, Waiting};
use super::pause::{Pauses, random};
use super::read::{Loaded, connect, drive, listen};
use super::select::Select;
use crate::clock::UnixTime;
use crate::config::Postgres;
use crate::host::Host;

/// Time without listening after it was found that nothing arrives.
const DEAF: Duration = Duration::from_secs(600);
/// Time from a change to its saving, so that what comes together is saved together.
const GATHER: Duration = Duration::from_secs(1);
/// Shortest time between two savings; longer, if one takes long.
const SAVE: Duration = Duration::from_secs(10);
/// A moment after midnight, for clocks are not exact.
const AFTER_MIDNIGHT: Duration = Duration::from_secs(1);

/// What keeps one source true.
pub(super) struct Feed {
    pub(super) known: Arc<Known>,
    pub(super) settings: Postgres,
    pub(super) select: Select,
    pub(super) bases: Vec<Host>,
    saved: Saved,
}

impl Feed {
    pub(super) fn new(
        known: Arc<Known>,
        settings: &Postgres,
        select: Select,
        bases: &[Host],
        saved: Saved,
    ) -> Self {
        Self {
            known,
            settings: settings.clone(),
            select,
            bases: bases.to_vec(),
            saved,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        tokio::join!(self.keep_true(), self.keep_saved());
    }

    /// Saves what has changed, a moment later and not too often.
    async fn keep_saved(&self) {
        let mut well = true;
        loop {
            self.known.changed.notified().await;
            sleep(GATHER).await;
            let began = Instant::now();
            let (known, saved) = (Arc::clone(&self.known), self.saved.clone());
            let at = UnixTime::now();
            let saving =
                tokio::task::spawn_blocking(move || saved.save(at, |visit| known.live.each(visit)));
            match saving.await {
                Ok(Ok(_rows)) => well = true,
                Ok(Err(error)) => {
                    if std::mem::take(&mut well) {
                        tracing::warn!("{error}");
                    }
                }
                Err(_panic) => self.known.failed(&FeedError::Build),
            }
            sleep(SAVE.max(began.elapsed() * 20)).await;
        }
    }

    async fn keep_true(&self) {
        let mut pauses = Pauses::default();
        let mut deaf_until = None;
        loop {
            let listens = !self.settings.listen.is_empty()
                && deaf_until.is_none_or(|until| Instant::now() >= until);
            let began = Instant::now();
            let Err(end) = if listens {
                self.follow().await
            } else {
                self.poll(deaf_until).await
            };
            match end {
                End::Deaf => {
                    tracing::warn!(
                        "notifications of the database do not arrive; it is asked every {} instead\n  hint: PgBouncer does not \
                         pass them on: name the server itself in `dsn_file`, or set `listen = \"\"`",
                        crate::units::format_duration(self.settings.poll),
                    );
                    deaf_until = Some(Instant::now() + DEAF);
                    continue;
                }
                End::Hearing => {
                    deaf_until = None;
                    continue;
                }
                End::Failed(error) => self.known.failed(&error),
            }
            tokio::select! {
                () = sleep(pauses.after(began.elapsed())) => {}
                () = self.known.asked.notified() => {}
            }
        }
    }

    /// Listens, and reads what is said to have changed.
    async fn follow(&self) -> Result<Infallible, End> {
        let (client, mut wire) = connect(&self.settings.dsn).await?;
        let mail = Mail::new(random());
        tokio::select! {
            biased;
            error = drive(&mut wire, Some(&mail)) => Err(error.into()),
            end = self.act(&client, &mail) => end,
        }
    }

    async fn act(&self, client: &Client, mail: &Mail) -> Result<Infallible, End> {
        listen(client, &self.settings.listen).await?;
        let mut digest = None;
        // Hosts that have been read since the reading of all rows began.
        let mut since = HashSet::new();
        let mut again = false;
        let mut due = Instant::now();
        let mut loading: OptionFuture<Pin<Box<dyn Future<Output = _> + Send>>> = None.into();
        let mut is_loading = false;
        let mut checking: OptionFuture<_> = Some(Box::pin(timeout(CHECK, mail.heard()))).into();
        let mut is_checking = false;
        loop {
            tokio::select! {
                Some(loaded) = &mut loading, if is_loading => {
                    is_loading = false;
                    loading = None.into();
                    let loaded: Loaded = match loaded {
                        Err(error @ FeedError::MassDelete { .. }) => {
                            self.known.failed(&error);
                            due = Instant::now() + self.settings.resync;
                            continue;
                        }
                        other => other?,
                    };
                    let changes = self.read_some(client, since.drain().collect()).await?;
                    if let Some(built) = loaded.built {
                        self.known.counts().loads.fetch_add(1, Relaxed);
                        self.known.counts().bad_rows.store(built.bad, Relaxed);
                        self.known.live.replace_with(built.table, changes);
                        self.known.changed.notify_one();
                    }
                    self.known.is_true_now();
                    if digest.is_none() {
                        is_checking = true;
                        checking = Some(Box::pin(timeout(CHECK, mail.heard()))).into();
                    }
                    digest = Some(loaded.digest);
                    let pause = pause(self.settings.resync, loaded.to_midnight);
                    due = if std::mem::take(&mut again) {
                        Instant::now()
                    } else {
                        Instant::now() + pause
                    };
                }
                waiting = either(mail, &self.known.again) => {
                    if waiting.all {
                        due = Instant::now();
                        again = is_loading;
                    }
                    let hosts: Vec<_> = waiting.hosts.into_iter().collect();
                    if is_loading {
                        since.extend(hosts.iter().cloned());
                    }
                    if self.known.is_loaded() {
                        self.apply(client, hosts).await?;
                    }
                }
                Some(heard) = &mut checking, if is_checking => {
                    is_checking = false;
                    checking = None.into();
                    if heard.is_err() {
                        return Err(End::Deaf);
                    }
                }
                () = sleep_until(due), if !is_loading => {
                    is_loading = true;
                    since.clear();
                    let before = digest.clone();
                    let check = digest.is_none().then(|| mail.check().to_owned());
                    loading = Some(Box::pin(self.load(before, check)) as Pin<Box<_>>).into();
                }
                () = self.known.asked.notified() => {
                    digest = None;
                    due = Instant::now();
                    again = is_loading;
                }
            }
        }
    }

    /// Reads all rows now and then, without listening. Ends at `until`, to try listening again.
    async fn poll(&self, until: Option<Instant>) -> Result<Infallible, End> {
        let mut digest = None;
        loop {
            let mut next = self.settings.poll;
            match self.load(digest.clone(), None).await {
                Ok(loaded) => {
                    next = pause(next, loaded.to_midnight);
                    if let Some(built) = loaded.built {
                        self.known.counts().loads.fetch_add(1, Relaxed);
                        self.known.counts().bad_rows.store(built.bad, Relaxed);
                        self.known.live.replace(built.table);
                        self.known.changed.notify_one();
                    }
                    self.known.is_true_now();
                    digest = Some(loaded.digest);
                }
                Err(error @ FeedError::MassDelete { .. }) => self.known.failed(&error),
                Err(error) => return Err(error.into()),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(End::Hearing);
            }
            tokio::select! {
                () = sleep(next) => {}
                () = self.known.asked.notified() => digest = None,
                _again = self.known.again.take() => digest = None,
            }
        }
    }

    async fn apply(&self, client: &Client, hosts: Vec<String>) -> Result<(), FeedError> {
        let count = u64::try_from(hosts.len()).unwrap_or(u64::MAX);
        let changes = self.read_some(client, hosts).await?;
        if self.known.live.apply(changes) {
            let known = Arc::clone(&self.known);
            // Not waited for: what comes meanwhile is kept.
            drop(tokio::task::spawn_blocking(move || known.pack()));
        }
        self.known.counts().changes.fetch_add(count, Relaxed);
        self.known.changed.notify_one();
        self.known.has_answered();
        Ok(())
    }
}

/// What has to be read again, whoever says so.
async fn either(mail: &Mail, again: &Mail) -> Waiting {
    tokio::select! {
        waiting = mail.take() => waiting,
        waiting = again.take() => waiting,
    }
}

/// Why a way of keeping true has ended.
enum End {
    /// Nothing is heard of the database.
    Deaf,
    /// It is time to listen again.
    Hearing,
    /// It has failed.
    Failed(FeedError),
}

impl<E: Into<FeedError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Time to the next comparison: states may depend on the date, and nothing tells of midnight.
fn pause(longest: Duration, to_midnight: Duration) -> Duration {
    longest.min(to_midnight + AFTER_MIDNIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_comes_before_a_later_comparison() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(seconds(300), seconds(7)), seconds(8));
        assert_eq!(pause(seconds(300), seconds(80_000)), seconds(300));
    }
}

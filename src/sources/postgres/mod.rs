//! `source = "postgres"`: the tenants in the app's own database, true within a moment.
//!
//! With `mode = "preload"` all of them are in memory. Every row is read at the start; from then on triggers tell which hosts have changed (`LISTEN`), and each is read again.
//! Nothing that a client sends leads to a query. From time to time, and after every new connection, all rows are read and
//! compared: what was missed while away is found then. Where notifications cannot come (PgBouncer), it asks every `poll`.
//!
//! When the database is away, what was known last holds. Until something is known at all, nobody is called unknown: the
//! answer is "cannot be known now". A comparison after which more than half of the tenants would be gone is refused, because
//! an empty table is more often a mistake than the truth.
//!
//! With `mode = "lookup"` one host at a time is asked for (`lookup`), for tables that are too large to be held.
//!
//! It only reads, by a role that needs the named columns and nothing else.

mod dsn;
mod error;
mod feed;
mod known;
mod load;
mod lookup;
mod mail;
mod pause;
mod read;
mod select;
mod setup;
mod spelling;
mod tls;

use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

use self::dsn::Dsn;
use self::feed::Feed;
use self::known::Known;
use self::lookup::Lookups;
use self::select::Select;
use super::saved::Saved;
use super::{Opened, Place};
use crate::config::{Postgres, SecretError};
use crate::host::Host;
use crate::tenant::Tenant;
use crate::tenant::directory::{Answer, Directory, Health};

pub use self::dsn::DsnError;
pub use self::setup::script;
pub use self::tls::TlsError;

/// Opens the source. Does not connect.
///
/// # Errors
/// The connection string is of no use.
pub(super) fn open(settings: &Postgres, place: &Place<'_>) -> Result<Opened, DsnError> {
    let database = match Dsn::read(&settings.dsn) {
        // Who checks a configuration from a shell has no credentials of systemd's; the feed will say so if it lacks them.
        Ok(dsn) => dsn.config.get_dbname().map(str::to_owned),
        Err(DsnError::File(SecretError::NoDirectory { .. })) => None,
        Err(error) => return Err(error),
    };
    let select = Select::new(settings);
    if let Some(answers) = settings.lookup() {
        let lookups = Lookups::new(settings, select, place.bases);
        return Ok(super::lookup::open("postgres", answers, lookups));
    }
    let known = Arc::new(Known::new(place.bases, settings.max_stale));
    let folder = settings.snapshot.clone();
    let folder = folder.unwrap_or_else(|| place.state_dir.join("tenants"));
    let saved = Saved::new(
        &folder,
        "postgres",
        &question(&select, database, place.bases),
    );
    known.restore(&saved, place.bases);
    let end = CancellationToken::new();
    let feed = Feed::new(Arc::clone(&known), settings, select, place.bases, saved);
    let ended = end.clone();
    let work = Box::pin(feed.run());
    Ok(Opened {
        directory: Arc::new(PostgresDirectory {
            known,
            bases: place.bases.to_vec(),
            _end: end.drop_guard(),
        }),
        task: Some(Box::pin(async move {
            ended.run_until_cancelled_owned(work).await;
        })),
    })
}

/// What the saved rows are the answer to. The server's address is no part of it: it changes when another one takes over, which
/// is when they are needed.
fn question(select: &Select, database: Option<String>, bases: &[Host]) -> String {
    let bases: Vec<_> = bases.iter().map(Host::as_str).collect();
    let database = database.unwrap_or_default();
    format!("{database}\n{}\n{}", bases.join(" "), select.all)
}

/// What is known of the database's tenants.
#[derive(Debug)]
struct PostgresDirectory {
    known: Arc<Known>,
    bases: Vec<Host>,
    /// Ends the feed when nobody has the directory any more.
    _end: DropGuard,
}

impl Directory for PostgresDirectory {
    fn by_host(&self, host: &Host) -> Answer {
        self.known.answer(host)
    }

    fn custom_hosts(&self, visit: &mut dyn FnMut(&Host)) {
        self.known.live.custom_hosts(visit);
    }

    fn len(&self) -> Option<usize> {
        self.known.len()
    }

    fn source(&self) -> &'static str {
        "postgres"
    }

    fn trouble(&self) -> Option<String> {
        self.known.trouble()
    }

    fn each(&self, visit: &mut dyn FnMut(&Host, &Tenant) -> bool) {
        let mut more = true;
        self.known.live.each(|host, tenant| {
            more = more && visit(host, tenant);
        });
    }

    fn health(&self) -> Vec<Health> {
        vec![self.known.health(self.source())]
    }

    /// Reads it again: there is nothing that could be asked for at the next request.
    fn forget(&self, host: Option<&Host>) -> bool {
        self.known.read_again(host, &self.bases);
        true
    }

    fn resync(&self, force: bool) -> bool {
        self.known.ask(force);
        true
    }
}

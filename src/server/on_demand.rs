//! Custom domains in the proxy: which names may have a certificate, what the engine is asked for, and the threads that read
//! certificates and follow the register.
//!
//! The directory allows a name ([`may_have`]) when it is wanted, by a client or by its row; from then on the register says
//! what there is, and no handshake asks the directory. All work with files is done here, in two threads of their own, one for
//! the certificates that handshakes wait for and one for everything else. Nothing here talks to a CA.

pub mod explain;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::cert::lineage::Lineage;
use crate::cert::live::{CertName, Live, Served};
use crate::cert::on_demand::follower::{Change, Follower, number_of};
use crate::cert::on_demand::register::{Standing, Totals};
use crate::cert::on_demand::spool::{Spool, Wish};
use crate::cert::on_demand::{Ends, OnDemand};
use crate::cert::store::Store;
use crate::cert::store::file::FileStore;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::host::Host;
use crate::snapshot::{Current, Snapshot};
use crate::tenant::directory::Answer;
use crate::tenant::id::State;

/// How often the register is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the directory's custom hosts are walked if nothing tells of a change.
const WALK: Duration = Duration::from_secs(10);
/// A name that was asked for is asked for again, if the engine has not taken it up, after this.
const AGAIN: Duration = Duration::from_secs(600);
/// Wishes that the engine has not taken up; more wait here for the next walk.
const MOST_WISHES: usize = 1000;
/// Unknown names of which is remembered that the directory was asked.
const MOST_NOBODY: usize = 10_000;
/// How long.
const NOBODY: Duration = Duration::from_secs(60);
/// Known names whose row is looked for in one tick.
const ROWS: usize = 20_000;
/// Of them, those for which the directory's source has to be asked.
const QUESTIONS: usize = 5;
/// Longest wait for the directory's source.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the directory says of a certificate for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// A row names exactly this host: this tenant's.
    Tenant(String),
    /// There is no such row, or it is not to be served.
    No,
    /// Its source has to be asked.
    Ask,
    /// It cannot be known now.
    Unknown,
}

/// Whether the directory lets this host have a certificate. The only place where rows become certificates.
#[must_use]
pub fn may_have(snapshot: &Snapshot, host: &Host) -> Allowed {
    judge(snapshot.resolver.directory().by_host(host))
}

fn judge(answer: Answer) -> Allowed {
    match answer {
        Answer::Tenant(tenant) => match tenant.state {
            State::Deleted => Allowed::No,
            // Not yet: the owner of the app has not let it in.
            State::Pending => Allowed::Unknown,
            State::Active | State::Suspended | State::Maintenance | State::Moved => {
                Allowed::Tenant(tenant.id.to_string())
            }
        },
        Answer::Nobody => Allowed::No,
        Answer::Ask => Allowed::Ask,
        Answer::Unavailable => Allowed::Unknown,
    }
}

/// What is counted here, for metrics.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// What the register counts.
    pub totals: Totals,
    /// When the orders of the last hour were made.
    pub orders: VecDeque<UnixTime>,
    /// Names asked of the engine since the start.
    pub wished: u64,
    /// Names that found no room.
    pub refused: u64,
}

/// The numbers, shared with the admin listener; held for a copy only.
pub type Counters = Arc<Mutex<Counted>>;

/// Reads the register and puts custom domains into service; to be called before the first handshake. None if they are off.
pub fn begin(config: &Config, live: &Live) -> Option<Start> {
    if !config.on_demand.enabled {
        return None;
    }
    let cache = usize::try_from(config.on_demand.cache).unwrap_or(usize::MAX);
    let (on_demand, ends) = OnDemand::new(cache);
    let mut names = Names {
        follower: Follower::new(&config.state_dir),
        unseen: None,
        counters: Counters::default(),
    };
    names.follow(&on_demand);
    tracing::info!(names = on_demand.shelf().len(), "custom domains are known");
    live.set_on_demand(on_demand);
    Some(Start { ends, names })
}

/// What waits for its threads.
#[derive(Debug)]
pub struct Start {
    ends: Ends,
    names: Names,
}

impl Start {
    /// The numbers.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Arc::clone(&self.names.counters)
    }

    /// Starts the threads. They end with the process, or soon after `stop`.
    ///
    /// # Errors
    /// A thread cannot be made.
    pub fn run(
        self,
        config: &Config,
        live: &Arc<Live>,
        current: &Arc<Current>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let store = FileStore::domains(&config.state_dir);
        let loader = self.ends.loader;
        let reader = thread::Builder::new().name("domains-read".to_owned());
        // Nobody waits for it.
        drop(reader.spawn(move || loader.run(|host| read(&store, host)))?);
        let desk = Desk {
            live: Arc::clone(live),
            current: Arc::clone(current),
            covered: covered(config),
            ahead: config.on_demand.ahead,
            most: usize::try_from(config.on_demand.names).unwrap_or(usize::MAX),
            spool: Spool::new(&config.state_dir),
            names: self.names,
            asked: HashMap::new(),
            nobody: HashMap::new(),
            rows: Rows::default(),
            walked: None,
        };
        let wishes = self.ends.wishes;
        let watcher = thread::Builder::new().name("domains".to_owned());
        drop(watcher.spawn(move || desk.run(&wishes, &stop))?);
        Ok(())
    }
}

/// The names that the configuration covers: they never get another certificate.
fn covered(config: &Config) -> Vec<CertName> {
    let lineages = Lineage::all(config).into_iter();
    lineages.flat_map(|lineage| lineage.names).collect()
}

fn read(store: &FileStore, host: &Host) -> Result<Served, String> {
    match store.load(host) {
        Ok(Some(stored)) => {
            let generation = stored.generation;
            Ok(stored.bundle.into_served(host.as_str(), generation))
        }
        Ok(None) => Err("there is none in the store".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Follows the register.
#[derive(Debug)]
struct Names {
    follower: Follower,
    /// While a new register is read: the names of the old one that have not come again.
    unseen: Option<HashSet<Host>>,
    counters: Counters,
}

impl Names {
    fn follow(&mut self, on_demand: &OnDemand) {
        let shelf = on_demand.shelf();
        let (unseen, counters) = (&mut self.unseen, &self.counters);
        let count = |change: &dyn Fn(&mut Counted)| {
            change(&mut counters.lock().unwrap_or_else(PoisonError::into_inner));
        };
        let looked = self.follower.look(&mut |change| match change {
            Change::Anew => {
                *unseen = Some(shelf.names(|_| true).into_iter().collect());
                count(&|counted| counted.orders.clear());
            }
            Change::Is(host, known) => {
                if let Some(unseen) = unseen {
                    unseen.remove(&host);
                }
                let before = shelf.note(&host, known);
                if before.is_some_and(|before| before.generation != known.generation) {
                    on_demand.renew(&host);
                }
            }
            Change::Removed(host) => shelf.forget(&host),
            Change::Order(at) => count(&|counted| counted.orders.push_back(at)),
            Change::Refund => count(&|counted| {
                // Which of them it was makes no difference within the hour.
                counted.orders.pop_back();
            }),
            Change::Totals(totals) => count(&|counted| counted.totals = totals),
        });
        match looked {
            Ok(()) => {
                for host in unseen.take().into_iter().flatten() {
                    shelf.forget(&host);
                }
            }
            // What was known stays known.
            Err(error) => {
                tracing::error!(%error, "the register of custom domains cannot be read");
            }
        }
        let hour_ago = UnixTime(UnixTime::now().0.saturating_sub(3600));
        count(&|counted| counted.orders.retain(|at| *at > hour_ago));
    }
}

/// The walk over known names in search of their rows.
#[derive(Debug, Default)]
struct Rows {
    left: Vec<Host>,
    gone: HashSet<Host>,
    /// What was last reported; none before a first whole walk.
    reported: Option<HashSet<Host>>,
}

/// The thread that does everything but read certificates.
struct Desk {
    live: Arc<Live>,
    current: Arc<Current>,
    covered: Vec<CertName>,
    ahead: bool,
    most: usize,
    spool: Spool,
    names: Names,
    /// Wishes that the register does not have yet.
    asked: HashMap<Host, Instant>,
    nobody: HashMap<Host, Instant>,
    rows: Rows,
    /// The last walk over the directory: when, of which generation, with how many tenants.
    walked: Option<(Instant, u64, Option<usize>)>,
}

impl Desk {
    fn run(mut self, wishes: &Receiver<Host>, stop: &CancellationToken) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return tracing::error!(%error, "custom domains get no new certificates: no runtime");
            }
        };
        if let Err(error) = self.spool.make() {
            tracing::error!(%error, "custom domains get no new certificates");
        }
        let live = Arc::clone(&self.live);
        let Some(on_demand) = live.on_demand() else {
            return;
        };
        let mut tick = Instant::now();
        while !stop.is_cancelled() {
            match wishes.recv_timeout(TICK.saturating_sub(tick.elapsed())) {
                Ok(host) => self.wanted(on_demand, &runtime, host),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if tick.elapsed() >= TICK {
                self.names.follow(on_demand);
                let shelf = on_demand.shelf();
                self.asked
                    .retain(|host, at| at.elapsed() < AGAIN && shelf.known(host).is_none());
                self.look_for_rows(on_demand, &runtime);
                self.walk(on_demand);
                tick = Instant::now();
            }
        }
    }

    /// A client has asked for a name without a certificate.
    fn wanted(&mut self, on_demand: &OnDemand, runtime: &tokio::runtime::Runtime, host: Host) {
        if on_demand.shelf().known(&host).is_some() {
            return;
        }
        let snapshot = Arc::clone(&self.current.load());
        let allowed = match may_have(&snapshot, &host) {
            Allowed::Ask if self.is_nobody(&host) => Allowed::No,
            Allowed::Ask => ask(runtime, &snapshot, &host),
            known => known,
        };
        match allowed {
            Allowed::Tenant(tenant) => self.wish(on_demand, &host, tenant, true),
            Allowed::No => {
                if self.nobody.len() >= MOST_NOBODY {
                    self.nobody.retain(|_, at| at.elapsed() < NOBODY);
                }
                if self.nobody.len() < MOST_NOBODY {
                    self.nobody.insert(host, Instant::now());
                }
            }
            Allowed::Ask | Allowed::Unknown => {}
        }
    }

    fn is_nobody(&self, host: &Host) -> bool {
        let at = self.nobody.get(host);
        at.is_some_and(|at| at.elapsed() < NOBODY)
    }

    /// Asks the engine for a name, once.
    fn wish(&mut self, on_demand: &OnDemand, host: &Host, tenant: String, asked: bool) {
        let known = on_demand.shelf().known(host);
        let new = known.is_none();
        if known.is_some_and(|known| known.tenant == number_of(&tenant))
            || self.asked.contains_key(host)
            || self.covered.iter().any(|name| name.covers(host))
        {
            return;
        }
        let full = new && on_demand.shelf().len() + self.asked.len() >= self.most;
        if full || self.asked.len() >= MOST_WISHES {
            if full {
                tracing::debug!(domain = %host, most = self.most, "no room for another custom domain");
            }
            let mut counted = self.counted();
            counted.refused = counted.refused.saturating_add(u64::from(full));
            return;
        }
        match self.spool.put(host, &Wish { tenant, asked }) {
            Ok(()) => {
                tracing::info!(domain = %host, asked, "a custom domain wants a certificate");
                self.asked.insert(host.clone(), Instant::now());
                self.counted().wished += 1;
            }
            Err(error) => {
                tracing::error!(domain = %host, %error, "a custom domain cannot be asked for");
            }
        }
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        let counters = &self.names.counters;
        counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the names of rows that nobody has asked for yet, and for those whose tenant has changed.
    fn walk(&mut self, on_demand: &OnDemand) {
        let snapshot = Arc::clone(&self.current.load());
        let directory = snapshot.resolver.directory();
        let (generation, tenants) = (snapshot.generation, directory.len());
        if let Some((at, before, many)) = self.walked
            && at.elapsed() < WALK
            && (before, many) == (generation, tenants)
        {
            return;
        }
        let shelf = on_demand.shelf();
        let mut wanted = Vec::new();
        let mut more = false;
        directory.custom_hosts(&mut |host| {
            let known = shelf.known(host);
            if (known.is_none() && !self.ahead) || self.asked.contains_key(host) {
                return;
            }
            if let Allowed::Tenant(tenant) = may_have(&snapshot, host)
                && known.is_none_or(|known| known.tenant != number_of(&tenant))
            {
                if wanted.len() < MOST_WISHES {
                    wanted.push((host.clone(), tenant));
                } else {
                    more = true;
                }
            }
        });
        for (host, tenant) in wanted {
            self.wish(on_demand, &host, tenant, false);
        }
        self.walked = (!more).then(|| (Instant::now(), generation, tenants));
    }

    /// Looks which known names have lost their row, some in each tick, and reports a whole walk.
    fn look_for_rows(&mut self, on_demand: &OnDemand, runtime: &tokio::runtime::Runtime) {
        let snapshot = Arc::clone(&self.current.load());
        if self.rows.left.is_empty() {
            let shelf = on_demand.shelf();
            if self.rows.reported.is_none() {
                // What an earlier process has said stays said until the directory says otherwise.
                let is_gone = |host: &Host| {
                    let known = shelf.known(host);
                    known.is_some_and(|known| known.standing == Standing::Gone)
                };
                self.rows.gone = shelf.names(|_| true).into_iter().filter(is_gone).collect();
            }
            self.rows.left = shelf.names(|_| true);
        }
        let mut questions = QUESTIONS;
        for _ in 0..ROWS {
            let Some(host) = self.rows.left.pop() else {
                break;
            };
            let allowed = match may_have(&snapshot, &host) {
                Allowed::Ask if questions == 0 => {
                    self.rows.left.push(host);
                    break;
                }
                Allowed::Ask => {
                    questions -= 1;
                    ask(runtime, &snapshot, &host)
                }
                known => known,
            };
            match allowed {
                Allowed::Tenant(_) => {
                    self.rows.gone.remove(&host);
                }
                Allowed::No => {
                    self.rows.gone.insert(host);
                }
                // Whatever is not known changes nothing.
                Allowed::Ask | Allowed::Unknown => {}
            }
        }
        if !self.rows.left.is_empty() {
            return;
        }
        let shelf = on_demand.shelf();
        self.rows.gone.retain(|host| shelf.known(host).is_some());
        let nothing = self.rows.reported.is_none() && self.rows.gone.is_empty() && shelf.is_empty();
        if nothing || self.rows.reported.as_ref() == Some(&self.rows.gone) {
            return;
        }
        let gone: Vec<Host> = self.rows.gone.iter().cloned().collect();
        match self.spool.put_gone(&gone, UnixTime::now()) {
            Ok(()) => self.rows.reported = Some(self.rows.gone.clone()),
            Err(error) => tracing::error!(%error, "cannot say which custom domains have no row"),
        }
    }
}

/// Asks the source of the directory.
fn ask(runtime: &tokio::runtime::Runtime, snapshot: &Snapshot, host: &Host) -> Allowed {
    let asking = snapshot.resolver.directory().ask(host);
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await });
    match answer.map(judge) {
        Ok(Allowed::Ask) | Err(_) => Allowed::Unknown,
        Ok(known) => known,
    }
}

#[cfg(test)]
mod tests;

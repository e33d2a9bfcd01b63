//! What the proxy asks the engine for, by what the directory says.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::cert::on_demand::register::{Entry, Register};
use crate::tenant::directory::{Asking, Directory};
use crate::tenant::id::{Tenant, TenantId};
use crate::tls::policy::Policies;
use crate::upstream::Registry;

/// Says what the test wants.
#[derive(Debug, Default)]
struct Says {
    rows: Mutex<HashMap<Host, Answer>>,
    /// For those of which there is nothing: whether the source has to be asked, or is down.
    else_says: Mutex<Option<Answer>>,
    asked: AtomicUsize,
}

impl Says {
    fn say(&self, host: &str, tenant: Option<(&str, State)>) {
        let mut rows = self.rows.lock().unwrap();
        match tenant {
            None => rows.remove(&name(host)),
            Some((id, state)) => {
                let tenant = Tenant::new(TenantId::new(id).unwrap(), state);
                rows.insert(name(host), Answer::Tenant(Arc::new(tenant)))
            }
        };
    }

    fn known(&self, host: &Host) -> Answer {
        let known = self.rows.lock().unwrap().get(host).cloned();
        known.unwrap_or(Answer::Nobody)
    }
}

impl Directory for Says {
    fn by_host(&self, host: &Host) -> Answer {
        let other = self.else_says.lock().unwrap().clone();
        other.unwrap_or_else(|| self.known(host))
    }

    fn ask(&self, host: &Host) -> Asking {
        self.asked.fetch_add(1, SeqCst);
        Box::pin(std::future::ready(self.known(host)))
    }

    fn custom_hosts(&self, visit: &mut dyn FnMut(&Host)) {
        let rows: Vec<Host> = self.rows.lock().unwrap().keys().cloned().collect();
        rows.iter().for_each(visit);
    }

    fn len(&self) -> Option<usize> {
        Some(self.rows.lock().unwrap().len())
    }

    fn source(&self) -> &'static str {
        "test"
    }
}

fn name(text: &str) -> Host {
    Host::parse(text).unwrap()
}

struct Bench {
    state: tempfile::TempDir,
    says: Arc<Says>,
    live: Arc<Live>,
    desk: Desk,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::for_domains(vec![name("example.test")]);
        state.path().clone_into(&mut config.state_dir);
        config.on_demand.enabled = true;
        change(&mut config);
        let live = Arc::new(Live::default());
        let says = Arc::new(Says::default());
        let tls = Arc::new(Policies::build(&config, &live, None).unwrap());
        let directory = Arc::clone(&says) as Arc<dyn Directory>;
        let registry = Registry::default();
        let snapshot = Snapshot::build(&config, 1, "test", &registry, tls, directory).unwrap();
        let start = begin(&config, &live).unwrap();
        let desk = Desk {
            live: Arc::clone(&live),
            current: Arc::new(Current::new(snapshot)),
            covered: covered(&config),
            ahead: config.on_demand.ahead,
            most: usize::try_from(config.on_demand.names).unwrap(),
            spool: Spool::new(&config.state_dir),
            names: start.names,
            asked: HashMap::new(),
            nobody: HashMap::new(),
            rows: Rows::default(),
            walked: None,
        };
        desk.spool.make().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            state,
            says,
            live,
            desk,
            runtime,
        }
    }

    fn on_demand(&self) -> &OnDemand {
        self.live.on_demand().unwrap()
    }

    /// A client comes for a name.
    fn client(&mut self, host: &str) {
        let live = Arc::clone(&self.live);
        let on_demand = live.on_demand().unwrap();
        self.desk.wanted(on_demand, &self.runtime, name(host));
    }

    /// One tick of the thread.
    fn tick(&mut self) {
        let live = Arc::clone(&self.live);
        let on_demand = live.on_demand().unwrap();
        self.desk.names.follow(on_demand);
        self.desk.look_for_rows(on_demand, &self.runtime);
        self.desk.walk(on_demand);
    }

    fn wishes(&self) -> Vec<(String, String, bool)> {
        let mut all: Vec<_> = self
            .desk
            .spool
            .wishes(10_000)
            .unwrap()
            .into_iter()
            .map(|(host, wish)| (host.to_string(), wish.tenant, wish.asked))
            .collect();
        all.sort();
        all
    }

    fn gone(&self) -> Option<Vec<String>> {
        let (_, hosts) = self.desk.spool.gone().unwrap()?;
        let mut hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        hosts.sort();
        Some(hosts)
    }

    fn register(&self, hosts: &[(&str, &str)]) -> Register {
        let mut register = Register::open(self.state.path()).unwrap().unwrap();
        for (host, tenant) in hosts {
            let entry = Entry {
                tenant: (*tenant).to_owned(),
                generation: 1,
                ..Entry::default()
            };
            register.put(&name(host), entry).unwrap();
        }
        register
    }
}

fn wish(host: &str, tenant: &str, asked: bool) -> (String, String, bool) {
    (host.to_owned(), tenant.to_owned(), asked)
}

#[test]
fn only_a_row_that_is_served_allows_a_name() {
    let mut bench = Bench::new(|config| config.on_demand.ahead = false);
    for (host, state) in [
        ("active.test", State::Active),
        ("suspended.test", State::Suspended),
        ("maintenance.test", State::Maintenance),
        ("moved.test", State::Moved),
        ("pending.test", State::Pending),
        ("deleted.test", State::Deleted),
        ("shop.example.test", State::Active),
    ] {
        bench.says.say(host, Some(("acme", state)));
        bench.client(host);
        bench.client(host);
    }
    bench.client("nobody.test");
    let expected = [
        "active.test",
        "maintenance.test",
        "moved.test",
        "suspended.test",
    ];
    assert_eq!(
        bench.wishes(),
        expected.map(|host| wish(host, "acme", true))
    );
    bench.tick();
    assert_eq!(bench.wishes().len(), 4, "not ahead");
}

#[test]
fn a_list_is_asked_for_ahead_up_to_the_room_there_is() {
    let mut bench = Bench::new(|config| config.on_demand.names = 1500);
    for number in 0..2000 {
        let host = format!("h{number}.test");
        bench.says.say(&host, Some(("acme", State::Active)));
    }
    bench.tick();
    assert_eq!(bench.wishes().len(), MOST_WISHES, "a part at a time");
    // The engine takes them up.
    let taken = bench.wishes();
    let hosts: Vec<_> = taken
        .iter()
        .map(|(host, tenant, _)| (host.as_str(), tenant.as_str()))
        .collect();
    let register = bench.register(&hosts);
    for (host, _, _) in &taken {
        bench.desk.spool.remove(&name(host)).unwrap();
    }
    bench.desk.asked.clear();
    bench.tick();
    assert_eq!(bench.wishes().len(), 500, "1500 in all");
    assert_eq!(bench.desk.counted().wished, 1500);
    drop(register);
}

#[test]
fn a_directory_that_is_down_changes_nothing() {
    let mut bench = Bench::new(|_| {});
    bench.says.say("a.test", Some(("acme", State::Active)));
    let mut register = bench.register(&[("a.test", "acme"), ("b.test", "acme")]);
    let before = Entry {
        generation: 1,
        gone: Some(UnixTime(7)),
        ..Entry::default()
    };
    register.put(&name("z.test"), before).unwrap();
    *bench.says.else_says.lock().unwrap() = Some(Answer::Unavailable);
    for _ in 0..3 {
        bench.tick();
        bench.client("c.test");
    }
    assert!(bench.on_demand().is_stored(&name("b.test")), "still served");
    assert_eq!(bench.wishes(), []);
    let said = Some(vec!["z.test".to_owned()]);
    assert_eq!(
        bench.gone(),
        said,
        "what an earlier process has said, no more"
    );
    bench.says.say("z.test", Some(("zoe", State::Active)));
    *bench.says.else_says.lock().unwrap() = None;
    bench.tick();
    assert_eq!(bench.gone(), Some(vec!["b.test".to_owned()]));
    assert!(bench.on_demand().is_stored(&name("b.test")), "still served");
    // Down again: what was said stays said.
    *bench.says.else_says.lock().unwrap() = Some(Answer::Unavailable);
    bench.tick();
    assert_eq!(bench.gone(), Some(vec!["b.test".to_owned()]));
    *bench.says.else_says.lock().unwrap() = None;
    bench.says.say("b.test", Some(("globex", State::Active)));
    bench.tick();
    assert_eq!(bench.gone(), Some(Vec::new()));
    let wishes = [
        wish("b.test", "globex", false),
        wish("z.test", "zoe", false),
    ];
    assert_eq!(bench.wishes(), wishes, "other tenants'");
    drop(register);
}

#[test]
fn a_source_that_has_to_be_asked_is_asked_once_for_unknown_names() {
    let mut bench = Bench::new(|_| {});
    *bench.says.else_says.lock().unwrap() = Some(Answer::Ask);
    bench.says.say("a.test", Some(("acme", State::Active)));
    for _ in 0..50 {
        bench.client("a.test");
        bench.client("nobody.test");
    }
    assert_eq!(bench.wishes(), [wish("a.test", "acme", true)]);
    let asked = bench.says.asked.load(SeqCst);
    assert!(
        asked <= 51,
        "{asked}: the one name is asked for again until it is known"
    );
    for number in 0..3 * MOST_NOBODY {
        bench.client(&format!("h{number}.test"));
    }
    assert_eq!(bench.desk.nobody.len(), MOST_NOBODY, "bounded");
}

#[test]
fn a_register_that_was_written_anew_forgets_what_it_has_not() {
    let mut bench = Bench::new(|_| {});
    let mut register = bench.register(&[("a.test", "acme"), ("b.test", "acme")]);
    bench.tick();
    assert_eq!(bench.on_demand().shelf().len(), 2);
    register.remove(&name("a.test")).unwrap();
    for _ in 0..1100 {
        register.count(false).unwrap();
    }
    register.tidy(UnixTime(0)).unwrap();
    bench.tick();
    assert_eq!(bench.on_demand().shelf().len(), 1);
    assert!(bench.on_demand().is_stored(&name("b.test")));
    assert_eq!(bench.desk.counted().totals.failed, 1100);
}

//! The cache against a source that can be changed, broken and made to wait; the clock is paused.

mod history;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use super::*;
use crate::tenant::id::{State, TenantId};

/// A source whose rows can be changed, that can be broken, and that can be made to wait.
#[derive(Clone)]
struct Fake(Arc<Inside>);

struct Inside {
    rows: Mutex<HashMap<Host, String>>,
    down: Mutex<bool>,
    asked: AtomicUsize,
    gate: Semaphore,
    tags: Mutex<Vec<Option<String>>>,
    max_age: Mutex<Option<Duration>>,
}

impl Fake {
    fn new() -> Self {
        Self(Arc::new(Inside {
            rows: Mutex::default(),
            down: Mutex::default(),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            tags: Mutex::default(),
            max_age: Mutex::default(),
        }))
    }

    fn put(&self, name: &str, id: &str) {
        self.0
            .rows
            .lock()
            .unwrap()
            .insert(host(name), id.to_owned());
    }

    fn remove(&self, name: &str) {
        self.0.rows.lock().unwrap().remove(&host(name));
    }

    fn set_down(&self, down: bool) {
        *self.0.down.lock().unwrap() = down;
    }

    fn asked(&self) -> usize {
        self.0.asked.load(SeqCst)
    }

    /// Questions wait until as many permits are added to the gate.
    fn close(&self) {
        self.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    }
}

impl Source for Fake {
    type Error = &'static str;

    async fn ask(&self, host: &Host, tag: Option<&str>) -> Result<Reply, &'static str> {
        self.0.asked.fetch_add(1, SeqCst);
        self.0.tags.lock().unwrap().push(tag.map(str::to_owned));
        // What it is when it is asked, not when the answer arrives.
        let row = self.0.rows.lock().unwrap().get(host).cloned();
        let down = *self.0.down.lock().unwrap();
        self.0.gate.acquire().await.unwrap().forget();
        if down {
            return Err("down");
        }
        let said = match row {
            Some(id) if tag == Some(id.as_str()) => Said::Same,
            Some(id) => Said::Tenant(tenant(&id)),
            None => Said::Nobody,
        };
        let tag = match &said {
            Said::Tenant(tenant) => Some(tenant.id.as_str().into()),
            _ => tag.map(Into::into),
        };
        let max_age = *self.0.max_age.lock().unwrap();
        Ok(Reply { said, tag, max_age })
    }
}

fn host(name: &str) -> Host {
    Host::parse(&format!("{name}.example.com")).unwrap()
}

fn tenant(id: &str) -> Arc<Tenant> {
    Arc::new(Tenant::new(TenantId::new(id).unwrap(), State::Active))
}

fn says(id: &str) -> Answer {
    Answer::Tenant(tenant(id))
}

struct Running {
    lookup: Arc<Lookup>,
    source: Fake,
    task: JoinHandle<()>,
}

#[expect(clippy::disallowed_methods, reason = "the test is the control plane")]
fn running(settings: &Settings) -> Running {
    let source = Fake::new();
    let (lookup, task) = Lookup::new("test", settings, source.clone());
    Running {
        lookup: Arc::new(lookup),
        source,
        task: tokio::spawn(task),
    }
}

impl Running {
    /// As the request path does it.
    async fn get(&self, name: &str) -> Answer {
        match self.lookup.by_host(&host(name)) {
            Answer::Ask => self.lookup.ask(&host(name)).await,
            known => known,
        }
    }

    /// What goes on in the background ends: time passes only when nobody has anything to do.
    async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
    }
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_kept_and_asked_for_again_ahead_of_time() {
    let run = running(&Settings::default());
    run.source.put("acme", "one");
    assert_eq!(run.lookup.by_host(&host("acme")), Answer::Ask);
    assert_eq!(run.lookup.kept(&host("acme")), ("test", Kept::Nothing));
    assert_eq!(run.get("acme").await, says("one"));
    run.source.put("acme", "two");
    advance(seconds(47)).await;
    assert_eq!(run.get("acme").await, says("one"));
    run.settle().await;
    assert_eq!(run.source.asked(), 1);
    advance(seconds(2)).await; // beyond 48 s
    for _ in 0..5 {
        assert_eq!(
            run.lookup.by_host(&host("acme")),
            says("one"),
            "nobody waits"
        );
    }
    run.settle().await;
    assert_eq!(run.source.asked(), 2, "one question for five requests");
    assert_eq!(run.lookup.by_host(&host("acme")), says("two"));
    run.source.put("acme", "three");
    advance(seconds(61)).await;
    assert_eq!(run.lookup.by_host(&host("acme")), Answer::Ask);
    assert_eq!(run.get("acme").await, says("three"));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_requests_for_one_host_are_one_question() {
    let run = running(&Settings::default());
    run.source.put("acme", "one");
    run.source.close();
    let asking: Vec<_> = (0..100).map(|_| run.lookup.ask(&host("acme"))).collect();
    run.source.0.gate.add_permits(100);
    for answer in asking {
        assert_eq!(answer.await, says("one"));
    }
    assert_eq!(run.source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_believed_for_a_short_time() {
    let run = running(&Settings::default());
    assert_eq!(run.get("acme").await, Answer::Nobody);
    run.source.put("acme", "one");
    advance(Duration::from_millis(4900)).await;
    assert_eq!(run.lookup.by_host(&host("acme")), Answer::Nobody);
    assert_eq!(run.lookup.kept(&host("acme")), ("test", Kept::Absent));
    advance(Duration::from_millis(200)).await;
    assert_eq!(run.get("acme").await, says("one"));
    run.source.remove("acme");
    advance(seconds(61)).await;
    assert_eq!(run.get("acme").await, Answer::Nobody, "it is gone");
    assert_eq!(run.source.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn while_the_source_is_down_the_known_are_served_and_others_cannot_be_known() {
    let run = running(&Settings::default());
    run.source.put("acme", "one");
    run.source.put("other", "two");
    assert_eq!(run.get("acme").await, says("one"));
    run.source.set_down(true);
    assert_eq!(run.get("other").await, Answer::Unavailable);
    assert!(run.lookup.trouble().unwrap().contains("down"));
    advance(seconds(90 * 86_400)).await;
    assert_eq!(
        run.lookup.by_host(&host("acme")),
        says("one"),
        "nobody waits for a failure"
    );
    run.settle().await;
    // One try a second, however many requests there are.
    let before = run.source.asked();
    for _ in 0..1000 {
        assert_eq!(run.get("acme").await, says("one"));
    }
    run.settle().await;
    assert_eq!(run.source.asked(), before);
    assert_eq!(run.get("other").await, Answer::Unavailable);
    run.source.set_down(false);
    run.source.put("acme", "three");
    assert_eq!(run.get("other").await, says("two"));
    assert_eq!(run.lookup.trouble(), None);
    advance(seconds(2)).await;
    assert_eq!(run.get("acme").await, says("three"));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_served() {
    let run = running(&Settings {
        max_stale: Some(seconds(600)),
        ..Settings::default()
    });
    run.source.put("acme", "one");
    assert_eq!(run.get("acme").await, says("one"));
    run.source.set_down(true);
    advance(seconds(650)).await;
    assert_eq!(run.get("acme").await, says("one"));
    advance(seconds(11)).await;
    assert_eq!(run.get("acme").await, Answer::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_one_that_is_down() {
    let run = running(&Settings::default());
    run.source.put("acme", "one");
    assert_eq!(run.get("acme").await, says("one"));
    advance(seconds(61)).await;
    run.source.close();
    let began = Instant::now();
    assert_eq!(run.get("acme").await, says("one"));
    assert_eq!(run.get("other").await, Answer::Unavailable);
    // More than can be asked at once: who waits is told before long.
    let many: Vec<_> = (0..90)
        .map(|number| run.lookup.ask(&host(&format!("h{number}"))))
        .collect();
    for answer in many {
        assert_eq!(answer.await, Answer::Unavailable);
    }
    assert!(began.elapsed() <= seconds(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn over_budget_a_host_cannot_be_known_and_a_tenant_stays() {
    let run = running(&Settings::default());
    run.source.put("acme", "one");
    assert_eq!(run.get("acme").await, says("one"));
    advance(seconds(61)).await;
    let mut counts = HashMap::new();
    for number in 0..10_000 {
        let answer = run.get(&format!("random-{number}")).await;
        *counts.entry(format!("{answer:?}")).or_insert(0) += 1;
    }
    assert_eq!(
        counts.get("Nobody"),
        Some(&100),
        "half a second's worth: {counts:?}"
    );
    assert_eq!(counts.get("Unavailable"), Some(&9_900), "{counts:?}");
    assert_eq!(run.source.asked(), 101);
    run.source.put("acme", "two");
    assert_eq!(
        run.get("acme").await,
        says("two"),
        "a flood does not keep changes out"
    );
}

#[tokio::test(start_paused = true)]
async fn random_hosts_do_not_grow_the_memory() {
    let run = running(&Settings {
        lookup_qps: 1_000_000,
        negative_max: 1024,
        positive_max: 1024,
        ..Settings::default()
    });
    for number in 0..20_000 {
        let name = format!("h{number}");
        if number % 2 == 0 {
            run.source.put(&name, &name);
        }
        assert_ne!(run.get(&name).await, Answer::Unavailable);
    }
    let (known, nobody) = run.lookup.memory.cache.sizes();
    assert!(known <= 1024 && nobody <= 1024, "{known} {nobody}");
    assert!(known > 512 && nobody > 512, "{known} {nobody}");
    let mut listed = 0;
    run.lookup.each(&mut |_, _| {
        listed += 1;
        listed < 100
    });
    assert_eq!(listed, 100);
}

#[tokio::test(start_paused = true)]
async fn a_purge_outdoes_answers_to_older_questions() {
    let run = running(&Settings::default());
    run.source.put("acme", "old");
    run.source.close();
    let older = run.lookup.ask(&host("acme"));
    run.settle().await; // the row has been read
    run.source.put("acme", "new");
    assert!(run.lookup.forget(Some(&host("acme"))));
    let newer = run.lookup.ask(&host("acme"));
    run.settle().await;
    run.source.0.gate.add_permits(2);
    assert_eq!(older.await, says("old"), "it was asked for before");
    assert_eq!(newer.await, says("new"));
    assert_eq!(run.lookup.by_host(&host("acme")), says("new"));

    run.source.0.gate.add_permits(100);
    assert_eq!(run.get("nobody").await, Answer::Nobody);
    run.source.put("nobody", "somebody");
    run.source.put("acme", "newest");
    assert!(run.lookup.forget(None));
    assert_eq!(run.get("nobody").await, says("somebody"));
    assert_eq!(run.get("acme").await, says("newest"));
    // With the source down, what was purged is still better than nothing.
    run.source.set_down(true);
    assert!(run.lookup.forget(None));
    assert_eq!(run.get("acme").await, says("newest"));
}

#[tokio::test(start_paused = true)]
async fn the_source_may_say_that_nothing_has_changed_and_how_long_that_is_good() {
    let run = running(&Settings::default());
    run.source.put("acme", "one");
    *run.source.0.max_age.lock().unwrap() = Some(seconds(10));
    assert_eq!(run.get("acme").await, says("one"));
    advance(seconds(11)).await;
    assert_eq!(run.get("acme").await, says("one"));
    let (_, age) = run.lookup.kept(&host("acme"));
    let fresh = Kept::Remembered {
        age: Duration::ZERO,
        fresh: true,
    };
    assert_eq!(age, fresh);
    let tags = run.source.0.tags.lock().unwrap().clone();
    assert_eq!(tags, [None, Some("one".to_owned())]);
    *run.source.0.max_age.lock().unwrap() = Some(Duration::ZERO);
    advance(seconds(11)).await;
    assert_eq!(run.get("acme").await, says("one"));
    let asked = run.source.asked();
    assert_eq!(run.get("acme").await, says("one"));
    assert_eq!(run.source.asked(), asked, "no less than a second");
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_directory_and_no_request_waits_for_a_task_that_has_ended() {
    let run = running(&Settings::default());
    let Running { lookup, task, .. } = run;
    drop(lookup);
    task.await.unwrap();

    let run = running(&Settings::default());
    run.source.close();
    let waits = run.lookup.ask(&host("acme"));
    run.settle().await;
    let queued = run.lookup.ask(&host("other"));
    run.task.abort();
    assert_eq!(waits.await, Answer::Unavailable);
    assert_eq!(queued.await, Answer::Unavailable);
    assert_eq!(run.get("third").await, Answer::Unavailable);
}

#[test]
fn a_row_of_another_host_or_without_id_is_no_answer() {
    let mut row = Row::default();
    assert!(Reply::of(&host("acme"), Some(&row)).is_err());
    row.set("id", "7").unwrap();
    let said = |row: &Row| Reply::of(&host("acme"), Some(row)).map(|reply| reply.said);
    assert!(matches!(said(&row), Ok(Said::Tenant(tenant)) if tenant.id.as_str() == "7"));
    row.set("host", "other.example.com").unwrap();
    assert!(said(&row).is_err());
    row.set("host", "ACME.example.com").unwrap();
    assert!(said(&row).is_ok());
    assert!(matches!(
        Reply::of(&host("acme"), None).unwrap().said,
        Said::Nobody
    ));
}

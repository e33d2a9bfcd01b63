//! Any history of a source and of requests: what is said was true not long ago.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Remove(u8),
    Down(bool),
    Forget(u8),
    Wait(u16),
    Get(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_u8..4, 0_u8..5).prop_map(|(host, tenant)| Step::Put(host, tenant)),
        1 => (0_u8..4).prop_map(Step::Remove),
        1 => any::<bool>().prop_map(Step::Down),
        1 => (0_u8..4).prop_map(Step::Forget),
        2 => (0_u16..40_000).prop_map(Step::Wait),
        8 => (0_u8..4).prop_map(Step::Get),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against all that the source has said of a host, and when it could last be asked.
    #[test]
    fn an_answer_is_never_older_than_it_may_be(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let run = running(&Settings::default());
            let mut truth: HashMap<u8, Vec<(Instant, Option<u8>)>> = HashMap::new();
            let mut down = false;
            let mut trouble = Instant::now(); // when the source was last down
            let mut was_down = false;
            let mut forgotten: HashMap<u8, Instant> = HashMap::new();
            for step in steps {
                // So that no two steps are at the same time.
                sleep(Duration::from_millis(1)).await;
                let now = Instant::now();
                match step {
                    Step::Put(number, id) => {
                        run.source.put(&format!("h{number}"), &format!("t{id}"));
                        truth.entry(number).or_default().push((now, Some(id)));
                    }
                    Step::Remove(number) => {
                        run.source.remove(&format!("h{number}"));
                        truth.entry(number).or_default().push((now, None));
                    }
                    Step::Down(is) => {
                        down = is;
                        was_down |= is;
                        trouble = now;
                        run.source.set_down(is);
                    }
                    Step::Forget(number) => {
                        run.lookup.forget(Some(&host(&format!("h{number}"))));
                        forgotten.insert(number, now);
                    }
                    Step::Wait(millis) => sleep(Duration::from_millis(millis.into())).await,
                    Step::Get(number) => {
                        let answer = run.get(&format!("h{number}")).await;
                        let all = truth.get(&number).cloned().unwrap_or_default();
                        let longest = match &answer {
                            Answer::Nobody => seconds(5),
                            Answer::Tenant(_) => seconds(60),
                            Answer::Ask | Answer::Unavailable => {
                                assert!(down && answer == Answer::Unavailable, "{answer:?}");
                                continue;
                            }
                        };
                        // What may be said: the rows that were true within the time, and any if the source was down.
                        let purged = forgotten.get(&number).copied();
                        let since = now.checked_sub(longest).max(purged).unwrap_or(trouble);
                        let at = all.partition_point(|(changed, _)| *changed <= since);
                        let mut may: Vec<Option<u8>> =
                            all.iter().skip(at.saturating_sub(1)).map(|(_, id)| *id).collect();
                        if at == 0 {
                            may.push(None);
                        }
                        let is = match &answer {
                            Answer::Tenant(tenant) => Some(tenant.id.to_string()),
                            _ => None,
                        };
                        let is_true = may.iter().any(|id| id.map(|id| format!("t{id}")) == is);
                        let was = all.iter().any(|(_, id)| id.map(|id| format!("t{id}")) == is);
                        let stale = was_down && is.is_some() && was;
                        assert!(is_true || stale, "{answer:?} of {all:?} since {since:?}");
                    }
                }
            }
        });
    }
}

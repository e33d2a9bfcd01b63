//! What is beyond a budget waits its turn, and that is no failure.

use super::explain::explain;
use super::{Rig, files};
use crate::support::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_budget_names_are_queued_and_nothing_fails() {
    let rig = Rig::new("timer", "orders_per_hour = 2\nnames = 4");
    let portico = rig.portico();
    let names: Vec<String> = (0..6).map(|n| format!("s{n}.customer.test")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    rig.rows(&[("acme", &hosts)]);
    // As many as there is room for are asked for; the others are counted.
    wait::until("wishes", || {
        let full = files(&rig.state().join("wanted")).len() == 4;
        (full && portico.metric("portico_domains_refused_total ") >= 2.0).then_some(())
    });
    let text = rig.reconcile();
    let told = text
        .lines()
        .filter(|line| line.contains(".test: new certificate"));
    assert_eq!(told.count(), 2, "{text}");
    assert_eq!(rig.orders(), 2);
    let all = rig.domains(None);
    let number = |key: &str| all[key].as_u64().unwrap();
    assert_eq!((number("served"), number("queued")), (2, 2), "{all}");
    assert_eq!((number("failing"), number("budget_left")), (0, 0), "{all}");
    // Of those without a certificate, two wait for the hour and two have no room.
    let mut states: Vec<String> = names
        .iter()
        .map(|name| {
            let custom = &explain(&portico, name)["custom_domain"];
            let budget = custom["budget"].as_str().unwrap_or_default();
            format!("{} {budget}", custom["state"].as_str().unwrap())
        })
        .collect();
    states.sort();
    let queued = "queued on_demand.orders_per_hour";
    assert_eq!(
        states,
        ["full ", "full ", queued, queued, "served ", "served "]
    );
    rig.reconcile();
    assert_eq!(rig.orders(), 2, "the hour is not over");
    wait::until("the proxy counts the same", || {
        let left = portico.metric("portico_domains_budget_left ");
        let queued = portico.metric("portico_domains{standing=\"queued\"} ");
        (left == 0.0 && queued == 2.0).then_some(())
    });
    assert!(files(&rig.state().join("wanted")).is_empty());
}

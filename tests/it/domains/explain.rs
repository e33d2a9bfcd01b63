//! `portico tenant explain` of a custom domain: from no row to a certificate and back, at each step with what it waits for.

use serde_json::{Value, json};

use super::ownership::own_record;
use super::{NAME, Rig, words};
use crate::support::knot::{Knot, zone_text};
use crate::support::portico::{Portico, portico_cmd};
use crate::support::{port, wait};

fn tell(portico: &Portico, host: &str, json: bool) -> String {
    let config = portico.config_file().display().to_string();
    let mut args = vec!["tenant", "explain", host, "--config", &config];
    args.extend(json.then_some("--json"));
    let output = portico_cmd(&args);
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn explain(portico: &Portico, host: &str) -> Value {
    serde_json::from_str(&tell(portico, host, true)).unwrap()
}

fn wait_state(portico: &Portico, host: &str, state: &str) -> Value {
    wait::until(&format!("{host} is {state}"), || {
        let answer = explain(portico, host);
        (answer["custom_domain"]["state"] == state).then_some(answer)
    })
}

const NO_HANDSHAKE: &str = "a handshake ends with unrecognized_name";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_follows_a_custom_domain_from_its_row_to_its_certificate_and_back() {
    let dns = port::local(port::free());
    let customer = format!("{}www A 127.0.0.1\n", zone_text("customer.test"));
    let zones = [
        ("example.test", zone_text("example.test")),
        ("customer.test", customer),
    ];
    let knot = Knot::at(dns, &zones);
    let rig = Rig::asking(dns, "timer", "proof = \"txt\"\nkeep_gone = \"0s\"");
    let portico = rig.portico();

    let base = explain(&portico, "shop.example.test");
    assert_eq!(base["custom_domain"]["state"], "covered", "{base}");
    let none = explain(&portico, NAME);
    assert_eq!(none["custom_domain"]["state"], "no-row", "{none}");
    assert_eq!(none["certificate"], Value::Null);
    assert!(
        none["https"]["reason"]
            .as_str()
            .unwrap()
            .contains(NO_HANDSHAKE)
    );
    let list = rig.folder.path().join("tenants.toml");
    let row = format!("[[tenant]]\nid = \"acme\"\nhosts = [{NAME:?}]\n");
    std::fs::write(&list, format!("{row}state = \"pending\"\n")).unwrap();
    wait_state(&portico, NAME, "unknown");

    // The row is there: what the tenant has to do, before anybody has looked.
    std::fs::write(&list, &row).unwrap();
    let wanted = wait_state(&portico, NAME, "wanted");
    let command = format!("portico cert ownership --domain {NAME} --tenant acme");
    let record = wanted["custom_domain"]["record"].as_str().unwrap();
    assert!(record.ends_with(&command), "{record}");
    assert!(!rig.state().join("engine/ownership.key").exists());
    let record = own_record(&rig, "acme");
    let wanted = explain(&portico, NAME);
    assert_eq!(wanted["custom_domain"]["record"], *record);
    assert_eq!(wanted["tenant"]["id"], "acme");

    rig.reconcile();
    let unproven = explain(&portico, NAME);
    let custom = &unproven["custom_domain"];
    assert_eq!(custom["state"], "unproven", "{custom}");
    assert_eq!(custom["proven"], false);
    assert_eq!(custom["record"], *record);
    assert!(
        unproven["https"]["reason"]
            .as_str()
            .unwrap()
            .contains(NO_HANDSHAKE)
    );
    let (name, value) = record.split_once(" 3600 IN TXT ").unwrap();
    let text = tell(&portico, NAME, false);
    for part in [
        "unproven: no certificate yet, nothing is tried before",
        "there is no TXT record",
        &format!("hint: the tenant publishes `{}", name.trim_end_matches('.')),
        &format!("record         {record}"),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let line = format!("add {} TXT {value}", record.split_once(" IN").unwrap().0);
    let done = knot.update("customer.test", &[&line]);
    assert!(done.status.success(), "{done:?}");
    let done = rig.cert(&["renew", "--force", "--domain", NAME]);
    assert!(done.status.success(), "{}", words(&done));
    wait::until("the proxy knows", || {
        (!explain(&portico, NAME)["certificate"].is_null()).then_some(())
    });
    let cold = explain(&portico, NAME);
    assert_eq!(cold["custom_domain"]["state"], "served", "{cold}");
    assert_eq!(cold["custom_domain"]["proven"], true);
    assert_eq!(cold["custom_domain"].get("record"), None);
    assert_eq!(cold["https"]["reason"], "passed on to the app");
    // Not in memory before a client comes; then it says its serial number too.
    assert_eq!(cold["certificate"]["serial"], Value::Null);
    assert_eq!(rig.page(NAME).await.status.as_u16(), 200);
    let warm = explain(&portico, NAME);
    assert!(warm["certificate"]["serial"].is_string(), "{warm}");
    let end = warm["certificate"]["not_after"].as_str().unwrap();
    assert_eq!(cold["certificate"]["not_after"], end);
    let text = tell(&portico, NAME, false);
    assert!(text.contains(&format!("served: valid until {end}, renewal due")));

    // Without a row it is served until its end, and that is said.
    std::fs::write(&list, "[[tenant]]\nid = \"zero\"\n").unwrap();
    wait::until("the proxy has seen that the row is gone", || {
        let list = std::fs::read_to_string(rig.state().join("wanted/.gone.json")).ok()?;
        list.contains(NAME).then_some(())
    });
    rig.reconcile();
    let gone = wait_state(&portico, NAME, "gone");
    let reason = gone["custom_domain"]["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("valid until {end}, without a row since")));
    assert_eq!(gone["https"]["status"], json!(404), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_names_the_budget_that_a_custom_domain_waits_for() {
    let rig = Rig::new("timer", "tenant_orders_per_day = 1");
    let portico = rig.portico();
    let all = ["a.customer.test", "b.customer.test", "c.other.test"];
    rig.rows(&[("acme", &all[..2]), ("globex", &all[2..])]);
    wait::until("wishes", || {
        let asked = |name: &&str| rig.wanted(name).exists();
        all.iter().all(asked).then_some(())
    });
    let before = explain(&portico, all[0]);
    assert_eq!(before["custom_domain"]["state"], "wanted", "{before}");
    rig.reconcile();
    assert_eq!(rig.orders(), 2);
    let acme: Vec<Value> = all[..2]
        .iter()
        .map(|name| explain(&portico, name))
        .collect();
    let held = acme
        .iter()
        .find(|answer| answer["custom_domain"]["state"] == "queued");
    let custom = &held.expect("one of two waits")["custom_domain"];
    assert_eq!(custom["budget"], "on_demand.tenant_orders_per_day");
    let reason = custom["reason"].as_str().unwrap();
    let until = custom["budget_until"].as_str().unwrap();
    let expected = format!(
        "no certificate yet, waits: `on_demand.tenant_orders_per_day` is spent until {until}"
    );
    assert_eq!(reason, expected);
    let other = explain(&portico, all[2]);
    assert_eq!(other["custom_domain"]["state"], "served", "{other}");
}

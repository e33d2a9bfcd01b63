//! A name that cannot be validated, and its neighbours.

use super::explain::explain;
use super::{NAME, Rig, words};
use crate::support::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_fails_waits_and_the_others_have_their_certificates() {
    let rig = Rig::new("timer", "");
    let portico = rig.portico();
    // The CA finds no address for this one.
    let bad = "www.elsewhere.invalid-zone.test";
    rig.rows(&[("acme", &[bad, NAME, "shop.other.test"])]);
    wait::until("wishes", || {
        rig.wanted("shop.other.test").exists().then_some(())
    });
    wait::until("the queue is done", || {
        rig.reconcile();
        (rig.domains(None)["served"] == 2).then_some(())
    });
    let own = rig.domains(Some(bad));
    assert_eq!(own["standing"], "failing", "{own}");
    let detail = own["detail"].as_str().unwrap();
    assert!(detail.contains("could not validate"), "{detail}");
    let custom = &explain(&portico, bad)["custom_domain"];
    assert_eq!(custom["state"], "failing", "{custom}");
    let reason = custom["reason"].as_str().unwrap();
    assert!(reason.contains("nothing is tried before"), "{reason}");
    assert!(reason.contains("could not validate"), "{reason}");
    let next = own["next"].as_str().unwrap().to_owned();
    let orders = rig.orders();
    assert_eq!(orders, 3);
    // Another run keeps to the back-off, and another client changes nothing about it.
    let trust = rig.pebble.root().await;
    assert!(rig.shake(bad, &trust).await.is_err());
    rig.reconcile();
    assert_eq!(rig.domains(Some(bad))["next"], *next);
    assert_eq!(rig.orders(), orders);
    assert!(!rig.wanted(bad).exists());
    let status = words(&rig.cert(&["status"]));
    assert!(
        status.contains(&format!("  {bad}: failing, no certificate, tenant `acme`")),
        "{status}"
    );
    assert_eq!(rig.page(NAME).await.status.as_u16(), 200);
    assert_eq!(rig.page("shop.other.test").await.status.as_u16(), 200);
}

#[test]
fn a_name_whose_state_cannot_be_read_waits_alone() {
    let rig = Rig::new("timer", "");
    // It shows the answers to the CA's challenges.
    let _portico = rig.portico();
    let bad = "a.customer.test";
    rig.rows(&[("acme", &[bad, NAME])]);
    wait::until("wishes", || {
        (rig.wanted(bad).exists() && rig.wanted(NAME).exists()).then_some(())
    });
    // A client has asked for the bad one, so it comes first.
    std::fs::write(rig.wanted(bad), r#"{"tenant":"acme","asked":true}"#).unwrap();
    let state = rig.state().join("domains").join(bad).join("state.json");
    std::fs::create_dir_all(&state).unwrap();
    let text = rig.reconcile();
    assert!(text.contains(&format!("{NAME}: new certificate")), "{text}");
    let own = rig.domains(Some(bad));
    assert_eq!(own["standing"], "failing", "{own}");
    let detail = own["detail"].as_str().unwrap();
    assert!(detail.contains("state.json"), "{detail}");
    let next = own["next"].as_str().expect("a time to wait for").to_owned();
    let orders = rig.domains(None)["orders_last_hour"].clone();
    assert_eq!(orders, 1, "what was not made costs nothing");
    rig.reconcile();
    assert_eq!(rig.domains(Some(bad))["next"], *next);
    // Somebody repairs it.
    std::fs::remove_dir(&state).unwrap();
    let done = rig.cert(&["issue", "--domain", bad]);
    assert_eq!(done.status.code(), Some(0), "{}", words(&done));
    let all = rig.domains(None);
    assert_eq!((&all["served"], &all["failing"]), (&2.into(), &0.into()));
}

#[test]
fn a_name_that_nobody_wants_is_no_custom_domain() {
    let rig = Rig::new("timer", "");
    let done = rig.cert(&["issue", "--domain", NAME]);
    assert_eq!(done.status.code(), Some(2), "{}", words(&done));
    assert!(words(&done).contains("is not among the configured domains"));
    // What the proxy, or who has taken its place, asks for is checked: never a name that the configuration covers.
    let wanted = rig.state().join("wanted");
    std::fs::create_dir_all(&wanted).unwrap();
    let wish = r#"{"tenant":"acme","asked":true}"#;
    for name in ["shop.example.test", "example.test", "..", "a_b.test"] {
        drop(std::fs::write(wanted.join(name), wish));
    }
    let text = rig.reconcile();
    assert!(text.contains("no custom domain"), "{text}");
    assert!(text.contains("no wish for a certificate"), "{text}");
    assert_eq!(rig.domains(None)["names"], 0);
    assert_eq!(rig.orders(), 0);
    assert!(super::files(&wanted).is_empty());
}

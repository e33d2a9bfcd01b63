//! From a row to a page, and what happens when the row goes.

use serde_json::json;

use super::{NAME, Rig, assert_unrecognized, files};
use crate::support::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_for_a_row_is_refused_once_and_served_then() {
    let rig = Rig::new("timer", "ahead = false\nkeep_gone = \"0s\"");
    let portico = rig.portico();
    let trust = rig.pebble.root().await;
    assert_unrecognized(rig.shake(NAME, &trust).await);
    // No row, no order: whoever comes, however often.
    for number in 0..100 {
        assert_unrecognized(rig.shake(&format!("h{number}.customer.test"), &trust).await);
    }
    rig.rows(&[("acme", &["acme.example.test", NAME])]);
    wait::until_async("the row is known", async || {
        assert_unrecognized(rig.shake(NAME, &trust).await);
        rig.wanted(NAME).exists().then_some(())
    })
    .await;
    assert_eq!(files(&rig.state().join("wanted")), [NAME]);
    let text = rig.reconcile();
    assert!(text.contains(&format!("{NAME}: new certificate")), "{text}");
    assert_eq!(rig.orders(), 1);
    let page = rig.page(NAME).await;
    assert_eq!((page.status.as_u16(), page.text()), (200, "hello"));
    assert_eq!(rig.tenants(), ["acme"]);
    assert!(portico.stderr().contains("a CA validates by tls-alpn-01"));
    let standing = |word: &str| format!("portico_domains{{standing=\"{word}\"}} ");
    assert_eq!(portico.metric(&standing("served")) as u32, 1);
    assert_eq!(portico.metric("portico_domains_issued_total ") as u32, 1);
    assert_eq!(portico.metric("portico_domains_budget_left ") as u32, 79);
    let status: serde_json::Value = serde_json::from_str(&portico.admin("/status").1).unwrap();
    assert_eq!(status["custom_domains"]["names"]["served"], json!(1));
    // Nothing is due: nothing is asked of the CA.
    let before = rig.pebble.log().len();
    let text = rig.reconcile();
    assert!(!text.contains(NAME), "{text}");
    assert_eq!(rig.pebble.log().len(), before);
    let status = rig.cert(&["status"]);
    let status = super::words(&status);
    let line = "custom domains: 1 names, 1 served, 0 queued, 0 failing, 0 unproven, 0 without a row; 1 orders";
    assert!(status.contains(line), "{status}");

    // The row goes: served all the same, and never renewed (`keep_gone` is over at once).
    rig.rows(&[("acme", &["acme.example.test"])]);
    wait::until("the proxy has seen that the row is gone", || {
        let list = std::fs::read_to_string(rig.state().join("wanted/.gone.json")).ok()?;
        list.contains(NAME).then_some(())
    });
    rig.reconcile();
    assert_eq!(rig.domains(Some(NAME))["standing"], "gone");
    let page = rig.page(NAME).await;
    assert_eq!(
        page.status.as_u16(),
        404,
        "nobody's, by its own certificate"
    );
    assert_eq!(rig.orders(), 1);

    // Another process over the same state, with the row still gone: served from the first handshake on.
    drop(portico);
    let _portico = rig.portico();
    rig.shake(NAME, &trust).await.unwrap();
    // And back.
    rig.rows(&[("globex", &[NAME])]);
    wait::until("the engine knows", || {
        rig.reconcile();
        let own = rig.domains(Some(NAME));
        (own["standing"] == "served" && own["tenant"] == "globex").then_some(())
    });
    assert_eq!(rig.page(NAME).await.status.as_u16(), 200);
    assert_eq!(rig.tenants(), ["acme", "globex"]);
    assert_eq!(
        rig.orders(),
        1,
        "the certificate is good for whoever has it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_issues_what_rows_name_before_anybody_asks_and_takes_up_what_a_restart_left() {
    let mut rig = Rig::new("timer", "challenge = \"http-01\"");
    let portico = rig.portico();
    rig.rows(&[("acme", &["acme.example.test", NAME])]);
    wait::until("a wish, without any client", || {
        rig.wanted(NAME).exists().then_some(())
    });
    portico.sigkill();
    drop(portico);
    rig.config = rig.config.replace("run = \"timer\"", "run = \"daemon\"");
    let portico = rig.portico();
    rig.wait_domains("the wish is taken up", |all| all["served"] == 1);
    rig.rows(&[
        ("acme", &["acme.example.test", NAME]),
        ("globex", &["shop.other.test", "nested.deep.example.test"]),
    ]);
    // Each has a deadline of its own: an order takes seconds.
    for served in 2..=3 {
        rig.wait_domains("one more is issued", |all| {
            all["served"].as_u64() >= Some(served)
        });
    }
    for (name, tenant) in [
        (NAME, "acme"),
        ("shop.other.test", "globex"),
        ("nested.deep.example.test", "globex"),
    ] {
        assert_eq!(rig.page(name).await.status.as_u16(), 200, "{name}");
        assert_eq!(rig.tenants().pop().unwrap(), tenant, "{name}");
    }
    assert_eq!(rig.orders(), 3, "none for what the wildcard covers");
    assert!(rig.pebble.log().contains("Attempting to validate w/ HTTP"));
    assert!(
        portico
            .stderr()
            .contains("a custom domain has a new certificate")
    );
}

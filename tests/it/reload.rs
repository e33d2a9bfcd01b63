//! Changes while clients are at work: none of them may notice.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::http::Protocol;
use crate::support::load::Load;
use crate::support::origin::{self, Origin};
use crate::support::pki::Leaf;
use crate::support::site::{Site, servers_line};
use crate::support::tls::{self, Alpn};
use crate::support::{port, wait};

fn status(site: &Site) -> serde_json::Value {
    let (code, body) = site.portico.admin("/status");
    assert_eq!(code, 200);
    serde_json::from_str(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_move_the_traffic_and_lose_nothing() {
    let origins =
        ["one", "two"].map(|name| Origin::tcp(move |_| async move { origin::text(200, name) }));
    let mut site = Site::before(&[origins[0].address()]).start();
    let load = Load::start(&site, 3);
    load.wait_answers(100).await;
    for round in 1..=20 {
        let [old, new] =
            [1 - round % 2, round % 2].map(|at| servers_line(&[origins[at].address()]));
        site.portico
            .rewrite_config(|config| config.replace(&old, &new));
        site.portico.sighup();
        let name = ["one", "two"][round % 2];
        let edge = site.edge.clone();
        wait::until_async("the new app to answer", async || {
            let answer = edge.get(Protocol::Http2, "acme.example.test", "/").await;
            (answer.text() == name).then_some(())
        })
        .await;
        load.wait_answers(30).await;
    }
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(
        outcome.answers["one"] > 100 && outcome.answers["two"] > 100,
        "{:?}",
        outcome.answers
    );
    let status = status(&site);
    assert_eq!(
        (&status["generation"], &status["last_reload"]["ok"]),
        (&21.into(), &true.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_changes_nothing_and_says_so() {
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()]).start();
    let good = servers_line(&[origin.address()]);
    let load = Load::start(&site, 2);
    let bads = [
        "servers = [\"ftp://x\"]",
        "servers = [",
        "serverz = [\"http://127.0.0.1:1\"]",
    ];
    for (at, bad) in bads.into_iter().enumerate() {
        site.portico
            .rewrite_config(|config| config.replace(&good, bad));
        site.portico.sighup();
        wait::until_async("the reload to be refused", async || {
            let log = site.portico.stderr();
            (log.matches("nothing is changed by the reload").count() > at).then_some(())
        })
        .await;
        let status = status(&site);
        assert_eq!(status["last_reload"]["ok"], false);
        assert_eq!(status["generation"], 1);
        let error = status["last_reload"]["error"].as_str().unwrap();
        assert!(error.contains("portico.toml"), "{error}");
        load.wait_answers(30).await;
        site.portico
            .rewrite_config(|config| config.replace(bad, &good));
    }
    site.portico.sighup();
    let status = wait::until_async("the good file to be taken", async || {
        Some(status(&site)).filter(|status| status["last_reload"]["ok"] == true)
    })
    .await;
    assert_eq!(status["generation"], 2);
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
}

#[tokio::test]
async fn what_takes_a_restart_is_named_and_left_as_it_is() {
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()]).start();
    let old = port::local(site.portico.https_port()).to_string();
    let new = port::local(port::free()).to_string();
    site.portico
        .rewrite_config(|config| config.replace(&old, &new));
    site.portico.sighup();
    let status = wait::until_async("the reload", async || {
        Some(status(&site)).filter(|status| !status["last_reload"].is_null())
    })
    .await;
    assert_eq!(
        status["last_reload"]["needs_restart"],
        serde_json::json!(["listen"])
    );
    assert_eq!(status["listeners"]["https"], serde_json::json!([old]));
    let answer = site
        .edge
        .get(Protocol::Http1, "acme.example.test", "/")
        .await;
    assert_eq!(answer.text(), "hello");
}

/// Whether a new client gets this certificate.
async fn serves(site: &Site, leaf: &Leaf) -> bool {
    let address = port::local(site.portico.https_port());
    let config = site.ca.trust().config(Alpn::Browser);
    let stream = tls::connect(address, "acme.example.test", config)
        .await
        .unwrap();
    let presented = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    presented == CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_served_and_no_client_notices() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let load = Load::start(&site, 3);
    load.wait_answers(100).await;
    for _ in 0..3 {
        let before = status(&site)["certificates"][0].clone();
        let leaf = site.leaf();
        site.import(&leaf);
        wait::until_async("the new certificate", async || {
            serves(&site, &leaf).await.then_some(())
        })
        .await;
        let after = status(&site)["certificates"][0].clone();
        assert_ne!(before["serial"], after["serial"]);
        assert_eq!(after["placeholder"], false);
        load.wait_answers(200).await;
    }
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
}

//! http-01, answered by the running proxy while the engine is another process.

use portico::cert::answers::Shown;
use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::host::Host;

use super::{NAME, Rig, answer, cert, generation, words};
use crate::support::portico::Portico;
use crate::support::raw::{Raw, RawResponse};
use crate::support::tls::{self, Alpn};
use crate::support::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_names_are_issued_and_renewed_through_the_running_proxy() {
    let rig = Rig::new("http-01");
    let portico = rig.portico().start_unready();
    let issued = cert(&portico, &["issue", "--domain", NAME]);
    assert!(issued.status.success(), "{}", words(&issued));
    wait::until("the certificate is in service", || {
        (generation(&portico) == Some(1)).then_some(())
    });
    assert!(rig.pebble.log().contains("Attempting to validate w/ HTTP"));
    let trust = rig.pebble.root().await;
    for name in [NAME, "customer.test"] {
        tls::connect(rig.https, name, trust.config(Alpn::Http1))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let renewed = cert(&portico, &["renew", "--force", "--domain", NAME]);
    assert!(renewed.status.success(), "{}", words(&renewed));
    wait::until("the new one is in service", || {
        (generation(&portico) == Some(2)).then_some(())
    });
    let store = FileStore::new(&portico.folder().join("state"));
    assert!(store.answers().unwrap().is_empty(), "taken back");

    // What a run that died has left goes with the next one, also when nothing is due.
    let shown = Shown::Http {
        key_authorization: "old".to_owned(),
    };
    store
        .put_answer(&answer(NAME, "left-behind", shown))
        .unwrap();
    let rested = cert(&portico, &["renew", "--domain", NAME]);
    assert!(
        words(&rested).contains("not due before"),
        "{}",
        words(&rested)
    );
    assert!(store.answers().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ca_is_not_asked_before_the_proxy_serves_the_answer() {
    let rig = Rig::new("http-01");
    let mut portico = rig.portico().start_unready();
    portico.sigterm();
    portico.wait_exit();
    let failed = cert(&portico, &["issue", "--domain", NAME]);
    assert_eq!(failed.status.code(), Some(1));
    let text = words(&failed);
    assert!(text.contains("does not serve the http-01 answer"), "{text}");
    assert!(text.contains("hint: the proxy must run"), "{text}");
    assert_eq!(rig.looked(), 0);
    let host = Host::parse(NAME).unwrap();
    let store = FileStore::new(&portico.folder().join("state"));
    assert!(store.answers().unwrap().is_empty());
    assert!(
        store.pending(&host).unwrap().is_some(),
        "the order is kept for the next run"
    );
}

/// One request on a connection of its own.
async fn ask(portico: &Portico, method: &str, host: &str, path: &str) -> RawResponse {
    let mut raw = Raw::plain(portico.http_port()).await;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    raw.write(request)
        .await
        .response()
        .await
        .expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_token_of_the_table_is_answered_and_only_in_plain() {
    let rig = Rig::new("http-01");
    let portico = rig.portico().start_unready();
    let store = FileStore::new(&portico.folder().join("state"));
    let token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
    let path = format!("/.well-known/acme-challenge/{token}");
    let unknown = ask(&portico, "GET", NAME, &path).await;
    assert_eq!(unknown.status, 404);

    let key_authorization = format!("{token}.thumbprint");
    let shown = Shown::Http {
        key_authorization: key_authorization.clone(),
    };
    store.put_answer(&answer(NAME, token, shown)).unwrap();
    wait::until_async("the proxy takes it up", async || {
        (ask(&portico, "GET", NAME, &path).await.status == 200).then_some(())
    })
    .await;
    let good = ask(&portico, "GET", NAME, &path).await;
    assert_eq!(good.body, key_authorization.as_bytes());
    assert!(
        good.head
            .to_ascii_lowercase()
            .contains("content-type: application/octet-stream"),
        "{}",
        good.head
    );
    for (method, host, path) in [
        ("GET", "other.test", path.clone()),
        ("POST", NAME, path.clone()),
        ("GET", NAME, format!("{path}/")),
        ("GET", NAME, format!("{path}x")),
        ("GET", NAME, "/.well-known/acme-challenge/".to_owned()),
        (
            "GET",
            NAME,
            "/.well-known/acme-challenge/../../state/challenges/".to_owned(),
        ),
        (
            "GET",
            NAME,
            format!("/.well-known/acme-challenge/..%2f{token}"),
        ),
        (
            "GET",
            NAME,
            format!("/.well-known/acme-challenge/{token}.json"),
        ),
        ("GET", NAME, format!("/{token}")),
    ] {
        let answer = ask(&portico, method, host, &path).await;
        assert_eq!(answer.status, 404, "{method} {host} {path}");
    }
    // A tenant's own request is redirected as ever, token or not.
    let tenant = ask(&portico, "GET", "acme.example.test", &path).await;
    assert_eq!(tenant.status, 308);
    assert!(tenant.head.contains(&path), "{}", tenant.head);

    store.withdraw(&Host::parse(NAME).unwrap()).unwrap();
    wait::until_async("the proxy forgets it", async || {
        (ask(&portico, "GET", NAME, &path).await.status == 404).then_some(())
    })
    .await;
}

//! tls-alpn-01 (RFC 8737), answered by the running proxy while the engine is another process.

use portico::cert::answers::{ACME_TLS, Shown};
use portico::cert::store::Store;
use portico::cert::store::file::FileStore;
use portico::host::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{NAME, Rig, answer, cert, generation, words};
use crate::support::pki::Ca;
use crate::support::tls::{self, Alpn, Trust};
use crate::support::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_names_are_issued_and_renewed_by_a_handshake_of_its_own() {
    let rig = Rig::new("tls-alpn-01");
    let portico = rig.portico().start_unready();
    let issued = cert(&portico, &["issue", "--domain", NAME]);
    assert!(issued.status.success(), "{}", words(&issued));
    wait::until("the certificate is in service", || {
        (generation(&portico) == Some(1)).then_some(())
    });
    assert!(
        portico.stderr().contains("a CA validates by tls-alpn-01"),
        "{}",
        portico.stderr()
    );
    let trust = rig.pebble.root().await;
    for (name, alpn) in [(NAME, Alpn::Browser), ("customer.test", Alpn::None)] {
        tls::connect(rig.https, name, trust.config(alpn))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let renewed = cert(&portico, &["renew", "--force", "--domain", NAME]);
    assert!(renewed.status.success(), "{}", words(&renewed));
    wait::until("the new one is in service", || {
        (generation(&portico) == Some(2)).then_some(())
    });
    let left = std::fs::read_dir(portico.folder().join("state/challenges")).unwrap();
    assert_eq!(left.count(), 0, "answers are taken back");
}

/// Shakes hands offering `protocols`; the protocol that was chosen and the leaf.
async fn shake(
    rig: &Rig,
    trust: &Trust,
    name: &str,
    protocols: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let mut config = trust.config(Alpn::None);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // A ticket of one case must not decide the next.
    config.resumption = rustls::client::Resumption::disabled();
    tls::connect(rig.https, name, config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_exactly_this_protocol_gets_the_certificate_and_then_the_end() {
    let rig = Rig::new("tls-alpn-01");
    let portico = rig.portico().start_unready();
    let store = FileStore::new(&portico.folder().join("state"));
    // A common certificate in place of the special one, so that a common client can check it.
    let ca = Ca::new();
    let leaf = ca.leaf(&[NAME]);
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = leaf.write(folder.path());
    let shown = Shown::Tls {
        certificate: std::fs::read_to_string(certificate).unwrap(),
        key: std::fs::read_to_string(key).unwrap(),
    };
    let trust = ca.trust();
    assert!(
        shake(&rig, &trust, NAME, &[ACME_TLS]).await.is_err(),
        "nothing is being proven"
    );
    store.put_answer(&answer(NAME, "token", shown)).unwrap();
    let mut stream = wait::until_async("the proxy takes it up", async || {
        shake(&rig, &trust, NAME, &[ACME_TLS]).await.ok()
    })
    .await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ACME_TLS));
    // Whatever is sent on it, no HTTP comes back.
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    drop(stream.write_all(request.as_bytes()).await);
    let mut answer = Vec::new();
    drop(wait::within("the end", stream.read_to_end(&mut answer)).await);
    assert_eq!(answer, b"");

    for (name, protocols) in [
        ("customer.test", &[ACME_TLS][..]),
        ("acme.example.test", &[ACME_TLS]),
        (NAME, &[ACME_TLS, b"h2"]),
        (NAME, &[b"h2", ACME_TLS]),
        (NAME, &[ACME_TLS, b"spdy/3"]),
        (NAME, &[ACME_TLS, ACME_TLS]),
        (NAME, &[b"acme-tls/2"]),
    ] {
        let refused = shake(&rig, &trust, name, protocols).await;
        assert!(refused.is_err(), "{name} {protocols:?}");
    }
    // Common clients of the name get the common certificate, which is still a placeholder here.
    let error = shake(&rig, &trust, NAME, &[b"http/1.1"]).await.unwrap_err();
    let tls_error = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert!(
        matches!(tls_error, Some(rustls::Error::InvalidCertificate(_))),
        "{error}"
    );

    store.withdraw(&Host::parse(NAME).unwrap()).unwrap();
    wait::until_async("the proxy forgets it", async || {
        shake(&rig, &trust, NAME, &[ACME_TLS])
            .await
            .is_err()
            .then_some(())
    })
    .await;
}

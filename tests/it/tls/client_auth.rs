//! Hosts whose clients must show a certificate: nobody gets round it by another name, ticket or connection.

use std::sync::Arc;

use rustls::{AlertDescription, HandshakeKind, version};

use super::tickets::{AnyName, ask, client};
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::pki::{Ca, Leaf};
use crate::support::port;
use crate::support::portico::portico_cmd;
use crate::support::raw::Raw;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};

/// Asks for a certificate.
const INNER: &str = "inner.example.test";
/// Asks for one of another CA.
const VAULT: &str = "vault.example.test";
/// Asks for none.
const OPEN: &str = "acme.example.test";

struct Lab {
    site: Site,
    clients: Ca,
    vault: Ca,
    folder: tempfile::TempDir,
    origin: Origin,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clients, vault) = (Ca::named("Clients"), Ca::named("Vault"));
        let write = |name: &str, ca: &Ca| {
            let path = folder.path().join(name);
            std::fs::write(&path, ca.pem()).unwrap();
            format!("ca_file = {:?}", path.display().to_string())
        };
        let origin = Origin::tcp(async |seen: origin::Seen| {
            let host = seen.one("host").to_owned();
            origin::text(200, host)
        });
        let site = Site::before(&[origin.address()])
            .list(
                "client_auth",
                &format!("hosts = [{INNER:?}]\n{}", write("clients.pem", &clients)),
            )
            .list(
                "client_auth",
                &format!("hosts = [{VAULT:?}]\n{}", write("vault.pem", &vault)),
            )
            .start();
        Self {
            site,
            clients,
            vault,
            folder,
            origin,
        }
    }

    /// What a request for `host` on a connection with SNI `sni` gets; `None` if there is no connection at all.
    async fn status(
        &self,
        protocol: Protocol,
        sni: Option<&str>,
        shown: Option<&Leaf>,
        host: &str,
    ) -> Option<u16> {
        let alpn = match protocol {
            Protocol::Http1 => Alpn::Http1,
            Protocol::Http2 => Alpn::Http2,
        };
        let mut config = self.site.ca.trust().config(alpn);
        config.enable_sni = sni.is_some();
        if let Some(leaf) = shown {
            config.client_auth_cert_resolver = leaf.as_client();
        }
        let address = port::local(self.site.portico.https_port());
        let stream = tls::connect(address, sni.unwrap_or("example.test"), config)
            .await
            .ok()?;
        match protocol {
            Protocol::Http1 => {
                let mut raw = Raw::new(stream);
                let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let answer = raw.write(head).await.response().await?;
                if answer.status == 421 {
                    // The connection stays good for hosts of its own policy.
                    assert_ne!(answer.header("connection"), Some("close"));
                    assert!(!String::from_utf8_lossy(&answer.body).contains("client"));
                }
                Some(answer.status)
            }
            Protocol::Http2 => {
                let (mut sender, connection) = h2::client::handshake(stream).await.ok()?;
                let driver = tokio::spawn(connection);
                let request = http::Request::get(format!("https://{host}/"))
                    .body(())
                    .unwrap();
                let answer = sender.send_request(request, true).ok()?.0.await.ok();
                driver.abort();
                answer.map(|answer| answer.status().as_u16())
            }
        }
    }
}

#[tokio::test]
async fn m06_a_request_for_a_host_of_another_policy_is_misdirected() {
    let lab = Lab::new();
    let (mine, foreign) = (lab.clients.client("app-1"), lab.vault.client("app-1"));
    let none = None;
    for protocol in Protocol::BOTH {
        for (sni, shown, host, expected) in [
            // The table of decisions: SNI, certificate, host, answer.
            (Some(OPEN), none, OPEN, Some(200)),
            (Some(OPEN), none, "globex.example.test", Some(200)),
            (Some(OPEN), none, "example.test", Some(200)),
            (Some(OPEN), none, "example.org", Some(421)),
            (Some(OPEN), none, "a.b.example.test", Some(421)),
            (Some(OPEN), none, INNER, Some(421)),
            (Some(OPEN), Some(&mine), INNER, Some(421)),
            (None, none, OPEN, Some(200)),
            (None, none, INNER, Some(421)),
            (Some(INNER), none, INNER, None),
            (Some(INNER), Some(&foreign), INNER, None),
            (Some(INNER), Some(&mine), INNER, Some(200)),
            (Some(INNER), Some(&mine), OPEN, Some(421)),
            (Some(INNER), Some(&mine), VAULT, Some(421)),
            (Some(VAULT), Some(&foreign), VAULT, Some(200)),
            (Some(VAULT), Some(&foreign), INNER, Some(421)),
        ] {
            let got = lab.status(protocol, sni, shown, host).await;
            assert_eq!(got, expected, "{protocol:?}: {sni:?} asks for {host}");
        }
    }
    for seen in lab.origin.requests() {
        assert!(!seen.headers.is_empty());
    }
}

#[tokio::test]
async fn v38_tickets_never_cross_policies() {
    let lab = Lab::new();
    let mine = lab.clients.client("app-1");
    for version in [&version::TLS12, &version::TLS13] {
        let store = Arc::new(AnyName::default());
        let mut config = client(&lab.site, version, &store);
        config.client_auth_cert_resolver = mine.as_client();
        for (host, kind) in [
            (OPEN, HandshakeKind::Full),
            (INNER, HandshakeKind::Full),
            (INNER, HandshakeKind::Resumed),
            (OPEN, HandshakeKind::Full),
        ] {
            let got = ask(&lab.site, host, config.clone()).await;
            assert_eq!(got, (kind, 200), "{host}");
        }
    }
}

#[tokio::test]
async fn v38_a_ticket_from_before_a_policy_is_none_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::named("Clients");
    let path = folder.path().join("clients.pem");
    std::fs::write(&path, ca.pem()).unwrap();
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()]).start();
    let versions = [&version::TLS12, &version::TLS13];
    let clients = versions.map(|version| {
        let mut config = client(&site, version, &Arc::default());
        // Shown if asked for, as the ticket stands for a client with the same means.
        config.client_auth_cert_resolver = ca.client("app-1").as_client();
        config
    });
    for config in &clients {
        let first = ask(&site, INNER, config.clone()).await;
        assert_eq!(first, (HandshakeKind::Full, 200));
        let again = ask(&site, INNER, config.clone()).await;
        assert_eq!(again, (HandshakeKind::Resumed, 200));
    }
    site.portico.rewrite_config(|text| {
        format!("{text}\n[[client_auth]]\nhosts = [{INNER:?}]\nca_file = {path:?}\n")
    });
    site.portico.reload();
    for config in clients {
        // With the name of the ticket itself: only the policy's own key can refuse it.
        assert_eq!(ask(&site, INNER, config).await, (HandshakeKind::Full, 200));
    }
}

#[tokio::test]
async fn a_reload_takes_another_ca_and_old_connections_are_sent_away() {
    let mut lab = Lab::new();
    let mine = lab.clients.client("app-1");
    let foreign = lab.vault.client("app-1");
    let path = lab.folder.path().join("clients.pem");
    let mut old = lab
        .site
        .edge
        .connect_with(Protocol::Http1, INNER, |config| {
            config.client_auth_cert_resolver = mine.as_client();
        })
        .await;
    let mut kept = lab
        .site
        .edge
        .connect_with(Protocol::Http2, VAULT, |config| {
            config.client_auth_cert_resolver = foreign.as_client();
        })
        .await;
    assert_eq!(old.request("GET", "/").send().await.status, 200);
    assert_eq!(kept.request("GET", "/").send().await.status, 200);
    // A file without a certificate changes nothing.
    std::fs::write(&path, "nothing").unwrap();
    lab.site.portico.sighup();
    lab.site.portico.wait_log("no client CA");
    assert_eq!(old.request("GET", "/").send().await.status, 200);
    // Another CA holds at once, for connections that are open too; the other policy is left alone.
    std::fs::write(&path, lab.vault.pem()).unwrap();
    lab.site.portico.reload();
    assert_eq!(old.request("GET", "/").send().await.status, 421);
    assert_eq!(kept.request("GET", "/").send().await.status, 200);
    for (leaf, expected) in [(&mine, None), (&foreign, Some(200))] {
        let got = lab
            .status(Protocol::Http1, Some(INNER), Some(leaf), INNER)
            .await;
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn a_foreign_certificate_is_refused_with_its_alert() {
    let lab = Lab::new();
    let foreign = Ca::named("Nobody").client("app-1");
    for (shown, expected) in [
        (None, AlertDescription::CertificateRequired),
        (Some(&foreign), AlertDescription::UnknownCA),
    ] {
        let mut config = client(&lab.site, &version::TLS13, &Arc::default());
        if let Some(leaf) = shown {
            config.client_auth_cert_resolver = leaf.as_client();
        }
        let address = port::local(lab.site.portico.https_port());
        let mut stream = tls::connect(address, INNER, config).await.unwrap();
        let read = tokio::io::AsyncReadExt::read_u8(&mut stream).await;
        let error = read.unwrap_err();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        assert_eq!(inner, Some(&rustls::Error::AlertReceived(expected)));
    }
}

#[test]
fn a_missing_or_empty_ca_file_is_told_by_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portico.toml");
    let ca = folder.path().join("clients.pem");
    let text = "domains = [\"example.com\"]\n[acme]\nrun = \"off\"\n[upstream]\nservers = [\"http://127.0.0.1:9\"]\n\
                [[client_auth]]\nhosts = [\"inner.example.com\"]\nca_file = \"clients.pem\"\n";
    std::fs::write(&file, text).unwrap();
    let check = || {
        let out = portico_cmd(&["check", "--config", &file.display().to_string()]);
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (code, said) = check();
    assert_ne!(code, Some(0));
    assert!(
        said.contains("cannot read the client CA") && said.contains("hint: "),
        "{said}"
    );
    std::fs::write(
        &ca,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let (code, said) = check();
    assert_ne!(code, Some(0));
    assert!(
        said.contains("no client CA") && said.contains("hint: "),
        "{said}"
    );
    std::fs::write(&ca, Ca::new().pem()).unwrap();
    assert_eq!(check(), (Some(0), String::new()));
}

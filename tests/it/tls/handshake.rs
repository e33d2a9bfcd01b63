//! Who gets a handshake, by which version and key exchange, and which alert says no.

use std::io;
use std::process::{Command, Stdio};

use rustls::crypto::aws_lc_rs;
use rustls::{
    AlertDescription, ClientConfig, Error, NamedGroup, ProtocolVersion, SupportedProtocolVersion,
    version,
};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::origin::Origin;
use crate::support::port;
use crate::support::program;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};
use crate::support::wait;

async fn shake(site: &Site, sni: &str, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    tls::connect(port::local(site.portico.https_port()), sni, config).await
}

/// The alert that ended a handshake.
fn alert(shaken: io::Result<TlsStream<TcpStream>>) -> AlertDescription {
    let error = shaken.expect_err("no handshake");
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert: {error}"),
    }
}

/// A client of one version and the key exchanges whose names are given; none are the usual ones.
fn client(
    site: &Site,
    alpn: Alpn,
    version: &'static SupportedProtocolVersion,
    groups: &[NamedGroup],
) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    if !groups.is_empty() {
        provider
            .kx_groups
            .retain(|group| groups.contains(&group.name()));
    }
    site.ca.trust().config_of(alpn, provider, &[version])
}

/// `openssl s_client` for names that rustls does not send; what it prints.
fn openssl(site: &Site, args: &[&str]) -> String {
    let trust = site.ca.trust();
    let mut command = Command::new(program::system("openssl"));
    command
        .arg("s_client")
        .arg("-connect")
        .arg(port::local(site.portico.https_port()).to_string())
        .arg("-CAfile")
        .arg(trust.file())
        .args(args)
        .stdin(Stdio::null());
    let out = command.output().expect("openssl runs");
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

#[tokio::test]
async fn v37_sni_of_every_kind() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for version in [&version::TLS12, &version::TLS13] {
        for name in [
            "unknown.test",
            "a.b.example.test",
            "example.org",
            "under_score.example.test",
        ] {
            let config = client(&site, Alpn::Browser, version, &[]);
            let alert = alert(shake(&site, name, config).await);
            assert_eq!(alert, AlertDescription::UnrecognisedName, "{name}");
        }
        for name in ["example.test", "acme.example.test", "ACME.Example.TEST"] {
            let config = client(&site, Alpn::Browser, version, &[]);
            assert!(shake(&site, name, config).await.is_ok(), "{name}");
        }
        // An address is no name (RFC 6066 section 3), so such a client sends none and gets the default certificate.
        let mut config = client(&site, Alpn::Browser, version, &[]);
        config.enable_sni = false;
        assert!(shake(&site, "example.test", config).await.is_ok());
    }
    // As browsers never send them: RFC 6066 section 3 wants names without a dot at the end and no addresses. The one is
    // taken for the same name, the other for no name at all.
    for (name, expected) in [
        ("acme.example.test", "Server certificate"),
        ("ACME.EXAMPLE.TEST", "Server certificate"),
        ("127.0.0.1", "Server certificate"),
        ("acme.example.test.", "Server certificate"),
        ("unknown.test", "unrecognized name"),
        ("xn--.invalid", "illegal parameter"),
    ] {
        let said = openssl(&site, &["-servername", name]);
        assert!(said.contains(expected), "{name}: {said}");
    }
    // Two versions, four names, and openssl's.
    wait::until("the count of refused handshakes", || {
        let refused = "portico_tls_handshake_failures_total{class=\"no_certificate\"}";
        (site.portico.metric(refused) >= 9.0).then_some(())
    });
}

#[tokio::test]
async fn a_client_without_sni_can_be_refused() {
    let origin = Origin::hello();
    let mut site = Site::before(&[origin.address()])
        .set("tls", "require_sni = true")
        .start();
    let nameless = |site: &Site| {
        let mut config = site.ca.trust().config(Alpn::Browser);
        config.enable_sni = false;
        config
    };
    let config = nameless(&site);
    let alert = alert(shake(&site, "example.test", config).await);
    assert_eq!(alert, AlertDescription::UnrecognisedName);
    // A reload is enough to change it.
    site.portico
        .rewrite_config(|text| text.replace("require_sni = true", "require_sni = false"));
    site.portico.reload();
    let config = nameless(&site);
    assert!(shake(&site, "example.test", config).await.is_ok());
}

#[tokio::test]
async fn v30_alpn_decides_the_protocol_and_nothing_else_is_spoken() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for version in [&version::TLS12, &version::TLS13] {
        for offered in [
            &[&b"http/1.0"[..]][..],
            &[b"h3"],
            &[b"spdy/3.1", b"h2c"],
            &[b"H2"],
        ] {
            let mut config = client(&site, Alpn::None, version, &[]);
            config.alpn_protocols = offered.iter().map(|it| it.to_vec()).collect();
            let alert = alert(shake(&site, "acme.example.test", config).await);
            assert_eq!(alert, AlertDescription::NoApplicationProtocol);
        }
        for (alpn, chosen) in [
            (Alpn::Browser, Some(&b"h2"[..])),
            (Alpn::Http2, Some(b"h2")),
            (Alpn::Http1, Some(b"http/1.1")),
            (Alpn::None, None),
        ] {
            let config = client(&site, alpn, version, &[]);
            let stream = shake(&site, "acme.example.test", config).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{alpn:?}");
        }
    }
    // The preface of HTTP/2 where ALPN chose HTTP/1.1 (or the plain listener) is a bad request and no upgrade.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for alpn in [Alpn::Http1, Alpn::None] {
        let mut raw = site.edge.raw("acme.example.test", alpn).await;
        let answer = raw.write(preface).await.rest().await;
        assert!(!answer.starts_with(b"\0\0"), "{answer:?}");
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    let mut raw = crate::support::raw::Raw::plain(site.portico.http_port()).await;
    let answer = raw.write(preface).await.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn both_versions_and_the_hybrid_key_exchange_first() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let hybrid = NamedGroup::X25519MLKEM768;
    for (version, groups, expected) in [
        (&version::TLS13, &[][..], hybrid),
        (&version::TLS13, &[NamedGroup::X25519], NamedGroup::X25519),
        (
            &version::TLS13,
            &[NamedGroup::secp256r1],
            NamedGroup::secp256r1,
        ),
        (
            &version::TLS13,
            &[NamedGroup::secp384r1],
            NamedGroup::secp384r1,
        ),
        // TLS 1.2 knows no hybrids.
        (&version::TLS12, &[], NamedGroup::X25519),
    ] {
        let config = client(&site, Alpn::Http1, version, groups);
        let stream = shake(&site, "acme.example.test", config).await.unwrap();
        let session = stream.get_ref().1;
        let group = session.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, expected, "{groups:?}");
        let expected = if std::ptr::eq(version, &raw const version::TLS13) {
            ProtocolVersion::TLSv1_3
        } else {
            ProtocolVersion::TLSv1_2
        };
        assert_eq!(session.protocol_version(), Some(expected));
    }
    // Whatever order a client prefers, the server's is what counts among the shares that it sent.
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.reverse();
    let config = site
        .ca
        .trust()
        .config_of(Alpn::Http1, provider, &[&version::TLS13]);
    assert!(shake(&site, "acme.example.test", config).await.is_ok());
}

#[tokio::test]
async fn old_versions_are_refused() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for flag in ["-tls1", "-tls1_1"] {
        let args = [
            flag,
            "-cipher",
            "ALL:@SECLEVEL=0",
            "-servername",
            "acme.example.test",
        ];
        let said = openssl(&site, &args);
        assert!(said.contains("SSL alert number"), "{flag}: {said}");
        assert!(said.contains("no peer certificate"), "{flag}: {said}");
    }
}

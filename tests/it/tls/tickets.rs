//! Resumption: who may, for how long, and that no early data is taken.

use std::fmt;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, SupportedProtocolVersion, version,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::Semaphore;

use crate::support::origin::{self, Origin};
use crate::support::port;
use crate::support::program;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};
use crate::support::wait;

/// Keeps the last ticket and offers it to whatever name: what an attacker would do.
#[derive(Default)]
pub(super) struct AnyName {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
    early_data: Mutex<Vec<u32>>,
}

impl fmt::Debug for AnyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyName")
    }
}

impl ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap() = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.tls12.lock().unwrap() = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.early_data
            .lock()
            .unwrap()
            .push(value.max_early_data_size());
        self.tls13.lock().unwrap().push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().pop()
    }
}

/// A client that keeps its tickets in `store`. rustls offers them only under clones of one configuration.
pub(super) fn client(
    site: &Site,
    version: &'static SupportedProtocolVersion,
    store: &Arc<AnyName>,
) -> ClientConfig {
    let provider = aws_lc_rs::default_provider();
    let mut config = site.ca.trust().config_of(Alpn::Http1, provider, &[version]);
    config.resumption = Resumption::store(Arc::clone(store) as _);
    config.enable_early_data = true;
    config
}

/// One request on a connection of its own, after which its ticket is there; and how the handshake went.
pub(super) async fn ask(site: &Site, host: &str, config: ClientConfig) -> (HandshakeKind, u16) {
    let stream = tls::connect(port::local(site.portico.https_port()), host, config).await;
    let mut stream = stream.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (stream.get_ref().1.handshake_kind().unwrap(), status)
}

#[tokio::test]
async fn v38_a_ticket_is_good_for_its_own_name_only() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for version in [&version::TLS12, &version::TLS13] {
        let store = Arc::new(AnyName::default());
        let config = client(&site, version, &store);
        for (host, kind) in [
            ("acme.example.test", HandshakeKind::Full),
            ("acme.example.test", HandshakeKind::Resumed),
            ("globex.example.test", HandshakeKind::Full),
            ("globex.example.test", HandshakeKind::Resumed),
            ("acme.example.test", HandshakeKind::Full),
        ] {
            let got = ask(&site, host, config.clone()).await;
            assert_eq!(got, (kind, 200), "{host}");
        }
    }
}

#[tokio::test]
async fn m41_no_ticket_allows_early_data() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let store = Arc::new(AnyName::default());
    for _ in 0..3 {
        ask(
            &site,
            "acme.example.test",
            client(&site, &version::TLS13, &store),
        )
        .await;
    }
    let allowed = store.early_data.lock().unwrap().clone();
    assert_eq!(allowed, [0, 0, 0], "one ticket each, none for early data");
}

#[tokio::test]
async fn the_key_of_tickets_changes_every_six_hours_and_the_last_one_is_good_for_as_long_again() {
    let origin = Origin::hello();
    let clock = tempfile::NamedTempFile::new().unwrap();
    let set = |hours: u64| {
        let at = SystemTime::now() + Duration::from_secs(hours * 3_600);
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut file = std::fs::File::create(clock.path()).unwrap();
        writeln!(file, "@{}", time_text(seconds)).unwrap();
    };
    set(0);
    let site = Site::before(&[origin.address()])
        .env("LD_PRELOAD", &program::faketime().display().to_string())
        .env(
            "FAKETIME_TIMESTAMP_FILE",
            &clock.path().display().to_string(),
        )
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    // The clock never goes back.
    for (version, start) in [(&version::TLS12, 0), (&version::TLS13, 100)] {
        let resume =
            async |config: &ClientConfig| ask(&site, "acme.example.test", config.clone()).await.0;
        let begin = async || {
            let config = client(&site, version, &Arc::default());
            assert_eq!(resume(&config).await, HandshakeKind::Full);
            config
        };
        set(start);
        let (first, kept) = (begin().await, begin().await);
        assert_eq!(resume(&first).await, HandshakeKind::Resumed);
        // Another key is in use, and the one before is still good.
        set(start + 7);
        let second = begin().await;
        assert_eq!(resume(&first).await, HandshakeKind::Resumed);
        // Two keys later it is not.
        set(start + 14);
        assert_eq!(resume(&second).await, HandshakeKind::Resumed);
        assert_eq!(resume(&kept).await, HandshakeKind::Full);
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_yet_gets_its_ticket() {
    let site = Site::before(&["127.0.0.1:9"]).start();
    for (version, alpn) in [
        (&version::TLS12, Alpn::Http1),
        (&version::TLS13, Alpn::Http1),
        (&version::TLS13, Alpn::Http2),
    ] {
        let store = Arc::new(AnyName::default());
        let mut config = client(&site, version, &store);
        if alpn == Alpn::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let address = port::local(site.portico.https_port());
        let shaken = tls::connect(address, "acme.example.test", config).await;
        let mut stream = shaken.unwrap();
        let there =
            || store.tls12.lock().unwrap().is_some() || !store.tls13.lock().unwrap().is_empty();
        let ticket = poll_fn(|cx| {
            // Over HTTP/2 the server's settings come as well.
            let mut bytes = [0; 256];
            let mut bytes = ReadBuf::new(&mut bytes);
            while let Poll::Ready(read) = Pin::new(&mut stream).poll_read(cx, &mut bytes) {
                read.unwrap();
                assert_ne!(bytes.filled().len(), 0, "closed without a ticket");
                bytes.clear();
            }
            if there() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        wait::within("ticket", ticket).await;
    }
}

#[tokio::test]
async fn the_ticket_comes_with_the_answer_to_a_request_that_was_there() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = Origin::tcp(move |_| {
        let held = Arc::clone(&held);
        async move {
            let _turn = held.acquire().await;
            origin::text(200, "late")
        }
    });
    let site = Site::before(&[origin.address()]).start();
    let store = Arc::new(AnyName::default());
    let config = client(&site, &version::TLS13, &store);
    let name = ServerName::try_from("acme.example.test").unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(port::local(site.portico.https_port())).unwrap();
    while session.is_handshaking() {
        if session.wants_write() {
            session.write_tls(&mut socket).unwrap();
        } else {
            assert_ne!(session.read_tls(&mut socket).unwrap(), 0, "closed");
            session.process_new_packets().unwrap();
        }
    }
    // The last message of the handshake and the request in one segment.
    let request = b"GET / HTTP/1.1\r\nHost: acme.example.test\r\nConnection: close\r\n\r\n";
    session.writer().write_all(request).unwrap();
    let mut segment = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut segment).unwrap();
    }
    socket.write_all(&segment).unwrap();
    wait::until("the request", || (origin.begun() == 1).then_some(()));
    socket.set_nonblocking(true).unwrap();
    let early = socket.peek(&mut [0; 1]).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    gate.add_permits(1);
    socket.set_nonblocking(false).unwrap();
    let mut answer = Vec::new();
    rustls::Stream::new(&mut session, &mut socket)
        .read_to_end(&mut answer)
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"late"));
    assert_eq!(store.tls13.lock().unwrap().len(), 1);
}

/// `YYYY-MM-DD hh:mm:ss` in UTC, as libfaketime reads it.
fn time_text(seconds: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap()).unwrap();
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

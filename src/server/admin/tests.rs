//! Tests of the admin listener over real sockets.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::config::AdminAddress;

#[derive(Default)]
struct Source {
    draining: AtomicBool,
    forced: AtomicBool,
}

impl AdminSource for Source {
    fn ready(&self) -> Result<(), Vec<String>> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(vec!["draining".to_owned()]);
        }
        Ok(())
    }
    fn status(&self) -> Value {
        json!({ "version": "1.2.3" })
    }
    fn jwks(&self) -> Value {
        json!({ "keys": [] })
    }
    fn resync(&self, force: bool) -> bool {
        self.forced.store(force, Ordering::Relaxed);
        true
    }
    fn metrics(&self) -> String {
        "portico_ready 1\n".to_owned()
    }
    fn about_tenants(&self, question: Question) -> Told {
        let asked = format!("{question:?}");
        Box::pin(async move { (StatusCode::OK, json!({ "asked": asked })) })
    }
}

/// A running admin listener.
struct Admin {
    address: SocketAddr,
    source: Arc<Source>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
}

impl Admin {
    fn start() -> Self {
        let anywhere = AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = AdminListener::bind(&anywhere).unwrap().unwrap();
        let address = listener.tcp_address().unwrap();
        Self::with(listener, address)
    }

    fn with(listener: AdminListener, address: SocketAddr) -> Self {
        let (source, tasks) = (Arc::new(Source::default()), TaskTracker::new());
        let shutdown = CancellationToken::new();
        let shown: Arc<dyn AdminSource> = Arc::clone(&source) as _;
        let serving = tasks.spawn(serve(listener, shown, tasks.clone(), shutdown.clone()));
        Self {
            address,
            source,
            tasks,
            shutdown,
            serving,
        }
    }

    /// Sends bytes and reads until the end: status, head, body.
    async fn send(&self, request: &str) -> (u16, String, String) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        exchange(stream, request).await
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.serving.await.unwrap().unwrap();
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> (u16, String, String) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused request may end in a reset; what came before counts.
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .map_or(0, |code| code.parse().unwrap());
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn tenants_are_told_and_a_web_page_cannot_purge() {
    let admin = Admin::start();
    let (status, _, body) = admin.get("/tenants?limit=3").await;
    assert_eq!((status, body.as_str()), (200, "{\"asked\":\"List(3)\"}\n"));
    let purge =
        |headers: &str| format!("POST /tenants/purge?all=true HTTP/1.1\r\n{headers}\r\n\r\n");
    for (headers, status) in [
        ("Host: localhost\r\nPortico-Command: 1", 200),
        ("Host: localhost", 403),
        (
            "Host: localhost\r\nPortico-Command: 1\r\nOrigin: http://localhost",
            403,
        ),
        ("Host: rebound.example\r\nPortico-Command: 1", 421),
    ] {
        let (answered, head, _) = admin.send(&purge(headers)).await;
        assert_eq!(answered, status, "{headers}");
        assert!(!head.contains("access-control"), "{head}");
    }
    // What a browser asks first for a header of ours.
    let preflight = "OPTIONS /tenants/purge?all=true HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a.test\r\n\
        Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: portico-command\r\n\r\n";
    let (status, head, _) = admin.send(preflight).await;
    assert_eq!(status, 405);
    assert!(!head.contains("access-control"), "{head}");
    admin.stop().await;
}

#[tokio::test]
async fn every_endpoint_answers() {
    let admin = Admin::start();
    for (path, status, kind, body) in [
        ("/livez", 200, "application/json", "{\"live\":true}\n"),
        (
            "/readyz",
            200,
            "application/json",
            "{\"ready\":true,\"reasons\":[]}\n",
        ),
        (
            "/metrics",
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            "portico_ready 1\n",
        ),
        (
            "/status?x=1",
            200,
            "application/json",
            "{\"version\":\"1.2.3\"}\n",
        ),
        ("/", 404, "application/json", "{\"error\":\"not found\"}\n"),
        (
            "/metrics/",
            404,
            "application/json",
            "{\"error\":\"not found\"}\n",
        ),
    ] {
        let (got, head, text) = admin.get(path).await;
        assert_eq!((got, text.as_str()), (status, body), "{path}");
        for header in [
            format!("content-type: {kind}\r\n").as_str(),
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "connection: close",
            &format!("content-length: {}", body.len()),
        ] {
            assert!(
                format!("{head}\r\n").contains(header),
                "{path}: {header} in {head}"
            );
        }
        assert!(!head.contains("server:"), "{head}");
    }
    admin.stop().await;
}

#[tokio::test]
async fn says_why_it_is_not_ready() {
    let admin = Admin::start();
    admin.source.draining.store(true, Ordering::Relaxed);
    let (status, _, body) = admin.get("/readyz").await;
    assert_eq!(
        (status, body.as_str()),
        (503, "{\"ready\":false,\"reasons\":[\"draining\"]}\n")
    );
    assert_eq!(admin.get("/livez").await.0, 200, "alive all the same");
    admin.stop().await;
}

#[tokio::test]
async fn nothing_but_get_and_head() {
    let admin = Admin::start();
    let (status, head, body) = admin
        .send("HEAD /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 16"), "{head}");
    for method in ["POST", "DELETE", "OPTIONS", "BREW"] {
        let request =
            format!("{method} /status HTTP/1.1\r\nHost: [::1]:9\r\nContent-Length: 0\r\n\r\n");
        let (status, head, body) = admin.send(&request).await;
        assert_eq!(
            (status, body.as_str()),
            (405, "{\"error\":\"only GET and HEAD\"}\n"),
            "{method}"
        );
        assert!(head.contains("allow: get, head"), "{head}");
    }
    admin.stop().await;
}

#[tokio::test]
async fn a_command_needs_its_header_which_no_foreign_page_can_send() {
    let admin = Admin::start();
    for (target, header, status, forced) in [
        (
            "/tenants/resync?force=1",
            "Origin: https://evil.example",
            403,
            false,
        ),
        (
            "/tenants/resync?force=2",
            "Portico-Command: resync",
            400,
            false,
        ),
        ("/tenants/resync", "Portico-Command: resync", 202, false),
        (
            "/tenants/resync?force=1",
            "Portico-Command: resync",
            202,
            true,
        ),
    ] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(admin.send(&request).await.0, status, "{target} {header}");
        assert_eq!(admin.source.forced.load(Ordering::Relaxed), forced);
    }
    assert_eq!(admin.get("/tenants/resync").await.0, 404);
    admin.stop().await;
}

#[tokio::test]
async fn a_page_that_rebinds_its_name_reads_nothing() {
    let admin = Admin::start();
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:9180",
        "",
        "@",
    ] {
        let (status, _, body) = admin
            .send(&format!("GET /status HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(status, 421, "{host}");
        assert!(!body.contains("version"), "{host}");
    }
    let absolute = "GET http://evil.example/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(admin.send(absolute).await.0, 421);
    for host in ["LOCALHOST:9180", "127.0.0.1:9180", "[::1]"] {
        assert_eq!(
            admin
                .send(&format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n"))
                .await
                .0,
            200,
            "{host}"
        );
    }
    assert_eq!(
        admin.send("GET /livez HTTP/1.0\r\n\r\n").await.0,
        200,
        "no browser"
    );
    admin.stop().await;
}

#[tokio::test]
async fn a_silent_or_endless_client_is_let_go() {
    let admin = Admin::start();
    let begun = Instant::now();
    let huge = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    assert_eq!(admin.send(&huge).await.0, 431);
    assert!(begun.elapsed() < HEAD);
    let (status, _, _) = admin.send("GET /livez HTTP/1.1\r\n").await;
    assert!(status == 0 || status == 408, "{status}");
    let waited = begun.elapsed();
    assert!(
        waited >= HEAD - Duration::from_millis(100) && waited < EXCHANGE,
        "{waited:?}"
    );
    admin.stop().await;
}

#[tokio::test]
async fn many_silent_clients_do_not_lock_an_operator_out_for_long() {
    let admin = Admin::start();
    let _held: Vec<_> = (0..CONNECTIONS * 2)
        .map(|_| TcpStream::connect(admin.address).unwrap())
        .collect();
    let begun = Instant::now();
    assert_eq!(admin.get("/livez").await.0, 200);
    assert!(begun.elapsed() < EXCHANGE * 3);
    admin.stop().await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_silent_client() {
    let admin = Admin::start();
    let _silent = TcpStream::connect(admin.address).unwrap();
    assert_eq!(admin.get("/livez").await.0, 200);
    let begun = Instant::now();
    admin.stop().await;
    assert!(begun.elapsed() < HEAD);
}

#[tokio::test]
async fn a_unix_socket_is_for_owner_and_group_and_goes_with_the_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let address = AdminAddress::Unix(path.clone());
    let listener = AdminListener::bind(&address).unwrap().unwrap();
    assert_eq!(listener.tcp_address(), None);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let admin = Admin::with(listener, SocketAddr::from(([0, 0, 0, 0], 0)));
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    // Whoever may open the socket may use any name.
    let (status, _, _) = exchange(stream, "GET /livez HTTP/1.1\r\nHost: portico\r\n\r\n").await;
    assert_eq!(status, 200);
    admin.stop().await;
    assert!(!path.exists());
}

fn unix(path: &Path) -> Result<Option<AdminListener>, BindError> {
    AdminListener::bind(&AdminAddress::Unix(path.to_owned()))
}

#[test]
fn only_a_dead_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind, as after kill -9");
    let first = unix(&path).unwrap();
    UnixStream::connect(&path).unwrap();

    let second = unix(&path).unwrap_err();
    assert_eq!(
        second.to_string(),
        format!(
            "another process listens on the admin address: `unix:{}`",
            path.display()
        )
    );
    UnixStream::connect(&path).unwrap();

    // Somebody else's file at the path outlives our listener.
    fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(first);
    UnixStream::connect(&path).unwrap();
    drop(other);

    let file = dir.path().join("file");
    fs::File::create(&file).unwrap();
    let error = unix(&file).unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(unix(&link).unwrap_err(), BindError::NotASocket(_)));
    assert!(file.exists() && link.symlink_metadata().is_ok());

    let nowhere = unix(&dir.path().join("no/such/dir")).unwrap_err();
    assert!(matches!(nowhere, BindError::Io { .. }), "{nowhere}");
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = holder.local_addr().unwrap();
    let error = AdminListener::bind(&AdminAddress::Tcp(address)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("another process listens on the admin address: `{address}`")
    );
    assert!(AdminListener::bind(&AdminAddress::Off).unwrap().is_none());
}

//! M21 and M45: each failure has its status and its error type in `Proxy-Status` (RFC 9209).

use std::net::TcpStream;
use std::time::Duration;

use super::HOST;
use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::port;
use crate::support::raw_origin::RawOrigin;
use crate::support::site::Site;
use crate::support::tls::Alpn;

/// Checks status, reason and error type over both protocols.
async fn check(server: &str, lines: &[(&str, &str)], expected: (u16, &str, &str)) {
    let mut site = Site::before(&[server])
        .set("upstream", "response_timeout = \"1s\"")
        .set("upstream", "connect_timeout = \"1s\"");
    for (section, line) in lines {
        site = site.set(section, line);
    }
    let site = site.start();
    let (status, reason, kind) = expected;
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, HOST, "/").await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{server} {protocol:?} {answer:?}"
        );
        assert_eq!(answer.header("x-edge-reason"), Some(reason), "{server}");
        let told = answer.header("proxy-status").unwrap_or_default();
        let (name, error) = told.split_once("; error=").unwrap_or_default();
        assert!(name.starts_with("portico-"), "{server}: {told}");
        assert_eq!(error, kind, "{server}");
        // What goes wrong behind the edge is nobody's business in front of it.
        let address = server.rsplit('/').next().unwrap();
        assert!(!format!("{answer:?}").contains(address), "{answer:?}");
    }
}

/// A listener whose queue is full: connections to it are neither made nor refused.
fn black_hole() -> (socket2::Socket, Vec<TcpStream>, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&port::local(0).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        held.push(stream);
        assert!(held.len() < 64, "the queue does not fill up");
    }
    (socket, held, address.to_string())
}

#[tokio::test]
async fn m21_m45_failures_to_connect_are_told_apart() {
    let nobody = port::local(port::free()).to_string();
    check(
        &nobody,
        &[],
        (503, "upstream-connect", "connection_refused"),
    )
    .await;
    check(
        "unix:/nonexistent/app.sock",
        &[],
        (503, "upstream-connect", "destination_unavailable"),
    )
    .await;
    check(
        "no-such-name.invalid:8000",
        &[],
        (502, "upstream-dns", "dns_error"),
    )
    .await;
    let (_socket, _held, address) = black_hole();
    check(
        &address,
        &[],
        (504, "upstream-connect-timeout", "connection_timeout"),
    )
    .await;
}

#[tokio::test]
async fn m21_m45_bad_answers_are_told_apart() {
    let silent = RawOrigin::new(|connection| while connection.read_more() {});
    let garbage = RawOrigin::answering("220 smtp.example.test ESMTP\r\n");
    let leaving = RawOrigin::new(|connection| drop(connection.read_head()));
    let resetting = RawOrigin::new(|connection| {
        connection.read_head();
        connection.reset();
    });
    let endless = RawOrigin::new(|connection| {
        connection.read_head();
        connection.write("HTTP/1.1 200 OK\r\n");
        for _ in 0..4_000 {
            connection.write(format!("X-Long: {}\r\n", "x".repeat(100)));
        }
        while connection.read_more() {}
    });
    let switching = RawOrigin::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
    );
    for (server, status, reason, kind) in [
        (
            &silent,
            504,
            "upstream-response-timeout",
            "http_response_timeout",
        ),
        (&garbage, 502, "upstream-exchange", "http_protocol_error"),
        (
            &leaving,
            502,
            "upstream-exchange",
            "http_response_incomplete",
        ),
        (
            &resetting,
            502,
            "upstream-exchange",
            "connection_terminated",
        ),
        (
            &endless,
            502,
            "upstream-exchange",
            "http_response_header_section_size",
        ),
        (
            &switching,
            502,
            "upstream-bad-upgrade",
            "http_upgrade_failed",
        ),
    ] {
        check(&server.address(), &[], (status, reason, kind)).await;
    }
}

#[tokio::test]
async fn m45_errors_of_clients_and_tenants_have_their_type_too() {
    let origin = Origin::tcp(async |_| origin::text(502, "the app's own"));
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        let error = async |host: &str, method: &str| {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            let answer = connection.request(method, "/").host(host).send().await;
            let told = answer.header("proxy-status")?;
            Some(told.split_once("; error=")?.1.to_owned())
        };
        let of = async |host, method| error(host, method).await;
        assert_eq!(
            of(HOST, "TRACE").await.as_deref(),
            Some("http_request_error")
        );
        let unknown = of("mail.example.test", "GET").await;
        assert_eq!(unknown.as_deref(), Some("destination_not_found"));
        assert_eq!(of(HOST, "GET").await, None, "the app's answer is the app's");
    }
    let mut raw = site.edge.raw(HOST, Alpn::Http1).await;
    raw.write("GET / HTTP/1.1\r\n\r\n").await;
    let head = raw.head().await.unwrap();
    assert!(head.contains("; error=http_request_error"), "{head}");
}

//! What is bounded by being small or absent: header names, and protocols that are not spoken.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::support::http::Protocol;
use crate::support::origin::{self, Origin};
use crate::support::port;
use crate::support::site::Site;

/// Whatever the names hash to: there are never more than a hundred of them, and as many cost next to nothing.
#[tokio::test]
async fn d17_header_names_are_too_few_to_flood_a_table() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let mut request = connection.request("GET", "/");
        for number in 0..90 {
            request = request.header(&format!("x-flood-{number}"), "1");
        }
        let began = Instant::now();
        assert_eq!(request.send().await.status, StatusCode::OK);
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let mut request = connection.request("GET", "/");
        for number in 0..150 {
            request = request.header(&format!("x-flood-{number}"), "1");
        }
        let answer = request.send().await;
        assert_eq!(
            answer.status,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "{protocol:?}"
        );
    }
}

/// HTTP/3 is not spoken: nothing listens for QUIC, and the edge advertises nothing.
#[tokio::test]
async fn d19_quic_is_not_offered() {
    // The app's own word for it must not lead clients past the edge either.
    let origin = Origin::tcp(async |_| {
        let mut answer = origin::text(200, "hello");
        let other = http::HeaderValue::from_static("h3=\":443\"");
        answer.headers_mut().insert("alt-svc", other);
        answer
    });
    let site = Site::before(&[origin.address()]).start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .connect(port::local(site.portico.https_port()))
        .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    // The first datagram may be sent; the refusal comes with the next call.
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    let sent = socket.send(&[0xc0; 1200]);
    let heard = socket.recv(&mut [0; 64]);
    assert!(
        sent.is_err_and(refused) || heard.is_err_and(refused),
        "nobody listens for QUIC"
    );
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "acme.example.test", "/").await;
        assert_eq!(answer.header("alt-svc"), None, "{protocol:?}");
    }
}

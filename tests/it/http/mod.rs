//! HTTP as it must be, row by row: M are musts of the RFCs, V are vectors of attack. A test is named after the rows that
//! it proves; `rows.txt` has their titles, and a run of the tests writes `tests/HTTP.md`. Rows whose matter has a
//! module of its own (bodies, hosts, hygiene, websocket, ...) are proven there.

mod chunks;
mod corpus;
mod fields;
mod framing;
mod http2;
mod log;
mod musts;
mod surface;
mod target;
mod upstream;

use crate::support::origin::Origin;
use crate::support::raw::{Raw, RawResponse};
use crate::support::site::Site;
use crate::support::tls::Alpn;

/// The host of most requests.
const HOST: &str = "Host: acme.example.test\r\n";
/// What follows a request that must be the last of its connection.
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
/// The same, and then no more.
const LAST: &str = "GET /after HTTP/1.1\r\nHost: acme.example.test\r\nConnection: close\r\n\r\n";

/// A site before an app that says hello.
fn hello() -> (Origin, Site) {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    (origin, site)
}

async fn connect(site: &Site) -> Raw {
    site.edge.raw("acme.example.test", Alpn::Http1).await
}

/// Sends `request` and one more behind it, in one write or byte by byte: the first answer and all that comes after it.
async fn send(site: &Site, request: &[u8], in_pieces: bool) -> (RawResponse, Vec<u8>) {
    let mut raw = connect(site).await;
    let all = [request, LAST.as_bytes()].concat();
    if in_pieces {
        for piece in all.chunks(7) {
            raw.write(piece).await;
        }
    } else {
        raw.write(all).await;
    }
    let answer = raw.response().await;
    let answer =
        answer.unwrap_or_else(|| panic!("no answer to {:?}", String::from_utf8_lossy(request)));
    (answer, raw.rest().await)
}

/// Each request gets its status with the edge's own page, ends its connection, and reaches no app; also when it comes
/// in pieces.
async fn refused<B: AsRef<[u8]>>(cases: &[(B, u16)]) {
    let (origin, site) = hello();
    for (request, status) in cases {
        let request = request.as_ref();
        let shown = String::from_utf8_lossy(request);
        for in_pieces in [false, true] {
            let (answer, rest) = send(&site, request, in_pieces).await;
            assert_eq!(answer.status, *status, "{shown:?} {}", answer.head);
            assert!(
                answer.header("x-edge-reason").is_some(),
                "{shown:?}: {}",
                answer.head
            );
            assert!(answer.header("x-request-id").is_some(), "{shown:?}");
            assert_eq!(answer.header("connection"), Some("close"), "{shown:?}");
            assert!(
                rest.is_empty(),
                "{shown:?}: {}",
                String::from_utf8_lossy(&rest)
            );
        }
    }
    assert!(origin.requests().is_empty(), "{:#?}", origin.requests());
}

/// A head with these lines after its request line and host.
fn head(lines: &str) -> String {
    format!("POST /before HTTP/1.1\r\n{HOST}{lines}\r\n")
}

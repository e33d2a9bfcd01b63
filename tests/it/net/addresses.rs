//! Whom a request is from: behind trusted proxies, and by the lists of `[access]`.

use std::net::TcpStream;

use crate::support::http::Protocol;
use crate::support::origin::Origin;
use crate::support::port;
use crate::support::site::Site;
use crate::support::wait;

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";

#[tokio::test]
async fn the_rightmost_untrusted_address_is_what_app_and_log_see() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("http", TRUSTED)
        .set("log", "access = \"stdout\"")
        .start();
    for protocol in Protocol::BOTH {
        for (lines, client, chain) in [
            (&["192.0.2.9"][..], "192.0.2.9", "192.0.2.9, 127.0.0.1"),
            // What the client wrote itself is no address of anybody.
            (
                &["1.1.1.1, 127.0.0.1, 192.0.2.9"],
                "192.0.2.9",
                "192.0.2.9, 127.0.0.1",
            ),
            (
                &["1.1.1.1", "192.0.2.9, 10.1.2.3"],
                "192.0.2.9",
                "192.0.2.9, 10.1.2.3, 127.0.0.1",
            ),
            (&["::ffff:192.0.2.9"], "192.0.2.9", "192.0.2.9, 127.0.0.1"),
            (&["2001:db8::9, junk"], "127.0.0.1", "127.0.0.1"),
            (&[], "127.0.0.1", "127.0.0.1"),
        ] {
            let before = origin.requests().len();
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            let mut request = connection.request("GET", "/");
            for line in lines {
                request = request.header("x-forwarded-for", line);
            }
            for name in ["x-real-ip", "forwarded", "true-client-ip", "x_real_ip"] {
                request = request.header(name, "6.6.6.6");
            }
            assert_eq!(request.send().await.status, 200);
            let seen = &origin.requests()[before];
            assert_eq!(seen.one("x-real-ip"), client, "{lines:?}");
            assert_eq!(seen.one("x-forwarded-for"), chain, "{lines:?}");
            assert!(!format!("{:?}", seen.headers).contains("6.6.6.6"));
        }
    }
    wait::until("the log", || {
        let log = site.portico.stdout();
        (log.matches("\"client\":\"192.0.2.9\"").count() == 8
            && log.matches("\"client\":\"127.0.0.1\"").count() == 4)
            .then_some(())
    });
}

#[tokio::test]
async fn an_address_that_is_not_let_in_gets_no_connection() {
    for (line, open) in [
        ("deny = [\"127.0.0.0/8\"]", false),
        ("allow = [\"192.0.2.0/24\"]", false),
        ("allow = [\"127.0.0.1\"]", true),
        ("deny = [\"127.0.0.2\", \"::/0\"]", true),
    ] {
        let origin = Origin::hello();
        let mut site = Site::before(&[origin.address()])
            .set("access", line)
            .start();
        let look = |site: &Site| {
            use std::io::Read;
            let mut stream = TcpStream::connect(port::local(site.portico.https_port())).unwrap();
            stream
                .set_read_timeout(Some(std::time::Duration::from_millis(500)))
                .unwrap();
            // An end, or nothing because TLS is waited for.
            let read = stream.read(&mut [0; 1]);
            !matches!(read, Ok(0))
                && read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        assert_eq!(look(&site), open, "{line}");
        if !open {
            assert!(
                site.portico
                    .metric("portico_connections_refused_total{reason=\"denied\"}")
                    >= 1.0
            );
            // A reload is enough.
            site.portico.rewrite_config(|text| text.replace(line, ""));
            site.portico.reload();
            assert!(look(&site));
        }
    }
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_is_judged_by_its_own_address() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("http", TRUSTED)
        .set("access", "allow = [\"192.0.2.0/24\"]")
        .set("access", "deny = [\"192.0.2.66\"]")
        .start();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        for (line, status) in [
            ("192.0.2.9", 200),
            ("192.0.2.66", 403),
            ("198.51.100.1", 403),
            // Claims further left change nothing.
            ("192.0.2.9, 192.0.2.66", 403),
            ("192.0.2.66, 192.0.2.9", 200),
        ] {
            let request = connection
                .request("GET", "/")
                .header("x-forwarded-for", line);
            let answer = request.header("accept", "application/json").send().await;
            assert_eq!(answer.status.as_u16(), status, "{protocol:?} {line}");
            if status == 403 {
                assert_eq!(answer.header("x-edge-reason"), Some("forbidden"));
                assert_eq!(answer.json()["status"], 403);
            }
        }
        // Without any word of the proxy the client is the proxy, which is on no list.
        assert_eq!(connection.request("GET", "/").send().await.status, 403);
    }
}

#[tokio::test]
async fn m44_no_spelling_of_forwarded_names_a_client() {
    let origin = Origin::hello();
    for proxies in ["trusted_proxies = []", TRUSTED] {
        let site = Site::before(&[origin.address()])
            .set("http", proxies)
            .start();
        for protocol in Protocol::BOTH {
            for value in [
                "for=192.0.2.43",
                "For=\"[2001:db8:cafe::17]:4711\"",
                "for=192.0.2.60;proto=http;by=203.0.113.43",
                "for=_hidden, for=\"_SEVKISEK\"",
                "for=unknown;host=evil.test",
            ] {
                let before = origin.requests().len();
                let mut connection = site.edge.connect(protocol, "acme.example.test").await;
                let request = connection.request("GET", "/").header("forwarded", value);
                assert_eq!(request.send().await.status, 200);
                let seen = &origin.requests()[before];
                // Ours are X-Forwarded-...; a second language for the same would be a second truth.
                assert!(seen.all("forwarded").is_empty());
                assert_eq!(seen.one("x-real-ip"), "127.0.0.1");
                assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");
                assert_eq!(seen.one("x-forwarded-proto"), "https");
            }
        }
    }
}

#[tokio::test]
async fn m43_hsts_is_never_said_in_plain_text() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let name = "strict-transport-security";
    for (host, status) in [
        ("acme.example.test", 308),
        ("unknown.test", 404),
        ("a b", 400),
    ] {
        let mut raw = crate::support::raw::Raw::plain(site.portico.http_port()).await;
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = raw.write(head).await.response().await.unwrap();
        assert_eq!(
            (answer.status, answer.header(name)),
            (status, None),
            "{host}"
        );
    }
    for protocol in Protocol::BOTH {
        let answer = site.edge.get(protocol, "acme.example.test", "/").await;
        assert!(answer.header(name).is_some());
    }
}

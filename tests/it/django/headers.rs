//! Headers that Django, gunicorn and uvicorn give a power of their own: what a client sends of them is gone, and what
//! the edge says is what these programs understand. Each test shows first that the program itself would obey.

use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{ACME, before, env, understood};
use crate::support::django::Django;
use crate::support::http::{Connection, Protocol};
use crate::support::port;
use crate::support::tls::{self, Alpn};
use crate::support::wait;

/// gunicorn takes SCRIPT_NAME from loopback and from every Unix socket: a path that the edge guards would be another one
/// for the app.
#[tokio::test]
async fn strip_script_name() {
    let django = Django::new();
    let (tcp, unix) = (django.gunicorn(), django.gunicorn_unix());
    let mut itself = Connection::unix(unix.socket(), ACME).await;
    let moved = itself
        .request("GET", "/public/env/")
        .header("script_name", "/public");
    let moved = understood(&moved.send().await);
    assert_eq!(
        (&moved["path"], &moved["tenant"]),
        (&"/env/".into(), &"acme".into())
    );
    let mut itself = Connection::unix(unix.socket(), ACME).await;
    let broken = itself.request("GET", "/env/").header("script_name", "/zzz");
    assert_eq!(broken.send().await.status, 500);

    for app in [&tcp, &unix] {
        let site = before(app).start();
        for protocol in Protocol::BOTH {
            let mut connection = site.edge.connect(protocol, ACME).await;
            for name in [
                "script_name",
                "SCRIPT-NAME",
                "script.name",
                "http_script_name",
            ] {
                for value in ["/public", "/zzz"] {
                    let request = connection
                        .request("GET", "/public/env/")
                        .header(name, value);
                    assert_eq!(request.send().await.status, 404, "{name}: {value}");
                    let request = connection.request("GET", "/env/").header(name, value);
                    let seen = understood(&request.send().await);
                    assert_eq!(
                        (&seen["script_name"], &seen["path"]),
                        (&"".into(), &"/env/".into())
                    );
                }
            }
        }
    }
}

/// gunicorn believes three headers about the scheme and refuses requests in which they differ.
#[tokio::test]
async fn strip_scheme_family() {
    let django = Django::new();
    let (tcp, unix) = (django.gunicorn(), django.gunicorn_unix());
    let spoofs = [
        ("x-forwarded-ssl", "off"),
        ("x-forwarded-ssl", "on"),
        ("x-forwarded-protocol", "http"),
        ("x-forwarded-protocol", "ssl"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-proto", "https,http"),
        ("x_forwarded_proto", "http"),
        ("x-forwarded-scheme", "http"),
        ("x-scheme", "http"),
        ("x-url-scheme", "http"),
        ("front-end-https", "off"),
    ];
    for (name, value) in [("x-forwarded-ssl", "off"), ("x-forwarded-protocol", "http")] {
        let mut itself = Connection::unix(unix.socket(), ACME).await;
        let request = itself
            .request("GET", "/env/")
            .header("x-forwarded-proto", "https");
        let refused = request.header(name, value).send().await;
        assert_eq!(refused.status, 400, "{name}");
    }
    for app in [&tcp, &unix] {
        let site = before(app).start();
        for protocol in Protocol::BOTH {
            let mut connection = site.edge.connect(protocol, ACME).await;
            for (name, value) in spoofs {
                let request = connection.request("GET", "/env/").header(name, value);
                let seen = understood(&request.send().await);
                assert_eq!(seen["secure"], true, "{name}: {value}");
                assert_eq!(seen["headers"]["HTTP_X_FORWARDED_PROTO"], "https", "{name}");
                let family = [
                    "HTTP_X_FORWARDED_SSL",
                    "HTTP_X_FORWARDED_PROTOCOL",
                    "HTTP_X_SCHEME",
                ];
                assert!(
                    family
                        .iter()
                        .all(|name| seen["headers"].get(name).is_none()),
                    "{seen}"
                );
            }
        }
    }
}

/// Some proxies say `wss` in X-Forwarded-Proto of a WebSocket, and Django takes that for plain text.
#[tokio::test]
async fn ws_xfp_is_https() {
    let django = Django::new();
    let (gunicorn, uvicorn) = (django.gunicorn_unix(), django.uvicorn());
    let mut itself = Connection::unix(gunicorn.socket(), ACME).await;
    let request = itself
        .request("GET", "/env/")
        .header("x-forwarded-proto", "wss");
    assert_eq!(understood(&request.send().await)["secure"], false);

    // An app that does not switch: the request is Django's, and secure.
    let site = before(&gunicorn).start();
    let mut raw = site.edge.raw(ACME, Alpn::Http1).await;
    let opening = format!(
        "GET /env/ HTTP/1.1\r\nHost: {ACME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-Proto: wss\r\n\r\n"
    );
    let answer = raw
        .write(opening)
        .await
        .response()
        .await
        .expect("an answer");
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200, "{text}");
    assert!(text.contains("\"secure\": true"), "{text}");
    assert!(
        text.contains("\"HTTP_X_FORWARDED_PROTO\": \"https\""),
        "{text}"
    );

    // One that does: uvicorn makes `wss` of it by itself.
    let site = before(&uvicorn).start();
    let address = port::local(site.portico.https_port());
    let config = site.ca.trust().config(Alpn::Http1);
    let stream = tls::connect(address, ACME, config)
        .await
        .expect("TLS handshake");
    let mut request = format!("wss://{ACME}/live").into_client_request().unwrap();
    request
        .headers_mut()
        .insert("x-forwarded-proto", "wss".parse().unwrap());
    let opening = Box::pin(client_async(request, stream));
    let (mut socket, _) = wait::within("a WebSocket", opening).await.expect("101");
    let message = wait::within("a message", futures_util::StreamExt::next(&mut socket)).await;
    let text = message
        .expect("an open socket")
        .expect("a message")
        .into_text()
        .unwrap();
    let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&seen["scheme"], &seen["client"]),
        (&"wss".into(), &"127.0.0.1".into())
    );
    let values = |name: &str| -> Vec<String> {
        let all = seen["headers"].as_array().unwrap().iter();
        let lines = all.filter(|line| line[0] == name);
        lines
            .map(|line| line[1].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values("x-forwarded-proto"), ["https"]);
    assert_eq!(values("x-tenant"), ["acme"]);
    assert_eq!(values("host"), [ACME]);
}

/// A client of IPv4 on a dual-stack listener is the IPv4 address, by which apps count and ban.
#[tokio::test]
async fn xff_unmapped_v4() {
    let django = Django::new();
    let app = django.gunicorn_unix();
    let mut itself = Connection::unix(app.socket(), ACME).await;
    let request = itself
        .request("GET", "/env/")
        .header("x-forwarded-for", "::ffff:203.0.113.9");
    assert_eq!(
        understood(&request.send().await)["client"],
        "::ffff:cb00:7109"
    );

    let listen = format!("https = [\"[::ffff:127.0.0.1]:{}\"]", port::free());
    let site = before(&app).set("listen", &listen).start();
    for client in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        let edge = site.edge.from(client.into());
        let address = std::net::Ipv4Addr::from(client).to_string();
        for protocol in Protocol::BOTH {
            let seen = env(&edge, protocol, ACME).await;
            for found in [
                &seen["client"],
                &seen["headers"]["HTTP_X_FORWARDED_FOR"],
                &seen["headers"]["HTTP_X_REAL_IP"],
            ] {
                assert_eq!(*found, address, "{seen}");
            }
        }
    }
}

/// Probes ask for a host of the site by themselves. Django answers 404 to any other.
#[tokio::test]
async fn health_check_host_header() {
    let django = Django::new();
    let (by_name, by_other) = (django.gunicorn(), django.gunicorn());
    let state = |host: &str, app: &crate::support::django::App, wanted: &str| {
        let mut site = before(app)
            .set("upstream.probe", "path = \"/healthz/\"")
            .set("upstream.probe", "interval = \"250ms\"")
            .set("upstream.probe", "rise = 1")
            .set("upstream.probe", "fall = 1");
        if !host.is_empty() {
            site = site.set("upstream.probe", &format!("host = {host:?}"));
        }
        let site = site.start();
        let what = format!("the app is {wanted} when probed as {host:?}");
        wait::until(&what, || {
            let status: serde_json::Value =
                serde_json::from_str(&site.portico.admin("/status").1).unwrap();
            let server = &status["upstreams"]["servers"][0];
            let probed = app.requests("/healthz/") > 2;
            (probed && server["state"] == wanted).then_some(())
        });
    };
    state("", &by_name, "up");
    state("app.internal.test", &by_other, "down");
    assert!(
        by_other.log().contains("\"GET /healthz/ HTTP/1.1\" 404"),
        "{}",
        by_other.log()
    );
    assert!(!by_name.log().contains("\"GET /healthz/ HTTP/1.1\" 404"));
}

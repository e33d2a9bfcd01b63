//! The same rules with a real gunicorn, which gives some headers a power of their own.

use crate::support::gunicorn::Gunicorn;
use crate::support::http::{Edge, Protocol};
use crate::support::site::Site;

/// Headers with which a client could steer gunicorn: mount point, scheme, user, address.
const STEERING: &[(&str, &str)] = &[
    ("script_name", "/evil"),
    ("script-name", "/evil"),
    ("http_script_name", "/evil"),
    ("path_info", "/evil"),
    ("remote_user", "root"),
    ("remote-addr", "192.0.2.1"),
    ("x-forwarded-ssl", "off"),
    ("x-forwarded-protocol", "http"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-tenant", "evil"),
    ("x_tenant", "evil"),
    ("x.tenant", "evil"),
    ("proxy", "http://evil.test"),
];

async fn check(edge: &Edge, what: &str) {
    for protocol in Protocol::BOTH {
        let mut connection = edge.connect(protocol, "acme.example.test").await;
        let mut all = connection.request("GET", "/evil/page");
        for (name, value) in STEERING {
            all = all.header(name, value);
        }
        let answers = vec![all.send().await];
        for answer in answers {
            assert_eq!(answer.status, 200, "{what} {protocol:?}: {}", answer.text());
            let seen = answer.json();
            assert_eq!(seen["script_name"], "", "{what}");
            assert_eq!(seen["path"], "/evil/page");
            assert_eq!(seen["scheme"], "https", "{seen}");
            let headers = seen["headers"].as_object().unwrap();
            assert_eq!(headers["HTTP_X_TENANT"], "acme");
            assert_eq!(headers["HTTP_X_FORWARDED_FOR"], "127.0.0.1");
            assert_eq!(headers["HTTP_X_FORWARDED_PROTO"], "https");
            let known = [
                "HTTP_HOST",
                "HTTP_VIA",
                "HTTP_X_FORWARDED_FOR",
                "HTTP_X_FORWARDED_HOST",
                "HTTP_X_FORWARDED_PORT",
                "HTTP_X_FORWARDED_PROTO",
                "HTTP_X_REAL_IP",
                "HTTP_X_REQUEST_ID",
                "HTTP_X_TENANT",
            ];
            let names: Vec<&String> = headers.keys().collect();
            assert!(
                names.iter().all(|name| known.contains(&name.as_str())),
                "{names:?}"
            );
        }
        for (name, value) in STEERING {
            let answer = connection
                .request("GET", "/evil/page")
                .header(name, value)
                .send()
                .await;
            assert_eq!(answer.status, 200, "{what} {protocol:?} {name}");
        }
    }
}

#[tokio::test]
async fn v24_v25_no_client_steers_gunicorn_on_loopback() {
    let app = Gunicorn::worker("gthread").tcp();
    let site = Site::before(&[app.address()]).start();
    check(&site.edge, "loopback").await;
}

#[tokio::test]
async fn v24_v25_no_client_steers_gunicorn_on_a_unix_socket() {
    let app = Gunicorn::worker("sync").unix();
    let site = Site::before(&[app.address()]).start();
    check(&site.edge, "socket").await;
}

/// Positive control: the same headers straight to gunicorn do take effect.
#[tokio::test]
async fn v24_gunicorn_itself_would_obey() {
    let app = Gunicorn::worker("sync").unix();
    let socket = app.socket();
    let host = "acme.example.test";
    let mut connection = crate::support::http::Connection::unix(socket, host).await;
    let request = connection
        .request("GET", "/evil/page")
        .header("script_name", "/evil");
    let seen = request.header("x-tenant", "evil").send().await.json();
    assert_eq!(
        (&seen["script_name"], &seen["path"]),
        (&"/evil".into(), &"/page".into())
    );
    assert_eq!(seen["headers"]["HTTP_X_TENANT"], "evil");
}

//! The demo's sample app: one page that shows what an app behind Portico is told.
//!
//! It stands for gunicorn or any other app server: plain HTTP/1.1 on a loopback socket, in a thread of its own. It
//! believes the headers that it receives, as such apps do, so it must not be reachable but through the edge. It
//! shows them all, repeated ones too, so that a forged header would be seen. It keeps nothing.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::received::{Received, joined};
use crate::pages::format::Format;

/// For the page of [`Received::html`].
const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-WD3UogI00UkZQf86bQdykHvnPyRxQvzXkqAqfkG9Png='; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves the app in a new thread until `shutdown` is done; then its connections are closed. `ca` is the certificate
/// that the page's `curl` command names, if it needs one.
///
/// # Errors
/// If the socket, the runtime or the thread cannot be set up.
pub fn serve(
    listener: TcpListener,
    ca: Option<PathBuf>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let app = Arc::new(App { ca });
    std::thread::Builder::new()
        .name("demo-app".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                // Only a socket that cannot be watched fails here; the demo then answers 502, which says so.
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    accept(listener, app, shutdown).await;
                }
            });
        })
}

async fn accept(
    listener: tokio::net::TcpListener,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&app)));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, app: Arc<App>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = app.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    // The only peer is the edge; whatever ends the connection, the edge will tell.
    _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(60))
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

struct App {
    ca: Option<PathBuf>,
}

impl App {
    /// hyper leaves the body out of an answer to HEAD and keeps its length.
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "The sample app only shows a page.\n",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if request.uri().path() != "/" {
            return plain(StatusCode::NOT_FOUND, "The sample app has one page: /\n");
        }
        let received = Received::new(request);
        let accept = joined(request.headers(), &ACCEPT, ",");
        let accept = accept.as_deref().map(str::as_bytes);
        let (content_type, body) = match Format::negotiate(accept, request.method()) {
            Format::Html => (
                "text/html; charset=utf-8",
                received.html(self.ca.as_deref()),
            ),
            Format::Json => ("application/json", received.json()),
            Format::Text => ("text/plain; charset=utf-8", received.text()),
        };
        respond(StatusCode::OK, content_type, body)
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text.to_owned())
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (VARY, "accept"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use super::*;
    use crate::pages::html::style_source;

    /// Runs `client` against the app, then stops it.
    fn with_app(client: impl FnOnce(SocketAddr)) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shutdown = async {
            _ = stopped.await;
        };
        let thread = serve(listener, Some(PathBuf::from("/tmp/a b/ca.pem")), shutdown).unwrap();
        client(address);
        drop(stop);
        thread.join().unwrap();
        assert!(TcpStream::connect(address).is_err(), "the socket is closed");
    }

    fn ask(address: SocketAddr, line: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (format!("{head}\r\n"), body.to_owned())
    }

    fn headers(accept: &str) -> String {
        format!(
            "Host: acme.localhost:8443\r\nX-Tenant: acme\r\nX-Forwarded-For: 192.0.2.7\r\n\
             X-Forwarded-Proto: https\r\nX-Request-Id: r1\r\nVia: 2.0 portico\r\nAccept: {accept}\r\n"
        )
    }

    #[test]
    fn shows_what_it_was_told_in_the_format_that_is_asked_for() {
        with_app(|address| {
            let (head, html) = ask(address, "GET /", &headers("text/html"));
            assert!(
                head.starts_with("HTTP/1.1 200") && head.contains("text/html"),
                "{head}"
            );
            for part in [
                "<h1>acme</h1>",
                "<dd>192.0.2.7</dd>",
                "<dd>2.0 portico</dd>",
                "href=\"https://globex.localhost:8443/\"",
                "curl --cacert &#39;/tmp/a b/ca.pem&#39; -H &#39;X-Tenant: evil&#39; https://acme.localhost:8443/",
            ] {
                assert!(html.contains(part), "{part} in {html}");
            }
            assert!(!html.contains("{{"));
            assert!(!html.contains("href=\"https://acme"), "no link to itself");

            let (head, json) = ask(address, "GET /", &headers("application/json"));
            assert!(
                head.contains("content-type: application/json\r\n"),
                "{head}"
            );
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            for (member, value) in [
                ("tenant", "acme"),
                ("host", "acme.localhost:8443"),
                ("client", "192.0.2.7"),
                ("scheme", "https"),
            ] {
                assert_eq!(json.get(member).unwrap(), value);
            }
            let header = serde_json::json!(["x-tenant", "acme"]);
            assert!(
                json.get("headers")
                    .unwrap()
                    .as_array()
                    .unwrap()
                    .contains(&header)
            );

            let (_, text) = ask(address, "GET /", &headers("*/*"));
            assert!(
                text.starts_with("tenant    acme\nhost      acme.localhost:8443\n"),
                "{text}"
            );
        });
    }

    #[test]
    fn a_forged_header_that_got_through_would_be_seen() {
        with_app(|address| {
            let (_, text) = ask(
                address,
                "GET /",
                "Host: a.x\r\nX-Tenant: evil\r\nX-Tenant: acme\r\n",
            );
            assert!(text.starts_with("tenant    evil, acme\n"), "{text}");
        });
    }

    #[test]
    fn received_text_cannot_become_markup_or_links() {
        let evil = "\"'><script>alert(1)</script>";
        let names = [
            "Host",
            "X-Tenant",
            "X-Request-Id",
            "Via",
            "X-A",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
        ];
        let all: String = names
            .iter()
            .map(|name| format!("{name}: {evil}\r\n"))
            .collect();
        with_app(|address| {
            let (_, html) = ask(address, "GET /", &format!("{all}Accept: text/html\r\n"));
            assert!(!html.contains("<script") && !html.contains("<a "), "{html}");
            let scheme = "Host: x\r\nX-Forwarded-Proto: javascript\r\nAccept: text/html\r\n";
            let (_, html) = ask(address, "GET /", scheme);
            assert!(html.contains("href=\"http://acme.x/\""), "{html}");
            assert!(!html.contains("javascript:"));
        });
    }

    #[test]
    fn head_has_the_length_and_no_body() {
        with_app(|address| {
            let (_, page) = ask(address, "GET /", &headers("text/html"));
            let (head, body) = ask(address, "HEAD /", &headers("text/html"));
            let length = format!("content-length: {}\r\n", page.len());
            assert!(
                head.contains(&length) && head.contains("text/html"),
                "{head}"
            );
            assert_eq!(body, "");
        });
    }

    #[test]
    fn refuses_other_methods_and_paths() {
        with_app(|address| {
            let (head, _) = ask(address, "POST /", "Host: a\r\nContent-Length: 0\r\n");
            assert!(
                head.starts_with("HTTP/1.1 405") && head.contains("allow: GET, HEAD\r\n"),
                "{head}"
            );
            let (head, _) = ask(address, "GET /x", "Host: a\r\n");
            assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        });
    }

    #[test]
    fn the_policy_allows_exactly_the_style_sheet_of_the_template() {
        let source = style_source(include_str!("page.html"));
        assert!(POLICY.contains(&source), "the policy needs {source}");
    }
}

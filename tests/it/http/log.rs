//! A refusal by the tap is a request like any other to whoever reads the access log.

use serde_json::Value;

use super::{HOST, connect, head};
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::wait;

#[tokio::test]
async fn a_refused_head_has_its_page_its_line_and_its_count() {
    let origin = Origin::hello();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let site = Site::before(&[origin.address()])
        .set("log", &format!("access = {:?}", file.display().to_string()))
        .start();
    let long = "a".repeat(40_000);
    let cases = [
        (head("X : y\r\n"), 400, "bad-header", "POST", "/before"),
        (
            head("Content-Length: x\r\n"),
            400,
            "bad-framing",
            "POST",
            "/before",
        ),
        (
            head("Transfer-Encoding: cow\r\n"),
            501,
            "unknown-coding",
            "POST",
            "/before",
        ),
        (
            head(&format!("X: {long}\r\n")),
            431,
            "head-too-large",
            "POST",
            "/before",
        ),
        (format!("GET /{long}"), 414, "target-too-long", "-", "*"),
        (
            format!("GET /#x HTTP/1.1\r\n{HOST}\r\n"),
            400,
            "bad-target",
            "-",
            "*",
        ),
        (
            format!("HEAD /h?i HTTP/1.0\r\n{HOST}X\r\n\r\n"),
            400,
            "bad-header",
            "HEAD",
            "/h?i",
        ),
        ("\x16\x03\x01\r\n\r\n".to_owned(), 400, "bad-head", "-", "*"),
    ];
    for (number, (request, status, error, method, path)) in cases.iter().enumerate() {
        let mut raw = connect(&site).await;
        let first = raw.write(request).await.head().await.unwrap();
        assert!(first.contains(&format!(" {status} ")), "{first}");
        let id = first
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "));
        let id = id.expect("an id").to_owned();
        let body = raw.rest().await;
        assert_eq!(body.is_empty(), *method == "HEAD", "{first}");
        assert!(*method == "HEAD" || String::from_utf8_lossy(&body).contains(&id));
        let line = wait::until_async("a line in the access log", async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let line = text.lines().nth(number)?;
            text.ends_with('\n')
                .then(|| serde_json::from_str::<Value>(line).unwrap())
        })
        .await;
        for (key, value) in [
            ("status", Value::from(*status)),
            ("error", (*error).into()),
            ("method", (*method).into()),
            ("path", (*path).into()),
            ("request_id", id.as_str().into()),
            ("client", "127.0.0.1".into()),
        ] {
            assert_eq!(line[key], value, "{key} of {line}");
        }
        let name = format!("portico_errors_total{{error=\"{error}\"}}");
        assert!(site.portico.metric(&name) >= 1.0, "{name}");
    }
    assert!(origin.requests().is_empty());
}

/// The answer arrives whole although the client goes on sending: the edge reads a moment longer.
#[tokio::test]
async fn m32_an_early_answer_survives_what_the_client_still_sends() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()])
        .set("limits", "body_size = \"1KiB\"")
        .start();
    for lines in [
        "Content-Length: 200000\r\n",
        "Content-Length: 200000\r\nTransfer-Encoding: chunked\r\n",
    ] {
        for _ in 0..20 {
            let mut raw = connect(&site).await;
            raw.write(head(lines)).await;
            for _ in 0..20 {
                raw.write([b'x'; 10_000]).await;
            }
            let answer = raw.response().await.expect("the answer and no reset");
            assert!([400, 413].contains(&answer.status), "{}", answer.head);
            assert_eq!(answer.header("connection"), Some("close"));
        }
    }
}

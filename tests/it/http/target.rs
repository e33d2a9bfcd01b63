//! What is asked for: targets and methods.

use http::StatusCode;

use super::{HOST, connect, hello, refused};
use crate::support::http::Protocol;

#[tokio::test]
async fn m11_v12_path_and_query_reach_the_app_byte_for_byte() {
    let (origin, site) = hello();
    let every: String = (b'!'..=b'~')
        .filter(|byte| !b"\"#<>`?".contains(byte))
        .map(char::from)
        .collect();
    for target in [
        "//evil.test/x",
        "/%zz",
        "/%00",
        "/\\x",
        "/..;/",
        "/a/../b/./c//d",
        "/%2e%2e/%2F",
        "/?",
        "/??a=/../&b",
        "/a;v=1,2?c=d=e",
        "/%c3%a9?%C3%A9",
        &format!("/{every}?{every}"),
    ] {
        for protocol in Protocol::BOTH {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            let answer = connection.request("GET", target).send().await;
            assert_eq!(answer.status, StatusCode::OK, "{target} {protocol:?}");
            assert_eq!(
                origin.requests().pop().unwrap().target,
                target,
                "{protocol:?}"
            );
        }
    }
}

#[tokio::test]
async fn v12_fragments_and_raw_bytes_are_refused() {
    let targets: &[&[u8]] = &[
        b"/#",
        b"/a#b",
        b"/a?b#c",
        b"/#?",
        b"https://acme.example.test/#a",
        b"/\x80",
        b"/\xc3\xa9",
        b"/a?\xff",
        b"/\x7f",
        b"/\0",
        b"/a\x0b",
        b"/<",
        b"/>",
        b"/a\tb",
        b"/a b",
    ];
    let request =
        |target: &&[u8]| [b"GET ", *target, b" HTTP/1.1\r\n", HOST.as_bytes(), b"\r\n"].concat();
    let cases: Vec<_> = targets
        .iter()
        .map(|target| (request(target), 400))
        .collect();
    refused(&cases).await;
}

#[tokio::test]
async fn v29_obs_text_passes_in_values_only() {
    let (origin, site) = hello();
    let mut raw = connect(&site).await;
    let mut request = format!("GET / HTTP/1.1\r\n{HOST}X: a").into_bytes();
    request.extend(0x80..=0xff_u8);
    request.extend(b"b\r\n\r\n");
    assert_eq!(
        raw.write(request).await.response().await.unwrap().status,
        200
    );
    let seen = origin.only_request();
    let lossy = String::from_utf8_lossy(&(0x80..=0xff_u8).collect::<Vec<_>>()).into_owned();
    let value = seen.one("x");
    assert!(
        value.chars().count() == 130 || value == format!("a{lossy}b"),
        "{value:?}"
    );
    let control = |byte: u8| {
        [
            format!("GET / HTTP/1.1\r\n{HOST}X: a").as_bytes(),
            &[byte],
            b"b\r\n\r\n",
        ]
        .concat()
    };
    let mut cases: Vec<(Vec<u8>, u16)> = (0..0x20)
        .chain([0x7f])
        .filter(|byte| !b"\t".contains(byte))
        .map(|byte| (control(byte), 400))
        .collect();
    for name in [
        &b"X\xe9"[..],
        b"X\0",
        b"X\x7f",
        b"X(",
        b"X/",
        b"X\"",
        b"X[",
        b"X{",
        b"X@",
        b"X\x01",
    ] {
        let start = format!("GET / HTTP/1.1\r\n{HOST}");
        cases.push(([start.as_bytes(), name, b": y\r\n\r\n"].concat(), 400));
    }
    for method in [
        &b"G\xe9T"[..],
        b"G\0T",
        b"G\x7fT",
        b"G(T",
        b"",
        b"\"GET\"",
        b"G,T",
    ] {
        let rest = format!(" / HTTP/1.1\r\n{HOST}\r\n");
        cases.push(([method, rest.as_bytes()].concat(), 400));
    }
    refused(&cases).await;
}

#[tokio::test]
async fn v35_methods_are_the_apps_matter_but_for_three() {
    let (origin, site) = hello();
    for protocol in Protocol::BOTH {
        for method in ["get", "PROPFIND", "M-SEARCH", "QUERY", "x!#$%&'*+-.^_`|~1"] {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            let request = connection
                .request(method, "/")
                .header("x-http-method-override", "DELETE");
            let answer = request.send().await;
            assert_eq!(answer.status, StatusCode::OK, "{method} {protocol:?}");
            let seen = origin.requests().pop().unwrap();
            assert_eq!(seen.method, method);
            assert_eq!(seen.one("x-http-method-override"), "DELETE");
        }
        let before = origin.requests().len();
        for method in ["TRACE", "TRACK"] {
            let mut connection = site.edge.connect(protocol, "acme.example.test").await;
            let answer = connection.request(method, "/").send().await;
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{protocol:?}"
            );
            assert!(answer.header("allow").is_some());
        }
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let answer = connection.request(&"A".repeat(33), "/").send().await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(origin.requests().len(), before);
    }
}

#[tokio::test]
async fn m09_max_forwards_is_honoured() {
    let (origin, site) = hello();
    for protocol in Protocol::BOTH {
        let mut connection = site.edge.connect(protocol, "acme.example.test").await;
        let before = origin.requests().len();
        let last = connection
            .request("OPTIONS", "/x")
            .header("max-forwards", "0");
        let answer = last.send().await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{protocol:?}");
        assert!(answer.header("allow").is_some());
        assert_eq!(origin.requests().len(), before);
        for (method, given, told) in [
            ("OPTIONS", "7", "6"),
            ("OPTIONS", "x", "x"),
            ("GET", "0", "0"),
        ] {
            let request = connection
                .request(method, "/x")
                .header("max-forwards", given);
            assert_eq!(request.send().await.status, StatusCode::OK);
            assert_eq!(origin.requests().pop().unwrap().one("max-forwards"), told);
        }
    }
}

#[tokio::test]
async fn m26_v33_connect_is_refused_in_both_protocols() {
    let connect = |rest: &str| format!("CONNECT acme.example.test:443 HTTP/1.1\r\n{HOST}{rest}");
    refused(&[
        (connect("\r\n"), 405),
        (connect("Content-Length: 5\r\n\r\nhello"), 405),
        (
            connect("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            405,
        ),
        (
            connect("Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
            405,
        ),
        (format!("CONNECT / HTTP/1.1\r\n{HOST}\r\n"), 405),
        (format!("CONNECT a HTTP/1.1\r\n{HOST}\r\n"), 405),
    ])
    .await;
}

//! The same rules over HTTP/2, with frames that no library would send.

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::hello;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::tls::{self, Alpn};
use crate::support::{port, wait};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A request as it goes over the wire: fields as they are given, data, trailers.
#[derive(Debug, Clone, Default)]
struct Stream {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    data: Option<&'static [u8]>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Stream {
    fn get(authority: &str) -> Self {
        Self::of(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", authority),
            (":path", "/"),
        ])
    }

    fn of(fields: &[(&str, &str)]) -> Self {
        let owned =
            |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        Self {
            fields: fields.iter().map(owned).collect(),
            ..Self::default()
        }
    }

    fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let field = (name.as_bytes().to_vec(), value.as_ref().to_vec());
        self.fields.push(field);
        self
    }

    /// Replaces or (with `None`) removes a field.
    fn but(mut self, name: &str, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => {
                for field in self
                    .fields
                    .iter_mut()
                    .filter(|field| field.0 == name.as_bytes())
                {
                    field.1 = value.to_vec();
                }
            }
            None => self.fields.retain(|field| field.0 != name.as_bytes()),
        }
        self
    }

    fn data(mut self, data: &'static [u8]) -> Self {
        self.data = Some(data);
        self
    }

    fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers
            .push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        self
    }

    fn frames(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let last = self.data.is_none() && self.trailers.is_empty();
        out.extend(frame(
            HEADERS,
            END_HEADERS | u8::from(last),
            1,
            &block(&self.fields),
        ));
        if let Some(data) = self.data {
            out.extend(frame(DATA, u8::from(self.trailers.is_empty()), 1, data));
        }
        if !self.trailers.is_empty() {
            out.extend(frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &block(&self.trailers),
            ));
        }
        out
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literal fields without indexing and without Huffman code (RFC 7541 section 6.2.2).
fn block(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            if text.len() < 127 {
                out.push(u8::try_from(text.len()).unwrap());
            } else {
                let mut rest = text.len() - 127;
                out.push(127);
                while rest >= 128 {
                    out.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                out.push(u8::try_from(rest).unwrap());
            }
            out.extend(text);
        }
    }
    out
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The first bytes of the head of the answer.
    Answer(Vec<u8>),
    Reset,
    Goaway,
    Closed,
}

async fn send(site: &Site, stream: &Stream) -> End {
    let address = port::local(site.portico.https_port());
    let config = site.ca.trust().config(Alpn::Http2);
    let mut tls = tls::connect(address, "acme.example.test", config)
        .await
        .unwrap();
    let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &stream.frames()].concat();
    tls.write_all(&bytes).await.unwrap();
    tls.flush().await.unwrap();
    wait::within("the end of the stream", async {
        loop {
            let mut head = [0; 9];
            if tls.read_exact(&mut head).await.is_err() {
                return End::Closed;
            }
            let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; size as usize];
            if tls.read_exact(&mut payload).await.is_err() {
                return End::Closed;
            }
            match head[3] {
                HEADERS => return End::Answer(payload),
                RST_STREAM => return End::Reset,
                GOAWAY => return End::Goaway,
                _ => {}
            }
        }
    })
    .await
}

/// The answer's status is one of HPACK's static ones: 400, or 404 (RFC 7541 appendix A); others are literals.
fn is_refusal(end: &End) -> bool {
    match end {
        End::Answer(block) => match block[..] {
            // The size of the table may be told first.
            [first, second, ..] if first >> 5 == 1 => second != 0x88,
            [first, ..] => first != 0x88,
            [] => false,
        },
        End::Reset | End::Goaway | End::Closed => true,
    }
}

/// None of these reaches the app; the control does.
async fn refused(cases: Vec<(&str, Stream)>) {
    let (origin, site) = hello();
    for (what, stream) in cases {
        let end = send(&site, &stream).await;
        assert!(is_refusal(&end), "{what}: {end:?}");
        let seen = origin.requests();
        assert!(seen.iter().all(|seen| !seen.complete), "{what}: {seen:#?}");
    }
    let end = send(&site, &Stream::get("acme.example.test").with("x", "y")).await;
    assert!(
        matches!(&end, End::Answer(_)) && !is_refusal(&end),
        "{end:?}"
    );
    assert_eq!(origin.requests().pop().unwrap().one("x"), "y");
}

fn get() -> Stream {
    Stream::get("acme.example.test")
}

fn post(length: Option<&str>, data: &'static [u8]) -> Stream {
    let post = get().but(":method", Some(b"POST"));
    match length {
        Some(length) => post.with("content-length", length).data(data),
        None => post.data(data),
    }
}

#[tokio::test]
async fn m37_v05_what_would_smuggle_in_http_1_1_is_malformed() {
    refused(vec![
        ("length too small", post(Some("3"), b"hello")),
        ("length too large", post(Some("9"), b"hello")),
        ("length zero with data", post(Some("0"), b"hello")),
        ("length and no data", get().with("content-length", "5")),
        (
            "two lengths",
            post(Some("5"), b"hello").with("content-length", "6"),
        ),
        ("length with sign", post(Some("+5"), b"hello")),
        ("list of lengths", post(Some("5, 5"), b"hello")),
        (
            "transfer-encoding",
            post(None, b"0\r\n\r\n").with("transfer-encoding", "chunked"),
        ),
        ("CRLF in a value", get().with("x", "a\r\nx-tenant: evil")),
        ("LF in a value", get().with("x", "a\nb")),
        ("CR in a value", get().with("x", "a\rb")),
        ("CRLF in a name", get().with("x: a\r\nx-tenant", "evil")),
        ("colon in a name", get().with("x:y", "a")),
        ("space in a name", get().with("x y", "a")),
        (
            "CRLF in the path",
            get().but(":path", Some(b"/ HTTP/1.1\r\nX: y\r\n\r\n")),
        ),
        ("space in the path", get().but(":path", Some(b"/a b"))),
        (
            "CRLF in the method",
            get().but(":method", Some(b"GET / HTTP/1.1\r\nX: y")),
        ),
        ("space in the method", get().but(":method", Some(b"GET /x"))),
        (
            "CRLF in the authority",
            get().but(":authority", Some(b"acme.example.test\r\nX: y")),
        ),
        (
            "CRLF in the scheme",
            get().but(":scheme", Some(b"https\r\nX: y")),
        ),
    ])
    .await;
}

#[tokio::test]
async fn m03_m33_m34_bad_fields_are_malformed() {
    refused(vec![
        ("NUL", get().with("x", "a\0b")),
        ("upper case", get().with("X-Upper", "a")),
        ("empty name", get().with("", "a")),
        ("leading space", get().with("x", " a")),
        ("trailing space", get().with("x", "a ")),
        ("trailing tab", get().with("x", "a\t")),
        ("connection", get().with("connection", "close")),
        ("keep-alive", get().with("keep-alive", "timeout=1")),
        ("proxy-connection", get().with("proxy-connection", "close")),
        ("upgrade", get().with("upgrade", "websocket")),
        ("te", get().with("te", "gzip")),
        (
            "control in a trailer",
            post(None, b"a").trailer("x", "a\r\nb"),
        ),
        (
            "upper case in a trailer",
            post(None, b"a").trailer("X-A", "x"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn m36_m39_v06_one_authority_and_a_path() {
    let other = "globex.example.test";
    refused(vec![
        ("host differs", get().with("host", other)),
        (
            "two hosts",
            get().with("host", "acme.example.test").with("host", other),
        ),
        (
            "same host twice",
            get()
                .with("host", "acme.example.test")
                .with("host", "acme.example.test"),
        ),
        ("two authorities", get().with(":authority", other)),
        ("no authority", get().but(":authority", None)),
        ("empty authority", get().but(":authority", Some(b""))),
        (
            "empty authority and a host",
            get().but(":authority", Some(b"")).with("host", other),
        ),
        (
            "user",
            get().but(":authority", Some(b"user@acme.example.test")),
        ),
        (
            "port",
            get().but(":authority", Some(b"acme.example.test:1")),
        ),
        (
            "percent",
            get().but(":authority", Some(b"acme%2eexample.test")),
        ),
        ("no path", get().but(":path", None)),
        ("empty path", get().but(":path", Some(b""))),
        ("no slash", get().but(":path", Some(b"admin"))),
        (
            "a URL",
            get().but(":path", Some(b"https://acme.example.test/")),
        ),
        ("asterisk", get().but(":path", Some(b"*"))),
        ("raw bytes", get().but(":path", Some("/\u{e9}".as_bytes()))),
        ("no method", get().but(":method", None)),
        ("no scheme", get().but(":scheme", None)),
        ("http", get().but(":scheme", Some(b"http"))),
        ("ftp", get().but(":scheme", Some(b"ftp"))),
        ("unknown pseudo field", get().with(":tenant", "evil")),
    ])
    .await;
    // `host` alone, or beside an authority that is the same, is one authority.
    let (origin, site) = hello();
    for stream in [
        get()
            .but(":authority", None)
            .with("host", "acme.example.test"),
        get().with("host", "ACME.example.test"),
    ] {
        let end = send(&site, &stream).await;
        if !is_refusal(&end) {
            assert_eq!(
                origin.requests().pop().unwrap().one("host"),
                "acme.example.test"
            );
        }
    }
    assert!(!origin.requests().is_empty());
}

#[tokio::test]
async fn v33_connect_is_no_way_in() {
    let connect = || {
        let authority = "acme.example.test:443";
        Stream::of(&[(":method", "CONNECT"), (":authority", authority)])
    };
    refused(vec![
        ("connect", connect()),
        (
            "with a body",
            connect().data(b"GET /smuggled HTTP/1.1\r\nHost: acme.example.test\r\n\r\n"),
        ),
        (
            "with a length",
            connect().with("content-length", "5").data(b"hello"),
        ),
        (
            "with a path",
            connect().with(":path", "/").with(":scheme", "https"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn m37_a_length_that_is_true_reaches_the_app() {
    let (origin, site) = hello();
    for (stream, length, chunked) in [
        (post(Some("5"), b"hello"), Some("5"), false),
        (post(Some("0005"), b"hello"), Some("5"), false),
        (post(None, b"hello"), None, true),
    ] {
        let end = send(&site, &stream).await;
        assert!(!is_refusal(&end), "{stream:?}: {end:?}");
        let seen = origin.requests().pop().unwrap();
        assert_eq!(&seen.body[..], b"hello");
        assert_eq!(seen.all("content-length").pop(), length);
        assert_eq!(seen.all("transfer-encoding").len(), usize::from(chunked));
    }
}

#[tokio::test]
async fn m39_the_head_has_a_bound() {
    let (origin, site) = hello();
    let long = "a".repeat(2_000);
    let mut large = get();
    for number in 0..40 {
        large = large.with(&format!("x-{number}"), &long);
    }
    let mut many = get();
    for _ in 0..101 {
        many = many.with("x", "y");
    }
    for stream in [large, many] {
        // A frame holds 16 KiB: the first block goes over several.
        if block(&stream.fields).len() < 16_000 {
            assert!(is_refusal(&send(&site, &stream).await));
        } else {
            let answer = over_continuations(&site, &stream).await;
            assert!(is_refusal(&answer), "{answer:?}");
        }
    }
    assert!(origin.requests().is_empty());
}

async fn over_continuations(site: &Site, stream: &Stream) -> End {
    use crate::support::http::Protocol;
    let mut connection = site
        .edge
        .connect(Protocol::Http2, "acme.example.test")
        .await;
    let mut request = connection.request("GET", "/");
    for (name, value) in stream
        .fields
        .iter()
        .filter(|(name, _)| !name.starts_with(b":"))
    {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        request = request.header(&text(name), &text(value));
    }
    match request.try_send().await {
        Ok(answer) => {
            assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            End::Answer(vec![0])
        }
        Err(_) => End::Reset,
    }
}

/// Positive control: the frames of this file are what they seem to be, and the app can be reached by them.
#[tokio::test]
async fn the_frames_are_good() {
    let origin = Origin::hello();
    let site = Site::before(&[origin.address()]).start();
    let end = send(&site, &post(Some("5"), b"hello").trailer("x-sum", "7")).await;
    assert!(!is_refusal(&end), "{end:?}");
    assert_eq!(origin.only_request().body_len, 5);
}

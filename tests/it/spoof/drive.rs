//! Sends cases: pipelined over HTTP/1.1, multiplexed over HTTP/2.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::generate::{Case, Random, case};
use crate::support::wait;

/// Requests on one HTTP/1.1 connection.
pub(crate) const PIPELINED: usize = 60;
/// HTTP/2 streams at once.
const STREAMS: usize = 24;

/// What became of the requests, by status.
pub(crate) type Statuses = BTreeMap<u16, usize>;

/// The cases of one HTTP/1.1 connection; the last of them may be one to be refused.
pub(crate) fn pipeline(random: &mut Random, first: usize, port: u16, refusals: bool) -> Vec<Case> {
    (0..PIPELINED)
        .map(|at| {
            let refused = refusals && at + 1 == PIPELINED;
            case(random, first + at, true, refused, port)
        })
        .collect()
}

/// Sends all `cases` at once and reads all answers.
pub(crate) async fn http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    cases: Vec<Case>,
    statuses: &mut Statuses,
) {
    let (mut read, mut write) = tokio::io::split(stream);
    let bytes: Vec<u8> = cases.iter().flat_map(to_bytes).collect();
    let writing = tokio::spawn(async move {
        // A refusal closes the connection, so the last bytes may find nobody.
        let _ = write.write_all(&bytes).await;
        let _ = write.flush().await;
        write
    });
    let mut buffer = Vec::with_capacity(16 << 10);
    for case in &cases {
        let head = wait::within("an answer", head(&mut read, &mut buffer)).await;
        let head = head.unwrap_or_else(|| panic!("closed before the answer to {case:?}"));
        let status: u16 = head[9..12].parse().expect("a status");
        *statuses.entry(status).or_default() += 1;
        assert_eq!(status, case.refused.unwrap_or(200), "{case:?}\n{head}");
        assert!(!head.contains("\nx-tenant"), "leaked to the client: {head}");
        if case.refused.is_none() {
            let echo = format!("x-echo: {}\r\n", case.path());
            assert!(
                head.contains(&echo),
                "another's answer for {case:?}: {head}"
            );
        }
    }
    drop(writing.await.expect("a writer"));
}

async fn head(read: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..at + 4).collect();
            return Some(String::from_utf8(head).expect("a head in ASCII"));
        }
        if !matches!(read.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

fn to_bytes(case: &Case) -> Vec<u8> {
    let mut out = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\n",
        case.method(),
        case.path(),
        case.host
    )
    .into_bytes();
    let line = |out: &mut Vec<u8>, name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    for (name, value) in &case.headers {
        line(&mut out, name, value);
    }
    if case.trailers.is_empty() {
        let length = case.body.len();
        if length > 0 {
            line(&mut out, "Content-Length", length.to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&case.body);
        return out;
    }
    line(&mut out, "Transfer-Encoding", b"chunked");
    out.extend_from_slice(b"\r\n");
    if !case.body.is_empty() {
        let mut size = String::new();
        let _ = write!(size, "{:x}\r\n", case.body.len());
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(&case.body);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    for (name, value) in &case.trailers {
        line(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Sends `count` cases over one connection, several at a time, for all tenants mixed.
pub(crate) async fn http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    random: &mut Random,
    count: usize,
    port: u16,
) -> Statuses {
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2 preface");
    let driver = tokio::spawn(connection);
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (sender, next) = (sender.clone(), Arc::clone(&next));
            let mut random = Random::new(random.below(usize::MAX) as u64);
            tokio::spawn(async move {
                let mut statuses = Statuses::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return statuses;
                    }
                    let refusals = number % 20 == 0;
                    let case = case(&mut random, number, false, refusals, port);
                    let status = wait::within("an answer", stream_of(sender.clone(), &case)).await;
                    *statuses.entry(status).or_default() += 1;
                }
            })
        })
        .collect();
    let mut statuses = Statuses::new();
    for task in tasks {
        for (status, count) in task.await.expect("every stream is answered") {
            *statuses.entry(status).or_default() += count;
        }
    }
    drop(sender);
    let _ = driver.await;
    statuses
}

async fn stream_of(sender: h2::client::SendRequest<Bytes>, case: &Case) -> u16 {
    let mut request = Request::new(());
    *request.method_mut() = case.method().parse().expect("a method");
    *request.version_mut() = Version::HTTP_2;
    let uri = format!("https://{}{}", case.host, case.path());
    *request.uri_mut() = uri.parse().unwrap_or_else(|error| panic!("{error}: {uri}"));
    *request.headers_mut() = map(&case.headers);
    let (body, trailers) = (!case.body.is_empty(), !case.trailers.is_empty());
    let mut sender = sender.ready().await.expect("room for a stream");
    let (answer, mut stream) = sender
        .send_request(request, !body && !trailers)
        .expect("a stream");
    // A refused stream may be reset before it has taken its body; the answer tells.
    if body {
        let _ = stream.send_data(case.body.clone().into(), !trailers);
    }
    if trailers {
        let _ = stream.send_trailers(map(&case.trailers));
    }
    let answer = answer
        .await
        .unwrap_or_else(|error| panic!("{error}: {case:?}"));
    let status = answer.status().as_u16();
    assert_eq!(status, case.refused.unwrap_or(200), "{case:?}\n{answer:?}");
    assert!(
        !answer.headers().contains_key("x-tenant"),
        "leaked to the client: {answer:?}"
    );
    if case.refused.is_none() {
        let echo = answer.headers().get("x-echo").map(HeaderValue::as_bytes);
        assert_eq!(
            echo,
            Some(case.path().as_bytes()),
            "another's answer for {case:?}"
        );
    }
    status
}

fn map(lines: &[(String, Vec<u8>)]) -> HeaderMap {
    let header = |(name, value): &(String, Vec<u8>)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        (
            name,
            HeaderValue::from_bytes(value).expect("a header value"),
        )
    };
    let mut map = HeaderMap::new();
    for (name, value) in lines.iter().map(header) {
        map.append(name, value);
    }
    map
}

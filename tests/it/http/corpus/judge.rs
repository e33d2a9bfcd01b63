//! A strict reader of HTTP/1.1 that knows nothing of the proxy's own, and the app that uses it.
//!
//! A message is *safe* to forward only if the client's bytes have exactly this one reading: so what the app gets must be
//! among the messages that the same strict reader finds in the client's bytes, with the same body and for the same
//! tenant.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A message as the strict reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: String,
    /// Path and query, also of an absolute target.
    pub(super) target: String,
    pub(super) host: String,
    pub(super) body: Vec<u8>,
    pub(super) case: Option<usize>,
    /// `X-Tenant` lines.
    pub(super) tenants: Vec<String>,
    pub(super) closes: bool,
}

/// Whose bytes are read. A client may say a little more than a proxy may to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Client,
    Proxy,
}

fn is_token(text: &str) -> bool {
    let marks = "!#$%&'*+-.^_`|~";
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

/// The lines of a block that ends with an empty line, and the bytes after it.
fn lines(bytes: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let line = &rest[..end];
        if line
            .iter()
            .any(|&byte| (byte < 32 && byte != 9) || byte == 127)
        {
            return None;
        }
        rest = &rest[end + 2..];
        if line.is_empty() {
            return Some((lines, rest));
        }
        lines.push(line.iter().map(|&byte| char::from(byte)).collect());
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    is_token(name).then(|| {
        let blank = |c| c == ' ' || c == '\t';
        (
            name.to_ascii_lowercase(),
            value.trim_matches(blank).to_owned(),
        )
    })
}

fn chunked(mut rest: &[u8], from: From) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        let (size, extension) = line
            .split_once(';')
            .map_or((line, None), |(a, b)| (a, Some(b)));
        if size.len() > 16 || !size.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        if let Some(extension) = extension {
            let visible = extension
                .chars()
                .all(|c| c == '\t' || (' '..='~').contains(&c));
            let quotes = extension.matches('"').count();
            if from == From::Proxy || !visible || quotes % 2 == 1 {
                return None;
            }
        }
        let size = usize::try_from(u64::from_str_radix(size, 16).ok()?).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            let (trailers, rest) = lines(rest)?;
            trailers
                .iter()
                .map(|line| field(line))
                .collect::<Option<Vec<_>>>()?;
            return Some((body, rest));
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// The first message of `bytes` and what follows it; none if they do not begin with a whole and strict one.
pub(super) fn read(bytes: &[u8], from: From) -> Option<(Message, &[u8])> {
    let bytes = match from {
        From::Client => bytes.strip_prefix(b"\r\n").unwrap_or(bytes),
        From::Proxy => bytes,
    };
    let (head, mut rest) = lines(bytes)?;
    let (first, fields) = head.split_first()?;
    let parts: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = parts[..] else {
        return None;
    };
    let old = version == "HTTP/1.0";
    let known = version == "HTTP/1.1" || (old && from == From::Client);
    let visible = target.chars().all(|c| ('!'..='~').contains(&c) && c != '#');
    if !known || !is_token(method) || target.is_empty() || !visible {
        return None;
    }
    let fields = fields
        .iter()
        .map(|line| field(line))
        .collect::<Option<Vec<_>>>()?;
    let all = |name: &str| -> Vec<&str> {
        let lines = fields.iter().filter(|(key, _)| key == name);
        lines.map(|(_, value)| value.as_str()).collect()
    };
    let [host] = all("host")[..] else {
        return None;
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let mut body = Vec::new();
    match (&lengths[..], &codings[..]) {
        ([], []) => {}
        ([length], []) => {
            if length.is_empty() || !length.chars().all(|c| c.is_ascii_digit()) {
                return None;
            }
            let length: usize = length.parse().ok()?;
            body = rest.get(..length)?.to_vec();
            rest = &rest[length..];
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && !old => {
            (body, rest) = chunked(rest, from)?;
        }
        _ => return None,
    }
    let path = target.split_once("://").map_or(target, |(_, rest)| {
        rest.find('/').map_or("/", |at| &rest[at..])
    });
    let message = Message {
        method: method.to_owned(),
        target: path.to_owned(),
        host: host.to_ascii_lowercase(),
        body,
        case: all("x-case").first().and_then(|case| case.parse().ok()),
        tenants: all("x-tenant").iter().map(ToString::to_string).collect(),
        closes: old
            || all("connection")
                .iter()
                .any(|line| line.eq_ignore_ascii_case("close")),
    };
    Some((message, rest))
}

/// All messages that the strict reader finds in a client's bytes, up to the first that it does not take.
pub(super) fn read_all(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some((message, rest)) = read(bytes, From::Client) {
        let last = message.closes;
        messages.push(message);
        if last {
            break;
        }
        bytes = rest;
    }
    messages
}

/// What an app got.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) messages: Vec<Message>,
    /// Connections whose bytes were more than a beginning of a strict message.
    pub(super) garbage: Vec<String>,
}

/// An app that reads strictly, keeps what it gets, and answers each message with its target.
pub(super) struct App {
    pub(super) address: std::net::SocketAddr,
    pub(super) record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

impl App {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Mutex::new(Record::default()));
        let shared = Arc::clone(&record);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            record,
            task,
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, record: Arc<Mutex<Record>>) {
    let mut bytes = Vec::new();
    loop {
        while let Some((message, rest)) = read(&bytes, From::Proxy) {
            let used = bytes.len() - rest.len();
            bytes.drain(..used);
            let target = message.target.clone();
            record.lock().unwrap().messages.push(message);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}",
                target.len()
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            break;
        }
    }
    // A body that breaks off is no harm. A head that no strict reader takes is.
    if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = [&bytes[..end], b"\r\nContent-Length: 0\r\n\r\n"].concat();
        let alone = [&bytes[..end], b"\r\n\r\n"].concat();
        let framed = b"transfer-encoding: chunked\r\n";
        let without: Vec<u8> = match alone.windows(framed.len()).position(|part| part == framed) {
            Some(at) => [&alone[..at], &alone[at + framed.len()..]].concat(),
            None => head,
        };
        let cut = read(&without, From::Proxy).is_some() || has_one_length(&alone);
        if !cut {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            record.lock().unwrap().garbage.push(text);
        }
    } else if !bytes.is_empty() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        record.lock().unwrap().garbage.push(text);
    }
}

/// Whether a head is strict once its only length is taken for zero: its body broke off.
fn has_one_length(head: &[u8]) -> bool {
    let Some((lines, _)) = lines(head) else {
        return false;
    };
    let is_length = |line: &&String| line.to_ascii_lowercase().starts_with("content-length:");
    let rest: Vec<&str> = lines
        .iter()
        .filter(|line| !is_length(line))
        .map(String::as_str)
        .collect();
    let head = rest.join("\r\n") + "\r\n\r\n";
    rest.len() + 1 == lines.len() && read(head.as_bytes(), From::Proxy).is_some()
}

//! A proxy with one mistake: the positive control of the corpus.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Mistakes that real proxies made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slip {
    /// None: nothing must be found.
    None,
    /// Takes the length where there is a coding too.
    LengthWins,
    /// Takes everything that contains `chunked` for chunked.
    LooseCoding,
    /// Takes a bare LF for the end of a line.
    BareLf,
    /// Takes white space before the colon for part of nothing.
    SpaceBeforeColon,
    /// Takes the last of two hosts.
    LastHost,
    /// Takes a length with a sign or more.
    LooseLength,
    /// Sends the client's head on as it came.
    Verbatim,
}

impl Slip {
    pub(super) const ALL: [Self; 8] = [
        Self::None,
        Self::LengthWins,
        Self::LooseCoding,
        Self::BareLf,
        Self::SpaceBeforeColon,
        Self::LastHost,
        Self::LooseLength,
        Self::Verbatim,
    ];
}

/// A running one.
pub(super) struct Sloppy {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Sloppy {
    pub(super) async fn start(app: SocketAddr, slip: Slip) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, app, slip));
            }
        });
        Self { address, task }
    }
}

impl Drop for Sloppy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads all that the client sends, then forwards message by message over one connection.
async fn serve(mut client: TcpStream, app: SocketAddr, slip: Slip) {
    let mut bytes = Vec::new();
    let _ = client.read_to_end(&mut bytes).await;
    let mut rest = &bytes[..];
    let Ok(mut upstream) = TcpStream::connect(app).await else {
        return;
    };
    while let Some((forward, after)) = next(rest, slip) {
        rest = after;
        if upstream.write_all(&forward).await.is_err() {
            break;
        }
    }
    if !rest.is_empty() {
        let _ = client
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .await;
    }
    let _ = upstream.shutdown().await;
    let mut answers = Vec::new();
    let _ = upstream.read_to_end(&mut answers).await;
    let _ = client.write_all(&answers).await;
}

/// The next message as it goes to the app, and what follows it.
fn next(bytes: &[u8], slip: Slip) -> Option<(Vec<u8>, &[u8])> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if slip == Slip::BareLf => line,
            None => return None,
        };
        if line.is_empty() {
            break;
        }
        if line
            .iter()
            .any(|&byte| (byte < 32 && byte != 9) || byte == 127)
        {
            return None;
        }
        lines.push(line.to_vec());
    }
    let head_end = bytes.len() - rest.len();
    let text = |line: &[u8]| {
        line.iter()
            .map(|&byte| char::from(byte))
            .collect::<String>()
    };
    let first = text(lines.first()?);
    let parts: Vec<&str> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        return None;
    };
    let plain = |text: &str| text.chars().all(|c| ('!'..='~').contains(&c) && c != '#');
    let token = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    if method.is_empty() || !token(method) || !plain(target) || !target.starts_with('/') {
        return None;
    }
    let (mut length, mut coding, mut host, mut case) = (None, None, None, None);
    for line in &lines[1..] {
        let line = text(line);
        let (name, value) = line.split_once(':')?;
        let tidy = if slip == Slip::SpaceBeforeColon {
            name.trim()
        } else {
            name
        };
        if tidy.is_empty()
            || !tidy
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            return None;
        }
        let value = value.trim_matches([' ', '\t']).to_owned();
        let slot = match &*tidy.to_ascii_lowercase() {
            "content-length" => &mut length,
            "transfer-encoding" => &mut coding,
            "host" => &mut host,
            "x-case" => &mut case,
            _ => continue,
        };
        if slot.is_some() && slip != Slip::LastHost {
            return None;
        }
        *slot = Some(value);
    }
    let host = host?.to_ascii_lowercase();
    let plain = |label: &str| label.chars().all(|c| c.is_ascii_alphanumeric());
    let tenant = host
        .strip_suffix(".example.test")
        .filter(|label| plain(label))?;
    let chunked = match (&coding, &length) {
        (Some(_), Some(_)) if slip == Slip::LengthWins => false,
        (Some(_), Some(_)) => return None,
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => true,
        (Some(coding), None) if slip == Slip::LooseCoding && coding.contains("chunked") => true,
        (Some(_), None) => return None,
        (None, _) => false,
    };
    let (body, after) = if chunked {
        unchunk(rest)?
    } else {
        let loose = slip == Slip::LooseLength;
        let digits: String = match &length {
            Some(length) if loose => length.chars().filter(char::is_ascii_digit).collect(),
            Some(length) => length.clone(),
            None => "0".to_owned(),
        };
        if !digits.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let (body, after) = rest.split_at_checked(digits.parse().ok()?)?;
        (body.to_vec(), after)
    };
    if slip == Slip::Verbatim {
        let used = bytes.len() - after.len();
        let (line, more) =
            bytes[..used].split_at(bytes.iter().position(|&byte| byte == b'\n')? + 1);
        let tenant = format!("X-Tenant: {tenant}\r\n");
        return (head_end <= used).then(|| ([line, tenant.as_bytes(), more].concat(), after));
    }
    let framing = match body.len() {
        0 => String::new(),
        size => format!("Content-Length: {size}\r\n"),
    };
    let case = case.map_or_else(String::new, |case| format!("X-Case: {case}\r\n"));
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Tenant: {tenant}\r\n{case}{framing}\r\n"
    );
    Some(([head.as_bytes(), &body].concat(), after))
}

/// A body in chunks as they should be, without extensions and trailers.
fn unchunk(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        if size.is_empty() || size.len() > 4 || !size.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        let data = rest[end + 2..].get(..size)?;
        body.extend_from_slice(data);
        rest = rest[end + 2 + size..].strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some((body, rest));
        }
    }
}

//! Hosts, targets, configuration.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

use http::{Request, Uri, Version};
use portico::config::Config;
use portico::host::{Authority, Host};
use portico::proxy::hosts::Hosts;
use portico::proxy::seen::Seen;
use portico::proxy::target;

thread_local! {
    /// As if all came to one worker: what one input named must not decide about another.
    static KNOWN: Hosts = Hosts::default();
}

/// An outcome from what describes it.
pub(crate) fn outcome(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(crate) const HOSTS: &[&[u8]] = &[
    b"acme.example.com",
    b"ACME.Example.com.:8443",
    b"xn--bcher-kva.de",
    b"1.2.3.4",
    b"[::1]:443",
    b"a_b.c",
    b"0x7f.1",
    b"user@a.x",
    b"a..b",
];
pub(crate) const HOST_WORDS: &[&str] = &[
    ".", "-", "_", ":", "@", "[", "]", "443", "65536", "0", "xn--", "\u{e9}", "%2e", ",", "a",
];

/// A host is its own normal form, and an authority is its host and its port.
pub(crate) fn host(bytes: &[u8]) -> u64 {
    let host = Host::from_bytes(bytes);
    if let Ok(host) = &host {
        let text = host.as_str();
        assert_eq!(Host::parse(text).as_ref(), Ok(host));
        assert!(!text.is_empty() && text.len() <= 253 && !text.contains(char::is_uppercase));
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        );
        assert!(text.eq_ignore_ascii_case(String::from_utf8_lossy(bytes).trim_end_matches('.')));
        assert!(text.parse::<std::net::IpAddr>().is_err());
        let authority = Authority::from_bytes(bytes).expect("a host is an authority");
        assert_eq!((&authority.host, authority.port), (host, None));
    }
    let authority = Authority::from_bytes(bytes);
    if let Ok(Authority {
        host,
        port: Some(port),
    }) = &authority
    {
        assert!(*port > 0);
        let again = Authority::from_bytes(format!("{host}:{port}").as_bytes());
        assert_eq!(again.as_ref(), authority.as_ref());
    }
    outcome((
        host.err().map(|e| format!("{e:?}")),
        authority
            .map(|a| a.port.is_some())
            .map_err(|e| format!("{e:?}")),
    ))
}

pub(crate) const TARGETS: &[&[u8]] = &[
    b"1 GET /a?b\nhost: a.x",
    b"1 OPTIONS *\nhost: a.x",
    b"2 GET https://a.x/b\nx: y",
    b"1 GET https://a.x:443/\nhost: a.x",
    b"2 POST https://a.x/\nhost: A.x.\ncontent-length: 5",
    b"0 GET /\nhost: a.x\ntransfer-encoding: chunked",
    b"1 CONNECT a.x:443\nhost: a.x",
    b"1 GET /\nhost: a.x\nexpect: 100-continue",
];
pub(crate) const TARGET_WORDS: &[&str] = &[
    "https://",
    "http://",
    "host: a.x\n",
    "host: b.x\n",
    "\n",
    "*",
    "/",
    "#",
    "?",
    "@",
    ":443",
    "CONNECT ",
    "transfer-encoding: ",
    "chunked",
    "gzip, chunked",
    "expect: ",
    "\u{e9}",
    "..",
    "a_b.x",
    "127.0.0.1",
];

/// A request as some protocol's library hands it over: what the validator lets through has one host and a path.
pub(crate) fn target(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
    let version = match first.next() {
        Some("0") => Version::HTTP_10,
        Some("2") => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let mut request = Request::builder()
        .version(version)
        .method(first.next().unwrap_or_default());
    let Ok(uri) = Uri::try_from(first.next().unwrap_or_default()) else {
        return 0;
    };
    request = request.uri(uri);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        request = request.header(name, value);
    }
    let Ok(request) = request.body(()) else {
        return 1;
    };
    let head = request.into_parts().0;
    for https in [true, false] {
        let Ok(target) =
            KNOWN.with(|hosts| target::parse(&head, Seen::of(&head.headers), https, hosts))
        else {
            let fresh = target::parse(&head, Seen::of(&head.headers), https, &Hosts::default());
            assert!(fresh.is_err(), "what is known changes no verdict");
            continue;
        };
        KNOWN.with(|hosts| hosts.remember(&target.named));
        let fresh = target::parse(&head, Seen::of(&head.headers), https, &Hosts::default());
        let fresh = fresh.expect("what is known changes no verdict");
        assert_eq!(fresh.named.authority, target.named.authority);
        // `https://a.x?b` has an empty path, which is sent as `/` (RFC 9112 section 3.2.1).
        let path = head.uri.path();
        assert!(path.is_ascii() && path.len() <= 8 << 10);
        assert_eq!(target.server_wide, path == "*");
        assert!(target.server_wide || path.starts_with('/'));
        let hosts = head.headers.get_all("host").iter().count();
        assert!(hosts == 1 || (hosts == 0 && version == Version::HTTP_2));
        for named in head.headers.get_all("host") {
            let named = Authority::from_bytes(named.as_bytes()).expect("checked");
            assert_eq!(named.host, target.named.authority.host);
        }
        if let Some(authority) = head.uri.authority() {
            let asked = Authority::from_bytes(authority.as_str().as_bytes()).expect("checked");
            assert_eq!(asked.host, target.named.authority.host);
            assert_eq!(
                head.uri.scheme_str(),
                Some(if https { "https" } else { "http" })
            );
        }
        assert!(!["CONNECT", "TRACE", "TRACK"].contains(&head.method.as_str()));
    }
    let label = KNOWN
        .with(|hosts| target::parse(&head, Seen::of(&head.headers), true, hosts))
        .map(|target| target.server_wide)
        .map_err(|error| error.label());
    outcome((label, version == Version::HTTP_2))
}

/// The files of `config/`, which are good.
pub(crate) fn configurations() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(texts.len() > 1);
    texts
}

pub(crate) const CONFIG_WORDS: &[&str] = &[
    "= 0\n",
    "= -1\n",
    "= \"\"\n",
    "= []\n",
    "= true\n",
    "= \"10s\"\n",
    "= \"1e9d\"\n",
    "= 99999999999999999999\n",
    "[limits]\n",
    "[[x]]\n",
    "domains",
    "servers",
    "\"unix:/x\"",
    "\"http://\"",
    "\"*.a.b\"",
    "#",
    "\n",
    "\u{e9}",
    "= nan\n",
    "= 1979-05-27\n",
    "= {a = 1}\n",
    "\"\\u0000\"",
];

/// A configuration is taken or its problems are told, each with words.
pub(crate) fn config(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    match Config::parse(&text, Path::new("fuzz.toml")) {
        Ok(config) => {
            assert!(!config.domains.is_empty());
            1
        }
        Err(problems) => {
            let told = problems.to_string();
            assert!(!told.trim().is_empty());
            // The problem without the words of the file.
            outcome(
                told.lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .filter(|c| c.is_ascii_lowercase())
                    .take(40)
                    .collect::<String>(),
            )
        }
    }
}

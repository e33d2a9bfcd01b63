//! Requests that try to speak as another tenant, made from a seed.

use super::judge::TENANTS;
use crate::support::site::DOMAIN;

/// A small generator of numbers (splitmix64): the same seed, the same requests.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below `end`")
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}

/// One request. Names are spelled for HTTP/1.1; HTTP/2 sends them in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(super) tenant: &'static str,
    pub(super) number: usize,
    pub(super) host: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// Sent after a body without length.
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    /// The status that the edge must answer by itself; otherwise the request must reach the app.
    pub(super) refused: Option<u16>,
}

impl Case {
    /// The path names the tenant that the request is for, whatever else it says.
    pub(super) fn path(&self) -> String {
        format!("/{}/{}", self.tenant, self.number)
    }

    pub(super) fn method(&self) -> &'static str {
        if self.body.is_empty() && self.trailers.is_empty() {
            "GET"
        } else {
            "POST"
        }
    }
}

/// Names that only the edge may say, as people write them.
const MANAGED: &[&str] = &[
    "X-Tenant",
    "X-Tenant",
    "X-Tenant",
    "X-Tenant",
    "X-Tenant-Id",
    "X-Tenant-Schema",
    "X-Tenant-Slug",
    "X-Tenant-Signature",
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-By",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Tls-Client-Cert",
    "X-Forwarded-Tls-Client-Cert-Info",
    "X-Real-Ip",
    "X-Request-Id",
    "X-Scheme",
    "X-Url-Scheme",
    "X-Original-Url",
    "X-Original-Uri",
    "X-Original-Host",
    "X-Rewrite-Url",
    "X-Client-Ip",
    "X-Cluster-Client-Ip",
    "True-Client-Ip",
    "Cf-Connecting-Ip",
    "Client-Ip",
    "Front-End-Https",
    "Proxy",
    "Script-Name",
    "Path-Info",
    "Remote-User",
    "Remote-Addr",
    "Server-Name",
    "Server-Port",
];

/// Every byte but letters, digits and `-` that a header name may have (RFC 9110 section 5.6.2).
const ODD: &[u8] = b"!#$%&'*+.^_`|~";

/// Headers that have nothing to do with it and must not disturb.
const HONEST: &[(&str, &[u8])] = &[
    ("Accept", b"text/html,*/*;q=0.8"),
    ("User-Agent", b"Mozilla/5.0 (X11; Linux x86_64)"),
    ("Cookie", b"a=1"),
    ("Cookie", b"sessionid=2; csrftoken=3"),
    ("Accept-Language", b"de\xe4,en"),
    ("X-Tenants", b"plural"),
    ("X-Dotted.Name", b"."),
    ("Tenant", b"evil"),
    ("Via", b"1.0 fred"),
    ("If-None-Match", b"W/\"x\""),
    ("Sec-Fetch-Site", b"same-origin"),
];

/// The next request. `http1` adds what only HTTP/1.1 can say; only with `refusals` the edge may refuse it.
pub(super) fn case(
    random: &mut Random,
    number: usize,
    http1: bool,
    refusals: bool,
    port: u16,
) -> Case {
    let tenant = *random.pick(TENANTS);
    let mut case = Case {
        tenant,
        number,
        host: host(random, tenant, port),
        ..Case::default()
    };
    for _ in 0..random.below(5) {
        let (name, value) = random.pick(HONEST);
        case.headers.push(((*name).to_owned(), value.to_vec()));
    }
    for _ in 0..=random.below(5) {
        let header = (spelling(random, http1), value(random));
        case.headers.push(header.clone());
        if random.one_in(8) {
            case.headers.push(header);
        }
    }
    if random.one_in(10) {
        let name = format!("any_{}_name", random.below(100));
        case.headers.push((name, b"x".to_vec()));
    }
    if random.one_in(8) {
        case.body = vec![b'x'; random.below(600)];
    }
    if random.one_in(8) {
        trailers(random, &mut case, http1);
    }
    if http1 && random.one_in(4) {
        honest_connection(random, &mut case);
    }
    shuffle(random, &mut case.headers);
    if refusals {
        refuse(random, &mut case, http1, port);
    }
    case
}

/// The tenant's host in one of the ways that mean the same.
fn host(random: &mut Random, tenant: &str, port: u16) -> String {
    let mut host: String = format!("{tenant}.{DOMAIN}")
        .chars()
        .map(|char| {
            if random.one_in(6) {
                char.to_ascii_uppercase()
            } else {
                char
            }
        })
        .collect();
    if random.one_in(6) {
        host.push('.');
    }
    match random.below(6) {
        0 => host + ":443",
        1 | 2 => format!("{host}:{port}"),
        _ => host,
    }
}

/// A managed name in some spelling that a gateway may take for the name itself.
fn spelling(random: &mut Random, http1: bool) -> String {
    let name = *random.pick(MANAGED);
    let mut name: String = match random.below(4) {
        0 => name.replace('-', "_"),
        1 => {
            let odd = char::from(*random.pick(ODD));
            name.replace('-', &odd.to_string())
        }
        2 => name
            .chars()
            .map(|char| match char {
                '-' if random.one_in(2) => char::from(*random.pick(ODD)),
                char => char,
            })
            .collect(),
        _ => name.to_owned(),
    };
    if random.one_in(12) {
        name.insert_str(0, ["HTTP_", "Http-", "HTTP."][random.below(3)]);
    }
    if random.one_in(12) {
        let odd = char::from(*random.pick(ODD));
        if name.to_ascii_lowercase().contains("tenant") {
            name.push(odd);
            name.push_str("id");
        }
    }
    match random.below(3) {
        _ if !http1 => name.to_ascii_lowercase(),
        0 => name.to_ascii_uppercase(),
        1 => name.to_ascii_lowercase(),
        _ => name,
    }
}

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(9) {
        0 => Vec::new(),
        1 => vec![b'e'; 1 + random.below(1_500)],
        2 => b"\xc3\xa9vil".to_vec(),
        3 => b"evil, acme".to_vec(),
        4 => b"127.0.0.1".to_vec(),
        5 => b"http".to_vec(),
        6 => b"evil\"; DROP".to_vec(),
        _ => random.pick(TENANTS).as_bytes().to_vec(),
    }
}

/// Trailers with names of ours among honest ones, announced or not.
fn trailers(random: &mut Random, case: &mut Case, http1: bool) {
    case.trailers.push(("X-Sum".to_owned(), b"honest".to_vec()));
    for _ in 0..=random.below(3) {
        case.trailers.push((spelling(random, http1), value(random)));
    }
    if random.one_in(6) {
        case.trailers
            .push(("Host".to_owned(), b"evil.example.test".to_vec()));
    }
    if !random.one_in(4) {
        let names: Vec<&str> = case.trailers.iter().map(|(name, _)| &**name).collect();
        let line = names.join(", ");
        case.headers.push(("Trailer".to_owned(), line.into()));
    }
}

/// `Connection` lines that must take away what they name and nothing else.
fn honest_connection(random: &mut Random, case: &mut Case) {
    case.headers.push(("X-Hop".to_owned(), b"gone".to_vec()));
    let line: &[u8] = match random.below(4) {
        0 => b"keep-alive, x-hop",
        1 => b"X-HOP",
        2 => b",x-hop ,, Keep-Alive,",
        _ => b"x-hop, x-absent",
    };
    case.headers.push(("Connection".to_owned(), line.to_vec()));
    if random.one_in(3) {
        case.headers
            .push(("TE".to_owned(), b"trailers, deflate;q=0.5".to_vec()));
        case.headers.push(("Connection".to_owned(), b"te".to_vec()));
    }
    if random.one_in(3) {
        case.headers
            .push(("Keep-Alive".to_owned(), b"timeout=9".to_vec()));
    }
}

/// Makes the request one that the rules refuse.
fn refuse(random: &mut Random, case: &mut Case, http1: bool, port: u16) {
    case.refused = Some(400);
    let kind = if http1 {
        random.below(8)
    } else {
        4 + random.below(4)
    };
    match kind {
        // Nominating a name of ours, anywhere among honest tokens and lines.
        0 | 1 => {
            let name = spelling(random, http1);
            let line = match random.below(3) {
                0 => name,
                1 => format!("keep-alive, {name}"),
                _ => format!("x-hop ,{name}, close"),
            };
            let tokens = ["X-Hop", "keep-alive", "te"];
            for token in tokens.iter().take(random.below(3)) {
                case.headers
                    .push(("Connection".to_owned(), (*token).into()));
            }
            case.headers.push(("Connection".to_owned(), line.into()));
        }
        2 => {
            let name = *random.pick(&["Host", "content-length", "Cookie", "authorization", "VIA"]);
            case.headers.push(("Connection".to_owned(), name.into()));
        }
        3 => {
            let host = format!("{}.{DOMAIN}", random.pick(TENANTS));
            case.headers.push(("Host".to_owned(), host.into()));
        }
        4 => {
            case.host = format!("{}.{DOMAIN}:{}", case.tenant, 1 + port / 2);
        }
        5 => case.host = format!("{}..{DOMAIN}", case.tenant),
        6 => {
            // Not a malformed name, but nobody's.
            case.host = format!("{}.{}.{DOMAIN}", case.tenant, case.tenant);
            case.refused = Some(421);
        }
        _ => {
            case.host = format!("wpad.{DOMAIN}");
            case.refused = Some(404);
        }
    }
}

fn shuffle<T>(random: &mut Random, list: &mut [T]) {
    for at in (1..list.len()).rev() {
        list.swap(at, random.below(at + 1));
    }
}

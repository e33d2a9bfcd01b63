//! What can be asked about tenants, and the one thing that can be done: to forget what a source has said.
//!
//! | path | answer |
//! |---|---|
//! | `/tenants?limit=N` | hosts in memory and their tenants |
//! | `/tenants/show?name=NAME` | one tenant by id, slug or host |
//! | `/tenants/explain?host=HOST` | what a request for this host gets, and why |
//! | `POST /tenants/purge?host=HOST` | the next request for the host asks its source |
//! | `POST /tenants/purge?all=true` | the same for all hosts |
//!
//! A web page in a browser on this host may send a POST anywhere. It cannot send a header of our own without asking first
//! (which nobody answers here), and it says where it comes from. So a POST takes [`COMMAND`] and no `Origin`.

use http::header::{HeaderMap, HeaderName, ORIGIN};
use http::{Method, Request, StatusCode};

use super::COMMAND;
use crate::host::Host;

/// Fetch metadata: only browsers send it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Hosts of a list, if nothing else is said, and at most.
const LIMIT: usize = 100;
const LONGEST_LIST: usize = 100_000;

/// A question about tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// So many hosts with their tenants.
    List(usize),
    /// One tenant, by id, slug or host.
    Show(String),
    /// What a request for this host gets.
    Explain(Host),
    /// Forget what a source has said of this host, or of all.
    Purge(Option<Host>),
}

/// Why it is none: a status and a text.
pub(super) type Refusal = (StatusCode, &'static str);

/// Reads a request whose path begins with `/tenants`.
pub(super) fn question<B>(request: &Request<B>) -> Result<Question, Refusal> {
    let uri = request.uri();
    let value = |name: &str| {
        let pairs = uri.query().unwrap_or_default().split('&');
        let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let host = || {
        let host = value("host").map(Host::parse);
        host.transpose()
            .map_err(|_invalid| (StatusCode::BAD_REQUEST, "`host` is not a host name"))
    };
    let purge = uri.path() == "/tenants/purge";
    let fits = match request.method() {
        &Method::POST => purge,
        &Method::GET | &Method::HEAD => !purge,
        _ => false,
    };
    let question = match uri.path() {
        "/tenants" => {
            let limit = value("limit").map_or(Ok(LIMIT), str::parse);
            let limit =
                limit.map_err(|_invalid| (StatusCode::BAD_REQUEST, "`limit` is not a number"))?;
            Question::List(limit.min(LONGEST_LIST))
        }
        "/tenants/show" => Question::Show(
            value("name")
                .and_then(decode)
                .ok_or((StatusCode::BAD_REQUEST, "`name` is missing"))?,
        ),
        "/tenants/explain" => {
            Question::Explain(host()?.ok_or((StatusCode::BAD_REQUEST, "`host` is missing"))?)
        }
        "/tenants/purge" => match (host()?, value("all")) {
            (Some(host), None) => Question::Purge(Some(host)),
            (None, Some("true")) => Question::Purge(None),
            _ => return Err((StatusCode::BAD_REQUEST, "`host=HOST` or `all=true`")),
        },
        _ => return Err((StatusCode::NOT_FOUND, "not found")),
    };
    if !fits {
        return Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "POST to purge, GET for all else",
        ));
    }
    if purge {
        refuse_browsers(request.headers())?;
    }
    Ok(question)
}

/// Lets a command of a tool pass.
pub(super) fn refuse_browsers(headers: &HeaderMap) -> Result<(), Refusal> {
    let from_browser = headers.contains_key(ORIGIN) || headers.contains_key(FETCH_SITE);
    if headers.contains_key(COMMAND) && !from_browser {
        return Ok(());
    }
    Err((
        StatusCode::FORBIDDEN,
        "for tools, not for browsers: the header portico-command is missing, or there is an origin",
    ))
}

/// Takes percent-encoding off (RFC 3986 §2.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Question, u16> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        question(&request.body(()).unwrap()).map_err(|(status, _)| status.as_u16())
    }

    #[test]
    fn questions_are_read_and_only_a_tool_may_purge() {
        let host = Host::parse("acme.example.com").unwrap();
        let ours = ("Portico-Command", "1");
        for (method, target, headers, expected) in [
            ("GET", "/tenants", &[][..], Ok(Question::List(100))),
            ("GET", "/tenants?limit=7", &[], Ok(Question::List(7))),
            (
                "GET",
                "/tenants?limit=999999999",
                &[],
                Ok(Question::List(100_000)),
            ),
            ("GET", "/tenants?limit=x", &[], Err(400)),
            (
                "GET",
                "/tenants/show?name=B%c3%bcro%201",
                &[],
                Ok(Question::Show("Büro 1".to_owned())),
            ),
            ("GET", "/tenants/show?name=%", &[], Err(400)),
            ("GET", "/tenants/show?name=%ff", &[], Err(400)),
            ("GET", "/tenants/show", &[], Err(400)),
            (
                "GET",
                "/tenants/explain?host=ACME.example.com.",
                &[],
                Ok(Question::Explain(host.clone())),
            ),
            ("GET", "/tenants/explain?host=a_b", &[], Err(400)),
            (
                "POST",
                "/tenants/explain?host=acme.example.com",
                &[ours],
                Err(405),
            ),
            ("DELETE", "/tenants", &[ours], Err(405)),
            ("GET", "/tenants/else", &[], Err(404)),
            (
                "POST",
                "/tenants/purge?host=acme.example.com",
                &[ours],
                Ok(Question::Purge(Some(host))),
            ),
            (
                "POST",
                "/tenants/purge?all=true",
                &[ours],
                Ok(Question::Purge(None)),
            ),
            ("POST", "/tenants/purge", &[ours], Err(400)),
            (
                "POST",
                "/tenants/purge?all=true&host=acme.example.com",
                &[ours],
                Err(400),
            ),
            ("GET", "/tenants/purge?all=true", &[ours], Err(405)),
            ("POST", "/tenants/purge?all=true", &[], Err(403)),
            (
                "POST",
                "/tenants/purge?all=true",
                &[ours, ("Origin", "null")],
                Err(403),
            ),
            (
                "POST",
                "/tenants/purge?all=true",
                &[ours, ("Sec-Fetch-Site", "same-origin")],
                Err(403),
            ),
        ] {
            assert_eq!(ask(method, target, headers), expected, "{method} {target}");
        }
    }
}

//! Answers of both contracts, and the token. Nothing is connected to.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::Lookup;

fn ask(url: &str, contract: Contract) -> HttpAsk {
    HttpAsk {
        url: url.parse().unwrap(),
        contract,
        token: None,
        ca_file: None,
        lookup: Lookup::default(),
    }
}

fn http(contract: Contract) -> Http {
    let bases = ["example.com", "eu.example.com"].map(|base| Host::parse(base).unwrap());
    Http::new(&ask("http://127.0.0.1:1/ask?key=1", contract), &bases).unwrap()
}

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
    let headers = headers.iter().map(|(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn said(http: &Http, name: &str, answer: &Answer) -> String {
    match http.reply(&host(name), Some("\"1\""), answer) {
        Ok(Reply {
            said: Said::Tenant(tenant),
            ..
        }) => {
            format!("{} {}", tenant.id, tenant.state.name())
        }
        Ok(Reply {
            said: Said::Nobody, ..
        }) => "nobody".to_owned(),
        Ok(Reply {
            said: Said::Same, ..
        }) => "same".to_owned(),
        Ok(Reply {
            said: Said::Unusable(reason),
            ..
        }) => reason,
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_row_is_taken_and_what_is_no_answer_is_no_no() {
    let http = http(Contract::Portico);
    assert_eq!(
        http.target(&host("acme.example.com")),
        "/ask?key=1&host=acme.example.com"
    );
    for (status, body, expected) in [
        (
            200,
            r#"{"id": 42, "state": "suspended", "pool": null, "hosts": ["acme.example.com"]}"#,
            "42 suspended",
        ),
        (200, r#"{"id": "acme"}"#, "acme active"),
        (404, "", "nobody"),
        (304, "", "same"),
        (
            200,
            "{}",
            "127.0.0.1:1 answered with a row that is none: the row has no `id`",
        ),
        (
            200,
            r#"{"id": "x", "host": "other.example.com"}"#,
            "127.0.0.1:1 answered with a row that is none: the row is of another host",
        ),
        (
            200,
            r#"{"id": "x", "stat": "suspended"}"#,
            "127.0.0.1:1 answered with a row that is none: there is no column `stat`",
        ),
        (
            200,
            r#"{"id": "x", "state": "asleep"}"#,
            "127.0.0.1:1 answered with a row that is none: `state`: not a state",
        ),
        (204, "", "127.0.0.1:1 answered 204 No Content"),
        (302, "", "127.0.0.1:1 answered 302 Found"),
        (401, "", "127.0.0.1:1 answered 401 Unauthorized"),
        (403, "", "127.0.0.1:1 answered 403 Forbidden"),
        (410, "", "127.0.0.1:1 answered 410 Gone"),
        (500, "", "127.0.0.1:1 answered 500 Internal Server Error"),
    ] {
        assert_eq!(
            said(&http, "acme.example.com", &answer(status, &[], body)),
            expected
        );
    }
    let not_json = said(&http, "acme.example.com", &answer(200, &[], "<html>"));
    assert!(not_json.contains("no JSON object"), "{not_json}");
}

#[test]
fn caddys_contract_names_the_tenant_by_its_label() {
    let http = http(Contract::CaddyAsk);
    assert_eq!(
        http.target(&host("acme.example.com")),
        "/ask?key=1&domain=acme.example.com"
    );
    for (name, status, expected) in [
        ("acme.example.com", 200, "acme active"),
        ("acme.eu.example.com", 204, "acme active"),
        ("www.customer.org", 200, "www.customer.org active"),
        ("a.acme.example.com", 200, "a.acme.example.com active"),
        ("example.com", 200, "example.com active"),
        ("acme.example.com", 404, "nobody"),
        ("acme.example.com", 400, "nobody"),
        ("acme.example.com", 403, "nobody"),
        (
            "acme.example.com",
            429,
            "127.0.0.1:1 answered 429 Too Many Requests",
        ),
        (
            "acme.example.com",
            401,
            "127.0.0.1:1 answered 401 Unauthorized",
        ),
        (
            "acme.example.com",
            502,
            "127.0.0.1:1 answered 502 Bad Gateway",
        ),
    ] {
        assert_eq!(
            said(&http, name, &answer(status, &[], "ok")),
            expected,
            "{name} {status}"
        );
    }
}

#[test]
fn marks_and_ages_are_kept() {
    let http = http(Contract::Portico);
    let reply = |status, headers: &[_]| {
        let answer = answer(status, headers, r#"{"id": "x"}"#);
        http.reply(&host("x.example.com"), Some("\"1\""), &answer)
            .unwrap()
    };
    let new = reply(
        200,
        &[("etag", "\"2\""), ("cache-control", "private, Max-Age=30")],
    );
    assert_eq!(
        (new.tag.as_deref(), new.max_age),
        (Some("\"2\""), Some(Duration::from_secs(30)))
    );
    let same = reply(304, &[]);
    assert_eq!((same.tag.as_deref(), same.max_age), (Some("\"1\""), None));
    assert_eq!(reply(200, &[]).tag, None);
    assert_eq!(
        reply(200, &[("cache-control", "max-age=9, no-store")]).max_age,
        Some(Duration::ZERO)
    );
    assert_eq!(
        http.headers(Some("\"1\"")).get(IF_NONE_MATCH).unwrap(),
        "\"1\""
    );
}

#[test]
fn the_token_is_sent_and_never_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"s3cret-token\n").unwrap();
    let mut ask = ask("http://127.0.0.1:1/", Contract::CaddyAsk);
    ask.token = Some(CredentialSource::File(file.path().to_owned()));
    let mode = |mode| {
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))
            .unwrap()
    };
    mode(0o644);
    assert!(
        matches!(Http::new(&ask, &[]), Err(HttpError::Token(_))),
        "others may read it"
    );
    mode(0o600);
    let http = Http::new(&ask, &[]).unwrap();
    let headers = http.headers(None);
    assert_eq!(headers.get(AUTHORIZATION).unwrap(), "Bearer s3cret-token");
    assert!(!format!("{headers:?}").contains("s3cret"));
    let refused = said(&http, "a.example.com", &answer(403, &[], ""));
    assert_eq!(
        refused, "127.0.0.1:1 answered 403 Forbidden",
        "it may be the token's fault"
    );
    file.write_all(b"second line").unwrap();
    let error = Http::new(&ask, &[]).err().unwrap().to_string();
    assert!(
        error.contains("hint:") && !error.contains("s3cret"),
        "{error}"
    );
}

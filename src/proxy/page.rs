//! The edge's own answers: one page, as HTML, as problem details or as plain text.
//!
//! A [`Page`] is what a visitor may know: what happened, what they can do, the name they asked for and
//! the id of the request. It has no field for a tenant, an upstream server or an error, so it cannot
//! reveal one. Whoever sends a page also sends `Cache-Control: no-store`, `Vary: Accept` and, with HTML,
//! [`CONTENT_SECURITY_POLICY`]. Host and request id may be whatever a client sent: they are shown as
//! text, shortened, without control characters.

mod format;
mod words;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

pub use self::format::Format;
pub use self::words::words;
use super::html::{Value, escape, fill, visible};

/// Lets an HTML page use its own style sheet, by hash, and the empty icon that keeps browsers from asking
/// for `/favicon.ico`; nothing else.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-HdZZS5pOkt6TAoqpgyH288+Q8FUeL3Qng/9DhdxECfE='; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TEMPLATE: &str = include_str!("page.html");

/// Longest host or request id that is shown, in characters. No real host name is longer.
const SHOWN: usize = 253;

/// What the edge tells a visitor.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// What happened, in a few words, without a full stop.
    pub title: &'a str,
    /// What the visitor can do, in a sentence or two.
    pub text: &'a str,
    /// The name that was asked for.
    pub host: Option<&'a str>,
    /// The id under which the access log has this request; empty if there is none.
    pub request_id: &'a str,
}

impl<'a> Page<'a> {
    /// A page with the usual words for `status`. Other words are put into `title` and `text`.
    #[must_use]
    pub fn new(status: StatusCode, host: Option<&'a str>, request_id: &'a str) -> Self {
        let (title, text) = words(status);
        Self {
            status,
            title,
            text,
            host,
            request_id,
        }
    }

    /// The `Content-Type` and the body. The answer to HEAD has the same head.
    #[must_use]
    pub fn render(&self, format: Format) -> (HeaderValue, Bytes) {
        let body = match format {
            Format::Html => self.html(),
            Format::Json => self.json(),
            Format::Text => self.plain(),
        };
        (format.content_type(), Bytes::from(body))
    }

    fn html(&self) -> String {
        let host = self
            .host
            .map(|host| format!("<p class=\"host\">{}</p>\n", escape(&shorten(host))));
        let request = (!self.request_id.is_empty()).then(|| {
            let id = escape(&shorten(self.request_id));
            format!("<footer>Request number <code>{id}</code></footer>\n")
        });
        // An empty reference is the address of the page itself, asked for with GET.
        let again = if self.is_worth_repeating() {
            "<p><a class=\"again\" href=\"\">Try again</a></p>\n"
        } else {
            ""
        };
        let side = if self.status.is_server_error() {
            "server"
        } else {
            "client"
        };
        fill(
            TEMPLATE,
            &[
                ("side", Value::Text(side)),
                ("status", Value::Text(self.status.as_str())),
                ("title", Value::Text(self.title)),
                ("text", Value::Text(self.text)),
                ("host", Value::Html(host.as_deref().unwrap_or_default())),
                ("again", Value::Html(again)),
                (
                    "request",
                    Value::Html(request.as_deref().unwrap_or_default()),
                ),
            ],
        )
    }

    fn json(&self) -> String {
        /// RFC 9457 §3.1, and two members of our own (§3.2).
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: &'static str,
            title: &'a str,
            status: u16,
            detail: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            host: Option<String>,
            #[serde(skip_serializing_if = "String::is_empty")]
            request_id: String,
        }
        let problem = Problem {
            r#type: "about:blank",
            // With `about:blank` the title is the status's own phrase (RFC 9457 §4.2.1).
            title: self.status.canonical_reason().unwrap_or(self.title),
            status: self.status.as_u16(),
            detail: format!("{}. {}", self.title, self.text),
            host: self.host.map(shorten),
            request_id: shorten(self.request_id),
        };
        // A struct of texts and one number always has a JSON form.
        let mut json = serde_json::to_string(&problem).unwrap_or_default();
        json.push('\n');
        json
    }

    fn plain(&self) -> String {
        let mut lines = format!(
            "{} {}\n\n{}\n",
            self.status.as_str(),
            visible(self.title),
            visible(self.text)
        );
        if self.host.is_some() || !self.request_id.is_empty() {
            lines.push('\n');
        }
        if let Some(host) = self.host {
            lines.push_str(&format!("host: {}\n", shorten(host)));
        }
        if !self.request_id.is_empty() {
            lines.push_str(&format!("request number: {}\n", shorten(self.request_id)));
        }
        lines
    }

    /// Whether the same request may well succeed in a minute.
    fn is_worth_repeating(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
    }
}

fn shorten(text: &str) -> String {
    visible(&text.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::html::style_source;

    fn render(page: &Page<'_>, format: Format) -> (String, String) {
        let (content_type, body) = page.render(format);
        (
            content_type.to_str().unwrap().to_owned(),
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[test]
    fn html_is_complete_and_needs_nothing_else() {
        for status in (400..600).map(|code| StatusCode::from_u16(code).unwrap()) {
            let page = Page::new(status, Some("nope.example.com"), "0193-abc");
            let (content_type, html) = render(&page, Format::Html);
            assert_eq!(content_type, "text/html; charset=utf-8");
            assert!(!html.contains("{{") && !html.contains("}}"), "{status}");
            for part in [
                status.as_str(),
                page.title,
                "nope.example.com",
                "<code>0193-abc</code>",
            ] {
                assert!(html.contains(part), "{status}: {part}");
            }
            for foreign in [
                "http:", "https:", "//", "@import", "url(", "<script", "style=",
            ] {
                assert!(!html.contains(foreign), "{status}: {foreign}");
            }
        }
    }

    #[test]
    fn leaves_out_what_is_not_known() {
        let page = Page::new(StatusCode::NOT_FOUND, None, "");
        let (_, html) = render(&page, Format::Html);
        assert!(!html.contains("<footer>") && !html.contains("class=\"host\""));
        let (_, json) = render(&page, Format::Json);
        assert!(!json.contains("host") && !json.contains("request_id"));
        let (content_type, text) = render(&page, Format::Text);
        assert_eq!(content_type, "text/plain; charset=utf-8");
        assert_eq!(
            text,
            format!("404 There is no site here\n\n{}\n", page.text)
        );
    }

    #[test]
    fn only_a_request_that_may_succeed_later_offers_another_try() {
        for (code, offered) in [
            (404, false),
            (410, false),
            (413, false),
            (429, true),
            (503, true),
        ] {
            let page = Page::new(StatusCode::from_u16(code).unwrap(), None, "r");
            assert_eq!(
                render(&page, Format::Html).1.contains("Try again</a>"),
                offered,
                "{code}"
            );
        }
    }

    #[test]
    fn host_and_request_id_cannot_become_markup_or_terminal_commands() {
        let attack =
            "\"'><script>alert(1)</script>&amp;{{text}}<!--\x1b]0;x\x07\r\nSet-Cookie: a\u{202e}";
        let mut page = Page::new(StatusCode::BAD_REQUEST, Some(attack), attack);
        (page.title, page.text) = (attack, attack);
        let (_, html) = render(&page, Format::Html);
        assert!(!html.contains("<script") && !html.contains("<!--"));
        assert_eq!(
            html.matches("{{text}}").count(),
            5,
            "shown as it came, not filled again"
        );
        assert!(!html.chars().any(|char| char.is_control() && char != '\n'));
        let (_, text) = render(&page, Format::Text);
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'));
        assert!(!text.contains("\nSet-Cookie") && !text.contains('\u{202e}'));
        let (_, json) = render(&page, Format::Json);
        let problem: serde_json::Value = serde_json::from_str(&json).unwrap();
        let host = problem.get("host").and_then(|host| host.as_str()).unwrap();
        assert!(host.contains("<script>"));
        assert_eq!(problem.as_object().unwrap().len(), 6);
    }

    #[test]
    fn long_values_are_cut() {
        let long = "é".repeat(100_000);
        let page = Page::new(StatusCode::NOT_FOUND, Some(&long), &long);
        for format in [Format::Html, Format::Json, Format::Text] {
            assert!(render(&page, format).1.len() < 8 << 10);
        }
    }

    #[test]
    fn json_is_problem_details() {
        let page = Page::new(StatusCode::MISDIRECTED_REQUEST, Some("a.example.com"), "r1");
        let (content_type, json) = render(&page, Format::Json);
        assert_eq!(content_type, "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            problem,
            serde_json::json!({
                "type": "about:blank",
                "title": "Misdirected Request",
                "status": 421,
                "detail": format!("{}. {}", page.title, page.text),
                "host": "a.example.com",
                "request_id": "r1",
            })
        );
    }

    #[test]
    fn the_policy_allows_exactly_the_style_sheet_of_the_template() {
        let source = style_source(TEMPLATE);
        assert!(
            CONTENT_SECURITY_POLICY.contains(&source),
            "the policy needs {source}"
        );
    }
}

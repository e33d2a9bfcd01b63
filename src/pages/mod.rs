//! The edge's own answers: one page, as HTML, as problem details (RFC 9457) or as plain text, from templates.
//!
//! A [`Page`] is what a visitor may know: what happened, what they can do, the name they asked for and
//! the id of the request. It has no field for an upstream server or an error, so it cannot
//! reveal one. Whoever sends a page also sends `Cache-Control: no-store`, `Vary: Accept` and, with HTML, the
//! template's policy. Host and request id may be whatever a client sent: they are shown as
//! text, shortened, without control characters. [`set::Pages`] finds the template: the operator's or the built-in one.

pub mod format;
pub mod html;
pub mod set;
pub mod template;
pub mod words;

use bytes::Bytes;
use http::StatusCode;

use self::html::visible;
use self::template::{NAMES, Template, Values};
use self::words::words;

/// Longest host or request id that is shown, in characters. No real host name is longer.
const SHOWN: usize = 253;

/// What the edge tells a visitor.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// The label of the access log, as in `maintenance`.
    pub reason: &'a str,
    /// What happened, in a few words, without a full stop.
    pub title: &'a str,
    /// What the visitor can do, in a sentence or two.
    pub text: &'a str,
    /// The name that was asked for.
    pub host: Option<&'a str>,
    /// The id under which the access log has this request; empty if there is none.
    pub request_id: &'a str,
    /// Seconds until another try makes sense, as in `Retry-After`.
    pub retry_after: Option<u32>,
    /// The tenant's slug or id; on the pages of its own states and of its app's errors.
    pub tenant: Option<&'a str>,
    /// Where the reader gets help.
    pub support: Option<&'a str>,
}

impl<'a> Page<'a> {
    /// A page with the usual words for `status` and `reason`. Other words are put into `title` and `text`.
    #[must_use]
    pub fn new(
        status: StatusCode,
        reason: &'a str,
        host: Option<&'a str>,
        request_id: &'a str,
    ) -> Self {
        let (title, text) = words(status, reason);
        Self {
            status,
            reason,
            title,
            text,
            host,
            request_id,
            retry_after: None,
            tenant: None,
            support: None,
        }
    }

    /// The page by `template`. The answer to HEAD has the same head.
    #[must_use]
    pub fn render(&self, template: &Template) -> Bytes {
        let host = self.host.map(shorten).unwrap_or_default();
        let request_id = shorten(self.request_id);
        let tenant = self.tenant.map(shorten).unwrap_or_default();
        let retry_after = self.retry_after.map(|seconds| seconds.to_string());
        let side = if self.status.is_server_error() {
            "server"
        } else {
            "client"
        };
        let value = |name: &&str| match *name {
            "status" => self.status.as_str(),
            "reason" => self.reason,
            // The status's own phrase: with `about:blank` it is the title of problem details (RFC 9457 §4.2.1).
            "phrase" => self.status.canonical_reason().unwrap_or(self.title),
            "title" => self.title,
            "text" => self.text,
            "host" => &host,
            "request_id" => &request_id,
            "retry_after" => retry_after.as_deref().unwrap_or_default(),
            "again" if self.is_worth_repeating() => "yes",
            "side" => side,
            "tenant" => &tenant,
            "support" => self.support.unwrap_or_default(),
            // A browser looks again by itself (without a script) while a site is being set up.
            "refresh" if self.reason == "pending" => retry_after.as_deref().unwrap_or_default(),
            _ => "",
        };
        let mut values: Values<'_> = [""; NAMES.len()];
        for (slot, name) in values.iter_mut().zip(NAMES) {
            *slot = value(name);
        }
        Bytes::from(template.render(&values))
    }

    /// Whether the same request may well succeed in a minute.
    fn is_worth_repeating(&self) -> bool {
        self.reason != "suspended"
            && matches!(self.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
    }
}

fn shorten(text: &str) -> String {
    visible(&text.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::format::Format;
    use super::set::Pages;
    use super::*;

    /// The page by the built-in template, with its `Content-Type`.
    fn render(page: &Page<'_>, format: Format) -> (String, String) {
        let pages = Pages::built_in().unwrap();
        let body = page.render(pages.find(None, page.reason, page.status, format));
        (
            format.content_type().to_str().unwrap().to_owned(),
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[test]
    fn html_is_complete_and_needs_nothing_else() {
        for status in (400..600).map(|code| StatusCode::from_u16(code).unwrap()) {
            let page = Page::new(status, "", Some("nope.example.com"), "0193-abc");
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
        let page = Page::new(StatusCode::NOT_FOUND, "", None, "");
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
            let page = Page::new(StatusCode::from_u16(code).unwrap(), "", None, "r");
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
        let mut page = Page::new(StatusCode::BAD_REQUEST, "", Some(attack), attack);
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
        let page = Page::new(StatusCode::NOT_FOUND, "", Some(&long), &long);
        for format in [Format::Html, Format::Json, Format::Text] {
            assert!(render(&page, format).1.len() < 8 << 10);
        }
    }

    #[test]
    fn json_is_problem_details() {
        let page = Page::new(
            StatusCode::MISDIRECTED_REQUEST,
            "",
            Some("a.example.com"),
            "r1",
        );
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
}

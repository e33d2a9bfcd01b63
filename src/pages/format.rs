//! Which shape a client wants: `Accept`, weighed.

use std::cmp::Reverse;
use std::iter;

use http::{HeaderValue, Method};

/// The shape of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A page for browsers.
    Html,
    /// Problem details (RFC 9457), for programs.
    Json,
    /// Plain text, for `curl`.
    Text,
}

impl Format {
    /// The format that `Accept` asks for (RFC 9110 §12.5.1). Several lines are joined with commas by the
    /// caller.
    ///
    /// The highest quality wins, then a type that is named over one that only a wildcard covers, then the
    /// type named first. Where wildcards alone decide, GET and HEAD get text and other methods problem
    /// details, because then a program is asking. Without `Accept`, or if nothing we have is acceptable,
    /// the answer is text: an error in the wrong format is better than none.
    #[must_use]
    pub fn negotiate(accept: Option<&[u8]>, method: &Method) -> Self {
        let Some(accept) = accept.and_then(|value| std::str::from_utf8(value).ok()) else {
            return Self::Text;
        };
        let preference = match *method {
            Method::GET | Method::HEAD => [Self::Text, Self::Html, Self::Json],
            _ => [Self::Json, Self::Text, Self::Html],
        };
        let mut best = (None, Self::Text);
        for format in preference {
            let wish = format.wish(accept);
            if wish > best.0 {
                best = (wish, format);
            }
        }
        best.1
    }

    /// How much `accept` wants this format, `None` if not at all: the quality in thousandths, then where
    /// the format is named. Of the ranges that match, the most specific one speaks.
    fn wish(self, accept: &str) -> Option<(u16, Reverse<usize>)> {
        let mut speaks = None;
        for (position, range) in split_unquoted(accept, ',').enumerate() {
            let mut parts = split_unquoted(range, ';').map(str::trim);
            let (Some(kind), Some(quality)) = (parts.next(), quality(parts)) else {
                continue;
            };
            if let Some(precision) = self.precision(kind) {
                speaks = speaks.max(Some((precision, quality, Reverse(position))));
            }
        }
        match speaks? {
            (_, 0, _) => None,
            (Precision::Named, quality, position) => Some((quality, position)),
            (_, quality, _) => Some((quality, Reverse(usize::MAX))),
        }
    }

    /// How closely the media range `kind` describes this format, `None` if it does not.
    fn precision(self, kind: &str) -> Option<Precision> {
        if kind == "*/*" || kind == "*" {
            return Some(Precision::Anything);
        }
        let (family, subtype) = kind.split_once('/')?;
        let is = |text: &str, name: &str| text.eq_ignore_ascii_case(name);
        let family_fits = match self {
            Self::Html | Self::Text => is(family, "text"),
            Self::Json => is(family, "application"),
        };
        let subtype_fits = match self {
            Self::Html => is(subtype, "html"),
            Self::Text => is(subtype, "plain"),
            // `application/vnd.example+json`: a client of an API with a media type of its own.
            Self::Json => {
                let suffix = subtype.rsplit('+').next();
                suffix.is_some_and(|suffix| is(suffix, "json"))
            }
        };
        match (family_fits, subtype_fits || subtype == "*") {
            (true, true) if subtype == "*" => Some(Precision::Family),
            (true, true) => Some(Precision::Named),
            _ => None,
        }
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/problem+json",
            Self::Text => "text/plain; charset=utf-8",
        })
    }
}

/// How closely a media range describes a format, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Anything,
    Family,
    Named,
}

/// Splits at `separator`, but not inside a quoted string.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |char| {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        char == separator && !quoted
    })
}

/// The `q` among the parameters, in thousandths; 1000 without one, `None` if it is malformed. More lenient
/// than the grammar: old Java sends `q=.2`.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    let named_q = |parameter: &'a str| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    };
    let Some(text) = parameters.find_map(named_q) else {
        return Some(1000);
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(iter::repeat(b'0')).take(3);
    let thousandths = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, thousandths) {
        ("0" | "", _) if !text.is_empty() => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &str) -> Format {
        Format::negotiate(Some(accept.as_bytes()), &Method::GET)
    }

    #[test]
    fn browsers_get_html_programs_json_and_curl_text() {
        for (accept, format) in [
            // Firefox, Chrome, an image in Chrome, curl, axios, fetch.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Format::Html,
            ),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,\
                 */*;q=0.8,application/signed-exchange;v=b3;q=0.7",
                Format::Html,
            ),
            (
                "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
                Format::Text,
            ),
            ("*/*", Format::Text),
            ("application/json, text/plain, */*", Format::Json),
            ("application/problem+json", Format::Json),
            ("application/vnd.api+json", Format::Json),
            ("Application/JSON; charset=utf-8", Format::Json),
            ("text/plain", Format::Text),
            ("", Format::Text),
            ("image/png", Format::Text),
        ] {
            assert_eq!(negotiate(accept), format, "{accept}");
        }
        assert_eq!(Format::negotiate(None, &Method::GET), Format::Text);
        assert_eq!(Format::negotiate(None, &Method::POST), Format::Text);
        assert_eq!(
            Format::negotiate(Some(b"text/html\xff"), &Method::GET),
            Format::Text
        );
    }

    #[test]
    fn wildcards_mean_json_for_other_methods_but_a_form_still_gets_html() {
        let post = |accept: &str| Format::negotiate(Some(accept.as_bytes()), &Method::POST);
        assert_eq!(post("*/*"), Format::Json);
        assert_eq!(post("text/html,*/*;q=0.8"), Format::Html);
        assert_eq!(post("text/*"), Format::Text);
        assert_eq!(Format::negotiate(Some(b"*/*"), &Method::HEAD), Format::Text);
    }

    #[test]
    fn weighs_quality_then_precision_then_order() {
        for (accept, format) in [
            ("text/html;q=0.5, application/json", Format::Json),
            ("text/html;q=0.5, application/json;q=0.4", Format::Html),
            ("application/json;q=0.001, text/html;q=0.002", Format::Html),
            ("application/json, text/html", Format::Json),
            ("text/html, application/json", Format::Html),
            ("text/*, application/json", Format::Json),
            ("*/*, text/html;q=0.9", Format::Text),
            // The most specific range speaks, also when it refuses.
            ("text/plain;q=0, */*", Format::Html),
            ("text/*;q=0, */*", Format::Json),
            (
                "text/html;q=0, text/plain;q=0, application/json;q=0",
                Format::Text,
            ),
            ("*/*;q=0", Format::Text),
            (
                "text/html;level=1;q=0.3, text/html;q=0.7, application/json;q=0.5",
                Format::Html,
            ),
            // Lenient and strict: old Java; broken weights take the range out.
            ("text/html, image/gif, *; q=.2, */*; q=.2", Format::Html),
            ("text/html;q=2, application/json;q=0.1", Format::Json),
            ("text/html;q=, application/json;q=0.1", Format::Json),
            ("text/html;q=-1, application/json;q=0.1", Format::Json),
            ("text/html; Q = 1.000, application/json", Format::Html),
            // A comma or a weight inside a quoted string is no comma and no weight.
            (
                "text/html;a=\"x,application/json\\\",;q=0\", text/plain;q=0.9",
                Format::Html,
            ),
            (",,; ,/;q,text/html;;", Format::Html),
        ] {
            assert_eq!(negotiate(accept), format, "{accept}");
        }
    }
}

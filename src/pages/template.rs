//! Page templates: text with names in it.
//!
//! ```text
//! {{title}}                 the value, escaped for the template's format
//! {{#host}}…{{/host}}       what stands between is shown only if there is a value
//! ```
//! A template is checked once, when it is read: an unknown name, a section that is not closed or a script that no
//! browser would run is an error with a hint, never a broken page. Rendering then cannot fail. A value is never searched for
//! names again, so nothing that comes from the network can become markup.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use thiserror::Error;

use super::format::Format;
use super::html::{escape_into, visible};

/// What can stand between `{{` and `}}`.
pub const NAMES: &[&str] = &[
    "status",
    "reason",
    "phrase",
    "title",
    "text",
    "host",
    "request_id",
    "retry_after",
    "again",
    "side",
    "tenant",
    "support",
    "refresh",
];

/// The values of the names, in the order of [`NAMES`]; empty is none.
pub type Values<'a> = [&'a str; NAMES.len()];

/// Why a template is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A name that has no value on any page.
    #[error("line {line}: there is no value `{name}`\n  hint: the names are {}", NAMES.join(", "))]
    UnknownName {
        /// Where, from 1.
        line: usize,
        /// What stands there.
        name: String,
    },
    /// `{{` without `}}`.
    #[error("line {line}: `{{{{` is not closed\n  hint: a name is written as in {{{{title}}}}")]
    Open {
        /// Where, from 1.
        line: usize,
    },
    /// A section that does not end, or an end without a beginning.
    #[error(
        "line {line}: the section `{name}` has no other end\n  hint: {{{{#host}}}} needs {{{{/host}}}}, and sections do not overlap"
    )]
    Section {
        /// Where, from 1.
        line: usize,
        /// The section.
        name: String,
    },
    /// A name inside a style sheet, which is allowed by its hash.
    #[error(
        "line {line}: a value inside `<style>`\n  hint: the style sheet is allowed by its hash, so it must be the same on every page; put the value on an element's class"
    )]
    Style {
        /// Where, from 1.
        line: usize,
    },
    /// A script.
    #[error(
        "line {line}: a script\n  hint: pages are sent with a policy that lets no script run; remove it"
    )]
    Script {
        /// Where, from 1.
        line: usize,
    },
    /// A JSON template that does not give JSON.
    #[error("it does not give JSON: {0}\n  hint: put names into quotes, all but {{{{status}}}}")]
    Json(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(usize),
    /// Shown up to the part of this number only if the value is there.
    Section {
        value: usize,
        end: usize,
    },
}

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    format: Format,
    policy: Option<HeaderValue>,
}

impl Template {
    /// Checks `source`, which gives pages in `format`.
    ///
    /// # Errors
    /// [`TemplateError`] names line and remedy.
    pub fn parse(source: &str, format: Format) -> Result<Self, TemplateError> {
        let parts = parse_parts(source)?;
        let policy = match format {
            Format::Html => Some(policy(source)?),
            Format::Json | Format::Text => None,
        };
        let template = Self {
            parts,
            format,
            policy,
        };
        if format == Format::Json {
            // A quote and a backslash show whether values stand where they are escaped for.
            for fill in ["", "x\"\\"] {
                let mut values: Values<'_> = [fill; NAMES.len()];
                if let Some(status) = values.first_mut() {
                    *status = "503";
                }
                serde_json::from_str::<serde::de::IgnoredAny>(&template.render(&values))
                    .map_err(|error| TemplateError::Json(error.to_string()))?;
            }
        }
        Ok(template)
    }

    /// The page. Values are escaped for the format; control characters and marks that turn the direction of writing are
    /// replaced.
    #[must_use]
    pub fn render(&self, values: &Values<'_>) -> String {
        let mut page = String::with_capacity(4096);
        let value = |index: usize| values.get(index).copied().unwrap_or_default();
        let mut at = 0;
        while let Some(part) = self.parts.get(at) {
            at += 1;
            match part {
                Part::Text(text) => page.push_str(text),
                Part::Value(index) => self.put(&mut page, value(*index)),
                Part::Section { value: index, end } if value(*index).is_empty() => at = *end,
                Part::Section { .. } => {}
            }
        }
        page
    }

    /// The `Content-Security-Policy` of an HTML page: its own style sheets by hash, pictures that are part of it, and
    /// nothing else.
    #[must_use]
    pub fn policy(&self) -> Option<&HeaderValue> {
        self.policy.as_ref()
    }

    fn put(&self, page: &mut String, value: &str) {
        match self.format {
            Format::Html => escape_into(page, value),
            Format::Text => page.push_str(&visible(value)),
            Format::Json => {
                // A text always has a JSON form; its quotes are the template's.
                let quoted = serde_json::to_string(value).unwrap_or_default();
                let inner = quoted.get(1..quoted.len().saturating_sub(1));
                page.push_str(inner.unwrap_or_default());
            }
        }
    }
}

fn line_of(source: &str, offset: usize) -> usize {
    1 + source
        .bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
}

fn parse_parts(source: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        let offset = source.len() - after.len();
        let line = line_of(source, offset);
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let (name, tail) = after
            .split_once("}}")
            .filter(|(name, _)| !name.contains('\n'))
            .ok_or(TemplateError::Open { line })?;
        let mark = name.chars().next().filter(|char| matches!(char, '#' | '/'));
        let bare = name.trim_start_matches(['#', '/']).trim();
        let Some(index) = NAMES.iter().position(|known| *known == bare) else {
            return Err(TemplateError::UnknownName {
                line,
                name: bare.chars().take(40).collect(),
            });
        };
        match mark {
            Some('#') => {
                open.push((parts.len(), index));
                parts.push(Part::Section {
                    value: index,
                    end: 0,
                });
            }
            Some(_) => match open.pop() {
                Some((begin, opened)) if opened == index => {
                    let end = parts.len();
                    if let Some(part) = parts.get_mut(begin) {
                        *part = Part::Section { value: index, end };
                    }
                }
                _ => {
                    return Err(TemplateError::Section {
                        line,
                        name: bare.to_owned(),
                    });
                }
            },
            None => parts.push(Part::Value(index)),
        }
        rest = tail;
    }
    if let Some((_, index)) = open.pop() {
        return Err(TemplateError::Section {
            line: line_of(source, source.len()),
            name: NAMES.get(index).copied().unwrap_or_default().to_owned(),
        });
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// The policy for an HTML template. Tags are found in small letters and capitals alike, as browsers do.
fn policy(source: &str) -> Result<HeaderValue, TemplateError> {
    let lower = source.to_ascii_lowercase();
    if let Some(offset) = lower.find("<script") {
        return Err(TemplateError::Script {
            line: line_of(source, offset),
        });
    }
    let mut hashes = String::new();
    let mut from = 0;
    while let Some(begin) = lower.get(from..).and_then(|rest| rest.find("<style")) {
        let begin = from + begin;
        let Some(inner) = lower.get(begin..).and_then(|rest| rest.find('>')) else {
            break;
        };
        let inner = begin + inner + 1;
        let end = lower
            .get(inner..)
            .and_then(|rest| rest.find("</style"))
            .map_or(source.len(), |length| inner + length);
        let style = source.get(inner..end).unwrap_or_default();
        if style.contains("{{") {
            return Err(TemplateError::Style {
                line: line_of(source, inner),
            });
        }
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        hashes.push_str(&format!(" 'sha256-{hash}'"));
        from = end;
    }
    if hashes.is_empty() {
        hashes.push_str(" 'none'");
    }
    let policy = format!(
        "default-src 'none'; style-src{hashes}; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Made of constants and base64.
    Ok(HeaderValue::try_from(policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(pairs: &[(&str, &'a str)]) -> Values<'a> {
        let mut values = [""; NAMES.len()];
        for (name, value) in pairs {
            let index = NAMES.iter().position(|known| known == name).unwrap();
            *values.get_mut(index).unwrap() = value;
        }
        values
    }

    fn html(source: &str, pairs: &[(&str, &str)]) -> String {
        let template = Template::parse(source, Format::Html).unwrap();
        template.render(&values(pairs))
    }

    #[test]
    fn fills_names_and_leaves_out_sections_without_a_value() {
        let source = "<h1>{{status}}</h1>{{#host}}<p>{{ host }}{{#request_id}}, {{request_id}}{{/request_id}}</p>{{/host}}.";
        assert_eq!(html(source, &[("status", "404")]), "<h1>404</h1>.");
        assert_eq!(
            html(source, &[("status", "404"), ("host", "a.b")]),
            "<h1>404</h1><p>a.b</p>."
        );
        assert_eq!(
            html(source, &[("host", "a.b"), ("request_id", "7")]),
            "<h1></h1><p>a.b, 7</p>."
        );
    }

    #[test]
    fn a_value_is_escaped_for_the_format_and_never_filled_again() {
        let value = "<b>\"{{text}}\\\n";
        assert_eq!(
            html("{{host}}", &[("host", value)]),
            "&lt;b&gt;&#34;{{text}}\\\u{fffd}"
        );
        let json = Template::parse("{\"a\":\"{{host}}\"}", Format::Json).unwrap();
        let rendered = json.render(&values(&[("host", value)]));
        let parsed: serde_json::Value = serde_json::from_str(&rendered).unwrap();
        assert_eq!(parsed.get("a").unwrap(), value);
        let text = Template::parse("{{host}}", Format::Text).unwrap();
        assert_eq!(
            text.render(&values(&[("host", value)])),
            "<b>\"{{text}}\\\u{fffd}"
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (source, format, part) in [
            (
                "a\n{{hots}}",
                Format::Html,
                "line 2: there is no value `hots`",
            ),
            ("{{title", Format::Text, "line 1: `{{` is not closed"),
            ("{{title\n}}", Format::Text, "line 1: `{{` is not closed"),
            ("\n\n{{#host}}", Format::Html, "line 3: the section `host`"),
            ("{{/host}}", Format::Html, "line 1: the section `host`"),
            (
                "{{#host}}{{#text}}{{/host}}{{/text}}",
                Format::Html,
                "the section `host`",
            ),
            (
                "<STYLE>a{b:{{side}}}</STYLE>",
                Format::Html,
                "inside `<style>`",
            ),
            ("\n<Script src=x>", Format::Html, "line 2: a script"),
            ("{\"a\":{{title}}}", Format::Json, "does not give JSON"),
            ("{\"a\":\"{{title}}\"", Format::Json, "does not give JSON"),
        ] {
            let error = Template::parse(source, format).unwrap_err().to_string();
            assert!(error.contains(part), "{source}: {error}");
            assert!(error.contains("hint: "), "{error}");
        }
    }

    #[test]
    fn the_policy_has_the_hash_of_every_style_sheet() {
        let template =
            Template::parse("<style>a{}</style><style media=x>b{}</style>", Format::Html);
        let policy = template
            .unwrap()
            .policy()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        // printf 'a{}' | openssl dgst -sha256 -binary | base64, and the same for `b{}`.
        let hashes = "style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk=' \
             'sha256-7yqHVAesot11p6HczDsgKRipvI5UPgs97z80zNXlans=';";
        assert!(policy.contains(hashes), "{policy}");
        let none = Template::parse("<p>", Format::Html).unwrap();
        assert!(
            none.policy()
                .unwrap()
                .to_str()
                .unwrap()
                .contains("style-src 'none';")
        );
        assert_eq!(Template::parse("x", Format::Text).unwrap().policy(), None);
    }
}

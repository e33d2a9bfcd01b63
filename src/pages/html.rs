//! Fills the pages that Portico writes itself.
//!
//! A page is an embedded file with `{{name}}` where a value belongs. A [`Value::Text`] is escaped on its way in, so a
//! value that came from the network cannot become markup; a value is never searched for names again. Nothing here
//! knows what a page is about.

use std::fmt::Write;

/// What stands for a name in a template.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Text from anywhere; it is escaped.
    Text(&'a str),
    /// Markup that was put together from constants and escaped text.
    Html(&'a str),
}

/// `template` with each `{{name}}` replaced by its value; a name without a value is replaced by nothing.
#[must_use]
pub fn fill(template: &str, values: &[(&str, Value<'_>)]) -> String {
    let mut page = String::with_capacity(template.len() + 512);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, tail)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, Value::Text(text))) => escape_into(&mut page, text),
            Some((_, Value::Html(html))) => page.push_str(html),
            None => {}
        }
        rest = tail;
    }
    page.push_str(rest);
    page
}

/// `text` for use between tags and inside quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    escape_into(&mut escaped, text);
    escaped
}

/// `text` with the characters replaced that would not be seen as such: control characters, which a terminal may obey,
/// and marks that turn the direction of writing, which can make one host look like another.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|char| {
            if is_visible(char) {
                char
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

pub(super) fn escape_into(page: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            // Numeric, so that attributes in either kind of quotes are safe; "`" quotes attributes in old browsers.
            '"' | '\'' | '`' => {
                // Writing to a `String` cannot fail.
                _ = write!(page, "&#{};", u32::from(char));
            }
            _ if is_visible(char) => page.push(char),
            _ => page.push(char::REPLACEMENT_CHARACTER),
        }
    }
}

fn is_visible(char: char) -> bool {
    let turns_direction = matches!(char, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !char.is_control() && !turns_direction
}

/// The source expression (CSP) that allows the one style sheet of `template`, to compare with what is sent.
#[cfg(test)]
pub(crate) fn style_source(template: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let (_, after) = template.split_once("<style>").unwrap();
    let (style, _) = after.split_once("</style>").unwrap();
    assert!(
        !style.contains("{{"),
        "values in the style sheet would change its hash"
    );
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite
        .tls13()
        .unwrap()
        .common
        .hash_provider
        .hash(style.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(hash.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_names_once_and_drops_unknown_ones() {
        let values = [("a", Value::Text("{{b}}")), ("b", Value::Html("<b>"))];
        assert_eq!(fill("1{{a}}2{{b}}3{{c}}4", &values), "1{{b}}2<b>34");
        assert_eq!(fill("open {{a", &values), "open a");
    }

    #[test]
    fn text_cannot_become_markup() {
        let page = fill(
            "<p title='{{x}}'>{{x}}",
            &[("x", Value::Text("'><script>alert(`1`)</script>&\""))],
        );
        let escaped = "&#39;&gt;&lt;script&gt;alert(&#96;1&#96;)&lt;/script&gt;&amp;&#34;";
        assert_eq!(page, format!("<p title='{escaped}'>{escaped}"));
    }

    #[test]
    fn replaces_what_cannot_be_seen() {
        assert_eq!(
            visible("a\x1b[31m\u{202e}b\r\n\0"),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(escape("a\u{2066}\nb"), "a\u{fffd}\u{fffd}b");
        assert_eq!(visible("büro 東京"), "büro 東京");
    }
}

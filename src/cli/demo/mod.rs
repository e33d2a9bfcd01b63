//! `portico demo`: the edge, with a certificate of its own making, before a built-in sample app.

pub mod acme;
pub mod app;
mod received;
pub mod start;

use std::path::Path;

/// The tenants that the demo speaks of.
pub const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// A name that the edge reserves, to show its own page.
pub const RESERVED: &str = "admin";

/// What the demo prints when it is ready. `urls` are those of the tenants, and the first one is the example; `ca` is
/// the file of the certificate that signed the demo's.
///
/// Names below `localhost` need no DNS: browsers and curl (since 7.85) take them to the loopback address themselves
/// (RFC 6761 §6.3), so every line can be copied as it stands.
#[must_use]
pub fn banner(urls: &[String], ca: &Path) -> String {
    let list: String = urls.iter().map(|url| format!("  {url}\n")).collect();
    let example = urls.first().map_or("https://localhost/", String::as_str);
    let ca = shell_word(&ca.display().to_string());
    format!(
        "\
Portico is running. Open one of these; the browser warns once, because the certificate was made here:

{list}
Or ask without a browser, then try to pass for another tenant:

  curl --cacert {ca} {example}
  curl --cacert {ca} -H 'X-Tenant: evil' {example}

Ctrl-C stops it. (A curl older than 7.85 also needs: --connect-to ::127.0.0.1: )
"
    )
}

/// `text` as one word for a POSIX shell.
fn shell_word(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:=@%,".contains(char);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banner_can_be_copied_as_it_stands() {
        let urls = TENANTS.map(|name| format!("https://{name}.localhost:8443/"));
        let text = banner(&urls, Path::new("/tmp/portico demo/ca.pem"));
        assert!(
            urls.iter()
                .all(|url| text.contains(&format!("\n  {url}\n"))),
            "{text}"
        );
        for line in [
            "\n  curl --cacert '/tmp/portico demo/ca.pem' https://acme.localhost:8443/\n",
            " -H 'X-Tenant: evil' https://acme.localhost:8443/\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn quotes_words_only_if_needed() {
        assert_eq!(shell_word("/a/b.pem"), "/a/b.pem");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("a b$(x)'"), r"'a b$(x)'\'''");
    }
}

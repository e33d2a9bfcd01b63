//! Keys that nobody reads: each is a problem, with the key that was probably meant.

use toml::de::{DeTable, DeValue};

use super::reader::Reader;
use super::reference::Row;
use super::value::shorten;

/// Names from other servers and from older drafts, with what to use here.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "api_token",
        "put the token into a file of mode 0600 and name it in `acme.dns.credentials`",
    ),
    ("backends", "the key is `upstream.servers`"),
    (
        "cert",
        "bring your own certificate with `portico cert import`",
    ),
    (
        "certificate",
        "bring your own certificate with `portico cert import`",
    ),
    ("client_max_body_size", "the key is `limits.body_size`"),
    ("max_body_size", "the key is `limits.body_size`"),
    ("max_connections", "the key is `limits.connections`"),
    (
        "private_key",
        "bring your own certificate with `portico cert import`",
    ),
    (
        "propagation_floor",
        "the key is `acme.dns.propagation_seconds`",
    ),
    ("proxy_pass", "the key is `upstream.servers`"),
    (
        "secret",
        "put the secret into a file of mode 0600 and name it in `acme.dns.credentials`",
    ),
    (
        "staging",
        "set `acme.directory` to the CA's staging directory",
    ),
    (
        "tenant",
        "list the tenants in a file of their own and name it in `tenants.file`",
    ),
    (
        "token",
        "put the token into a file of mode 0600 and name it in `acme.dns.credentials`",
    ),
    ("upstreams", "the key is `upstream.servers`"),
];

/// Longer names are not compared: no key is near them.
const LONGEST: usize = 40;

impl Reader<'_> {
    /// Reports every key of the document that no section has asked for. Call it last.
    pub(super) fn unknown_keys(&mut self) {
        if let Some(root) = self.root() {
            let rows = self.take_rows();
            self.walk(root, "", &rows);
        }
    }

    fn walk(&mut self, table: &DeTable<'_>, section: &str, rows: &[Row]) {
        for (name, value) in table {
            let offset = Some(name.span().start);
            let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            let name = name.get_ref();
            if name.is_empty() || !name.bytes().all(bare) {
                // `"acme.email" = …` looks like a known key, but nobody has read it.
                let key = join(section, &format!("\"{}\"", shorten(name)));
                self.report(offset, &key, "unknown key", "no key has quotes around it");
                continue;
            }
            let key = join(section, name);
            match value.get_ref() {
                DeValue::Table(inner) if is_section(rows, &key) => self.walk(inner, &key, rows),
                DeValue::Array(tables) if is_section(rows, &key) => {
                    let tables = tables.iter().filter_map(|table| table.get_ref().as_table());
                    tables.for_each(|table| self.walk(table, &key, rows));
                }
                // A section that is no table has been reported by whoever opened it.
                _ if is_section(rows, &key) || rows.iter().any(|row| row.key == key) => {}
                value => {
                    let tables = value.as_array().and_then(|array| array.first());
                    let table =
                        value.is_table() || tables.is_some_and(|it| it.get_ref().is_table());
                    let what = if table { "section" } else { "key" };
                    let hint = hint(section, name, table, rows);
                    self.report(offset, &shorten(&key), &format!("unknown {what}"), &hint);
                }
            }
        }
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

fn is_section(rows: &[Row], path: &str) -> bool {
    rows.iter().any(|row| {
        let section = row.split().0;
        section == path
            || section
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// What was probably meant by `name` in `section`.
fn hint(section: &str, name: &str, table: bool, rows: &[Row]) -> String {
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(other, _)| *other == name) {
        return (*hint).to_owned();
    }
    if table {
        let mut sections: Vec<&str> = rows
            .iter()
            .map(|row| row.split().0)
            .filter(|name| !name.is_empty())
            .collect();
        sections.dedup();
        let full = join(section, name);
        return match nearest(&full, sections.iter().copied()) {
            Some(near) => format!("the section is `[{near}]`"),
            None => format!(
                "the sections are {}",
                list(sections.iter().map(|name| format!("[{name}]")))
            ),
        };
    }
    if let Some(row) = rows
        .iter()
        .find(|row| row.split().1 == name || row.key == name)
    {
        return format!("`{}` belongs {}", row.split().1, place(row));
    }
    let here = || {
        rows.iter()
            .filter(|row| row.split().0 == section)
            .map(|row| row.split().1)
    };
    if let Some(near) = nearest(name, here()) {
        return format!("the key is `{near}`");
    }
    let near = nearest(name, rows.iter().map(|row| row.split().1));
    if let Some(row) = near.and_then(|near| rows.iter().find(|row| row.split().1 == near)) {
        return format!("the nearest key is `{}`, {}", row.split().1, place(row));
    }
    let keys = list(here().map(str::to_owned));
    if section.is_empty() {
        format!("the keys at the top of the file are {keys}")
    } else {
        format!("the keys of `[{section}]` are {keys}")
    }
}

fn place(row: &Row) -> String {
    match row.split().0 {
        "" => "at the top of the file, above the first `[section]`".to_owned(),
        section => format!("in `[{section}]`"),
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The name that `text` is a misspelling of, if any is near enough.
pub(super) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let enough = match text.len() {
        0..=4 => 1,
        5..=8 => 2,
        9..=LONGEST => 3,
        _ => return None,
    };
    names
        .map(|name| (distance(text, name), name))
        .filter(|(distance, _)| *distance <= enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (line, x) in a.bytes().enumerate() {
        let mut left = line + 1;
        let mut row = vec![left];
        for ((y, diagonal), up) in b.bytes().zip(&above).zip(above.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(up + 1).min(left + 1);
            row.push(left);
        }
        above = row;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("server", "servers", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn names_the_nearest_but_nothing_far() {
        let names = ["https", "http", "admin"];
        assert_eq!(nearest("htps", names.into_iter()), Some("https"));
        assert_eq!(nearest("adnim", names.into_iter()), Some("admin"));
        assert_eq!(nearest("port", names.into_iter()), None);
    }
}

//! The list of all keys, for the documentation and for hints.
//!
//! Nobody writes the list down: the sections name key, default and meaning where they read it, and the list is what
//! they asked for. So a key that is read is in the list, and its default is the one of the typed struct.

use std::fmt;

/// One key of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key with its section, as in `acme.dns.zone`.
    pub key: String,
    /// What holds without it.
    pub default: KeyDefault,
    /// What it is for.
    pub meaning: &'static str,
}

impl Row {
    /// The section (empty at the top of the file) and the name in it.
    #[must_use]
    pub fn split(&self) -> (&str, &str) {
        self.key.rsplit_once('.').unwrap_or(("", &self.key))
    }
}

/// What holds if a key is not in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyDefault {
    /// A value, written as in the file.
    Value(String),
    /// No value; the text says what that means.
    Absent(&'static str),
}

impl KeyDefault {
    /// A text, in quotes.
    pub(super) fn text(value: &impl fmt::Display) -> Self {
        Self::Value(format!("\"{value}\""))
    }

    /// A list of texts.
    pub(super) fn list<T: fmt::Display>(values: &[T]) -> Self {
        let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        Self::Value(format!("[{}]", quoted.join(", ")))
    }
}

impl fmt::Display for KeyDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "`{value}`"),
            Self::Absent(text) => f.write_str(text),
        }
    }
}

/// The list as a Markdown table.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for row in rows {
        let cells = [
            format!("`{}`", row.key),
            row.default.to_string(),
            row.meaning.to_owned(),
        ];
        for cell in cells {
            // A `|` would end the cell, in code spans too (GitHub Flavored Markdown §4.10).
            table.push_str("| ");
            table.push_str(&cell.replace('|', "\\|"));
            table.push(' ');
        }
        table.push_str("|\n");
    }
    table
}

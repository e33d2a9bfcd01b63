//! A typed walk over the parsed document: it collects problems where serde would stop at the first.
//!
//! What is missing keeps its default; what is wrong keeps it too and leaves a problem, so that reading goes on and one
//! report has them all. The result counts only if [`Reader::finish`] finds no problem.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Flaw, Problem, Problems};
use super::reference::Row;
use super::section::Section;
use super::value::{self, kind, shown};

/// A value of the document and the path of its key.
#[derive(Debug)]
pub(super) struct Entry<'n, 'd> {
    /// As in `upstream.servers[1]`.
    pub(super) key: String,
    /// The value with its place.
    pub(super) node: &'n Spanned<DeValue<'d>>,
}

impl Entry<'_, '_> {
    fn name(&self) -> &str {
        self.key
            .rsplit_once('.')
            .map_or(&self.key, |(_, name)| name)
    }
}

/// The document, and what was found on the way through it.
#[derive(Debug)]
pub(super) struct Reader<'d> {
    path: &'d Path,
    root: Option<&'d DeTable<'d>>,
    /// The offset of each line's first byte.
    lines: Vec<usize>,
    /// With the offset that each one stands at, which is the order of the report.
    problems: Vec<(usize, Problem)>,
    rows: Vec<Row>,
}

impl<'d> Reader<'d> {
    /// A walk over `root`, which was parsed from `text`; without `root`, over an empty document.
    pub(super) fn new(path: &'d Path, text: &str, root: Option<&'d DeTable<'d>>) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0)
            .chain(ends.map(|(offset, _)| offset + 1))
            .collect();
        Self {
            path,
            root,
            lines,
            problems: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// The top of the document.
    pub(super) fn root(&self) -> Option<&'d DeTable<'d>> {
        self.root
    }

    /// The rows of all keys that were asked for so far; they are handed over.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    /// Whether something stands under the path of a section, be it a section or not.
    pub(super) fn has(&self, path: &str) -> bool {
        let mut table = self.root;
        path.split('.').all(|part| {
            let value = table.and_then(|table| table.get(part));
            table = value.and_then(|value| value.get_ref().as_table());
            value.is_some()
        })
    }

    /// Opens a section by its path (`"acme.dns"`; empty for the top of the file), present or not.
    pub(super) fn section(&mut self, name: impl Into<Cow<'static, str>>) -> Section<'_, 'd> {
        let name = name.into();
        let mut table = self.root;
        let mut offset = None;
        let mut parts = name.split('.').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next() {
            let Some((key, value)) = table.and_then(|table| table.get_key_value(part)) else {
                table = None;
                break;
            };
            offset = Some(key.span().start);
            table = value.get_ref().as_table();
            if table.is_none() {
                // An outer section reports itself when it is opened.
                if parts.peek().is_none() {
                    let hint =
                        format!("write `[{name}]` on a line of its own and its keys below it");
                    let message = format!("a section is needed, not {}", kind(value.get_ref()));
                    self.report(offset, &name, &message, &hint);
                }
                break;
            }
        }
        Section::new(self, name, table, offset)
    }

    /// The names of the sections below `path` (`[plans.NAME]`), in the order of the alphabet. Names in quotes are left to
    /// [`Self::unknown_keys`].
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let table = self.root.and_then(|root| root.get(path));
        let tables = table.and_then(|table| table.get_ref().as_table());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let named = tables.into_iter().flat_map(|tables| tables.iter());
        named
            .filter(|(_, value)| value.get_ref().is_table())
            .map(|(name, _)| name.get_ref().to_string())
            .filter(|name| !name.is_empty() && name.bytes().all(plain))
            .collect()
    }

    /// Opens each table of the list `[[name]]`, one after the other. Without any, an absent one, so that its keys are
    /// known; what `read` makes of that one is to be dropped by it.
    pub(super) fn tables(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Section<'_, 'd>),
    ) {
        let found = self.root.and_then(|root| root.get_key_value(name));
        let offset = found.map(|(key, _)| key.span().start);
        let tables = match found.map(|(_, value)| value.get_ref()) {
            Some(DeValue::Array(tables)) => tables.iter().collect(),
            Some(other) => {
                let hint = format!("write `[[{name}]]` on a line of its own and its keys below it");
                let message = format!("a list of sections is needed, not {}", kind(other));
                self.report(offset, name, &message, &hint);
                Vec::new()
            }
            None => Vec::new(),
        };
        let mut known = false;
        for table in tables {
            let offset = Some(table.span().start);
            match table.get_ref().as_table() {
                Some(table) => {
                    read(&mut Section::new(self, name, Some(table), offset));
                    known = true;
                }
                None => {
                    let message = format!("a section is needed, not {}", kind(table.get_ref()));
                    let hint =
                        format!("write `[[{name}]]` on a line of its own and its keys below it");
                    self.report(offset, name, &message, &hint);
                }
            }
        }
        if !known {
            read(&mut Section::new(self, name, None, None));
        }
    }

    /// The file that is read.
    pub(super) fn path(&self) -> &'d Path {
        self.path
    }

    /// Makes a key known.
    pub(super) fn add_row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a problem at a byte offset.
    pub(super) fn report(&mut self, offset: Option<usize>, key: &str, message: &str, hint: &str) {
        let line = offset.map(|offset| self.lines.partition_point(|&start| start <= offset));
        let problem = Problem::new(line, key, message, hint);
        self.problems.push((offset.unwrap_or(usize::MAX), problem));
    }

    /// A string; `unit` completes a number that was written without quotes.
    pub(super) fn parse_text<T>(
        &mut self,
        entry: Entry<'_, '_>,
        unit: &str,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let DeValue::String(text) = entry.node.get_ref() else {
            let hint = match shown(entry.node.get_ref()) {
                Some(value) => format!("write `\"{value}{unit}\"`"),
                None => "write one string in double quotes".to_owned(),
            };
            self.wrong_type(entry, "a string", hint);
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(flaw) => {
                self.flawed(entry, flaw);
                None
            }
        }
    }

    /// The well-formed elements of a list; the others are reported one by one.
    pub(super) fn parse_list<T>(
        &mut self,
        entry: Entry<'_, '_>,
        mut parse: impl FnMut(&str) -> Result<T, Flaw>,
    ) -> Option<Vec<T>> {
        let DeValue::Array(array) = entry.node.get_ref() else {
            let value = shown(entry.node.get_ref()).unwrap_or_else(|| "…".to_owned());
            let hint = format!("write `{} = [\"{value}\"]`", entry.name());
            self.wrong_type(entry, "a list", hint);
            return None;
        };
        let elements = array.iter().enumerate().map(|(index, node)| Entry {
            key: format!("{}[{index}]", entry.key),
            node,
        });
        Some(
            elements
                .filter_map(|element| self.parse_text(element, "", &mut parse))
                .collect(),
        )
    }

    /// A whole number within `range`.
    pub(super) fn parse_number<T: TryFrom<u32>>(
        &mut self,
        entry: Entry<'_, '_>,
        range: &RangeInclusive<u32>,
        hint: &str,
    ) -> Option<T> {
        let DeValue::Integer(number) = entry.node.get_ref() else {
            let text = entry.node.get_ref().as_str();
            let hint = match text.filter(|text| text.parse::<u32>().is_ok()) {
                Some(digits) => format!("write `{} = {digits}`", entry.name()),
                None => "write digits, without quotes and without a fraction".to_owned(),
            };
            self.wrong_type(entry, "a whole number", hint);
            return None;
        };
        let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        let value = number.and_then(|number| T::try_from(number).ok());
        if value.is_none() {
            self.flawed(entry, value::out_of_range(range.start(), range.end(), hint));
        }
        value
    }

    /// `true` or `false`.
    pub(super) fn parse_flag(&mut self, entry: Entry<'_, '_>) -> Option<bool> {
        let value = entry.node.get_ref().as_bool();
        if value.is_none() {
            let hint = format!(
                "write `{name} = true` or `{name} = false`",
                name = entry.name()
            );
            self.wrong_type(entry, "`true` or `false`", hint);
        }
        value
    }

    fn wrong_type(&mut self, entry: Entry<'_, '_>, needed: &str, hint: String) {
        let message = format!("{needed} is needed, not {}", kind(entry.node.get_ref()));
        self.flawed(entry, Flaw::new(message, hint));
    }

    /// Reports a value, which is shown behind the message.
    fn flawed(&mut self, entry: Entry<'_, '_>, flaw: Flaw) {
        let message = match shown(entry.node.get_ref()) {
            Some(value) if !flaw.hide => format!("{}: `{value}`", flaw.message),
            _ => flaw.message,
        };
        self.report(
            Some(entry.node.span().start),
            &entry.key,
            &message,
            &flaw.hint,
        );
    }

    /// All problems, in the order of the file.
    pub(super) fn finish(mut self) -> Result<(), Problems> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(|(offset, _)| *offset);
        let list = self
            .problems
            .into_iter()
            .map(|(_, problem)| problem)
            .collect();
        Err(Problems {
            path: self.path.to_owned(),
            list,
        })
    }
}

//! One section of the file: it hands out values by key and puts them into the typed struct, which holds the defaults.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::problem::Flaw;
use super::reader::{Entry, Reader};
use super::reference::{KeyDefault, Row};
use super::value;
use crate::units::{ByteSize, Rate, format_duration};

/// One `[section]` of the document, which need not be there.
#[derive(Debug)]
pub(super) struct Section<'r, 'd> {
    reader: &'r mut Reader<'d>,
    name: Cow<'static, str>,
    table: Option<&'d DeTable<'d>>,
    offset: Option<usize>,
}

impl<'r, 'd> Section<'r, 'd> {
    /// The section `name`, whose key stands at `offset` if `table` is there.
    pub(super) fn new(
        reader: &'r mut Reader<'d>,
        name: impl Into<Cow<'static, str>>,
        table: Option<&'d DeTable<'d>>,
        offset: Option<usize>,
    ) -> Self {
        Self {
            reader,
            name: name.into(),
            table,
            offset,
        }
    }

    /// Whether the section is in the file.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the key is in the file, well-formed or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(name))
    }

    /// The directory that relative paths start from: the configuration file's.
    pub(super) fn base(&self) -> &'d Path {
        self.reader.path().parent().unwrap_or_else(|| Path::new(""))
    }

    /// Reports a problem of a key as a whole, at the key or, if it is missing, at the section.
    pub(super) fn refuse(&mut self, name: &str, message: &str, hint: &str) {
        let key = self.table.and_then(|table| table.get_key_value(name));
        let offset = key.map(|(key, _)| key.span().start).or(self.offset);
        self.reader.report(offset, &self.key(name), message, hint);
    }

    /// Reports a key that must be there.
    pub(super) fn missing(&mut self, name: &str, hint: &str) {
        self.refuse(name, "the key is missing", hint);
    }

    /// A text with a default.
    pub(super) fn text<T: Display>(
        &mut self,
        name: &'static str,
        slot: &mut T,
        meaning: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) {
        let default = KeyDefault::text(slot);
        if let Some(value) = self.parse(name, default, meaning, "", parse) {
            *slot = value;
        }
    }

    /// A text without a default; `absent` says what holds without it.
    pub(super) fn maybe_text<T>(
        &mut self,
        name: &'static str,
        absent: &'static str,
        meaning: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        self.parse(name, KeyDefault::Absent(absent), meaning, "", parse)
    }

    /// One of a few words. False if another word stands there, so that nothing should be concluded from the default.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        slot: &mut T,
        choices: &[(&str, T)],
        meaning: &'static str,
    ) -> bool {
        let word = choices
            .iter()
            .find(|(_, value)| value == slot)
            .map_or("", |(word, _)| *word);
        let default = KeyDefault::text(&word);
        let value = self.parse(name, default, meaning, "", |text| {
            value::choose(text, choices)
        });
        if let Some(value) = value {
            *slot = value;
        }
        value.is_some() || !self.has(name)
    }

    /// A few words of a list of choices, at least one; a text is a list of one. False if something else stands there, so that
    /// nothing should be concluded from the default.
    pub(super) fn choices<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        slot: &mut Vec<T>,
        choices: &[(&str, T)],
        meaning: &'static str,
    ) -> bool {
        let words: Vec<&str> = slot
            .iter()
            .filter_map(|value| choices.iter().find(|(_, known)| known == value))
            .map(|(word, _)| *word)
            .collect();
        let default = KeyDefault::text(&words.join(", "));
        let Some(entry) = self.take(name, default, meaning) else {
            return true;
        };
        let choose = |text: &str| value::choose(text, choices);
        let values = if entry.node.get_ref().is_array() {
            self.refuse_empty(name, "name at least one");
            self.reader.parse_list(entry, unique(choose))
        } else {
            let one = self.reader.parse_text(entry, "", choose);
            one.map(|one| vec![one])
        };
        let all = self.table.and_then(|table| table.get(name));
        let wanted = all.map_or(1, |node| {
            node.get_ref().as_array().map_or(1, |list| list.len())
        });
        match values {
            Some(values) if values.len() == wanted && wanted > 0 => {
                *slot = values;
                true
            }
            _ => false,
        }
    }

    /// One of a few words, without a default.
    pub(super) fn maybe_choice<T: Copy>(
        &mut self,
        name: &'static str,
        absent: &'static str,
        choices: &[(&str, T)],
        meaning: &'static str,
    ) -> Option<T> {
        self.maybe_text(name, absent, meaning, |text| value::choose(text, choices))
    }

    /// A path with a default.
    pub(super) fn path(&mut self, name: &'static str, slot: &mut PathBuf, meaning: &'static str) {
        let base = self.base();
        let default = KeyDefault::text(&slot.display());
        if let Some(value) = self.parse(name, default, meaning, "", |text| value::path(text, base))
        {
            *slot = value;
        }
    }

    /// A path without a default.
    pub(super) fn maybe_path(
        &mut self,
        name: &'static str,
        absent: &'static str,
        meaning: &'static str,
    ) -> Option<PathBuf> {
        let base = self.base();
        self.maybe_text(name, absent, meaning, |text| value::path(text, base))
    }

    /// A duration with a default.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        slot: &mut Duration,
        range: RangeInclusive<Duration>,
        meaning: &'static str,
    ) {
        let default = format_duration(*slot);
        let hint = format!("the default is `\"{default}\"`");
        let parse = |text: &str| value::duration(text, &range, &hint);
        if let Some(value) = self.parse(name, KeyDefault::text(&default), meaning, "s", parse) {
            *slot = value;
        }
    }

    /// A size with a default.
    pub(super) fn size(
        &mut self,
        name: &'static str,
        slot: &mut ByteSize,
        range: RangeInclusive<ByteSize>,
        meaning: &'static str,
    ) {
        let hint = format!("the default is `\"{slot}\"`");
        let parse = |text: &str| value::size(text, &range, &hint);
        if let Some(value) = self.parse(name, KeyDefault::text(slot), meaning, "B", parse) {
            *slot = value;
        }
    }

    /// A size without a default.
    pub(super) fn maybe_size(
        &mut self,
        name: &'static str,
        absent: &'static str,
        range: RangeInclusive<ByteSize>,
        meaning: &'static str,
    ) -> Option<ByteSize> {
        let hint = format!("without the key it is {absent}");
        let parse = |text: &str| value::size(text, &range, &hint);
        self.parse(name, KeyDefault::Absent(absent), meaning, "B", parse)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &'static str, slot: &mut bool, meaning: &'static str) {
        let default = KeyDefault::Value(slot.to_string());
        if let Some(entry) = self.take(name, default, meaning)
            && let Some(value) = self.reader.parse_flag(entry)
        {
            *slot = value;
        }
    }

    /// A whole number with a default.
    pub(super) fn number<T: TryFrom<u32> + Display>(
        &mut self,
        name: &'static str,
        slot: &mut T,
        range: RangeInclusive<u32>,
        meaning: &'static str,
    ) {
        let hint = format!("the default is `{slot}`");
        let default = KeyDefault::Value(slot.to_string());
        if let Some(entry) = self.take(name, default, meaning)
            && let Some(value) = self.reader.parse_number(entry, &range, &hint)
        {
            *slot = value;
        }
    }

    /// A rate without a default.
    pub(super) fn maybe_rate(
        &mut self,
        name: &'static str,
        absent: &'static str,
        meaning: &'static str,
    ) -> Option<Rate> {
        self.parse(name, KeyDefault::Absent(absent), meaning, "/s", |text| {
            Rate::parse(text).ok_or_else(|| {
                Flaw::new(
                    "not a rate",
                    "write how many in a second, minute or hour: `50/s`, `600/m`, `10000/h`",
                )
            })
        })
    }

    /// A whole number without a default.
    pub(super) fn maybe_number<T: TryFrom<u32>>(
        &mut self,
        name: &'static str,
        absent: &'static str,
        range: RangeInclusive<u32>,
        meaning: &'static str,
    ) -> Option<T> {
        let entry = self.take(name, KeyDefault::Absent(absent), meaning)?;
        let hint = format!("without the key it is {absent}");
        self.reader.parse_number(entry, &range, &hint)
    }

    /// A list of texts with a default, no two of them equal.
    pub(super) fn list<T: Display + Clone + PartialEq>(
        &mut self,
        name: &'static str,
        slot: &mut Vec<T>,
        meaning: &'static str,
        parse: impl Fn(&str) -> Result<T, Flaw>,
    ) {
        if let Some(entry) = self.take(name, KeyDefault::list(slot), meaning)
            && let Some(values) = self.reader.parse_list(entry, unique(parse))
        {
            *slot = values;
        }
    }

    /// A list of texts without a default, no two of them equal.
    pub(super) fn maybe_list<T: Clone + PartialEq>(
        &mut self,
        name: &'static str,
        absent: &'static str,
        meaning: &'static str,
        parse: impl Fn(&str) -> Result<T, Flaw>,
    ) -> Option<Vec<T>> {
        let entry = self.take(name, KeyDefault::Absent(absent), meaning)?;
        self.reader.parse_list(entry, unique(parse))
    }

    /// A list of texts that must be there and must not be empty, no two of them equal.
    pub(super) fn required_list<T: Clone + PartialEq>(
        &mut self,
        name: &'static str,
        example: &str,
        meaning: &'static str,
        parse: impl Fn(&str) -> Result<T, Flaw>,
    ) -> Vec<T> {
        let hint = match &*self.name {
            "" => format!("write `{name} = [\"{example}\"]` at the top of the file"),
            section => format!("write `{name} = [\"{example}\"]` below `[{section}]`"),
        };
        let Some(entry) = self.take(name, KeyDefault::Absent("required"), meaning) else {
            self.missing(name, &hint);
            return Vec::new();
        };
        self.refuse_empty(name, &hint);
        self.reader
            .parse_list(entry, unique(parse))
            .unwrap_or_default()
    }

    /// Reports a list without elements.
    pub(super) fn refuse_empty(&mut self, name: &str, hint: &str) {
        let node = self.table.and_then(|table| table.get(name));
        if node
            .and_then(|node| node.get_ref().as_array())
            .is_some_and(|array| array.is_empty())
        {
            self.refuse(name, "the list is empty", hint);
        }
    }

    /// A text, or a list of texts.
    fn maybe_words(
        &mut self,
        name: &'static str,
        absent: &'static str,
        meaning: &'static str,
    ) -> Option<Words> {
        let entry = self.take(name, KeyDefault::Absent(absent), meaning)?;
        if entry.node.get_ref().is_str() {
            return self
                .reader
                .parse_text(entry, "", |text| Ok(Words::One(text.to_owned())));
        }
        let words = self.reader.parse_list(entry, |text| Ok(text.to_owned()));
        words.map(Words::Many)
    }

    /// A program and its arguments; a text is a program without any. A path with a `/` starts at [`Self::base`], a
    /// name without one is looked for in `PATH`, as everywhere.
    pub(super) fn maybe_command(
        &mut self,
        name: &'static str,
        absent: &'static str,
        meaning: &'static str,
        example: &str,
    ) -> Option<Vec<String>> {
        let words = match self.maybe_words(name, absent, meaning)? {
            Words::One(text) if text.contains(char::is_whitespace) => {
                let message = "a string is the program alone, without arguments";
                self.refuse(name, message, example);
                return None;
            }
            Words::One(program) => vec![program],
            Words::Many(words) => words,
        };
        let Some((program, arguments)) = words
            .split_first()
            .filter(|(program, _)| !program.is_empty())
        else {
            self.refuse(name, "the program is missing", example);
            return None;
        };
        let program = if program.contains('/') {
            self.base().join(program).display().to_string()
        } else {
            program.clone()
        };
        let command = std::iter::once(program).chain(arguments.iter().cloned());
        Some(command.collect())
    }

    /// The key's path from the top of the file.
    fn key(&self, name: &str) -> String {
        if self.name.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.name)
        }
    }

    /// The value of a key, if it is in the file. The key is known from now on.
    fn take(
        &mut self,
        name: &'static str,
        default: KeyDefault,
        meaning: &'static str,
    ) -> Option<Entry<'d, 'd>> {
        let key = self.key(name);
        let node = self.table.and_then(|table| table.get(name));
        let entry = node.map(|node| Entry {
            key: key.clone(),
            node,
        });
        self.reader.add_row(Row {
            key,
            default,
            meaning,
        });
        entry
    }

    /// A string under its key; `unit` completes a number that was written without quotes.
    fn parse<T>(
        &mut self,
        name: &'static str,
        default: KeyDefault,
        meaning: &'static str,
        unit: &str,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let entry = self.take(name, default, meaning)?;
        self.reader.parse_text(entry, unit, parse)
    }
}

/// Refuses what `parse` has returned before.
fn unique<T: Clone + PartialEq>(
    parse: impl Fn(&str) -> Result<T, Flaw>,
) -> impl FnMut(&str) -> Result<T, Flaw> {
    let mut seen = Vec::new();
    move |text| {
        let value = parse(text)?;
        if seen.contains(&value) {
            return Err(Flaw::new("listed twice", "remove one of the two"));
        }
        seen.push(value.clone());
        Ok(value)
    }
}

/// What stands under a key that takes a text or a list of texts.
#[derive(Debug)]
enum Words {
    /// A text.
    One(String),
    /// A list.
    Many(Vec<String>),
}

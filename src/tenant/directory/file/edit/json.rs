//! The rows of a tenant in JSON.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Row, Rows, indent, line_end};

pub(super) fn rows(text: &str, id: &str) -> Option<Rows> {
    let raw: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let mut rows = Rows::default();
    for tenant in raw {
        let columns: BTreeMap<String, &RawValue> = serde_json::from_str(tenant.get()).ok()?;
        let own = columns.get("id")?;
        if plain(own)? != id {
            continue;
        }
        rows.own.push(match columns.get("state") {
            Some(state) => Row {
                state: plain(state)?,
                place: place(text, state)?,
                before: "\"".to_owned(),
                after: "\"".to_owned(),
            },
            None => {
                let at = place(text, own)?;
                // A column on a line of its own gets another such line.
                let (spaces, rest) = indent(text, at.start)?;
                let before = if rest.starts_with('"') {
                    let (_, newline) = line_end(text, at.end)?;
                    format!(",{newline}{spaces}\"state\": \"")
                } else {
                    ", \"state\": \"".to_owned()
                };
                Row {
                    state: String::new(),
                    place: at.end..at.end,
                    before,
                    after: "\"".to_owned(),
                }
            }
        });
    }
    Some(rows)
}

/// As the reader of tenant files takes it.
fn plain(value: &RawValue) -> Option<String> {
    Some(match serde_json::from_str(value.get()).ok()? {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    })
}

/// Where in the text this part of it stands.
fn place(text: &str, part: &RawValue) -> Option<Range<usize>> {
    let start = part.get().as_ptr().addr();
    let start = start.checked_sub(text.as_ptr().addr())?;
    Some(start..start + part.get().len())
}

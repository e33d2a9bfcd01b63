//! The rows of a tenant in TOML.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::{Row, Rows, indent, line_end};

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    tenant: Vec<Spanned<BTreeMap<String, Spanned<Value>>>>,
}

pub(super) fn rows(text: &str, id: &str) -> Option<Rows> {
    let raw: RawFile = toml::from_str(text).ok()?;
    let mut rows = Rows::default();
    for tenant in &raw.tenant {
        let columns = tenant.get_ref();
        let own = columns.get("id")?;
        if plain(own.get_ref()) != id {
            continue;
        }
        rows.own.push(match columns.get("state") {
            Some(state) => Row {
                state: plain(state.get_ref()),
                place: state.span(),
                before: "\"".to_owned(),
                after: "\"".to_owned(),
            },
            None => {
                // `tenant = [{ id = … }]`, or a line of its own.
                let is_inline = text.get(tenant.span())?.starts_with('{');
                let (at, before) = if is_inline {
                    (own.span().end, ", state = \"".to_owned())
                } else {
                    let (at, newline) = line_end(text, own.span().end)?;
                    let (spaces, _) = indent(text, own.span().start)?;
                    (at, format!("{newline}{spaces}state = \""))
                };
                Row {
                    state: String::new(),
                    place: at..at,
                    before,
                    after: "\"".to_owned(),
                }
            }
        });
    }
    Some(rows)
}

/// As the reader of tenant files takes it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

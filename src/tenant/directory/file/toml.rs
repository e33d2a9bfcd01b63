//! Tenants as TOML.
//!
//! ```toml
//! [[tenant]]
//! id = "acme"                            # what the app is told
//! hosts = ["acme.example.com"]           # default: the id as a label of every base domain
//! state = "active"                       # active | suspended | pending | maintenance | moved | deleted
//! headers = { X-Theme = "dark" }         # and the other columns of a row
//! ```

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::{At, FileError, Listing};
use crate::tenant::row::Row;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    tenant: Vec<BTreeMap<String, Spanned<Value>>>,
}

pub(super) fn read(mut source: impl Read, listing: &mut Listing<'_>) -> Result<(), FileError> {
    let mut text = String::new();
    source
        .read_to_string(&mut text)
        .map_err(|error| listing.unread(error))?;
    let raw: RawFile = toml::from_str(&text).map_err(|error| listing.shape(error))?;
    let mut lines = Lines::new(&text);
    for tenant in &raw.tenant {
        let first = tenant.values().map(|value| value.span().start).min();
        let mut id = At {
            value: "",
            line: lines.line(first.unwrap_or_default()),
        };
        let mut row = Row::default();
        for (column, value) in tenant {
            let line = lines.line(value.span().start);
            let value = value.get_ref();
            if let ("id", Value::String(text)) = (column.as_str(), value) {
                id = At { value: text, line };
            }
            set(listing, &mut row, column, value, line)?;
        }
        listing.tenant(&row, &id)?;
    }
    Ok(())
}

fn set(
    listing: &Listing<'_>,
    row: &mut Row,
    column: &str,
    value: &Value,
    line: u64,
) -> Result<(), FileError> {
    match value {
        Value::String(text) => listing.set(row, column, &At { value: text, line }),
        Value::Integer(_) | Value::Boolean(_) => {
            let text = value.to_string();
            listing.set(row, column, &At { value: &text, line })
        }
        Value::Array(list) => {
            if column == "hosts" {
                row.hosts.get_or_insert_default();
            }
            list.iter()
                .try_for_each(|item| set(listing, row, column, item, line))
        }
        Value::Table(headers) if column == "headers" => {
            for (name, value) in headers {
                let text = format!("{name}: {}", value.as_str().unwrap_or_default());
                listing.set(row, "header", &At { value: &text, line })?;
            }
            Ok(())
        }
        Value::Table(_) | Value::Float(_) | Value::Datetime(_) => {
            let text = value.to_string();
            let at = At { value: &text, line };
            Err(listing.row(&at, "not a value of a tenant", "write a text in quotes"))
        }
    }
}

/// Counts lines from where it was last, as rows come in the order of the file.
struct Lines<'t> {
    text: &'t str,
    offset: usize,
    line: u64,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            offset: 0,
            line: 1,
        }
    }

    /// The line of a place in the text.
    fn line(&mut self, offset: usize) -> u64 {
        let ends = |from: usize, to: usize| {
            let part = self.text.as_bytes().get(from..to).unwrap_or_default();
            part.iter().filter(|&&byte| byte == b'\n').count() as u64
        };
        // Columns of one row come by name, so the next one may stand a few lines above.
        self.line = if offset < self.offset {
            self.line - ends(offset, self.offset)
        } else {
            self.line + ends(self.offset, offset)
        };
        self.offset = offset;
        self.line
    }
}

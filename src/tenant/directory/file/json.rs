//! Tenants as JSON: a list of objects with the keys of the TOML form.
//!
//! ```json
//! [{"id": "acme", "hosts": ["acme.example.com"], "state": "active"}]
//! ```
//! Rows are taken one by one, so the list is never in memory as a whole. Errors in a row name its number.

use std::fmt;
use std::io::Read;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{At, FileError, Listing};
use crate::tenant::row::Row;

pub(super) fn read(source: impl Read, listing: &mut Listing<'_>) -> Result<(), FileError> {
    let mut refused = None;
    let mut json = serde_json::Deserializer::from_reader(source);
    let rows = Rows {
        listing: &mut *listing,
        refused: &mut refused,
    };
    let read = json.deserialize_seq(rows).and_then(|()| json.end());
    match (refused, read) {
        (Some(refused), _) => Err(refused),
        (None, Err(error)) => Err(listing.shape(error)),
        (None, Ok(())) => Ok(()),
    }
}

struct Rows<'r, 'l> {
    listing: &'r mut Listing<'l>,
    /// What a row was refused for, as the format's own errors cannot carry it.
    refused: &'r mut Option<FileError>,
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tenants")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        let mut line = 0;
        while let Some(columns) = rows.next_element::<Map<String, Value>>()? {
            line += 1;
            if let Err(error) = take(self.listing, &columns, line) {
                *self.refused = Some(error);
                return Err(serde::de::Error::custom("a row was refused"));
            }
        }
        Ok(())
    }
}

fn take(
    listing: &mut Listing<'_>,
    columns: &Map<String, Value>,
    line: u64,
) -> Result<(), FileError> {
    let mut row = Row::default();
    for (column, value) in columns {
        row.set_json(column, value, &mut |row, column, value| {
            listing.set(row, column, &At { value, line })
        })?;
    }
    let id = row.id.clone();
    let value = id.as_ref().map_or("", |id| id.as_str());
    listing.tenant(&row, &At { value, line })
}

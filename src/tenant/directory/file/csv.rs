//! Tenants as CSV (RFC 4180): a line for each host, with a header line.
//!
//! ```csv
//! id,host,state
//! acme,acme.example.com,active
//! acme,shop.example.com,
//! globex,,suspended
//! ```
//! `host` and `state` may be empty or left out: the id below each base domain, and active. Lines of the same id are one tenant,
//! and must agree on its state.

use std::io::Read;

use serde::Deserialize;

use super::{At, FileError, Listing};
use crate::tenant::id::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    id: String,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    state: Option<State>,
}

pub(super) fn read(source: impl Read, listing: &mut Listing<'_>) -> Result<(), FileError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(source);
    let headers = reader
        .headers()
        .map_err(|error| broken(listing, error))?
        .clone();
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|error| broken(listing, error))?
    {
        let row: RawRow = record
            .deserialize(Some(&headers))
            .map_err(|error| broken(listing, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let at = |value| At { value, line };
        let (id, state) = (at(&row.id), row.state.unwrap_or_default());
        let name = listing.id(&id)?;
        let place = match listing.table.place(&name) {
            Some(place) if listing.table.state(place) != Some(state) => {
                return Err(listing.row(
                    &id,
                    "a tenant has two states",
                    "all lines of a tenant have the same `state`",
                ));
            }
            Some(place) => place,
            None => listing.add(&name, &id, state)?,
        };
        match &row.host {
            Some(host) => listing.host(&at(host), place)?,
            None => listing.host_of_id(&id, place)?,
        }
    }
    Ok(())
}

fn broken(listing: &Listing<'_>, error: csv::Error) -> FileError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => listing.unread(error),
        kind => listing.shape(describe(kind)),
    }
}

fn describe(kind: csv::ErrorKind) -> String {
    match kind {
        csv::ErrorKind::Utf8 { pos, .. } => match pos {
            Some(pos) => format!("line {} is not UTF-8", pos.line()),
            None => "it is not UTF-8".to_owned(),
        },
        csv::ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => {
            let line = pos.map_or(0, |pos| pos.line());
            format!("line {line} has {len} values, the header {expected_len}")
        }
        csv::ErrorKind::Deserialize { pos, err } => {
            let line = pos.map_or(0, |pos| pos.line());
            format!("line {line}: {}", err.kind())
        }
        other => format!("{other:?}"),
    }
}

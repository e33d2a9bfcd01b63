//! Tenants as CSV (RFC 4180): a line for each host, with a header line.
//!
//! ```csv
//! id,host,state
//! acme,acme.example.com,active
//! acme,shop.example.com,
//! globex,,suspended
//! ```
//! The columns are those of [`Row`]. `host` and `state` may be empty or left out: the id below each base domain, and active.
//! Lines of the same id are one tenant, and must agree on everything but the host.

use std::io::Read;

use super::{At, FileError, Listing};
use crate::tenant::row::Row;

pub(super) fn read(source: impl Read, listing: &mut Listing<'_>) -> Result<(), FileError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(source);
    let headers = reader
        .headers()
        .map_err(|error| broken(listing, error))?
        .clone();
    if let Some(unknown) = headers.iter().find(|column| !Row::knows(column)) {
        return Err(listing.unknown(unknown, 1));
    }
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|error| broken(listing, error))?
    {
        let line = record.position().map_or(0, csv::Position::line);
        let mut row = Row::default();
        let mut id = At { value: "", line };
        for (column, value) in headers.iter().zip(&record) {
            let at = At { value, line };
            listing.set(&mut row, column, &at)?;
            if column == "id" {
                id = at;
            }
        }
        listing.host(&row, &id)?;
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
        other => format!("{other:?}"),
    }
}

//! A row as a JSON object: the columns of the tenant file's JSON form.

use serde_json::{Map, Value};

use crate::tenant::row::Row;

/// Reads one object. The error says which column is wrong, and how.
pub(super) fn read(body: &[u8]) -> Result<Row, String> {
    let columns: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("no JSON object: {error}"))?;
    let mut row = Row::default();
    for (column, value) in &columns {
        row.set_json(
            column,
            value,
            &mut |row, column, text| match row.set(column, text) {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!("there is no column `{}`", shown(column))),
                Err(flaw) => Err(format!("`{}`: {}", shown(column), flaw.message)),
            },
        )?;
    }
    Ok(row)
}

/// The other side chooses it, and it goes into a log.
fn shown(column: &str) -> String {
    column
        .chars()
        .take(40)
        .flat_map(char::escape_debug)
        .collect()
}

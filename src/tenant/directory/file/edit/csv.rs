//! The rows of a tenant in CSV. Records are those that the parser finds; here they are only cut into their values.

use std::ops::Range;

use super::{Row, Rows};

pub(super) fn rows(text: &str, id: &str) -> Option<Rows> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let mut rows = Rows::default();
    let headers = reader.headers().ok()?.clone();
    let id_column = headers.iter().position(|column| column == "id")?;
    let state_column = headers.iter().position(|column| column == "state");
    let mut start = usize::try_from(reader.position().byte()).ok()?;
    if state_column.is_none() {
        let header = values(text, 0..start)?.pop()?;
        rows.others
            .push((header.end..header.end, ",state".to_owned()));
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).ok()? {
        let end = usize::try_from(reader.position().byte()).ok()?;
        let places = values(text, start..end)?;
        start = end;
        if places.len() != record.len() {
            return None;
        }
        let is_own = record.get(id_column)? == id;
        let (place, before) = match state_column {
            Some(column) => (places.get(column)?.clone(), ""),
            None => {
                let end = places.last()?.end;
                (end..end, ",")
            }
        };
        if is_own {
            rows.own.push(Row {
                state: state_column
                    .and_then(|column| record.get(column))
                    .unwrap_or_default()
                    .to_owned(),
                place,
                before: before.to_owned(),
                after: String::new(),
            });
        } else if state_column.is_none() {
            rows.others.push((place, ",".to_owned()));
        }
    }
    Some(rows)
}

/// The places of a record's values, without the spaces around them, with their quotes. Before the record there may be empty
/// lines, remarks and the end of the line before.
fn values(text: &str, range: Range<usize>) -> Option<Vec<Range<usize>>> {
    let mut start = range.start;
    let mut rest = text.get(range)?;
    if let Some(bare) = rest.strip_prefix('\u{feff}') {
        start += rest.len() - bare.len();
        rest = bare;
    }
    loop {
        let skipped = match rest.chars().next()? {
            '\r' | '\n' => 1,
            '#' => rest.find('\n').map_or(rest.len(), |end| end + 1),
            _ => break,
        };
        start += skipped;
        rest = rest.get(skipped..)?;
    }
    let rest = rest.trim_end_matches(['\r', '\n']);
    let mut places = Vec::new();
    let (mut at, mut quoted) = (0, false);
    for (offset, byte) in rest.bytes().enumerate() {
        match byte {
            // Only as the first byte of a value does it open a quotation; one that is doubled closes and opens it again.
            b'"' if quoted || offset == at => quoted = !quoted,
            b'"' if rest.get(at..offset)?.starts_with('"')
                && rest.get(..offset)?.ends_with('"') =>
            {
                quoted = true;
            }
            b',' if !quoted => {
                places.push(trimmed(rest, at..offset, start)?);
                at = offset + 1;
            }
            _ => {}
        }
    }
    places.push(trimmed(rest, at..rest.len(), start)?);
    Some(places)
}

fn trimmed(text: &str, range: Range<usize>, start: usize) -> Option<Range<usize>> {
    let value = text.get(range.clone())?;
    let from = range.start + (value.len() - value.trim_start().len());
    let to = from + value.trim().len();
    Some(start + from..start + to)
}

//! Changes the state of one tenant in the text of a tenant file, and nothing else in it.
//!
//! Works on the text, by places: what is not that state stays byte for byte, with comments and order. The new text counts only
//! after the reader of tenant files has taken it and found every row as before but for this one; a form that is not understood
//! here is refused, never damaged. Text in, text out: files are read and written elsewhere.

mod csv;
mod json;
mod toml;

use std::ops::Range;
use std::path::Path;

use thiserror::Error;

use super::super::super::id::State;
use super::{FileDirectory, FileError};
use crate::host::Host;

/// Why nothing is changed.
#[derive(Debug, Error)]
pub enum EditError {
    /// The file is not one of tenants.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such row.
    #[error("no tenant of the file has this id: `{0}`")]
    NotListed(String),
    /// It is in another state.
    #[error(
        "tenant `{id}` is {}, which only the file itself can change\n  hint: edit its `state` there", state.name()
    )]
    State {
        /// The tenant.
        id: String,
        /// Its state.
        state: State,
    },
    /// The places of the rows are not found, or more would change.
    #[error(
        "its state cannot be changed without changing more of the file\n  hint: edit its `state` there"
    )]
    Form,
}

/// What a tenant is to become: what it has to be before, and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// From active to suspended.
    Suspend,
    /// And back.
    Resume,
}

impl Change {
    /// The states before and after.
    #[must_use]
    pub fn states(self) -> (State, State) {
        match self {
            Self::Suspend => (State::Active, State::Suspended),
            Self::Resume => (State::Suspended, State::Active),
        }
    }
}

/// What has become of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// The tenant is in that state already.
    Already,
    /// The new text.
    Changed {
        /// All of it.
        text: String,
        /// How many rows have changed.
        rows: usize,
    },
}

/// Makes the change for the tenant with this id. `path` says the format, and is named in errors.
///
/// # Errors
/// [`EditError`].
pub fn change(
    text: &str,
    path: &Path,
    bases: &[Host],
    id: &str,
    change: Change,
) -> Result<Edited, EditError> {
    let before = FileDirectory::parse(text, path, bases)?;
    let rows = match path.extension().and_then(|end| end.to_str()) {
        Some("json") => json::rows(text, id),
        Some("csv") => csv::rows(text, id),
        _ => toml::rows(text, id),
    };
    let rows = rows.ok_or(EditError::Form)?;
    // All rows of a tenant say the same: the reader has seen to it.
    let Some(first) = rows.own.first() else {
        return Err(EditError::NotListed(id.to_owned()));
    };
    let (from, to) = change.states();
    match State::parse(first.state.trim()) {
        Some(state) if state == to => return Ok(Edited::Already),
        Some(state) if state != from => {
            let id = id.to_owned();
            return Err(EditError::State { id, state });
        }
        None if !first.state.trim().is_empty() => return Err(EditError::Form),
        // An empty one is active.
        None if to == State::Active => return Ok(Edited::Already),
        Some(_) | None => {}
    }
    let count = rows.own.len();
    let own = rows.own.into_iter().map(|row| {
        let word = format!("{}{}{}", row.before, to.name(), row.after);
        (row.place, word)
    });
    let text = spliced(text, rows.others.into_iter().chain(own)).ok_or(EditError::Form)?;
    let after = FileDirectory::parse(&text, path, bases)?;
    if !differ_only_in(&before, &after, id, to) {
        return Err(EditError::Form);
    }
    Ok(Edited::Changed { text, rows: count })
}

/// What a format has found.
#[derive(Debug, Default)]
struct Rows {
    /// The rows of the tenant.
    own: Vec<Row>,
    /// What has to be written elsewhere for that.
    others: Vec<(Range<usize>, String)>,
}

/// A row of the tenant.
#[derive(Debug)]
struct Row {
    /// Its state as it stands there; empty if none does.
    state: String,
    /// What is replaced; empty where something is put in.
    place: Range<usize>,
    /// What stands before the new state.
    before: String,
    /// What stands behind it.
    after: String,
}

/// The text with these places replaced, which must not overlap.
fn spliced(text: &str, places: impl Iterator<Item = (Range<usize>, String)>) -> Option<String> {
    let mut places: Vec<_> = places.collect();
    places.sort_by_key(|(place, _)| place.start);
    let mut new = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for (place, word) in places {
        new.push_str(text.get(at..place.start)?);
        new.push_str(&word);
        at = place.end;
    }
    new.push_str(text.get(at..)?);
    Some(new)
}

fn differ_only_in(before: &FileDirectory, after: &FileDirectory, id: &str, to: State) -> bool {
    let (before, after) = (&before.table, &after.table);
    let same = before.rows().zip(after.rows()).all(|(old, new)| {
        let tenants = (before.tenant_at(old.1), after.tenant_at(new.1));
        let (Some(mut old_tenant), Some(new_tenant)) = tenants else {
            return false;
        };
        if old_tenant.id.as_str() == id {
            old_tenant.state = to;
        }
        old.0 == new.0 && old_tenant == new_tenant
    });
    same && before.hosts() == after.hosts() && before.tenants() == after.tenants()
}

/// The spaces and tabs with which the line begins that holds `place`, and what comes after them up to `place`.
fn indent(text: &str, place: usize) -> Option<(&str, &str)> {
    let before = text.get(..place)?;
    let line = before.rsplit('\n').next()?;
    let rest = line.trim_start_matches([' ', '\t']);
    line.strip_suffix(rest).map(|spaces| (spaces, rest))
}

/// Where the line ends that holds `place`, and what ends the lines of this file.
fn line_end(text: &str, place: usize) -> Option<(usize, &'static str)> {
    let rest = text.get(place..)?;
    Some(match rest.find('\n') {
        Some(length) if rest.get(..length)?.ends_with('\r') => (place + length - 1, "\r\n"),
        Some(length) => (place + length, "\n"),
        None => (text.len(), "\n"),
    })
}

#[cfg(test)]
mod tests;

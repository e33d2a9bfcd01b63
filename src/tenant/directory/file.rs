//! `source = "file"`: the tenants that a file lists, as TOML, JSON or CSV by the end of its name.
//!
//! A file is taken whole or not at all. Whatever the format, the columns of a row are those of [`Row`]; without hosts, the id is
//! a label of every base domain. Rows go one by one into a [`Table`], so a million of them cost no more memory than they need
//! afterwards.

mod csv;
pub mod edit;
mod json;
mod toml;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::super::id::Tenant;
use super::super::row::Row;
use super::table::{Place, Table, TableError};
use super::{Answer, Directory};
use crate::host::Host;

/// Why a tenant file is not taken.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the tenant file `{}`\n  hint: the user of portico.service needs read access", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not of the right shape.
    #[error("the tenant file `{}` is not well formed: {message}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A row is wrong.
    #[error("{}:{line}: {message}: `{value}`\n  hint: {hint}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line of the value.
        line: u64,
        /// What is wrong.
        message: &'static str,
        /// The value.
        value: String,
        /// What to do.
        hint: &'static str,
    },
}

/// Tenants from a file.
#[derive(Debug)]
pub struct FileDirectory {
    table: Table,
}

impl FileDirectory {
    /// Reads `path`; rows without hosts get their id as a label of each of `bases`.
    ///
    /// # Errors
    /// [`FileError`]; the file is taken whole or not at all.
    pub fn load(path: &Path, bases: &[Host]) -> Result<Self, FileError> {
        let file = File::open(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::read(BufReader::new(file), path, bases)
    }

    /// Reads the text of a file; `path` says the format, and is named in errors.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, path: &Path, bases: &[Host]) -> Result<Self, FileError> {
        Self::read(text.as_bytes(), path, bases)
    }

    fn read(source: impl Read, path: &Path, bases: &[Host]) -> Result<Self, FileError> {
        let mut listing = Listing {
            path,
            bases,
            table: Table::new(bases),
        };
        match path.extension().and_then(|end| end.to_str()) {
            Some("json") => json::read(source, &mut listing)?,
            Some("csv") => csv::read(source, &mut listing)?,
            _ => toml::read(source, &mut listing)?,
        }
        listing.table.finish();
        Ok(Self {
            table: listing.table,
        })
    }
}

impl Directory for FileDirectory {
    fn by_host(&self, host: &Host) -> Answer {
        self.table.tenant(host).into()
    }

    fn custom_hosts(&self, visit: &mut dyn FnMut(&Host)) {
        self.table.custom_hosts(visit);
    }

    fn len(&self) -> Option<usize> {
        Some(self.table.tenants())
    }

    fn source(&self) -> &'static str {
        "file"
    }

    fn each(&self, visit: &mut dyn FnMut(&Host, &Tenant) -> bool) {
        for (host, place) in self.table.rows() {
            if let Some(tenant) = self.table.tenant_at(place)
                && !visit(&host, &tenant)
            {
                return;
            }
        }
    }
}

/// A value and the line it stands on; lines are not known in every format, then it is the row's number.
struct At<'v> {
    value: &'v str,
    line: u64,
}

/// What has been read of a file so far.
struct Listing<'l> {
    path: &'l Path,
    bases: &'l [Host],
    table: Table,
}

impl Listing<'_> {
    /// Puts a value into a row.
    fn set(&self, row: &mut Row, column: &str, at: &At<'_>) -> Result<(), FileError> {
        match row.set(column, at.value) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.unknown(column, at.line)),
            Err(flaw) => Err(self.row(at, flaw.message, flaw.hint)),
        }
    }

    fn unknown(&self, column: &str, line: u64) -> FileError {
        let at = At {
            value: column,
            line,
        };
        self.row(
            &at,
            "there is no such column",
            "see tenants.example.toml for all there are",
        )
    }

    /// Takes a row that is a whole tenant.
    fn tenant(&mut self, row: &Row, id: &At<'_>) -> Result<(), FileError> {
        let tenant = row.tenant().ok_or_else(|| self.no_id(id.line))?;
        if self.table.place(&tenant.id).is_some() {
            return Err(self.row(id, "a tenant is listed twice", "merge the two rows"));
        }
        let place = self.add(&tenant, id)?;
        self.hosts(row, id, place)
    }

    /// Takes a row that is a host of a tenant, which may have more of them.
    fn host(&mut self, row: &Row, id: &At<'_>) -> Result<(), FileError> {
        let tenant = row.tenant().ok_or_else(|| self.no_id(id.line))?;
        let known = self.table.place(&tenant.id);
        let place = match known.and_then(|place| Some((place, self.table.tenant_at(place)?))) {
            Some((_, known)) if known.state != tenant.state => {
                return Err(self.row(
                    id,
                    "a tenant has two states",
                    "all lines of a tenant have the same `state`",
                ));
            }
            Some((place, known)) => {
                let same = Tenant {
                    primary: known.primary.clone(),
                    ..tenant.clone()
                };
                if known != same {
                    return Err(self.row(
                        id,
                        "two lines of a tenant differ",
                        "all lines of a tenant say the same, but for host and primary host",
                    ));
                }
                if let Some(primary) = &tenant.primary {
                    self.table.set_primary(place, primary);
                }
                place
            }
            None => self.add(&tenant, id)?,
        };
        self.hosts(row, id, place)
    }

    fn add(&mut self, tenant: &Tenant, at: &At<'_>) -> Result<Place, FileError> {
        let added = self.table.add_tenant(tenant);
        added.map_err(|error| self.refused(at, error))
    }

    /// Without hosts, the id below each base domain is one.
    fn hosts(&mut self, row: &Row, id: &At<'_>, place: Place) -> Result<(), FileError> {
        let listed = row.hosts.as_deref().unwrap_or_default();
        for host in listed {
            let at = At {
                value: host.as_str(),
                line: id.line,
            };
            self.give(host, &at, place)?;
        }
        if row.hosts.is_some() {
            return Ok(());
        }
        for base in self.bases {
            let name = format!("{}.{base}", id.value);
            let host = Host::parse(&name).map_err(|_invalid| self.no_host(id))?;
            self.give(&host, id, place)?;
        }
        Ok(())
    }

    fn give(&mut self, host: &Host, at: &At<'_>, place: Place) -> Result<(), FileError> {
        let added = self.table.add_host(host, place);
        added.map_err(|error| self.refused(at, error))
    }

    fn no_id(&self, line: u64) -> FileError {
        let at = At { value: "", line };
        self.row(
            &at,
            "a row has no `id`",
            "write `id`, the name that the app is told",
        )
    }

    fn no_host(&self, at: &At<'_>) -> FileError {
        self.row(
            at,
            "not a host name",
            "letters, digits and `-` only; give `hosts` if the id is no label",
        )
    }

    fn refused(&self, at: &At<'_>, error: TableError) -> FileError {
        match error {
            TableError::TwoTenants => self.row(
                at,
                "a host belongs to two tenants",
                "a host names one tenant",
            ),
            TableError::Full => self.row(
                at,
                "there are too many tenants",
                "all names together are more than 4 GiB",
            ),
        }
    }

    fn row(&self, at: &At<'_>, message: &'static str, hint: &'static str) -> FileError {
        FileError::Row {
            path: self.path.to_owned(),
            line: at.line,
            message,
            value: at.value.chars().take(200).collect(),
            hint,
        }
    }

    fn shape(&self, message: impl ToString) -> FileError {
        FileError::Shape {
            path: self.path.to_owned(),
            message: message.to_string(),
        }
    }

    fn unread(&self, source: io::Error) -> FileError {
        FileError::Read {
            path: self.path.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests;

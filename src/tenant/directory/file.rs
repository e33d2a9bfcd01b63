//! `source = "file"`: the tenants that a file lists, as TOML, JSON or CSV by the end of its name.
//!
//! A file is taken whole or not at all. Whatever the format, a row has an id (what the app is told), hosts (without them: the id
//! as a label of every base domain) and a state. Rows go one by one into a [`Table`], so a million of them cost no more
//! memory than they need afterwards.

mod csv;
mod json;
mod toml;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::super::id::{State, Tenant, TenantId};
use super::Directory;
use super::table::{Place, Table, TableError};
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
    fn by_host(&self, host: &Host) -> Option<Arc<Tenant>> {
        self.table.tenant(host)
    }

    fn by_label(&self, _label: &str) -> Option<Arc<Tenant>> {
        None
    }

    fn len(&self) -> Option<usize> {
        Some(self.table.tenants())
    }

    fn source(&self) -> &'static str {
        "file"
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
    /// A tenant with all its hosts; `None` is its id below each base domain.
    fn tenant(
        &mut self,
        id: &At<'_>,
        hosts: Option<&[At<'_>]>,
        state: State,
    ) -> Result<(), FileError> {
        let name = self.id(id)?;
        if self.table.place(&name).is_some() {
            return Err(self.row(id, "a tenant is listed twice", "merge the two rows"));
        }
        let place = self.add(&name, id, state)?;
        match hosts {
            Some(hosts) => hosts.iter().try_for_each(|host| self.host(host, place)),
            None => self.host_of_id(id, place),
        }
    }

    fn id(&self, at: &At<'_>) -> Result<TenantId, FileError> {
        TenantId::new(at.value).ok_or_else(|| {
            self.row(
                at,
                "not a tenant id",
                "1 to 63 characters, none of them a control character",
            )
        })
    }

    fn add(&mut self, id: &TenantId, at: &At<'_>, state: State) -> Result<Place, FileError> {
        let added = self.table.add_tenant(id, state);
        added.map_err(|error| self.refused(at, error))
    }

    fn host(&mut self, at: &At<'_>, place: Place) -> Result<(), FileError> {
        let host = Host::parse(at.value).map_err(|_invalid| self.no_host(at))?;
        let added = self.table.add_host(&host, place);
        added.map_err(|error| self.refused(at, error))
    }

    fn host_of_id(&mut self, at: &At<'_>, place: Place) -> Result<(), FileError> {
        for base in self.bases {
            let name = format!("{}.{base}", at.value);
            let host = Host::parse(&name).map_err(|_invalid| self.no_host(at))?;
            let added = self.table.add_host(&host, place);
            added.map_err(|error| self.refused(at, error))?;
        }
        Ok(())
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

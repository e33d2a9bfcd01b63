//! `source = "file"`: the tenants that a TOML file lists.
//!
//! ```toml
//! [[tenant]]
//! id = "acme"                            # what the app is told
//! hosts = ["acme.example.com"]           # default: the id as a label of every base domain
//! state = "active"                       # active | suspended | pending | maintenance | deleted
//! ```
//! A file is taken whole or not at all.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use super::super::id::{State, Tenant, TenantId};
use super::Directory;
use crate::host::{Host, HostError};

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
        source: std::io::Error,
    },
    /// It is not TOML of the right shape.
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
        line: usize,
        /// What is wrong.
        message: &'static str,
        /// The value.
        value: String,
        /// What to do.
        hint: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    tenant: Vec<RawTenant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTenant {
    id: Spanned<String>,
    hosts: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    state: State,
}

/// Tenants from a file.
#[derive(Debug)]
pub struct FileDirectory {
    hosts: HashMap<Host, Arc<Tenant>, foldhash::fast::RandomState>,
    tenants: usize,
}

impl FileDirectory {
    /// Reads `path`; rows without hosts get their id as a label of each of `bases`.
    ///
    /// # Errors
    /// [`FileError`]; the file is taken whole or not at all.
    pub fn load(path: &Path, bases: &[Host]) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path, bases)
    }

    fn parse(text: &str, path: &Path, bases: &[Host]) -> Result<Self, FileError> {
        let raw: RawFile = toml::from_str(text).map_err(|error| FileError::Shape {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        let row = |value: &Spanned<String>, message, hint| FileError::Row {
            path: path.to_owned(),
            line: 1 + text
                .bytes()
                .take(value.span().start)
                .filter(|&byte| byte == b'\n')
                .count(),
            message,
            value: value.get_ref().clone(),
            hint,
        };
        let mut hosts: HashMap<Host, Arc<Tenant>, foldhash::fast::RandomState> = HashMap::default();
        let mut ids = HashSet::new();
        for tenant in &raw.tenant {
            let id = TenantId::new(tenant.id.get_ref()).ok_or_else(|| {
                row(
                    &tenant.id,
                    "not a tenant id",
                    "1 to 63 characters, none of them a control character",
                )
            })?;
            if !ids.insert(id.clone()) {
                return Err(row(
                    &tenant.id,
                    "a tenant is listed twice",
                    "merge the two rows",
                ));
            }
            let entry = Arc::new(Tenant::new(id, tenant.state));
            let bad = |value: &Spanned<String>, _error: HostError| {
                row(
                    value,
                    "not a host name",
                    "letters, digits and `-` only; give `hosts` if the id is no label",
                )
            };
            let mut names = Vec::new();
            match &tenant.hosts {
                Some(list) => {
                    for host in list {
                        names.push((
                            Host::parse(host.get_ref()).map_err(|error| bad(host, error))?,
                            host,
                        ));
                    }
                }
                None => {
                    for base in bases {
                        let name = Host::parse(&format!("{}.{base}", tenant.id.get_ref()));
                        names.push((name.map_err(|error| bad(&tenant.id, error))?, &tenant.id));
                    }
                }
            }
            for (host, value) in names {
                if hosts.insert(host, Arc::clone(&entry)).is_some() {
                    return Err(row(
                        value,
                        "a host belongs to two tenants",
                        "a host names one tenant",
                    ));
                }
            }
        }
        Ok(Self {
            hosts,
            tenants: raw.tenant.len(),
        })
    }
}

impl Directory for FileDirectory {
    fn by_host(&self, host: &Host) -> Option<Arc<Tenant>> {
        self.hosts.get(host).map(Arc::clone)
    }

    fn by_label(&self, _label: &str) -> Option<Arc<Tenant>> {
        None
    }

    fn len(&self) -> Option<usize> {
        Some(self.tenants)
    }

    fn source(&self) -> &'static str {
        "file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FileDirectory, String> {
        let base = Host::parse("example.com").unwrap();
        FileDirectory::parse(text, Path::new("tenants.toml"), &[base])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn rows_name_hosts_or_take_their_id_as_label() {
        let directory = parse(
            "[[tenant]]\nid = \"acme\"\n[[tenant]]\nid = \"Big Co\"\nhosts = [\"big.example.com\", \"B.example.com\"]\nstate = \"suspended\"\n",
        )
        .unwrap();
        let at = |host: &str| directory.by_host(&Host::parse(host).unwrap());
        assert_eq!(at("acme.example.com").unwrap().id.as_str(), "acme");
        assert_eq!(at("b.example.com").unwrap().header_value, "Big%20Co");
        assert_eq!(at("b.example.com").unwrap().state, State::Suspended);
        assert!(at("other.example.com").is_none());
    }

    #[test]
    fn says_line_value_and_hint() {
        let error = parse("[[tenant]]\nid = \"acme\"\n\n[[tenant]]\nid = \"acme\"\n").unwrap_err();
        assert_eq!(
            error,
            "tenants.toml:5: a tenant is listed twice: `acme`\n  hint: merge the two rows"
        );
        let error = parse("[[tenant]]\nid = \"a_b\"\n").unwrap_err();
        assert!(
            error.starts_with("tenants.toml:2: not a host name: `a_b`"),
            "{error}"
        );
        let error = parse("[[tenant]]\nid = \"a\"\nhost = \"x\"\n").unwrap_err();
        assert!(error.contains("unknown field `host`"), "{error}");
        let error =
            parse("[[tenant]]\nid=\"a\"\n[[tenant]]\nid=\"b\"\nhosts=[\"a.example.com\"]\n")
                .unwrap_err();
        assert!(
            error.contains("a host belongs to two tenants: `a.example.com`"),
            "{error}"
        );
    }
}

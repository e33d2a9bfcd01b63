//! Tenants as TOML.
//!
//! ```toml
//! [[tenant]]
//! id = "acme"                            # what the app is told
//! hosts = ["acme.example.com"]           # default: the id as a label of every base domain
//! state = "active"                       # active | suspended | pending | maintenance | deleted
//! ```

use std::io::Read;

use serde::Deserialize;
use toml::Spanned;

use super::{At, FileError, Listing};
use crate::tenant::id::State;

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

pub(super) fn read(mut source: impl Read, listing: &mut Listing<'_>) -> Result<(), FileError> {
    let mut text = String::new();
    source
        .read_to_string(&mut text)
        .map_err(|error| listing.unread(error))?;
    let raw: RawFile = toml::from_str(&text).map_err(|error| listing.shape(error))?;
    let mut lines = Lines::new(&text);
    for tenant in &raw.tenant {
        let id = lines.at(&tenant.id);
        let hosts: Option<Vec<_>> = tenant
            .hosts
            .as_ref()
            .map(|hosts| hosts.iter().map(|host| lines.at(host)).collect());
        listing.tenant(&id, hosts.as_deref(), tenant.state)?;
    }
    Ok(())
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

    fn at<'v>(&mut self, value: &'v Spanned<String>) -> At<'v> {
        let offset = value.span().start;
        if offset < self.offset {
            (self.offset, self.line) = (0, 1);
        }
        let passed = self.text.as_bytes().get(self.offset..offset);
        let ends = passed
            .unwrap_or_default()
            .iter()
            .filter(|&&byte| byte == b'\n');
        self.line += ends.count() as u64;
        self.offset = offset;
        At {
            value: value.get_ref(),
            line: self.line,
        }
    }
}

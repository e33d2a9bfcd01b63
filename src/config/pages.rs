//! `[pages]`: what the edge's own answers look like.

use std::path::PathBuf;

use super::reader::Reader;

/// Templates of the edge's own answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pages {
    /// A folder of templates as in `config/pages`; without it the built-in ones. Read at start and at reload.
    pub dir: Option<PathBuf>,
}

impl Pages {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("pages");
        Self {
            dir: section.maybe_path(
                "dir",
                "the built-in pages",
                "A folder of page templates, for all tenants and for each, as in `config/pages`",
            ),
        }
    }
}

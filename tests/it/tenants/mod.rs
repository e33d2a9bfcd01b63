//! Tenants from everywhere they may come from, and what becomes of them.

mod ask_app;
mod cells;
mod cookies;
mod health;
mod http_source;
mod http_source_trouble;
mod limits;
mod long_list;
mod metering;
mod plans;
mod pools;
mod postgres;
mod privacy;
mod resolution;
mod signature;
mod states;
mod strip;
mod suspend;
mod token;
mod tool;

use std::path::PathBuf;

use crate::support::site::{Site, SiteBuilder};

/// A file of tenants, gone when this is dropped.
struct Rows {
    folder: tempfile::TempDir,
}

impl Rows {
    /// Lines of CSV, the header first.
    fn new(csv: &str) -> Self {
        let rows = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        rows.write(csv);
        rows
    }

    /// Replaces the file, as an editor does.
    fn write(&self, csv: &str) {
        let new = self.folder.path().join("new.csv");
        std::fs::write(&new, csv).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tenants.csv")
    }

    /// A site before these servers with these tenants.
    fn site(&self, servers: &[&str]) -> SiteBuilder {
        let file = self.path().display().to_string();
        Site::before(servers)
            .set("tenants", "source = \"file\"")
            .set("tenants", "apex = \"reject\"")
            .set("tenants", &format!("file = {file:?}"))
    }
}

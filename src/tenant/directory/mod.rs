//! Tenant directories: which hosts and labels are whose.
//!
//! A directory is an immutable set of rows in memory; a change is a new directory in a new snapshot, or rows held
//! behind an atomic pointer. It answers on the request path, so it must not wait for anything.

pub mod file;
pub mod pattern;
pub mod table;

use std::fmt::Debug;
use std::sync::Arc;

use super::id::Tenant;
use crate::host::Host;

/// A set of tenants.
pub trait Directory: Debug + Send + Sync {
    /// The tenant that a row names for exactly this host.
    fn by_host(&self, host: &Host) -> Option<Arc<Tenant>>;
    /// The tenant of `label` + `.` + a base domain. The label is one label of a valid host name.
    fn by_label(&self, label: &str) -> Option<Arc<Tenant>>;
    /// How many tenants there are, if they are counted.
    fn len(&self) -> Option<usize>;
    /// Whether there certainly is no tenant.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
    /// The source's name as in the configuration.
    fn source(&self) -> &'static str;
}

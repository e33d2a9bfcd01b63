//! `[access]`: which addresses may come.

use ipnet::IpNet;

use super::reader::Reader;
use super::value;

/// Addresses to let in and to keep out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLists {
    /// If there are any: nobody else may come. Default: none, everybody may.
    pub allow: Vec<IpNet>,
    /// Nobody of these may come, whatever `allow` says. Default: none.
    pub deny: Vec<IpNet>,
}

impl AccessLists {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut section = reader.section("access");
        let mut access = Self::default();
        section.list(
            "allow",
            &mut access.allow,
            "Networks of the only clients that may come; empty lets everybody in",
            value::network,
        );
        section.list(
            "deny",
            &mut access.deny,
            "Networks of clients that may not come, whatever `allow` says",
            value::network,
        );
        access
    }
}

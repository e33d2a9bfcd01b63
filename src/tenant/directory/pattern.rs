//! `source = "pattern"`: every label that is not reserved is a tenant of that name. The app knows whether it exists.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::attributes::Attributes;
use super::super::id::{Name, State, Tenant, TenantId};
use super::{Answer, Directory};
use crate::config::SchemaTemplate;
use crate::host::Host;

/// Names that mean something else by long custom. Some of them (`wpad`, `autodiscover`, mailbox names) were used to
/// obtain certificates or traffic that belong to the operator.
const DEFAULT_RESERVED: &[&str] = &[
    "www",
    "mail",
    "smtp",
    "imap",
    "pop",
    "pop3",
    "mx",
    "ns",
    "ftp",
    "webmail",
    "autodiscover",
    "autoconfig",
    "wpad",
    "isatap",
    "localhost",
    "broadcasthost",
    "mta-sts",
    "admin",
    "administrator",
    "root",
    "api",
    "app",
    "auth",
    "login",
    "sso",
    "account",
    "accounts",
    "billing",
    "pay",
    "status",
    "static",
    "assets",
    "cdn",
    "media",
    "docs",
    "help",
    "support",
    "blog",
    "dev",
    "stage",
    "staging",
    "test",
    "demo",
    "internal",
    "intranet",
    "postmaster",
    "webmaster",
    "hostmaster",
    "abuse",
    "security",
    "ssladmin",
    "ssl",
];

/// Every label is a tenant, but for the reserved ones.
#[derive(Debug)]
pub struct Pattern {
    reserved: HashSet<String, foldhash::fast::RandomState>,
    schema: Option<SchemaTemplate>,
    /// What is said of every tenant: nothing.
    attributes: Arc<Attributes>,
}

impl Pattern {
    /// `@default` in `reserved` stands for the built-in list, `www0`-`www9` and `ns1`-`ns9` included.
    #[must_use]
    pub fn new(reserved: &[String]) -> Self {
        let mut set: HashSet<String, foldhash::fast::RandomState> = HashSet::default();
        for label in reserved {
            if label == "@default" {
                set.extend(DEFAULT_RESERVED.iter().map(|&label| label.to_owned()));
                set.extend((0..=9).map(|digit| format!("www{digit}")));
                set.extend((1..=9).map(|digit| format!("ns{digit}")));
            } else {
                set.insert(label.to_ascii_lowercase());
            }
        }
        Self {
            reserved: set,
            schema: None,
            attributes: Arc::default(),
        }
    }

    /// Gives each tenant the schema that `template` makes of its label, if there is one.
    #[must_use]
    pub fn with_schema(mut self, template: Option<&SchemaTemplate>) -> Self {
        self.schema = template.cloned();
        self
    }
}

impl Directory for Pattern {
    fn by_host(&self, _host: &Host) -> Answer {
        Answer::Nobody
    }

    fn by_label(&self, label: &str) -> Option<Arc<Tenant>> {
        if self.reserved.contains(label) {
            return None;
        }
        let mut tenant = Tenant::new(TenantId::new(label)?, State::Active);
        // A name that is too long for a schema is none, and a tenant without one is not told as another.
        let schema = self.schema.as_ref().map(|schema| schema.fill(label));
        tenant.schema = schema.and_then(|schema| Name::new(&schema));
        tenant.attributes = Arc::clone(&self.attributes);
        Some(Arc::new(tenant))
    }

    fn is_constant(&self) -> bool {
        true
    }

    fn len(&self) -> Option<usize> {
        None
    }

    fn source(&self) -> &'static str {
        "pattern"
    }
}

//! Classifies a host and finds its tenant (design: tenant resolution, 2.2).

use std::sync::Arc;

use super::directory::Directory;
use super::id::{State, Tenant, TenantId};
use crate::host::Host;

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// A tenant's.
    Tenant(Arc<Tenant>),
    /// Another name for this host, to be redirected to.
    Redirect(Host),
    /// Nobody's. Reserved, nested and unknown names are not told apart, so that an answer tells nothing about the
    /// directory.
    Unknown,
}

/// What the bare domain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApexRule {
    /// Nobody's.
    Reject,
    /// This tenant's.
    Tenant(Arc<Tenant>),
}

impl ApexRule {
    /// The rule that tells the app the tenant `id` on the bare domain.
    #[must_use]
    pub fn tenant(id: TenantId) -> Self {
        Self::Tenant(Arc::new(Tenant::new(id, State::Active)))
    }
}

/// What `www.` + domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WwwRule {
    /// Redirected to the bare domain, if that is somebody's.
    Redirect,
    /// The same as the bare domain.
    Same,
    /// Nobody's.
    Reject,
}

/// The rules and the directory.
#[derive(Debug)]
pub struct Resolver {
    /// Longest first, so that `eu.example.com` is tried before `example.com`.
    bases: Vec<Host>,
    apex: ApexRule,
    www: WwwRule,
    directory: Box<dyn Directory>,
}

impl Resolver {
    /// Rules for hosts below `bases`.
    #[must_use]
    pub fn new(
        mut bases: Vec<Host>,
        apex: ApexRule,
        www: WwwRule,
        directory: Box<dyn Directory>,
    ) -> Self {
        bases.sort_by_key(|base| std::cmp::Reverse(base.as_str().len()));
        Self {
            bases,
            apex,
            www,
            directory,
        }
    }

    /// The directory that is asked.
    #[must_use]
    pub fn directory(&self) -> &dyn Directory {
        &*self.directory
    }

    /// What `host` is.
    #[must_use]
    pub fn resolve(&self, host: &Host) -> Resolution {
        if let Some(tenant) = self.directory.by_host(host) {
            return Resolution::Tenant(tenant);
        }
        let Some((base, rest)) = self
            .bases
            .iter()
            .find_map(|base| Some((base, host.below(base)?)))
        else {
            return Resolution::Unknown;
        };
        match (rest, self.www) {
            ("", _) | ("www", WwwRule::Same) => self.apex(),
            ("www", WwwRule::Redirect) => match self.resolve(base) {
                Resolution::Unknown => Resolution::Unknown,
                Resolution::Tenant(_) | Resolution::Redirect(_) => {
                    Resolution::Redirect(base.clone())
                }
            },
            ("www", WwwRule::Reject) => Resolution::Unknown,
            // A wildcard certificate does not cover a nested name, so only an explicit row above could serve it.
            (label, _) if label.contains('.') => Resolution::Unknown,
            (label, _) => self
                .directory
                .by_label(label)
                .map_or(Resolution::Unknown, Resolution::Tenant),
        }
    }

    fn apex(&self) -> Resolution {
        match &self.apex {
            ApexRule::Reject => Resolution::Unknown,
            ApexRule::Tenant(tenant) => Resolution::Tenant(Arc::clone(tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::pattern::Pattern;
    use super::*;

    fn resolver(apex: ApexRule, www: WwwRule) -> Resolver {
        let bases = ["example.com", "eu.example.com"].map(|base| Host::parse(base).unwrap());
        Resolver::new(
            bases.to_vec(),
            apex,
            www,
            Box::new(Pattern::new(&["@default".to_owned(), "status".to_owned()])),
        )
    }

    fn name(resolver: &Resolver, host: &str) -> String {
        match resolver.resolve(&Host::parse(host).unwrap()) {
            Resolution::Tenant(tenant) => tenant.id.to_string(),
            Resolution::Redirect(host) => format!("-> {host}"),
            Resolution::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn classifies_labels_bases_and_reserved_names() {
        let resolver = resolver(
            ApexRule::tenant(TenantId::new("public").unwrap()),
            WwwRule::Redirect,
        );
        for (host, expected) in [
            ("acme.example.com", "acme"),
            ("acme.eu.example.com", "acme"),
            ("eu.example.com", "public"),
            ("example.com", "public"),
            ("www.example.com", "-> example.com"),
            ("www.eu.example.com", "-> eu.example.com"),
            ("a.b.example.com", "unknown"),
            ("wpad.example.com", "unknown"),
            ("ns3.example.com", "unknown"),
            ("status.example.com", "unknown"),
            ("example.org", "unknown"),
            ("notexample.com", "unknown"),
        ] {
            assert_eq!(name(&resolver, host), expected, "{host}");
        }
    }

    #[test]
    fn www_leads_nowhere_when_the_apex_is_nobodys() {
        assert_eq!(
            name(
                &resolver(ApexRule::Reject, WwwRule::Redirect),
                "www.example.com"
            ),
            "unknown"
        );
        let apex = || ApexRule::tenant(TenantId::new("public").unwrap());
        assert_eq!(
            name(&resolver(apex(), WwwRule::Same), "www.example.com"),
            "public"
        );
        assert_eq!(
            name(&resolver(apex(), WwwRule::Reject), "www.example.com"),
            "unknown"
        );
    }
}

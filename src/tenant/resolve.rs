//! Classifies a host and finds its tenant (design: tenant resolution, 2.2).

use std::sync::Arc;

use super::directory::{Answer, Directory};
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
    /// The directory's source has to be asked: await [`Resolver::ask`].
    Ask,
    /// It cannot be known now.
    Unavailable,
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
    /// The rule that tells the app the tenant `id` on the bare domain, whichever name of a tenant it is told.
    #[must_use]
    pub fn tenant(id: TenantId) -> Self {
        let mut tenant = Tenant::new(id.clone(), State::Active);
        tenant.slug = Some(id.clone());
        tenant.schema = Some(id);
        Self::Tenant(Arc::new(tenant))
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
    /// Whether a tenant's other hosts lead to its primary one.
    to_primary: bool,
    directory: Arc<dyn Directory>,
}

impl Resolver {
    /// Rules for hosts below `bases`.
    #[must_use]
    pub fn new(
        mut bases: Vec<Host>,
        (apex, www): (ApexRule, WwwRule),
        to_primary: bool,
        directory: Arc<dyn Directory>,
    ) -> Self {
        bases.sort_by_key(|base| std::cmp::Reverse(base.as_str().len()));
        Self {
            bases,
            apex,
            www,
            to_primary,
            directory,
        }
    }

    /// The directory that is asked.
    #[must_use]
    pub fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    /// Whether [`Self::resolve`] gives the same answer as long as this lives.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.directory.is_constant()
    }

    /// What `host` is, as far as that can be said at once.
    #[must_use]
    pub fn resolve(&self, host: &Host) -> Resolution {
        self.judge(host, self.directory.by_host(host))
    }

    /// What `host` is, when the source of the directory has answered. Never [`Resolution::Ask`].
    pub async fn ask(&self, host: &Host) -> Resolution {
        match self.judge(host, self.directory.ask(host).await) {
            Resolution::Ask => Resolution::Unavailable,
            known => known,
        }
    }

    fn judge(&self, host: &Host, answer: Answer) -> Resolution {
        match answer {
            Answer::Tenant(tenant) => return self.owned(host, tenant),
            Answer::Ask => return Resolution::Ask,
            Answer::Unavailable => return Resolution::Unavailable,
            Answer::Nobody => {}
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
                Resolution::Unavailable => Resolution::Unavailable,
                // Whatever it is, or turns out to be, it answers there.
                Resolution::Tenant(_) | Resolution::Redirect(_) | Resolution::Ask => {
                    Resolution::Redirect(base.clone())
                }
            },
            ("www", WwwRule::Reject) => Resolution::Unknown,
            (label, _) if label.contains('.') => self.nested(label, base),
            (label, _) => self
                .directory
                .by_label(label)
                .map_or(Resolution::Unknown, Resolution::Tenant),
        }
    }

    /// A wildcard certificate does not cover a nested name, so only an explicit row above could serve it. `www.` before a
    /// tenant's label is a habit of people, who come to the plain listener with it.
    fn nested(&self, labels: &str, base: &Host) -> Resolution {
        let slug = labels
            .strip_prefix("www.")
            .filter(|slug| self.www != WwwRule::Reject && !slug.contains('.'));
        let Some(host) = slug.and_then(|slug| Host::parse(&format!("{slug}.{base}")).ok()) else {
            return Resolution::Unknown;
        };
        match self.resolve(&host) {
            // As with `www.` itself: whatever it turns out to be, it answers there.
            Resolution::Tenant(_) | Resolution::Ask => Resolution::Redirect(host),
            known => known,
        }
    }

    /// A tenant's host: served, or the way to the primary one. A primary host is never led away from, so nothing goes in
    /// circles.
    fn owned(&self, host: &Host, tenant: Arc<Tenant>) -> Resolution {
        let leads = self.to_primary && tenant.state == State::Active;
        match &tenant.primary {
            Some(primary) if primary != host && (leads || tenant.state == State::Moved) => {
                Resolution::Redirect(primary.clone())
            }
            // Moved to nowhere.
            _ if tenant.state == State::Moved => Resolution::Unknown,
            _ => Resolution::Tenant(tenant),
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
    use super::super::directory::live::{Live, add};
    use super::super::directory::pattern::Pattern;
    use super::super::directory::table::Table;
    use super::super::row::Row;
    use super::*;

    fn resolver(apex: ApexRule, www: WwwRule) -> Resolver {
        let bases = ["example.com", "eu.example.com"].map(|base| Host::parse(base).unwrap());
        Resolver::new(
            bases.to_vec(),
            (apex, www),
            false,
            Arc::new(Pattern::new(&["@default".to_owned(), "status".to_owned()])),
        )
    }

    fn name(resolver: &Resolver, host: &str) -> String {
        match resolver.resolve(&Host::parse(host).unwrap()) {
            Resolution::Tenant(tenant) => tenant.id.to_string(),
            Resolution::Redirect(host) => format!("-> {host}"),
            Resolution::Unknown => "unknown".to_owned(),
            other => format!("{other:?}"),
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
            ("www.acme.example.com", "-> acme.example.com"),
            ("www.acme.eu.example.com", "-> acme.eu.example.com"),
            ("www.wpad.example.com", "unknown"),
            ("www.a.b.example.com", "unknown"),
            ("www.www.example.com", "-> example.com"),
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
        assert_eq!(
            name(&resolver(apex(), WwwRule::Reject), "www.acme.example.com"),
            "unknown"
        );
    }

    #[derive(Debug)]
    struct Listed(Live);

    impl Directory for Listed {
        fn by_host(&self, host: &Host) -> Answer {
            self.0.tenant(host).into()
        }

        fn len(&self) -> Option<usize> {
            Some(self.0.tenants())
        }

        fn source(&self) -> &'static str {
            "test"
        }
    }

    #[test]
    fn moved_308_primary_and_other_hosts_only_where_wished() {
        let mut table = Table::new(&[]);
        for columns in [
            [
                ("id", "a"),
                ("hosts", "a.example.com a.net"),
                ("primary", "a.net"),
                ("state", ""),
            ],
            [
                ("id", "b"),
                ("hosts", "b.example.com"),
                ("primary", "b.net"),
                ("state", "moved"),
            ],
            [
                ("id", "c"),
                ("hosts", "c.example.com"),
                ("primary", ""),
                ("state", "moved"),
            ],
            [
                ("id", "d"),
                ("hosts", "d.example.com d.net"),
                ("primary", "d.net"),
                ("state", "suspended"),
            ],
        ] {
            let mut row = Row::default();
            for (column, value) in columns {
                assert_eq!(row.set(column, value), Ok(true));
            }
            let tenant = row.tenant().unwrap();
            for host in row.hosts.unwrap() {
                add(&mut table, &host, &tenant).unwrap();
            }
        }
        let live = Arc::new(Listed(Live::new(table)));
        for (to_primary, a) in [(true, "-> a.net"), (false, "a")] {
            let bases = vec![Host::parse("example.com").unwrap()];
            let rules = (ApexRule::Reject, WwwRule::Redirect);
            let resolver = Resolver::new(bases, rules, to_primary, Arc::clone(&live) as _);
            for (host, expected) in [
                ("a.example.com", a),
                ("a.net", "a"),
                ("b.example.com", "-> b.net"),
                ("b.net", "unknown"),
                ("c.example.com", "unknown"),
                ("d.example.com", "d"),
                ("e.example.com", "unknown"),
            ] {
                assert_eq!(name(&resolver, host), expected, "{host}");
            }
        }
    }
}

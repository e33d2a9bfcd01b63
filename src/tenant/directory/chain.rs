//! Several directories, asked one after the other: the first that knows a host has the say.
//!
//! One that cannot be asked now stops the search. A later one might name another tenant for the same host, and a request that
//! waits is better than one that reaches a stranger.

use std::sync::Arc;

use super::{Answer, Asking, Directory, Health, Kept};
use crate::host::Host;
use crate::tenant::id::Tenant;

/// Directories in the order of the configuration.
#[derive(Debug, Clone)]
pub struct Chain(Arc<[Arc<dyn Directory>]>);

impl Chain {
    /// At least one directory should be in it; without any, every host is nobody's.
    #[must_use]
    pub fn new(directories: Vec<Arc<dyn Directory>>) -> Self {
        Self(directories.into())
    }
}

impl Directory for Chain {
    fn by_host(&self, host: &Host) -> Answer {
        self.0
            .iter()
            .map(|directory| directory.by_host(host))
            .find(|answer| *answer != Answer::Nobody)
            .unwrap_or(Answer::Nobody)
    }

    fn by_label(&self, label: &str) -> Option<Arc<Tenant>> {
        self.0
            .iter()
            .find_map(|directory| directory.by_label(label))
    }

    fn ask(&self, host: &Host) -> Asking {
        let (chain, host) = (Arc::clone(&self.0), host.clone());
        Box::pin(async move {
            for directory in &*chain {
                let answer = match directory.by_host(&host) {
                    Answer::Ask => directory.ask(&host).await,
                    known => known,
                };
                if answer != Answer::Nobody {
                    return answer;
                }
            }
            Answer::Nobody
        })
    }

    fn custom_hosts(&self, visit: &mut dyn FnMut(&Host)) {
        for directory in self.0.iter() {
            directory.custom_hosts(visit);
        }
    }

    /// The sum, if all are counted.
    fn len(&self) -> Option<usize> {
        self.0.iter().map(|directory| directory.len()).sum()
    }

    fn source(&self) -> &'static str {
        "chain"
    }

    fn forget(&self, host: Option<&Host>) -> bool {
        // Each of them, not only the first that can.
        self.0
            .iter()
            .fold(false, |any, directory| directory.forget(host) | any)
    }

    /// By the one that has the say.
    fn kept(&self, host: &Host) -> (&'static str, Kept) {
        let mut kept = (self.source(), Kept::Listed);
        for directory in &*self.0 {
            kept = directory.kept(host);
            if directory.by_host(host) != Answer::Nobody {
                break;
            }
        }
        kept
    }

    fn each(&self, visit: &mut dyn FnMut(&Host, &Tenant) -> bool) {
        let mut more = true;
        for directory in &*self.0 {
            if more {
                directory.each(&mut |host, tenant| {
                    more = visit(host, tenant);
                    more
                });
            }
        }
    }

    fn trouble(&self) -> Option<String> {
        self.0.iter().find_map(|directory| directory.trouble())
    }

    fn health(&self) -> Vec<Health> {
        self.0
            .iter()
            .flat_map(|directory| directory.health())
            .collect()
    }

    /// Each of them, not only the first that can.
    fn resync(&self, force: bool) -> bool {
        self.0
            .iter()
            .fold(false, |any, directory| directory.resync(force) | any)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;
    use crate::tenant::id::{State, TenantId};

    #[derive(Debug)]
    struct Says(Answer, Answer);

    impl Directory for Says {
        fn by_host(&self, _host: &Host) -> Answer {
            self.0.clone()
        }

        fn ask(&self, _host: &Host) -> Asking {
            Box::pin(std::future::ready(self.1.clone()))
        }

        fn len(&self) -> Option<usize> {
            Some(1)
        }

        fn source(&self) -> &'static str {
            "test"
        }
    }

    fn tenant(id: &str) -> Answer {
        let id = TenantId::new(id).unwrap();
        Answer::Tenant(Arc::new(Tenant::new(id, State::Active)))
    }

    #[tokio::test]
    async fn the_first_that_knows_has_the_say_and_one_in_trouble_stops_the_search() {
        use Answer::{Ask, Nobody, Unavailable};
        let host = Host::parse("acme.example.com").unwrap();
        let says = |known: &Answer, asked: &Answer| {
            Arc::new(Says(known.clone(), asked.clone())) as Arc<dyn Directory>
        };
        let (one, two) = (tenant("one"), tenant("two"));
        for (first, second, at_once, in_the_end) in [
            ((&one, &one), (&two, &two), &one, &one),
            ((&Nobody, &Nobody), (&two, &two), &two, &two),
            (
                (&Unavailable, &Nobody),
                (&two, &two),
                &Unavailable,
                &Unavailable,
            ),
            ((&Ask, &one), (&two, &two), &Ask, &one),
            ((&Ask, &Nobody), (&two, &two), &Ask, &two),
            ((&Ask, &Unavailable), (&two, &two), &Ask, &Unavailable),
            ((&Nobody, &Nobody), (&Ask, &Nobody), &Ask, &Nobody),
        ] {
            let chain = Chain::new(vec![says(first.0, first.1), says(second.0, second.1)]);
            assert_eq!(chain.by_host(&host), *at_once);
            assert_eq!(chain.ask(&host).await, *in_the_end);
            assert_eq!(chain.len(), Some(2));
        }
        assert_eq!(Chain::new(Vec::new()).by_host(&host), Nobody);
        // A row that comes later has the say over a pattern that answers for ever.
        let pattern: Arc<dyn Directory> = Arc::new(Pattern::new(&[]));
        assert!(pattern.is_constant());
        assert!(!Chain::new(vec![says(&Nobody, &Nobody), pattern]).is_constant());
    }
}

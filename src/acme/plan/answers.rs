//! The plan of what the proxy answers itself, http-01 and tls-alpn-01: does a name lead here, and to the right port.
//!
//! The proxy is handed the answer to a challenge that nobody made, and each address of the name is asked for it, as far
//! as this machine can reach it. A CA looks from elsewhere: an address behind a router may be closed to us and open to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::{Grade, Plan};
use crate::acme::challenge::{Reach, rehearse};
use crate::acme::propagation::Propagation;
use crate::host::Host;

impl Plan<'_> {
    /// Looks at each name. `port` is where the CA comes to.
    pub(super) async fn answers(&mut self, port: u16) {
        let _lock = match self.store.lock(&self.lineage.name) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                let detail = "a renewal is running, so no answer was tried";
                return self.note("proxy", Grade::Doubtful, detail);
            }
            Err(error) => return self.note("proxy", Grade::Bad, error.to_string()),
        };
        let dns = self.config.acme.dns.clone().unwrap_or_default();
        let propagation = Propagation::new(&dns);
        let mut served = true;
        for host in self.hosts.keys().cloned().collect::<Vec<_>>() {
            let addresses = propagation.addresses(&host).await;
            let addresses = self.resolved(&host, addresses);
            let targets: Vec<SocketAddr> = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, port))
                .collect();
            // A proxy that does not answer for one name does for none.
            served = served && self.reached(&host, &targets).await;
        }
    }

    fn resolved(
        &mut self,
        host: &Host,
        addresses: Result<BTreeSet<IpAddr>, String>,
    ) -> BTreeSet<IpAddr> {
        match addresses {
            Ok(addresses) if addresses.is_empty() => {
                let detail = format!(
                    "`{host}` has no address, so the CA cannot come to it\nhint: publish an A or AAAA record that \
                     leads to this proxy"
                );
                self.note("address", Grade::Bad, detail);
                addresses
            }
            Ok(addresses) => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let detail = format!("`{host}` is at {}", list.join(", "));
                self.note("address", Grade::Good, detail);
                addresses
            }
            Err(reason) => {
                let detail = format!("cannot find the address of `{host}`: {reason}");
                self.note("address", Grade::Doubtful, detail);
                BTreeSet::new()
            }
        }
    }

    /// Whether the proxy answers at all.
    async fn reached(&mut self, host: &Host, targets: &[SocketAddr]) -> bool {
        let kind = self.lineage.challenge;
        let rehearsed = rehearse(
            &self.config.listen,
            self.store,
            &self.lineage,
            host,
            targets,
        )
        .await;
        let reached = match rehearsed {
            Ok(reached) => reached,
            Err(error) => {
                self.note("proxy", Grade::Bad, error.to_string());
                return false;
            }
        };
        let detail = format!("the proxy takes up and serves {kind} answers for `{host}`");
        self.note("proxy", Grade::Good, detail);
        for (target, reach) in reached {
            let (grade, detail) = match reach {
                Reach::Ours => (
                    Grade::Good,
                    format!("{target}, where the CA looks, gives this proxy's answer"),
                ),
                Reach::Other(why) => (
                    Grade::Bad,
                    format!(
                        "at {target} the CA does not get this proxy's answer: {why}\nhint: `{host}` must lead to this \
                         proxy, and its port {} to `listen`",
                        target.port()
                    ),
                ),
                Reach::Nothing(why) => (
                    Grade::Doubtful,
                    format!(
                        "{target} cannot be reached from here ({why}), but may be from outside\nhint: the CA must come \
                         through to it; check the firewall, and who listens on port {}",
                        target.port()
                    ),
                ),
            };
            self.note("port", grade, detail);
        }
        true
    }
}

//! What one worker keeps of the app servers over reloads: connections, queue, budget.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use http_body::Body;

use super::balance::Random;
use super::budget::Budget;
use super::client::Group;
use super::pool::{Pool, Settings};
use super::queue::Queue;
use super::server::Shared;
use super::spec::Spec;
use crate::config::UpstreamAddress;
use crate::net::deadline::Timers;

/// One worker's connections to all groups.
#[derive(Debug)]
pub struct Upstreams<B> {
    timers: Timers,
    random: Rc<Random>,
    groups: RefCell<HashMap<Arc<str>, Kept<B>>>,
}

#[derive(Debug)]
struct Kept<B> {
    pools: HashMap<UpstreamAddress, Rc<Pool<B>>>,
    queue: Rc<Queue>,
    budget: Rc<Budget>,
    shared: Arc<Shared>,
}

impl<B> Upstreams<B>
where
    B: Body + Default + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Nothing yet. `seed` must differ between workers.
    #[must_use]
    pub fn new(timers: Timers, seed: u64) -> Self {
        Self {
            timers,
            random: Rc::new(Random::new(seed)),
            groups: RefCell::default(),
        }
    }

    /// The group `spec` with the connections there are. Servers that are gone lose their pool; requests under way
    /// hold on to theirs.
    #[must_use]
    pub fn group(&self, spec: &Arc<Spec>) -> Group<B> {
        let mut groups = self.groups.borrow_mut();
        let kept = groups
            .entry(Arc::clone(&spec.name))
            .or_insert_with(|| Kept {
                pools: HashMap::new(),
                queue: Rc::default(),
                budget: Rc::default(),
                shared: Arc::clone(&spec.shared),
            });
        let own = &spec.settings;
        kept.budget.configure(own.retry_percent);
        kept.pools.retain(|address, _| {
            spec.members
                .iter()
                .any(|member| member.server.address() == address)
        });
        let settings = Settings {
            keepalive: own.keepalive,
            most_idle: own.keepalive_connections,
            send_proxy_protocol: own.send_proxy_protocol,
            most_requests: own.server_requests,
            most_connections: own.server_connections,
            connect_timeout: own.connect_timeout,
        };
        let pools = spec.members.iter().map(|member| {
            let address = member.server.address().clone();
            let pool = kept.pools.entry(address).or_insert_with(|| {
                let server = Arc::clone(&member.server);
                Pool::new(server, Rc::clone(&kept.queue), self.timers.clone())
            });
            pool.configure(settings, spec.tls.as_ref());
            Rc::clone(pool)
        });
        Group::new(
            Arc::clone(spec),
            pools.collect(),
            Rc::clone(&kept.queue),
            Rc::clone(&kept.budget),
            Rc::clone(&self.random),
        )
    }

    /// Forgets the groups that `keep` does not name; requests under way hold on to theirs.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.groups.borrow_mut().retain(|name, _| keep(name));
    }

    /// Once a tick: closes unused connections, lets waiting requests look again, fills the floor of the budgets.
    pub fn tick(&self) {
        for kept in self.groups.borrow().values() {
            let here = u32::try_from(kept.queue.len()).unwrap_or(u32::MAX);
            let wanted = kept.shared.queued() > here;
            for pool in kept.pools.values() {
                pool.prune(wanted);
            }
            kept.queue.wake();
            kept.budget.tick();
        }
    }
}

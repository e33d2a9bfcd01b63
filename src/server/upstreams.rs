//! The control plane's part in app servers: probes, look-ups of names, the end of ejections; and what is told of them.
//!
//! It publishes through each server's atomics and touches no connection of a worker. One round at a time: each round
//! looks at the snapshot in effect, so that a reload needs no message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Probe, UpstreamAddress};
use crate::snapshot::{Current, Snapshot};
use crate::telemetry::metrics::{ServerFacts, UpstreamFacts};
use crate::upstream::probe::{self, Streak};
use crate::upstream::{Server, Spec, resolve};

/// How often it is looked whether something is due.
const ROUND: Duration = Duration::from_millis(250);

/// Runs until `stop`.
pub async fn watch(current: Arc<Current>, tasks: TaskTracker, stop: CancellationToken) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: HashMap<UpstreamAddress, Watched> = HashMap::new();
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = stop.cancelled() => return,
        }
        let snapshot = Arc::clone(&current.load());
        let is_member = |address: &UpstreamAddress| {
            let mut members = snapshot.pools.iter().flat_map(|spec| &spec.members);
            members.any(|member| member.server.address() == address)
        };
        known.retain(|address, _| is_member(address));
        // A server belongs to one pool; the configuration sees to it.
        for spec in &snapshot.pools {
            for member in &spec.members {
                let address = member.server.address();
                if !known.contains_key(address) {
                    known.insert(address.clone(), Watched::default());
                }
                if let Some(watched) = known.get_mut(address) {
                    watched.round(spec, &member.server, &tasks);
                }
            }
        }
    }
}

/// When a server is due for what, and what its probes said.
#[derive(Debug, Default)]
struct Watched {
    look_up: Option<Instant>,
    probe: Option<Instant>,
    streak: Arc<std::sync::Mutex<Streak>>,
}

impl Watched {
    fn round(&mut self, spec: &Arc<Spec>, server: &Arc<Server>, tasks: &TaskTracker) {
        let now = Instant::now();
        if server.end_ejection() {
            tracing::info!(server = %server.label(), "the server is used again after its failures");
        }
        let is_due = |due: Option<Instant>| due.is_none_or(|due| due <= now);
        if resolve::is_name(server) && is_due(self.look_up) {
            self.look_up = Some(now + spec.settings.resolve_interval);
            let server = Arc::clone(server);
            tasks.spawn(async move { resolve::refresh(&server).await });
        }
        match &spec.settings.probe {
            None => {
                // Probes were switched off by a reload: nobody would ever bring the server back.
                if server.set_down(false) {
                    server.note_probe(None);
                }
                self.probe = None;
            }
            Some(probe) if is_due(self.probe) => {
                // The next one begins after this one's longest time at the earliest, so that two never overlap.
                self.probe = Some(now + probe.interval.max(probe.timeout));
                let (spec, server) = (Arc::clone(spec), Arc::clone(server));
                let (probe, streak) = (probe.clone(), Arc::clone(&self.streak));
                tasks.spawn(async move { judge(&spec, &probe, &server, &streak).await });
            }
            Some(_) => {}
        }
    }
}

/// One probe and what follows from it.
async fn judge(spec: &Spec, probe: &Probe, server: &Server, streak: &std::sync::Mutex<Streak>) {
    let asked = probe::ask(spec, probe, server).await;
    let verdict = {
        let mut streak = streak
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        streak.note(asked.is_ok(), probe)
    };
    let trouble = asked.err().map(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    });
    let changed = verdict.is_some_and(|down| server.set_down(down));
    match (&trouble, verdict) {
        (Some(trouble), Some(true)) if changed => tracing::warn!(
            server = %server.label(),
            "probes fail, the server gets no requests while others are well: {trouble}\nhint: `curl -i -H 'Host: {}' \
             SERVER{}` shows what the probe sees; `upstream.probe` sets path, Host and good statuses",
            spec.probe_host,
            probe.path
        ),
        (None, Some(false)) if changed => {
            tracing::info!(server = %server.label(), "probes are answered again, the server is used");
        }
        _ => {}
    }
    server.note_probe(trouble);
}

/// What `/status` says of the servers.
pub fn status(snapshot: &Snapshot) -> Value {
    let members = snapshot
        .pools
        .iter()
        .flat_map(|spec| spec.members.iter().map(move |member| (spec, member)));
    let rows = members.map(|(spec, member)| {
        let facts = member.server.facts(spec.settings.slow_start);
        json!({
            "group": &*spec.name,
            "server": member.server.label().as_ref(),
            "weight": member.weight,
            "state": facts.health.as_str(),
            "requests": facts.requests,
            "connections": facts.connections,
            "ejections": facts.ejected_total,
            "probe_error": facts.trouble,
            "addresses": facts.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let queued: u32 = snapshot.pools.iter().map(|spec| spec.shared.queued()).sum();
    json!({ "servers": rows.collect::<Vec<_>>(), "queued": queued })
}

/// What the metrics say of them.
pub fn facts(snapshot: &Snapshot) -> UpstreamFacts {
    let members = snapshot
        .pools
        .iter()
        .flat_map(|spec| spec.members.iter().map(move |member| (spec, member)));
    let rows = members.map(|(spec, member)| {
        let facts = member.server.facts(spec.settings.slow_start);
        ServerFacts {
            pool: spec.name.to_string(),
            server: member.server.label().to_string(),
            state: facts.health.as_str(),
            requests: facts.requests,
            connections: facts.connections,
            ejected_total: facts.ejected_total,
            probes_failed: facts.probes_failed,
        }
    });
    UpstreamFacts {
        servers: rows.collect(),
        queued: snapshot
            .pools
            .iter()
            .map(|spec| (spec.name.to_string(), spec.shared.queued()))
            .collect(),
    }
}

//! App servers: which one gets a request, what happens when one fails, and how it is spoken to.

mod choice;
mod framing;
mod grpc;
mod health;
mod http2;
mod names;
mod proxy_protocol;
mod queue;
mod retries;
mod soak;
mod statuses;
mod tls;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::support::http::{Answer, Protocol};
use crate::support::origin::{self, Origin};
use crate::support::site::Site;
use crate::support::wait;

/// The host of the tenant that all these tests ask for.
const HOST: &str = "acme.example.test";

/// What `/status` says of a server.
fn state_of(site: &Site, server: &str) -> Value {
    let (status, text) = site.portico.admin("/status");
    assert_eq!(status, 200, "{text}");
    let all: Value = serde_json::from_str(&text).unwrap();
    let servers = all["upstreams"]["servers"].as_array().unwrap();
    let found = servers.iter().find(|one| {
        let name = one["server"].as_str().unwrap();
        name.ends_with(server)
    });
    found.unwrap_or_else(|| panic!("{server} in {all}")).clone()
}

/// Waits until a server has this state.
fn wait_state(site: &Site, server: &str, state: &str) {
    wait::until(&format!("{server} to be {state}"), || {
        (state_of(site, server)["state"] == state).then_some(())
    });
}

/// An origin whose answers wait until `gate` lets them go, one permit each.
fn gated(gate: &Arc<Semaphore>) -> Origin {
    let gate = Arc::clone(gate);
    Origin::tcp(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            origin::text(200, "through")
        }
    })
}

/// A request on a connection of its own, under way.
fn ask(site: &Site, protocol: Protocol, method: &'static str) -> tokio::task::JoinHandle<Answer> {
    let edge = site.edge.clone();
    tokio::spawn(async move {
        let mut connection = edge.connect(protocol, HOST).await;
        connection.request(method, "/").send().await
    })
}

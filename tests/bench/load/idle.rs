//! Holds connections that do nothing.

use crate::{
    Error,
    args::Idle,
    gate::Gate,
    origin::SMALL,
    tls::{self, Dialer},
    units::{self, Unit as _},
};
use rustls_pki_types::ServerName;
use std::any::Any;
use tokio::task::{JoinHandle, JoinSet};

/// So few at a time that the proxy's pool of upstream connections stays small.
const OPENERS: usize = 8;

/// A connection that is held.
struct Held {
    /// Dropping it would close the connection.
    _sender: Box<dyn Any + Send>,
    /// Ends when the connection does.
    connection: JoinHandle<()>,
}

/// Opens all, says so, and after each line on standard input says how many are still open, until it ends.
pub(crate) async fn hold(idle: &Idle) -> Result<(), Error> {
    let dialer = Dialer::new(&idle.target, if idle.h2 { tls::H2 } else { tls::H1 })?;
    let mut openers = JoinSet::new();
    for first in 0..OPENERS {
        let hosts: Vec<String> = (first..idle.connections)
            .step_by(OPENERS)
            .map(|n| idle.target.host(n))
            .collect();
        openers.spawn(open(dialer.clone(), hosts, idle.h2));
    }
    let mut held = Vec::with_capacity(idle.connections);
    while let Some(opened) = openers.join_next().await {
        held.extend(opened??);
    }
    let mut gate = Gate::stdin();
    println!("{}", serde_json::json!({ "held": held.len() }));
    while gate.line().await.is_ok() {
        let open = held
            .iter()
            .filter(|held| !held.connection.is_finished())
            .count();
        println!("{}", serde_json::json!({ "still_open": open }));
    }
    Ok(())
}

async fn open(dialer: Dialer, hosts: Vec<String>, h2: bool) -> Result<Vec<Held>, Error> {
    let mut held = Vec::with_capacity(hosts.len());
    for host in hosts {
        let stream = dialer.dial(ServerName::try_from(host.clone())?).await?;
        let (sender, connection): (Box<dyn Any + Send>, _) = if h2 {
            let (mut unit, connection) = units::H2::open(stream, &host, SMALL).await?;
            unit.once().await?;
            (Box::new(unit), connection)
        } else {
            let (mut unit, connection) = units::H1::open(stream, &host, SMALL).await?;
            unit.once().await?;
            (Box::new(unit), connection)
        };
        held.push(Held {
            _sender: sender,
            connection,
        });
    }
    Ok(held)
}

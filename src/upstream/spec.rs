//! A named group of servers with its settings: what a snapshot knows of the app.

use std::sync::Arc;

use super::server::{Ejection, Registry, Server, Shared};
use super::tls::{Tls, TlsSetupError};
use crate::config::{Transport, Upstream, UpstreamAddress};

/// One group.
#[derive(Debug)]
pub struct Spec {
    /// Its name; a worker keeps its connections by it.
    pub name: Arc<str>,
    /// The settings.
    pub settings: Upstream,
    /// The servers, in the order of the configuration.
    pub members: Vec<Member>,
    /// TLS, if a server has `https`.
    pub tls: Option<Tls>,
    /// `Host` of probes.
    pub probe_host: String,
    /// What the workers share of it.
    pub shared: Arc<Shared>,
}

/// A server's place in a group.
#[derive(Debug)]
pub struct Member {
    /// The server.
    pub server: Arc<Server>,
    /// Its weight.
    pub weight: u32,
}

impl Spec {
    /// The group `name`. What is known of its servers comes from `registry`. `probe_host` is for probes without a
    /// configured one.
    ///
    /// # Errors
    /// [`TlsSetupError`], if a server has `https`.
    pub fn build(
        name: &str,
        settings: &Upstream,
        probe_host: &str,
        registry: &Registry,
    ) -> Result<Self, TlsSetupError> {
        let https = settings.servers.iter().any(|server| {
            let transport = match &server.address {
                UpstreamAddress::Tcp { transport, .. } => *transport,
                UpstreamAddress::Unix(_) => Transport::Http,
            };
            transport == Transport::Https
        });
        let tls = if https {
            Some(Tls::new(&settings.tls)?)
        } else {
            None
        };
        let host = settings
            .probe
            .as_ref()
            .and_then(|probe| probe.host.as_deref());
        Ok(Self {
            name: Arc::from(name),
            members: settings
                .servers
                .iter()
                .map(|server| Member {
                    server: registry.server(&server.address),
                    weight: server.weight,
                })
                .collect(),
            tls,
            probe_host: host.unwrap_or(probe_host).to_owned(),
            shared: registry.group(name),
            settings: settings.clone(),
        })
    }

    /// When a server is left alone.
    #[must_use]
    pub fn ejection(&self) -> Ejection {
        Ejection {
            failures: self.settings.eject_failures,
            time: self.settings.eject_time,
        }
    }
}

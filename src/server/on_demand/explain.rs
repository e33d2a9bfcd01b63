//! What `portico tenant explain` says of a host as a custom domain. For people: reads whole files, so it is for a thread that
//! may wait, one question at a time. Changes nothing and asks nobody.

use serde_json::{Value, json};

use super::Allowed;
use crate::acme::on_demand::summary::Domain;
use crate::cert::on_demand::register::Content;
use crate::cert::on_demand::spool::Spool;
use crate::cert::store::StoreError;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::host::Host;

/// Tells what becomes of names, by the configuration of the start, as everything about custom domains.
#[derive(Debug)]
pub struct Explainer(Config);

impl Explainer {
    pub(in super::super) fn new(config: &Config) -> Self {
        Self(config.clone())
    }

    /// Of a host that no certificate of the configuration covers. `row` is what the directory says of it.
    #[must_use]
    pub fn explain(&self, host: &Host, row: &Allowed) -> Value {
        self.look(host, row).unwrap_or_else(|error| {
            told(
                "unreadable",
                &format!("what is known of it cannot be read: {error}"),
            )
        })
    }

    fn look(&self, host: &Host, row: &Allowed) -> Result<Value, StoreError> {
        if let Some(domain) = Domain::read(&self.0, host, UnixTime::now())? {
            let (state, reason) = (domain.standing.word(), domain.reason());
            let mut value = json!(domain);
            if let Some(value) = value.as_object_mut() {
                value.insert("state".to_owned(), json!(state));
                value.insert("reason".to_owned(), json!(reason));
            }
            return Ok(value);
        }
        let tenant = match row {
            Allowed::Tenant(tenant) => tenant,
            Allowed::No => {
                return Ok(told(
                    "no-row",
                    "the directory has no row for exactly this host, or it is deleted: nothing is ordered",
                ));
            }
            Allowed::Ask | Allowed::Unknown => {
                return Ok(told(
                    "unknown",
                    "its tenant is pending, or the directory does not answer: nothing is ordered until that is over",
                ));
            }
        };
        let spool = Spool::new(&self.0.state_dir);
        let mut value = if spool.find(host)?.is_some() {
            told(
                "wanted",
                "the engine is asked for it and has not taken it up yet\nhint: it does at its next run: `portico cert reconcile`, \
                 as portico-renew.service has it",
            )
        } else if self.is_full(&spool)? {
            told(
                "full",
                &format!(
                    "there are as many custom domains as `on_demand.names` allows: {}\nhint: raise it, or remove rows; \
                     what is over leaves after `on_demand.keep_gone`",
                    self.0.on_demand.names
                ),
            )
        } else if self.0.on_demand.ahead {
            told(
                "unasked",
                "its row is known; the engine will be asked within seconds, or when a client comes",
            )
        } else {
            told(
                "unasked",
                "its row is known; the engine is asked when a client comes (`on_demand.ahead = false`)",
            )
        };
        if let Some(value) = value.as_object_mut() {
            value.insert("tenant".to_owned(), json!(tenant));
        }
        Ok(value)
    }

    fn is_full(&self, spool: &Spool) -> Result<bool, StoreError> {
        let most = usize::try_from(self.0.on_demand.names).unwrap_or(usize::MAX);
        let known = Content::read(&self.0.state_dir)?.entries.len();
        Ok(known.saturating_add(spool.count()?) >= most)
    }
}

/// One that has no entry of its own.
pub(in super::super) fn told(state: &str, reason: &str) -> Value {
    json!({ "state": state, "reason": reason })
}

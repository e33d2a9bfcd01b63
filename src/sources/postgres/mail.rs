//! Notifications that have come and have not been acted on, bounded: too many become one for everything.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::host::Host;

/// Longest wait for our own notification.
pub(super) const CHECK: Duration = Duration::from_secs(5);
/// Hosts beyond which reading everything is cheaper.
const MANY: usize = 10_000;

/// The mailbox of one connection.
#[derive(Debug)]
pub(super) struct Mail {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// What we send ourselves to see whether anything arrives at all.
    check: String,
    heard: Notify,
}

/// What has to be read again.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// These hosts, spelled as in the database.
    pub(super) hosts: HashSet<String>,
    /// Everything.
    pub(super) all: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.hosts.is_empty() && !self.all
    }
}

impl Mail {
    /// An empty mailbox. `check` is no host, and no other node's check.
    pub(super) fn new(number: u64) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            check: format!("check:{number:016x}"),
            heard: Notify::new(),
        }
    }

    /// The payload that proves that notifications arrive.
    pub(super) fn check(&self) -> &str {
        &self.check
    }

    /// Takes a payload: a host as it stands in the database, or `*`. Anybody who may connect to the database can send one, so
    /// what can be no host is left.
    pub(super) fn put(&self, payload: &str) {
        if payload == self.check {
            self.heard.notify_one();
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if payload == "*" || waiting.hosts.len() >= MANY {
            *waiting = Waiting {
                all: true,
                ..Waiting::default()
            };
        } else if !waiting.all && may_be_host(payload) {
            waiting.hosts.insert(payload.to_owned());
        } else {
            return;
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Waits until there is something, and takes it.
    pub(super) async fn take(&self) -> Waiting {
        loop {
            let taken = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *waiting)
            };
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// Waits until our own notification has come back.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }
}

/// Whether it is a host name, or a label of one.
fn may_be_host(payload: &str) -> bool {
    Host::parse(payload).is_ok() || Host::parse(&format!("{payload}.example")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hosts_gather_and_too_many_become_everything() {
        let mail = Mail::new(7);
        for payload in [
            "acme.example.com",
            "Acme",
            "42",
            "acme.example.com",
            "",
            "a b",
            "'; --",
            "check:1",
        ] {
            mail.put(payload);
        }
        let mut hosts: Vec<_> = mail.take().await.hosts.into_iter().collect();
        hosts.sort();
        assert_eq!(hosts, ["42", "Acme", "acme.example.com"]);
        mail.put("a.example.com");
        mail.put("*");
        mail.put("b.example.com");
        let taken = mail.take().await;
        assert!(taken.all && taken.hosts.is_empty());
        for number in 0..=MANY {
            mail.put(&format!("t{number}.example.com"));
        }
        assert!(mail.take().await.all);
        mail.put(mail.check());
        mail.heard().await;
    }
}

//! http-01 and tls-alpn-01: the running proxy answers, and it may be another process.
//!
//! The answers go into the store, from where every proxy takes them within a second or two. The CA is not asked to look
//! before each of this machine's listeners has really given the right answer to a client of ours, for a failed
//! validation counts at the CA. That the CA comes to the same listeners (ports 80 and 443 of the name's address) is for
//! the operator to arrange.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Asked, alpn, http};
use crate::acme::deploy::reachable;
use crate::acme::error::AcmeError;
use crate::acme::state::{Journal, Phase};
use crate::cert::answers::{Answer, Shown};
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::Store;
use crate::config::{Challenge, Listen};

/// For the proxy to take an answer up. It looks once a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one question to one listener.
pub(super) const ANSWER: Duration = Duration::from_secs(3);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// The proxy's side of the proof.
pub(super) struct Served<'a> {
    listen: &'a Listen,
    store: &'a dyn Store,
    lineage: &'a Lineage,
}

impl<'a> Served<'a> {
    pub(super) fn new(listen: &'a Listen, store: &'a dyn Store, lineage: &'a Lineage) -> Self {
        Self {
            listen,
            store,
            lineage,
        }
    }

    /// Hands the answers to the proxy and sees each of them served.
    pub(super) async fn show(
        &self,
        asked: &[Asked],
        journal: &Journal<'_>,
    ) -> Result<(), AcmeError> {
        let mut answers = Vec::new();
        for one in asked {
            let answer = self.answer(one)?;
            self.store.put_answer(&answer)?;
            answers.push(answer);
        }
        failpoint::hit(failpoint::RECORD_PUBLISHED);
        journal.enter(Phase::Propagating);
        let start = Instant::now();
        for (one, answer) in asked.iter().zip(&answers) {
            for &listener in self.listeners() {
                self.wait(one, answer, listener, start).await?;
            }
        }
        tracing::info!(
            challenge = %self.lineage.challenge,
            waited_ms = start.elapsed().as_millis(),
            "the proxy serves the answers"
        );
        Ok(())
    }

    fn answer(&self, one: &Asked) -> Result<Answer, AcmeError> {
        let shown = if self.lineage.challenge == Challenge::TlsAlpn01 {
            alpn::certificate(&one.host, &one.digest)?
        } else {
            Shown::Http {
                key_authorization: one.key_authorization.clone(),
            }
        };
        Ok(Answer {
            lineage: self.lineage.name.to_string(),
            name: one.host.to_string(),
            token: one.token.clone(),
            shown,
        })
    }

    fn listeners(&self) -> &[SocketAddr] {
        if self.lineage.challenge == Challenge::TlsAlpn01 {
            &self.listen.https
        } else {
            &self.listen.http
        }
    }

    /// Asks one listener until it gives the answer.
    async fn wait(
        &self,
        one: &Asked,
        answer: &Answer,
        listener: SocketAddr,
        start: Instant,
    ) -> Result<(), AcmeError> {
        let address = reachable(&listener);
        loop {
            let seen = match &answer.shown {
                Shown::Http { key_authorization } => {
                    http::probe(address, &one.host, &one.token, key_authorization).await
                }
                Shown::Tls { certificate, .. } => {
                    alpn::probe(address, &one.host, certificate).await
                }
            };
            let Err(why) = seen else {
                return Ok(());
            };
            let reason = format!("{address}: {why}");
            if start.elapsed() > PATIENCE {
                return Err(self.not_served(one, &reason));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn not_served(&self, one: &Asked, reason: &str) -> AcmeError {
        AcmeError::NotShown(format!(
            "Portico does not serve the {} answer for `{}` after {} s: {reason}\nhint: the proxy must run (`systemctl start \
             portico`) with this configuration and this `state_dir`, and its user must be able to read \
             `challenges/` in it",
            self.lineage.challenge,
            one.host,
            PATIENCE.as_secs(),
        ))
    }
}

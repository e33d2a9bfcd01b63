//! http-01 and tls-alpn-01: the running proxy answers, and it may be another process.
//!
//! The answers go into the store, from where every proxy takes them within a second or two. The CA is not asked to look
//! before each of this machine's listeners has really given the right answer to a client of ours, for a failed
//! validation counts at the CA. That the CA comes to the same listeners (ports 80 and 443 of the name's address) is for
//! the operator to arrange.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Asked, alpn, http};
use crate::acme::deploy::reachable;
use crate::acme::error::AcmeError;
use crate::acme::state::{Journal, Phase};
use crate::acme::trial::probe_value;
use crate::cert::answers::{Answer, Shown};
use crate::cert::failpoint;
use crate::cert::lineage::Lineage;
use crate::cert::store::Store;
use crate::config::{Challenge, Listen};
use crate::host::Host;

/// For the proxy to take an answer up. It looks once a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same when a person waits for it.
const REHEARSAL: Duration = Duration::from_secs(4);
/// For one question to one listener.
pub(super) const ANSWER: Duration = Duration::from_secs(3);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// The proxy's side of the proof.
pub(super) struct Served<'a> {
    listen: &'a Listen,
    store: &'a dyn Store,
    lineage: &'a Lineage,
    patience: Duration,
}

impl<'a> Served<'a> {
    pub(super) fn new(listen: &'a Listen, store: &'a dyn Store, lineage: &'a Lineage) -> Self {
        Self {
            listen,
            store,
            lineage,
            patience: PATIENCE,
        }
    }

    /// Hands the answers to the proxy and sees each of them served.
    pub(super) async fn show(
        &self,
        asked: &[Asked],
        journal: &Journal<'_>,
    ) -> Result<(), AcmeError> {
        let answers = self.hand_over(asked)?;
        failpoint::hit(failpoint::RECORD_PUBLISHED);
        journal.enter(Phase::Propagating);
        let start = Instant::now();
        self.seen(asked, &answers, start).await?;
        tracing::info!(
            challenge = %self.lineage.challenge,
            waited_ms = start.elapsed().as_millis(),
            "the proxy serves the answers"
        );
        Ok(())
    }

    fn hand_over(&self, asked: &[Asked]) -> Result<Vec<Answer>, AcmeError> {
        let mut answers = Vec::new();
        for one in asked {
            let answer = self.answer(one)?;
            self.store.put_answer(&answer)?;
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Waits until each of this machine's listeners gives each answer.
    async fn seen(
        &self,
        asked: &[Asked],
        answers: &[Answer],
        start: Instant,
    ) -> Result<(), AcmeError> {
        for (one, answer) in asked.iter().zip(answers) {
            for &listener in self.listeners() {
                self.wait(one, answer, listener, start).await?;
            }
        }
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
            let Err(why) = ask(address, one, answer).await else {
                return Ok(());
            };
            let reason = format!("{address}: {why}");
            if start.elapsed() > self.patience {
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
            self.patience.as_secs(),
        ))
    }
}

/// Asks an address for the answer, as the CA does; the reason if it gives another one or none.
async fn ask(address: SocketAddr, one: &Asked, answer: &Answer) -> Result<(), String> {
    match &answer.shown {
        Shown::Http { key_authorization } => {
            http::probe(address, &one.host, &one.token, key_authorization).await
        }
        Shown::Tls { certificate, .. } => alpn::probe(address, &one.host, certificate).await,
    }
}

/// What comes of asking an address of a name for an answer of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::acme) enum Reach {
    /// It is this proxy's.
    Ours,
    /// Something else answers: what it says.
    Other(String),
    /// No connection from here: why.
    Nothing(String),
}

/// Has the proxy answer a challenge that nobody made, sees it at its listeners, and then asks each of `addresses`.
/// Nothing of it stays, and no CA hears of it. The caller holds the lineage's lock.
///
/// # Errors
/// [`AcmeError::NotShown`] if the listeners do not give the answer; no address is asked then.
pub(in crate::acme) async fn rehearse(
    listen: &Listen,
    store: &dyn Store,
    lineage: &Lineage,
    host: &Host,
    addresses: &[SocketAddr],
) -> Result<Vec<(SocketAddr, Reach)>, AcmeError> {
    let token = probe_value()?;
    let key_authorization = format!("{token}.{}", probe_value()?);
    let one = Asked {
        host: host.clone(),
        wildcard: false,
        digest: digest(&SHA256, key_authorization.as_bytes())
            .as_ref()
            .to_vec(),
        token,
        key_authorization,
        dns_value: String::new(),
    };
    let served = Served {
        patience: REHEARSAL,
        ..Served::new(listen, store, lineage)
    };
    let ended = served.reach(&one, addresses).await;
    store.withdraw(&lineage.name)?;
    ended
}

impl Served<'_> {
    async fn reach(
        &self,
        one: &Asked,
        addresses: &[SocketAddr],
    ) -> Result<Vec<(SocketAddr, Reach)>, AcmeError> {
        let asked = std::slice::from_ref(one);
        let answers = self.hand_over(asked)?;
        self.seen(asked, &answers, Instant::now()).await?;
        let mut reached = Vec::new();
        for answer in &answers {
            for &address in addresses {
                let connected = timeout(ANSWER, TcpStream::connect(address)).await;
                let reach = match connected {
                    Err(_elapsed) => {
                        Reach::Nothing(format!("no connection within {} s", ANSWER.as_secs()))
                    }
                    Ok(Err(error)) => Reach::Nothing(error.to_string()),
                    Ok(Ok(_connection)) => match ask(address, one, answer).await {
                        Ok(()) => Reach::Ours,
                        Err(why) => Reach::Other(why),
                    },
                };
                reached.push((address, reach));
            }
        }
        Ok(reached)
    }
}

//! Waiting until a record is visible everywhere, and saying meanwhile what is missing where.

use std::time::{Duration, Instant};

use super::sight::{self, Lack};
use super::{FIRST_PAUSE, LONGEST_PAUSE, Place, Propagation, PropagationError, Seen, text};

/// Between the first good round and the one that confirms it: an address may stand for many servers (anycast).
pub(super) const CONFIRM: Duration = Duration::from_secs(3);
/// What is waited for is said at once, whenever it changes, and again after so long.
const WORD: Duration = Duration::from_secs(10);

impl Propagation {
    /// Waits until every authoritative server gives all `values`, and the configured floor has passed; then until the
    /// resolvers that the operator names give them too. Such a resolver that does not answer is passed over with a
    /// warning: its word is not needed, and without the servers' it would not be enough.
    ///
    /// # Errors
    /// [`PropagationError::NotVisible`] says what each server that lacks them says.
    pub async fn wait(
        &self,
        place: &Place,
        values: &[String],
    ) -> Result<Duration, PropagationError> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut good = false;
        let mut progress = Progress::default();
        loop {
            let sights = self.sights(place, values).await;
            let mut lacks = sight::lacks(&sights);
            let mut resolvers_only = false;
            if lacks.is_empty() {
                let waited = start.elapsed();
                // Servers that the operator named are asked directly, so one round tells all.
                let sure = good || !self.nameservers.is_empty();
                if !sure || waited < self.floor {
                    good = true;
                    tokio::time::sleep(if self.nameservers.is_empty() {
                        CONFIRM
                    } else {
                        pause
                    })
                    .await;
                    continue;
                }
                // Only now: a resolver that is asked too early remembers that there is no such record.
                lacks = self.lacking_resolvers(place, values).await;
                if lacks.is_empty() {
                    return Ok(start.elapsed());
                }
                resolvers_only = true;
            } else {
                good = false;
            }
            let waited = start.elapsed();
            let state = listed(&lacks);
            if waited >= self.timeout {
                let dead = lacks.iter().all(|lack| lack.dead)
                    && sights.iter().any(|sight| sight.seen == Seen::All);
                if dead && self.allow_dead {
                    tracing::warn!(name = %place.fqdn, state, "name servers that do not answer are passed over (`allow_dead_ns`)");
                    return Ok(waited);
                }
                let hint = match resolvers_only {
                    true => "\nhint: every authoritative server has it; a resolver of `check_resolvers` in [acme.dns] may \
                             remember an older answer for as long as the zone allows"
                        .to_owned(),
                    false => self.hint(place, dead).await,
                };
                return Err(PropagationError::NotVisible {
                    name: text(&place.fqdn),
                    waited,
                    state,
                    hint,
                });
            }
            progress.tell(place, waited, self.timeout, &state);
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// What may be behind servers that lack a record. `dead`: those that do not answer are all that lack it.
    async fn hint(&self, place: &Place, dead: bool) -> String {
        match self.other_view(place).await {
            Some(view) => format!(
                "; {view}\nhint: this machine sees an internal view of the zone; set `resolvers` in [acme.dns] to public \
                 ones"
            ),
            None if dead => "\nhint: `allow_dead_ns = true` in [acme.dns] passes over name servers that do not answer"
                .to_owned(),
            None => String::new(),
        }
    }

    /// The resolvers of `check_resolvers` that answer without all values.
    async fn lacking_resolvers(&self, place: &Place, values: &[String]) -> Vec<Lack> {
        let (silent, answers): (Vec<_>, Vec<_>) = self
            .resolver_sights(place, values)
            .await
            .into_iter()
            .partition(|sight| matches!(sight.seen, Seen::Silent(_)));
        let lacks = sight::lacks(&answers);
        if lacks.is_empty() && !silent.is_empty() {
            let state = listed(&sight::lacks(&silent));
            tracing::warn!(name = %place.fqdn, state, "resolvers that do not answer are passed over (`check_resolvers`)");
        }
        lacks
    }
}

fn listed(lacks: &[Lack]) -> String {
    let texts: Vec<&str> = lacks.iter().map(|lack| lack.text.as_str()).collect();
    texts.join("; ")
}

/// What was said last, and when.
#[derive(Default)]
struct Progress(Option<(Instant, String)>);

impl Progress {
    fn tell(&mut self, place: &Place, waited: Duration, limit: Duration, missing: &str) {
        let known = self
            .0
            .as_ref()
            .is_some_and(|(at, said)| said == missing && at.elapsed() < WORD);
        if !known {
            tracing::info!(
                record = text(&place.fqdn),
                waited_s = waited.as_secs(),
                limit_s = limit.as_secs(),
                missing,
                "waiting for DNS"
            );
            self.0 = Some((Instant::now(), missing.to_owned()));
        }
    }
}

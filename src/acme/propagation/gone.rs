//! Whether values are gone from every authoritative server.

use std::time::{Duration, Instant};

use super::look::Look;
use super::{FIRST_PAUSE, LONGEST_PAUSE, Propagation};

impl Propagation {
    /// For each value why it does not count as gone from the record `fqdn`; none if it does. Asks for `limit` at most,
    /// and once at least: a server may need a moment to hear of a change.
    ///
    /// A value is gone when every authoritative server answers with authority and without it. A server that gives no
    /// such answer keeps it, but for `allow_dead_ns` with another one that does.
    pub async fn remains(
        &self,
        fqdn: &str,
        values: &[&str],
        limit: Duration,
    ) -> Vec<Option<String>> {
        let place = match self.locate_name(fqdn).await {
            Ok(place) => place,
            Err(error) => return vec![Some(error.to_string()); values.len()],
        };
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let looks = self.look(&place).await;
            let found: Vec<Option<String>> = values
                .iter()
                .map(|value| in_the_way(&looks, value, self.allow_dead))
                .collect();
            if found.iter().all(Option::is_none) || start.elapsed() >= limit {
                return found;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }
}

/// The servers that give a value, or might.
fn in_the_way(looks: &[Look], value: &str, allow_dead: bool) -> Option<String> {
    let answered = looks.iter().any(|look| look.values.is_ok());
    let reasons: Vec<String> = looks
        .iter()
        .filter_map(|look| match &look.values {
            Ok(values) if values.iter().any(|other| other == value) => {
                Some(format!("{}: still has it", look.server))
            }
            Ok(_) => None,
            Err(_) if allow_dead && answered => None,
            Err(reason) => Some(format!("{}: {reason}", look.server)),
        })
        .collect();
    if looks.is_empty() {
        return Some("there is no server to ask".to_owned());
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

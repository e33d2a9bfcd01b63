//! How custom domains are doing: numbers, and those that need eyes, never all of them.
//!
//! Reads the register only; `portico cert status`, `portico cert domains` and `portico tenant explain` say the same.

use serde::Serialize;

use super::queue::{Budgets, Ledger, Wait, wait};
use crate::cert::on_demand::register::{Content, Entry, Standing, Totals};
use crate::cert::store::StoreError;
use crate::clock::UnixTime;
use crate::config::{Config, Ownership};
use crate::host::Host;

/// Names in trouble that are told.
const MOST: usize = 20;

/// All custom domains, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Names that are known.
    pub names: usize,
    /// With a certificate and nothing wrong.
    pub served: usize,
    /// Waiting for their first one.
    pub queued: usize,
    /// Failed the last time.
    pub failing: usize,
    /// Waiting for the tenant's record.
    pub unproven: usize,
    /// Without a row.
    pub gone: usize,
    /// Certificates issued since the register began.
    pub issued_total: u64,
    /// Failed tries since the register began.
    pub failed_total: u64,
    /// Orders in the last hour.
    pub orders_last_hour: usize,
    /// Orders that may still be made in this hour.
    pub budget_left: usize,
    /// Of them, for first certificates.
    pub budget_left_new: usize,
    /// Some of those that fail or are not proven, the nearest to their end first.
    pub troubled: Vec<Domain>,
}

/// One custom domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Domain {
    /// Its name.
    pub host: String,
    /// Whose it is.
    pub tenant: String,
    /// How it is doing.
    pub standing: Standing,
    /// The certificate's number in the store; none if there is no certificate.
    pub generation: Option<u64>,
    /// Its end.
    pub not_after: Option<String>,
    /// When its renewal is due.
    pub renew_at: Option<String>,
    /// Nothing is tried before this time.
    pub next: Option<String>,
    /// Since when there is no row.
    pub gone_since: Option<String>,
    /// How many names come before it, if its turn is to come.
    pub before: Option<usize>,
    /// The key of the budget that is spent, if that is what it waits for.
    pub budget: Option<&'static str>,
    /// Until when that budget is spent at least.
    pub budget_until: Option<String>,
    /// Whether the tenant has shown that it is its own; none if nothing is asked.
    pub proven: Option<bool>,
    /// What is wrong: cause and hint.
    pub detail: Option<String>,
    /// Whether the certificate has come to its end.
    #[serde(skip)]
    pub ended: bool,
}

/// What all names are judged by.
struct Frame<'c> {
    config: &'c Config,
    content: &'c Content,
    ledger: Ledger<'c>,
    now: UnixTime,
}

impl<'c> Frame<'c> {
    fn new(config: &'c Config, content: &'c Content, now: UnixTime) -> Self {
        let budgets = Budgets::new(&config.on_demand);
        Self {
            config,
            content,
            ledger: Ledger::of(content, &budgets, now),
            now,
        }
    }
}

impl Summary {
    /// Reads the register. None if custom domains are off.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(config: &Config, now: UnixTime) -> Result<Option<Self>, StoreError> {
        if !config.on_demand.enabled {
            return Ok(None);
        }
        let content = Content::read(&config.state_dir)?;
        Ok(Some(Self::of(config, &content, now)))
    }

    fn of(config: &Config, content: &Content, now: UnixTime) -> Self {
        let budgets = Budgets::new(&config.on_demand);
        let frame = Frame::new(config, content, now);
        let (left, left_new) = frame.ledger.left();
        let count = |wanted: Standing| {
            let all = content.entries.values();
            all.filter(|entry| entry.standing() == wanted).count()
        };
        let bad =
            |entry: &Entry| matches!(entry.standing(), Standing::Failing | Standing::Unproven);
        let mut troubled: Vec<(&Host, &Entry)> = content
            .entries
            .iter()
            .filter(|(_, entry)| bad(entry))
            .collect();
        // Those with a certificate have something to lose.
        troubled.sort_by_key(|(host, entry)| (entry.generation == 0, entry.not_after, *host));
        let Totals { issued, failed } = content.totals;
        Self {
            names: content.entries.len(),
            served: count(Standing::Served),
            queued: count(Standing::Queued),
            failing: count(Standing::Failing),
            unproven: count(Standing::Unproven),
            gone: count(Standing::Gone),
            issued_total: issued,
            failed_total: failed,
            orders_last_hour: budgets.hour.saturating_sub(left),
            budget_left: left,
            budget_left_new: left_new,
            troubled: troubled
                .into_iter()
                .take(MOST)
                .map(|(host, entry)| Domain::of(host, entry, &frame))
                .collect(),
        }
    }

    /// The numbers in one line, and a line for each name in trouble that is told.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "custom domains: {} names, {} served, {} queued, {} failing, {} unproven, {} without a row; {} orders in the \
             last hour, {} left",
            self.names,
            self.served,
            self.queued,
            self.failing,
            self.unproven,
            self.gone,
            self.orders_last_hour,
            self.budget_left
        )];
        lines.extend(self.troubled.iter().map(Domain::line));
        let told = self.troubled.len();
        let bad = self.failing + self.unproven;
        if bad > told {
            lines.push(format!("  and {} more in trouble", bad - told));
        }
        lines
    }
}

impl Domain {
    /// What is known of one name; none if it is no custom domain that was ever wanted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(config: &Config, host: &Host, now: UnixTime) -> Result<Option<Self>, StoreError> {
        let content = Content::read(&config.state_dir)?;
        let frame = Frame::new(config, &content, now);
        let entry = content.entries.get(host);
        Ok(entry.map(|entry| Self::of(host, entry, &frame)))
    }

    fn of(host: &Host, entry: &Entry, frame: &Frame<'_>) -> Self {
        let (config, now) = (frame.config, frame.now);
        let waits = wait(frame.content, &frame.ledger, host, now);
        let (before, budget) = match waits {
            None => (None, None),
            Some(Wait::Turn(before)) => (Some(before), None),
            Some(Wait::Budget(budget, until)) => (None, Some((budget, until))),
        };
        let stored = entry.generation > 0;
        let time = |time: UnixTime| time.to_string();
        Self {
            host: host.to_string(),
            tenant: entry.tenant.clone(),
            standing: entry.standing(),
            generation: stored.then_some(entry.generation),
            not_after: stored.then(|| time(entry.not_after)),
            renew_at: stored.then(|| time(entry.renew_at)),
            next: (entry.next > now).then(|| time(entry.next)),
            gone_since: entry.gone.map(time),
            before,
            budget: budget.map(|(budget, _)| budget.key()),
            budget_until: budget.map(|(_, until)| time(until)),
            proven: (config.on_demand.proof != Ownership::None).then_some(entry.proven),
            detail: entry.trouble.as_ref().map(|trouble| trouble.detail.clone()),
            ended: stored && entry.not_after <= now,
        }
    }

    /// What it has and what it waits for, for people, with the hint.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut text = match &self.not_after {
            Some(end) if self.ended => format!("its certificate has ended {end}"),
            Some(end) => format!("valid until {end}"),
            None => "no certificate yet".to_owned(),
        };
        if let (Some(due), None) = (&self.renew_at, &self.gone_since) {
            text.push_str(&format!(", renewal due {due}"));
        }
        if let Some(since) = &self.gone_since {
            text.push_str(&format!(", without a row since {since}"));
        }
        match (self.budget, &self.budget_until, self.before) {
            (Some(budget), Some(until), _) => {
                text.push_str(&format!(", waits: `{budget}` is spent until {until}"));
            }
            (_, _, Some(0)) => text.push_str(", waits: the next one in the queue"),
            (_, _, Some(before)) => text.push_str(&format!(", waits: {before} come before it")),
            (_, _, None) => {}
        }
        // Of one that is served it is the next look at the CA's advice, which keeps nobody waiting.
        if let (Some(next), false) = (&self.next, self.standing == Standing::Served) {
            text.push_str(&format!(", nothing is tried before {next}"));
        }
        if let Some(detail) = &self.detail {
            text.push_str(&format!(": {detail}"));
        }
        text
    }

    /// In one line, with the hint.
    #[must_use]
    pub fn line(&self) -> String {
        let certificate = match &self.not_after {
            Some(end) => format!("certificate until {end}"),
            None => "no certificate".to_owned(),
        };
        let mut line = format!(
            "  {}: {}, {certificate}, tenant `{}`",
            self.host,
            self.standing.word(),
            self.tenant
        );
        if let Some(since) = &self.gone_since {
            line.push_str(&format!(", without a row since {since}"));
        }
        if let (Some(budget), Some(until)) = (self.budget, &self.budget_until) {
            line.push_str(&format!(", `{budget}` is spent until {until}"));
        }
        if let Some(next) = &self.next {
            line.push_str(&format!(", next look {next}"));
        }
        if let Some(detail) = &self.detail {
            line.push_str(&format!(": {}", detail.replace('\n', "; ")));
        }
        line
    }
}

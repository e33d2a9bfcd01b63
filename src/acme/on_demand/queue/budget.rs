//! How many orders there may be, and what of that is spent.

use std::collections::HashMap;
use std::time::Duration;

use super::{Task, registered};
use crate::cert::on_demand::register::{Content, Entry, Spent};
use crate::clock::UnixTime;
use crate::config::OnDemand;
use crate::host::Host;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// The budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// Orders in any hour.
    pub hour: usize,
    /// Of them, for first certificates.
    pub hour_new: usize,
    /// First certificates of one tenant in any day.
    pub tenant: usize,
    /// First certificates below one registered domain in any seven days.
    pub domain: usize,
    /// Seconds for which a certificate without a row is renewed.
    pub keep_gone: i64,
}

impl Budgets {
    /// As the configuration says.
    #[must_use]
    pub fn new(config: &OnDemand) -> Self {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let hour = number(config.orders_per_hour);
        Self {
            hour,
            hour_new: (hour - hour / 5).max(1),
            tenant: number(config.tenant_orders_per_day),
            domain: number(config.domain_orders_per_week),
            keep_gone: seconds(config.keep_gone),
        }
    }
}

/// A budget that may hold an order back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// All orders of an hour.
    Hour,
    /// The part of them that is for first certificates.
    HourNew,
    /// First certificates of the tenant in a day.
    Tenant,
    /// First certificates below the registered domain in a week.
    Domain,
}

impl Budget {
    /// The key that sets it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Hour | Self::HourNew => "on_demand.orders_per_hour",
            Self::Tenant => "on_demand.tenant_orders_per_day",
            Self::Domain => "on_demand.domain_orders_per_week",
        }
    }
}

/// What is spent at one time.
#[derive(Debug)]
pub struct Ledger<'c> {
    content: &'c Content,
    budgets: Budgets,
    now: UnixTime,
    hour: usize,
    hour_new: usize,
    tenants: HashMap<&'c str, usize>,
    domains: HashMap<&'c str, usize>,
}

impl<'c> Ledger<'c> {
    /// Counts.
    #[must_use]
    pub fn of(content: &'c Content, budgets: &Budgets, now: UnixTime) -> Self {
        let mut ledger = Self {
            content,
            budgets: *budgets,
            now,
            hour: 0,
            hour_new: 0,
            tenants: HashMap::new(),
            domains: HashMap::new(),
        };
        for spent in lately(content, HOUR, now) {
            ledger.hour += 1;
            ledger.hour_new += usize::from(spent.new);
        }
        for spent in lately(content, DAY, now).filter(|spent| spent.new) {
            *ledger.tenants.entry(&spent.tenant).or_default() += 1;
        }
        for spent in lately(content, WEEK, now).filter(|spent| spent.new) {
            *ledger.domains.entry(registered(&spent.host)).or_default() += 1;
        }
        ledger
    }

    /// Orders that may still be made in this hour: all, and those for first certificates.
    #[must_use]
    pub fn left(&self) -> (usize, usize) {
        let new = self.budgets.hour_new.saturating_sub(self.hour_new);
        let all = self.budgets.hour.saturating_sub(self.hour);
        (all, new.min(all))
    }

    /// The budget that holds this task back, if one does.
    #[must_use]
    pub fn spent(&self, host: &Host, entry: &Entry, task: Task) -> Option<Budget> {
        let used = |counts: &HashMap<&str, usize>, key: &str| counts.get(key).copied().unwrap_or(0);
        match (task, self.left()) {
            (Task::Look, _) => None,
            (_, (0, _)) => Some(Budget::Hour),
            (Task::Urgent | Task::Renewal, _) => None,
            (Task::New, (_, 0)) => Some(Budget::HourNew),
            (Task::New, _) if used(&self.tenants, &entry.tenant) >= self.budgets.tenant => {
                Some(Budget::Tenant)
            }
            (Task::New, _)
                if used(&self.domains, registered(host.as_str())) >= self.budgets.domain =>
            {
                Some(Budget::Domain)
            }
            (Task::New, _) => None,
        }
    }

    /// When a budget that is spent has room again for this name.
    #[must_use]
    pub fn free_at(&self, budget: Budget, host: &Host, entry: &Entry) -> UnixTime {
        let (limit, window) = match budget {
            Budget::Hour => (self.budgets.hour, HOUR),
            Budget::HourNew => (self.budgets.hour_new, HOUR),
            Budget::Tenant => (self.budgets.tenant, DAY),
            Budget::Domain => (self.budgets.domain, WEEK),
        };
        let counts = |spent: &&Spent| match budget {
            Budget::Hour => true,
            Budget::HourNew => spent.new,
            Budget::Tenant => spent.new && spent.tenant == entry.tenant,
            Budget::Domain => spent.new && registered(&spent.host) == registered(host.as_str()),
        };
        let mut times: Vec<UnixTime> = lately(self.content, window, self.now)
            .filter(counts)
            .map(|spent| spent.at)
            .collect();
        times.sort_unstable();
        // When so many have left the window that one more fits.
        let last = times.get(times.len().saturating_sub(limit));
        UnixTime(last.unwrap_or(&self.now).0.saturating_add(window))
    }

    /// See [`Budgets::keep_gone`].
    pub(super) fn keep_gone(&self) -> i64 {
        self.budgets.keep_gone
    }

    /// When the oldest order leaves the hour; none if there is none.
    pub(super) fn hour_free(&self) -> Option<UnixTime> {
        let oldest = lately(self.content, HOUR, self.now).next()?;
        Some(UnixTime(oldest.at.0.saturating_add(HOUR)))
    }
}

fn lately(content: &Content, window: i64, now: UnixTime) -> impl Iterator<Item = &Spent> {
    let orders = content.orders.iter();
    orders.filter(move |spent| now.seconds_since(spent.at).abs() < window)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

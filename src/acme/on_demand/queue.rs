//! Which custom domain comes next, and whether the budgets allow it. Pure: the time is an argument.
//!
//! A first certificate goes before a renewal, but a fifth of the hour's orders is kept for renewals, so that a list of new
//! names never lets an old certificate lapse; among renewals those with little time left go first. Names beyond a budget
//! stay in the queue. Nobody asks twice within the back-off that the entry carries ([`Entry::next`]).

use std::collections::HashMap;
use std::time::Duration;

use crate::cert::on_demand::register::{Content, Entry, Spent};
use crate::clock::UnixTime;
use crate::config::OnDemand;
use crate::host::Host;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// What is to be done for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Its first certificate.
    New,
    /// A renewal with less than a sixth of the lifetime left.
    Urgent,
    /// A renewal.
    Renewal,
    /// Only the CA's advice is asked for. No order.
    Look,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This.
    Run(Host, Task),
    /// Nothing now. Something may be due at this time; none if nothing is to come.
    Rest(Option<UnixTime>),
}

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

    /// Orders that may still be made in this hour: all, and those for first certificates.
    #[must_use]
    pub fn left(&self, content: &Content, now: UnixTime) -> (usize, usize) {
        let hour = Hour::of(content, now);
        let new = self.hour_new.saturating_sub(hour.new);
        let all = self.hour.saturating_sub(hour.all);
        (all, new.min(all))
    }
}

/// The orders of the last hour.
struct Hour {
    all: usize,
    new: usize,
    /// When the oldest of them leaves the hour.
    free: Option<UnixTime>,
}

impl Hour {
    fn of(content: &Content, now: UnixTime) -> Self {
        let mut hour = Self {
            all: 0,
            new: 0,
            free: None,
        };
        for spent in lately(content, HOUR, now) {
            hour.all += 1;
            hour.new += usize::from(spent.new);
            hour.free
                .get_or_insert_with(|| UnixTime(spent.at.0.saturating_add(HOUR)));
        }
        hour
    }
}

/// Chooses. `looks` says whether the CA may be asked for advice now.
#[must_use]
pub fn next(content: &Content, budgets: &Budgets, looks: bool, now: UnixTime) -> Next {
    let (left, left_new) = budgets.left(content, now);
    let mut tenants: HashMap<&str, usize> = HashMap::new();
    for spent in lately(content, DAY, now).filter(|spent| spent.new) {
        *tenants.entry(&spent.tenant).or_default() += 1;
    }
    let mut domains: HashMap<&str, usize> = HashMap::new();
    for spent in lately(content, WEEK, now).filter(|spent| spent.new) {
        *domains.entry(registered(&spent.host)).or_default() += 1;
    }
    let used = |counts: &HashMap<&str, usize>, key: &str| counts.get(key).copied().unwrap_or(0);
    let mut best: Option<(Rank, &Host, Task)> = None;
    let mut wake: Option<UnixTime> = None;
    let mut held = false;
    for (host, entry) in &content.entries {
        let Some(task) = task(entry, budgets.keep_gone, now) else {
            continue;
        };
        if entry.next > now && !is_absurd(entry.next, now) {
            wake = Some(wake.map_or(entry.next, |wake| wake.min(entry.next)));
            continue;
        }
        let room = match task {
            Task::New => {
                left_new > 0
                    && used(&tenants, &entry.tenant) < budgets.tenant
                    && used(&domains, registered(host.as_str())) < budgets.domain
            }
            Task::Urgent | Task::Renewal => left > 0,
            Task::Look => looks,
        };
        if !room {
            held |= task != Task::Look;
            continue;
        }
        let rank = Rank::of(entry, task);
        if best
            .as_ref()
            .is_none_or(|(first, other, _)| (&rank, host) < (first, *other))
        {
            best = Some((rank, host, task));
        }
    }
    if let Some((_, host, task)) = best {
        return Next::Run(host.clone(), task);
    }
    if held {
        // One budget or another: the hour's is the first to have room again.
        let free = Hour::of(content, now).free;
        let free = free.unwrap_or_else(|| UnixTime(now.0.saturating_add(HOUR)));
        wake = Some(wake.map_or(free, |wake| wake.min(free)));
    }
    Next::Rest(wake)
}

/// Smaller goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Task, bool, i64);

impl Rank {
    fn of(entry: &Entry, task: Task) -> Self {
        match task {
            // A client that waits before a list; then who has waited longest.
            Task::New => Self(task, !entry.asked, entry.since.0),
            Task::Urgent | Task::Renewal => Self(task, false, entry.not_after.0),
            Task::Look => Self(task, false, entry.next.0),
        }
    }
}

/// What is to be done for a name, now or later.
fn task(entry: &Entry, keep_gone: i64, now: UnixTime) -> Option<Task> {
    let gone = entry.gone.map(|since| now.seconds_since(since));
    if entry.generation == 0 {
        // The row is what allows a first one.
        return gone.is_none().then_some(Task::New);
    }
    if gone.is_some_and(|gone| gone >= keep_gone) {
        return None;
    }
    if now < entry.renew_at {
        return Some(Task::Look);
    }
    let lifetime = entry.not_after.seconds_since(entry.not_before);
    let left = entry.not_after.seconds_since(now);
    Some(if left < lifetime / 6 {
        Task::Urgent
    } else {
        Task::Renewal
    })
}

/// Whether the certificate of a name without a row is over, so that nothing of it is needed any more.
#[must_use]
pub fn is_over(entry: &Entry, keep_gone: i64, now: UnixTime) -> bool {
    let gone = entry
        .gone
        .is_some_and(|since| now.seconds_since(since) >= keep_gone);
    gone && now >= entry.not_after
}

/// A clock that was set back must not make a wait of months.
fn is_absurd(next: UnixTime, now: UnixTime) -> bool {
    next.seconds_since(now) > 8 * DAY
}

fn lately(content: &Content, window: i64, now: UnixTime) -> impl Iterator<Item = &Spent> {
    let orders = content.orders.iter();
    orders.filter(move |spent| now.seconds_since(spent.at).abs() < window)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The domain that somebody has registered, as CAs count by it; a guess without the Public Suffix List: two labels, and
/// three below a country's short second level, as `co.uk`. A wrong guess delays or costs a request: the CA's own word
/// (429) counts in any case.
#[must_use]
pub fn registered(host: &str) -> &str {
    let mut cuts = host.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), Some(second)) = (cuts.next(), cuts.next()) else {
        return host;
    };
    let label = |from: usize, to: usize| host.get(from..to).unwrap_or_default();
    let country = host.len() - last - 1 == 2;
    let short = label(second + 1, last).len() <= 3;
    let cut = match (country && short, cuts.next()) {
        (false, _) => second,
        (true, Some(third)) => third,
        (true, None) => return host,
    };
    host.get(cut + 1..).unwrap_or(host)
}

#[cfg(test)]
mod tests;

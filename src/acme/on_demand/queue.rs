//! Which custom domain comes next, and whether the budgets allow it. Pure: the time is an argument.
//!
//! A certificate that is about to expire goes before all else, then a first one before a renewal; a fifth of the hour's
//! orders is kept for renewals. So a list of new names never lets an old certificate lapse: neither by its orders nor
//! by its time, since a name whose record is not there costs no order but up to minutes. Who has nothing to lose and
//! has failed already comes last, however many there are. Names beyond a budget stay in the queue. Nobody asks twice
//! within the back-off that the entry carries ([`Entry::next`]).

mod budget;

pub use self::budget::{Budget, Budgets, Ledger};
use crate::cert::on_demand::register::{Content, Entry};
use crate::clock::UnixTime;
use crate::host::Host;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// What is to be done for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Chooses. `looks` says whether the CA may be asked for advice now.
#[must_use]
pub fn next(content: &Content, budgets: &Budgets, looks: bool, now: UnixTime) -> Next {
    let ledger = Ledger::of(content, budgets, now);
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
            Task::Look => looks,
            Task::New | Task::Urgent | Task::Renewal => ledger.spent(host, entry, task).is_none(),
        };
        if !room {
            held |= task != Task::Look;
            continue;
        }
        let rank = Rank::of(entry, task, now);
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
        let free = ledger
            .hour_free()
            .unwrap_or_else(|| UnixTime(now.0.saturating_add(HOUR)));
        wake = Some(wake.map_or(free, |wake| wake.min(free)));
    }
    Next::Rest(wake)
}

/// What a name waits for that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// So many others come first.
    Turn(usize),
    /// A budget is spent, until this time at least.
    Budget(Budget, UnixTime),
}

/// What a name waits for. None if nothing is due for it, or not before a time that is in its entry.
#[must_use]
pub fn wait(content: &Content, ledger: &Ledger<'_>, host: &Host, now: UnixTime) -> Option<Wait> {
    let due = |entry: &Entry| {
        let later = entry.next > now && !is_absurd(entry.next, now);
        let task = task(entry, ledger.keep_gone(), now).filter(|task| *task != Task::Look);
        task.filter(|_| !later)
    };
    let entry = content.entries.get(host)?;
    let task = due(entry)?;
    if let Some(budget) = ledger.spent(host, entry, task) {
        return Some(Wait::Budget(budget, ledger.free_at(budget, host, entry)));
    }
    let own = (Rank::of(entry, task, now), host);
    let first = |(other, entry): &(&Host, &Entry)| {
        due(entry).is_some_and(|task| {
            (Rank::of(entry, task, now), *other) < own && ledger.spent(other, entry, task).is_none()
        })
    };
    Some(Wait::Turn(content.entries.iter().filter(first).count()))
}

/// Smaller goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Turn, bool, i64);

/// From the first to the last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Urgent,
    New,
    Renewal,
    Look,
    /// After a failure, for a name that has no certificate in its dates. It may be one of many that nobody will ever
    /// mend, so it is behind the looks too, of which a run has only so many.
    Again,
}

impl Rank {
    fn of(entry: &Entry, task: Task, now: UnixTime) -> Self {
        let lost = entry.generation == 0 || entry.not_after <= now;
        match task {
            // Who has waited longest since its time.
            Task::New | Task::Urgent if lost && entry.trouble.is_some() => {
                Self(Turn::Again, false, entry.next.0)
            }
            // A client that waits before a list; then who has waited longest.
            Task::New => Self(Turn::New, !entry.asked, entry.since.0),
            Task::Urgent => Self(Turn::Urgent, false, entry.not_after.0),
            Task::Renewal => Self(Turn::Renewal, false, entry.not_after.0),
            Task::Look => Self(Turn::Look, false, entry.next.0),
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

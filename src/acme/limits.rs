//! Limits of a CA that are wider than one lineage, shared by all of them and kept over restarts.
//!
//! Two things: times before which the CA wants no request (from `Retry-After`, with the scope to which they apply), and
//! the failed validations of the last day. Let's Encrypt allows five failed validations for each name, account and hour
//! and pauses a name after 1,152 in a row; ours stay at [`PER_HOUR`] and [`PER_DAY`]. A validation is counted before
//! the challenge is offered and taken back when it went well, so a crash in between counts as a failure until the
//! order is taken up again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::AcmeError;
use super::view::SKEW;
use crate::cert::sealed::Sealed;
use crate::cert::store::Store;
use crate::clock::UnixTime;
use crate::host::Host;

/// Failed validations of one name in any hour.
pub const PER_HOUR: usize = 4;
/// Failed validations of one name in any day.
pub const PER_DAY: usize = 60;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// No block lasts longer, whatever the clocks say.
const LONGEST: i64 = 8 * DAY;

/// To what a limit of the CA applies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "kebab-case")]
pub enum Scope {
    /// This set of names only; also what any failure has that is no limit.
    #[default]
    NameSet,
    /// One name, in whatever set.
    Identifier(String),
    /// A registered domain and every name below it.
    RegisteredDomain(String),
    /// Our account at the CA.
    Account,
    /// Whatever this machine asks of the CA.
    Address,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameSet => f.write_str("this set of names"),
            Self::Identifier(name) => write!(f, "the name `{name}`"),
            Self::RegisteredDomain(name) => write!(f, "the domain `{name}`"),
            Self::Account => f.write_str("the ACME account"),
            Self::Address => f.write_str("this machine's address"),
        }
    }
}

impl Scope {
    /// Whether a limit with this scope holds for a lineage that did not meet it itself.
    #[must_use]
    pub fn covers(&self, lineage: &Host) -> bool {
        let lineage = lineage.as_str();
        match self {
            Self::NameSet => false,
            Self::Identifier(name) => name.strip_prefix("*.").unwrap_or(name) == lineage,
            Self::RegisteredDomain(name) => lineage
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Self::Account | Self::Address => true,
        }
    }
}

/// A time before which a CA wants no request of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The CA's directory URL.
    pub directory: String,
    /// To what it applies.
    pub scope: Scope,
    /// When the CA said so.
    pub at: UnixTime,
    /// Until when.
    pub until: UnixTime,
    /// The CA's words.
    pub detail: String,
}

/// A validation that was asked for and did not go well, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Spent {
    directory: String,
    name: String,
    order: String,
    at: UnixTime,
}

/// `limits.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// The times to wait for, also those that are over until the next write.
    pub blocks: Vec<Block>,
    spent: Vec<Spent>,
}

impl Limits {
    /// Reads what all lineages share; a damaged file gives way to the one before it, and that to none.
    ///
    /// # Errors
    /// [`AcmeError::Store`] if the file cannot be read for another reason than damage.
    pub fn load(store: &dyn Store) -> Result<Self, AcmeError> {
        Ok(Self::read(store.limits()?))
    }

    fn read(found: Sealed) -> Self {
        let content = match found {
            Sealed::Missing => return Self::default(),
            Sealed::Good(content) => content,
            Sealed::Previous(content) => {
                tracing::warn!("`limits.json` is damaged; the one before it is used");
                content
            }
            Sealed::Damaged => {
                tracing::warn!("`limits.json` and the one before it are damaged");
                return Self::default();
            }
        };
        serde_json::from_slice(&content).unwrap_or_else(|error| {
            tracing::warn!(%error, "`limits.json` is not understood");
            Self::default()
        })
    }

    /// Changes what all lineages share, while nobody else does, and forgets what is over.
    pub(super) fn change(
        store: &dyn Store,
        now: UnixTime,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), AcmeError> {
        let mut change = Some(change);
        store.change_limits(&mut |found| {
            let mut limits = Self::read(found);
            limits.forget(now);
            if let Some(change) = change.take() {
                change(&mut limits);
            }
            serde_json::to_vec_pretty(&limits).unwrap_or_default()
        })?;
        Ok(())
    }

    fn forget(&mut self, now: UnixTime) {
        self.blocks.retain(|block| holds(block, now));
        self.spent
            .retain(|spent| now.seconds_since(spent.at).abs() < DAY);
    }

    /// The longest block that holds for a lineage at this CA.
    #[must_use]
    pub fn block(&self, directory: &str, lineage: &Host, now: UnixTime) -> Option<&Block> {
        let mine = self.blocks.iter().filter(|block| {
            block.directory == directory && block.scope.covers(lineage) && holds(block, now)
        });
        mine.max_by_key(|block| block.until)
    }

    /// Adds a block. One of the same scope gives way; the CA's last word counts.
    pub(super) fn add_block(&mut self, block: Block) {
        self.blocks
            .retain(|old| old.directory != block.directory || old.scope != block.scope);
        self.blocks.push(block);
    }

    /// When `count` more validations of a name may be asked for: none if now.
    #[must_use]
    pub fn next_validation(
        &self,
        directory: &str,
        name: &str,
        count: usize,
        now: UnixTime,
    ) -> Option<UnixTime> {
        let mut times: Vec<UnixTime> = self
            .spent
            .iter()
            .filter(|spent| spent.directory == directory && spent.name == name)
            .map(|spent| spent.at)
            .collect();
        times.sort();
        let free = |allowed: usize, window: i64| {
            let inside: Vec<_> = times
                .iter()
                .filter(|at| now.seconds_since(**at).abs() < window)
                .collect();
            // So many of the oldest have to leave the window first.
            let surplus = (inside.len() + count).checked_sub(allowed)?;
            let last = surplus.min(inside.len()).checked_sub(1)?;
            let at = inside.get(last)?;
            Some(UnixTime(at.0.saturating_add(window)))
        };
        free(PER_HOUR, HOUR).max(free(PER_DAY, DAY))
    }

    /// Counts validations of a name before they are asked for; those of this order are not counted twice.
    pub(super) fn spend(
        &mut self,
        directory: &str,
        name: &str,
        order: &str,
        count: usize,
        now: UnixTime,
    ) {
        self.give_back(order);
        let spent = Spent {
            directory: directory.to_owned(),
            name: name.to_owned(),
            order: order.to_owned(),
            at: now,
        };
        self.spent.extend(std::iter::repeat_n(spent, count));
    }

    /// The validations of this order did not fail.
    pub(super) fn give_back(&mut self, order: &str) {
        self.spent.retain(|spent| spent.order != order);
    }
}

fn holds(block: &Block, now: UnixTime) -> bool {
    // A clock that was set back must not make a wait of years, nor what was noted before that one of days.
    let sane = block.until.seconds_since(now) <= LONGEST && block.at.seconds_since(now) <= SKEW;
    now < block.until && sane
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cert::store::file::FileStore;

    const CA: &str = "https://ca.test/dir";

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn block(scope: Scope, until: i64) -> Block {
        Block {
            directory: CA.to_owned(),
            scope,
            at: UnixTime(0),
            until: UnixTime(until),
            detail: String::new(),
        }
    }

    #[test]
    fn a_scope_covers_what_it_names_and_nothing_else() {
        let registered = Scope::RegisteredDomain("example.test".to_owned());
        for (lineage, covered) in [
            ("example.test", true),
            ("a.b.example.test", true),
            ("badexample.test", false),
            ("other.test", false),
        ] {
            assert_eq!(registered.covers(&host(lineage)), covered, "{lineage}");
            assert!(Scope::Account.covers(&host(lineage)));
            assert!(!Scope::NameSet.covers(&host(lineage)));
        }
        assert!(Scope::Identifier("*.example.test".to_owned()).covers(&host("example.test")));
        assert!(!Scope::Identifier("example.test".to_owned()).covers(&host("a.example.test")));
    }

    #[test]
    fn blocks_survive_and_end_and_belong_to_one_ca() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::new(folder.path());
        Limits::change(&store, UnixTime(0), |limits| {
            limits.add_block(block(Scope::Account, 100));
            limits.add_block(block(Scope::Address, 50));
        })
        .unwrap();
        let limits = Limits::load(&store).unwrap();
        let until = |directory: &str, now| {
            let block = limits.block(directory, &host("x.test"), UnixTime(now));
            block.map(|block| block.until.0)
        };
        assert_eq!(until(CA, 49), Some(100));
        assert_eq!(until(CA, 100), None);
        assert_eq!(until("https://other.test/dir", 49), None);
        assert_eq!(until(CA, 49 - LONGEST), None, "a clock far behind");
        Limits::change(&store, UnixTime(60), |limits| {
            limits.add_block(block(Scope::Account, 90));
        })
        .unwrap();
        assert_eq!(Limits::load(&store).unwrap().blocks.len(), 1);
    }

    #[test]
    fn a_block_that_was_noted_in_the_future_is_none() {
        let mut limits = Limits::default();
        let at = UnixTime(1_000_000_000);
        let noted = block(Scope::Account, at.0 + HOUR);
        limits.add_block(Block { at, ..noted });
        for (back, holds) in [(0, true), (SKEW, true), (SKEW + 1, false), (5 * DAY, false)] {
            let now = UnixTime(at.0 - back);
            let found = limits.block(CA, &host("x.test"), now);
            assert_eq!(found.is_some(), holds, "{back}");
        }
    }

    #[test]
    fn a_validation_that_went_well_costs_nothing() {
        let mut limits = Limits::default();
        limits.spend(CA, "x.test", "order-1", 2, UnixTime(0));
        limits.spend(CA, "x.test", "order-1", 2, UnixTime(10));
        let next =
            |limits: &Limits, count| limits.next_validation(CA, "x.test", count, UnixTime(20));
        assert_eq!(next(&limits, 2), None, "the same order is counted once");
        assert_eq!(next(&limits, 3), Some(UnixTime(10 + HOUR)));
        limits.give_back("order-1");
        assert_eq!(next(&limits, 4), None);
        assert_eq!(
            limits.next_validation("other", "x.test", 4, UnixTime(20)),
            None
        );
    }

    proptest! {
        /// Whoever asks as often as allowed never has more than four failures in any hour and sixty in any day.
        #[test]
        fn never_more_than_the_budget(
            pauses in prop::collection::vec(0i64..2000, 1..400),
            count in 1usize..=PER_HOUR,
        ) {
            let mut limits = Limits::default();
            let mut times = Vec::new();
            let mut now = UnixTime(1_000_000);
            for (number, pause) in pauses.into_iter().enumerate() {
                now = UnixTime(now.0 + pause);
                if limits.next_validation(CA, "x.test", count, now).is_none() {
                    limits.spend(CA, "x.test", &number.to_string(), count, now);
                    times.extend(std::iter::repeat_n(now.0, count));
                } else {
                    let at = limits.next_validation(CA, "x.test", count, now).unwrap();
                    prop_assert!(at > now && at.0 <= now.0 + DAY);
                }
                limits.forget(now);
            }
            for (window, allowed) in [(HOUR, PER_HOUR), (DAY, PER_DAY)] {
                for &start in &times {
                    let inside = times.iter().filter(|&&at| at >= start && at < start + window);
                    prop_assert!(inside.count() <= allowed);
                }
            }
        }
    }
}

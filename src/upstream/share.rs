//! The most that one tenant may hold of a group: places on its servers, and places in its queue.

use std::sync::Arc;

use crate::net::quota::{Quota, Taken};

/// What one tenant may hold, and the counts of what it does. The counts are shared by all workers.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Its requests on servers.
    pub places: Arc<Quota>,
    /// The most of them.
    pub most_places: u32,
    /// Its requests that wait.
    pub waiting: Arc<Quota>,
    /// The most of them.
    pub most_waiting: u32,
}

impl Claim {
    /// Whether one more place may be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.places.taken() < self.most_places
    }

    pub(super) fn place(&self) -> Option<Taken> {
        self.places.take(self.most_places)
    }

    pub(super) fn wait(&self) -> Option<Taken> {
        self.waiting.take(self.most_waiting)
    }
}

/// `percent` of `whole`, at least 1.
#[must_use]
pub fn part(whole: u32, percent: u32) -> u32 {
    let part = u64::from(whole) * u64::from(percent) / 100;
    u32::try_from(part).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_rounded_down_but_never_nothing() {
        assert_eq!((part(10, 40), part(9, 50), part(1, 1)), (4, 4, 1));
        assert_eq!(part(u32::MAX, 100), u32::MAX);
    }
}

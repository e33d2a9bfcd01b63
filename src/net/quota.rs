//! A count with a cap, shared by workers: places that are taken and given back.
//!
//! One atomic; nobody waits for another core and nobody is woken by one. The cap comes with each attempt, so a reload that
//! changes it needs to tell nobody.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// How many places are taken.
#[derive(Debug, Default)]
pub struct Quota(AtomicU32);

/// A place, given back by `Drop`.
#[derive(Debug)]
pub struct Taken(Arc<Quota>);

impl Quota {
    /// Places taken now.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// A place, unless `most` are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>, most: u32) -> Option<Taken> {
        let free = |taken: u32| (taken < most).then_some(taken + 1);
        let taken = self.0.fetch_update(Relaxed, Relaxed, free);
        taken.is_ok().then(|| Taken(Arc::clone(self)))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_cap_and_never_more() {
        let quota = Arc::new(Quota::default());
        let first = quota.take(2).unwrap();
        let _second = quota.take(2).unwrap();
        assert!(quota.take(2).is_none());
        drop(first);
        assert_eq!(quota.taken(), 1);
        assert!(quota.take(1).is_none(), "a cap that was lowered");
        assert!(quota.take(2).is_some());
    }
}

//! Requests of one worker that wait because every server is at its limit, first come, first served; but those whose tenant
//! holds its whole share of the group let others go first.
//!
//! Whoever gives something back on this worker wakes the first one; what other workers give back is seen at the next
//! tick, so that no core ever wakes another. The length and the wait are bounded by the caller.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::share::Claim;

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Waker,
    /// What its tenant may hold; while that is spent, others go first.
    claim: Option<Claim>,
}

impl Waiting {
    fn may_go(&self) -> bool {
        self.claim.as_ref().is_none_or(Claim::has_room)
    }
}

/// The waiting requests of one worker for one group.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: RefCell<VecDeque<Waiting>>,
    next: Cell<u64>,
    length: Cell<usize>,
}

impl Queue {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length.get() == 0
    }

    /// Whether nobody waits who only wants a server with room.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.is_empty() || !self.waiting.borrow().iter().any(Waiting::may_go)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length.get()
    }

    /// Lets the first one look again.
    pub fn wake(&self) {
        if self.is_empty() {
            return;
        }
        if let Some(first) = self.waiting.borrow().iter().find(|one| one.may_go()) {
            first.waker.wake_by_ref();
        }
    }

    /// Waits until it is this request's turn and `attempt` gives something. It has no turn while `claim` is spent.
    pub async fn wait<T>(
        &self,
        claim: Option<&Claim>,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> T {
        let ticket = self.next.get();
        self.next.set(ticket.wrapping_add(1));
        let _place = Place {
            queue: self,
            ticket,
        };
        poll_fn(|cx| {
            let mut waiting = self.waiting.borrow_mut();
            match waiting.iter_mut().find(|one| one.ticket == ticket) {
                Some(own) => own.waker.clone_from(cx.waker()),
                None => waiting.push_back(Waiting {
                    ticket,
                    waker: cx.waker().clone(),
                    claim: claim.cloned(),
                }),
            }
            self.length.set(waiting.len());
            let first = waiting.iter().find(|one| one.may_go());
            let first = first.is_some_and(|one| one.ticket == ticket);
            drop(waiting);
            match first.then(&mut attempt).flatten() {
                Some(got) => Poll::Ready(got),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// Leaves the queue when the wait is over, whatever ended it, and lets the next one look.
struct Place<'q> {
    queue: &'q Queue,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting.borrow_mut();
        waiting.retain(|one| one.ticket != self.ticket);
        self.queue.length.set(waiting.len());
        drop(waiting);
        self.queue.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn first_come_first_served_and_leaving_lets_the_next_one_in() {
        let queue = Queue::default();
        let room = Cell::new(0_u32);
        let take = || {
            let left = room.get().checked_sub(1)?;
            room.set(left);
            Some(())
        };
        let cx = &mut Context::from_waker(Waker::noop());
        let mut first = Box::pin(queue.wait(None, take));
        let mut second = Box::pin(queue.wait(None, take));
        let mut third = pin!(queue.wait(None, take));
        assert!(first.as_mut().poll(cx).is_pending());
        assert!(second.as_mut().poll(cx).is_pending());
        assert!(third.as_mut().poll(cx).is_pending());
        assert_eq!(queue.len(), 3);
        room.set(1);
        assert!(third.as_mut().poll(cx).is_pending(), "not its turn");
        assert!(first.as_mut().poll(cx).is_ready());
        drop(first);
        room.set(1);
        drop(second);
        assert!(third.as_mut().poll(cx).is_ready());
    }

    #[test]
    fn who_holds_a_whole_share_lets_others_go_first() {
        use std::sync::Arc;

        use crate::net::quota::Quota;
        let places = Arc::new(Quota::default());
        let claim = Claim {
            places: Arc::clone(&places),
            most_places: 1,
            waiting: Arc::default(),
            most_waiting: 5,
        };
        let held = places.take(1);
        let queue = Queue::default();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut greedy = Box::pin(queue.wait(Some(&claim), || Some(())));
        assert!(greedy.as_mut().poll(cx).is_pending());
        assert!(!queue.is_empty() && queue.is_clear());
        let mut other = Box::pin(queue.wait(None, || Some(())));
        assert!(
            other.as_mut().poll(cx).is_ready(),
            "it is the first that may go"
        );
        drop(other);
        drop(held);
        assert!(!queue.is_clear());
        assert!(greedy.as_mut().poll(cx).is_ready());
    }
}

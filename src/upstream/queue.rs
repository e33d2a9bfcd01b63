//! Requests of one worker that wait because every server is at its limit, first come, first served.
//!
//! Whoever gives something back on this worker wakes the first one; what other workers give back is seen at the next
//! tick, so that no core ever wakes another. The length and the wait are bounded by the caller.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// The waiting requests of one worker for one group.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    next: Cell<u64>,
    length: Cell<usize>,
}

impl Queue {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length.get() == 0
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
        if let Some((_, waker)) = self.waiting.borrow().front() {
            waker.wake_by_ref();
        }
    }

    /// Waits until it is this request's turn and `attempt` gives something.
    pub async fn wait<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let ticket = self.next.get();
        self.next.set(ticket.wrapping_add(1));
        let _place = Place {
            queue: self,
            ticket,
        };
        poll_fn(|cx| {
            let mut waiting = self.waiting.borrow_mut();
            match waiting.iter_mut().find(|(own, _)| *own == ticket) {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None => waiting.push_back((ticket, cx.waker().clone())),
            }
            self.length.set(waiting.len());
            let first = waiting.front().is_some_and(|(own, _)| *own == ticket);
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
        waiting.retain(|(own, _)| *own != self.ticket);
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
        let mut first = Box::pin(queue.wait(take));
        let mut second = Box::pin(queue.wait(take));
        let mut third = pin!(queue.wait(take));
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
}

//! Requests of one worker that wait because every server is at its limit, first come, first served; but those whose tenant
//! holds its whole share of the group let others go first, and so do those that want what is not there now: a request
//! that needs a connection of its own holds up none that a stream of an open one would do for.
//!
//! Whoever gives something back on this worker wakes the first one of each kind; what other workers give back is seen at
//! the next tick, so that no core ever wakes another. The length and the wait are bounded by the caller.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::share::Claim;

/// What a request asks of the server that it goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// A connection of HTTP/1.1.
    pub only_http1: bool,
    /// None of the kept connections: one of them was dead.
    pub fresh: bool,
    /// None of these servers: one bit for each of the first 64, by their place.
    pub refused: u64,
}

impl Wants {
    /// Whether it has nothing to do with a server, by its place.
    #[must_use]
    pub fn has_refused(self, index: usize) -> bool {
        self.refused & bit(index) != 0
    }

    /// Leaves a server out from now on.
    pub fn refuse(&mut self, index: usize) {
        self.refused |= bit(index);
    }
}

fn bit(index: usize) -> u64 {
    u32::try_from(index)
        .ok()
        .and_then(|index| 1_u64.checked_shl(index))
        .unwrap_or(0)
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Waker,
    wants: Wants,
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

    /// Whether nobody waits who could go now: who may, and for whom there is `room`.
    pub fn is_clear(&self, room: impl Fn(Wants) -> bool) -> bool {
        self.is_empty() || {
            let waiting = self.waiting.borrow();
            !waiting.iter().any(|one| one.may_go() && room(one.wants))
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length.get()
    }

    /// Lets the first one look again, and the first of those that want something else.
    pub fn wake(&self) {
        if self.is_empty() {
            return;
        }
        let waiting = self.waiting.borrow();
        for (at, one) in waiting.iter().enumerate() {
            // The first of its kind is near the front: nearly all are of one kind.
            let is_first = || {
                let mut before = waiting.iter().take(at);
                !before.any(|other| other.wants == one.wants && other.may_go())
            };
            if one.may_go() && is_first() {
                one.waker.wake_by_ref();
            }
        }
    }

    /// Waits until it is this request's turn and `attempt` gives something. It has no turn while `claim` is spent, nor
    /// while one before it could go: `room` tells whether there is something for what that one wants.
    pub async fn wait<T>(
        &self,
        (claim, wants): (Option<&Claim>, Wants),
        room: impl Fn(Wants) -> bool,
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
                    wants,
                    claim: claim.cloned(),
                }),
            }
            self.length.set(waiting.len());
            let mut able = waiting.iter().filter(|one| one.may_go());
            let first = able.find(|one| one.ticket == ticket || room(one.wants));
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
pub(super) mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::{Context, Wake};

    use super::*;

    /// Of no tenant with a share, and content with any connection.
    const ANY: (Option<&Claim>, Wants) = (
        None,
        Wants {
            only_http1: false,
            fresh: false,
            refused: 0,
        },
    );

    fn always(_: Wants) -> bool {
        true
    }

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
        let mut first = Box::pin(queue.wait(ANY, always, take));
        let mut second = Box::pin(queue.wait(ANY, always, take));
        let mut third = pin!(queue.wait(ANY, always, take));
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
        let mut greedy = Box::pin(queue.wait((Some(&claim), ANY.1), always, || Some(())));
        assert!(greedy.as_mut().poll(cx).is_pending());
        assert!(!queue.is_empty() && queue.is_clear(always));
        let mut other = Box::pin(queue.wait(ANY, always, || Some(())));
        assert!(
            other.as_mut().poll(cx).is_ready(),
            "it is the first that may go"
        );
        drop(other);
        drop(held);
        assert!(!queue.is_clear(always));
        assert!(greedy.as_mut().poll(cx).is_ready());
    }

    #[test]
    fn who_wants_what_is_not_there_lets_others_go_first() {
        let queue = Queue::default();
        let own = Wants {
            only_http1: true,
            ..Wants::default()
        };
        let connections = Cell::new(false);
        let room = |wants: Wants| !wants.only_http1 || connections.get();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut websocket =
            Box::pin(queue.wait((None, own), room, || connections.get().then_some(())));
        assert!(websocket.as_mut().poll(cx).is_pending());
        assert!(!queue.is_empty() && queue.is_clear(room));
        let (woken, waker) = counting();
        let streams = Cell::new(false);
        let mut plain = Box::pin(queue.wait(ANY, room, || streams.get().then_some(())));
        assert!(
            plain
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        streams.set(true);
        queue.wake();
        assert_eq!(woken.load(Relaxed), 1, "the first of each kind is woken");
        assert!(plain.as_mut().poll(cx).is_ready());
        drop(plain);
        connections.set(true);
        assert!(!queue.is_clear(room), "nobody overtakes one who could go");
        let mut late = Box::pin(queue.wait(ANY, room, || Some(())));
        assert!(late.as_mut().poll(cx).is_pending());
        assert!(websocket.as_mut().poll(cx).is_ready());
    }

    /// A waker that counts.
    pub(in crate::upstream) fn counting() -> (Arc<AtomicUsize>, Waker) {
        struct Counter(Arc<AtomicUsize>);
        impl Wake for Counter {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let count = Arc::default();
        (Arc::clone(&count), Waker::from(Arc::new(Counter(count))))
    }
}

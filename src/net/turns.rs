//! Turns at work that costs much: one handshake, then everything else that is ready, then the next handshake.
//!
//! A rush of handshakes would hold up all other work of a worker for as long as it lasts, because each is a third of a
//! millisecond of pure computing. A task takes a turn before it computes and gives it back when all that was ready had its
//! own, so that requests pass in between; after some handshakes the sockets are looked at for new ones. Tasks wait in
//! order; how many may wait is limited, and no address may take more than half of the places. A turn is never held while
//! waiting for a client.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Poll;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::permit::network;

/// Turns between two looks at the sockets, which cost an `epoll_wait` and mostly an `accept` that finds nothing; what comes
/// in meanwhile waits for a millisecond or so.
const LOOK_EVERY: u32 = 4;

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// The turns of one worker.
#[derive(Debug)]
pub struct Turns {
    /// First come, first served; of this worker only, so that nobody wakes another core.
    turns: Semaphore,
    waiting: Cell<usize>,
    ended: Cell<u32>,
    by_address: RefCell<HashMap<IpAddr, usize, foldhash::fast::RandomState>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(1),
            waiting: Cell::new(0),
            ended: Cell::new(0),
            by_address: RefCell::default(),
        }
    }
}

/// A turn. Give it back by [`Turn::end`], or by dropping it.
#[derive(Debug)]
pub struct Turn<'t> {
    turns: &'t Turns,
    permit: Option<SemaphorePermit<'t>>,
}

impl Turns {
    /// Waits for a turn, for the client at `address`, if fewer than `most` wait.
    ///
    /// # Errors
    /// [`Busy`] at once if they do, or if half of the places are this address's.
    pub async fn take(&self, address: IpAddr, most: usize) -> Result<Turn<'_>, Busy> {
        let permit = if let Ok(permit) = self.turns.try_acquire() {
            Some(permit)
        } else {
            let _place = Place::take(self, network(address), most)?;
            // Never closed, so never an error.
            self.turns.acquire().await.ok()
        };
        Ok(Turn {
            turns: self,
            permit,
        })
    }
}

impl Turn<'_> {
    /// Gives it back when all tasks that are ready have had their turn.
    pub async fn end(self) {
        let ended = self.turns.ended.get().wrapping_add(1);
        self.turns.ended.set(ended);
        if ended.is_multiple_of(LOOK_EVERY) {
            // Comes back after a look at the sockets.
            tokio::task::yield_now().await;
        } else {
            to_the_end_of_the_line().await;
        }
        drop(self.permit);
    }
}

/// Lets the tasks go on that are ready.
async fn to_the_end_of_the_line() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A place among those who wait.
struct Place<'t> {
    turns: &'t Turns,
    address: IpAddr,
}

impl<'t> Place<'t> {
    fn take(turns: &'t Turns, address: IpAddr, most: usize) -> Result<Self, Busy> {
        let mut by_address = turns.by_address.borrow_mut();
        let own = by_address.entry(address).or_insert(0);
        if turns.waiting.get() >= most || *own >= most.div_ceil(2) {
            if *own == 0 {
                by_address.remove(&address);
            }
            return Err(Busy);
        }
        *own += 1;
        turns.waiting.set(turns.waiting.get() + 1);
        Ok(Self { turns, address })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let turns = self.turns;
        turns.waiting.set(turns.waiting.get().saturating_sub(1));
        let mut by_address = turns.by_address.borrow_mut();
        if let Some(own) = by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Turns that several tasks of a worker hold.
pub type SharedTurns = Rc<Turns>;

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn places_are_limited_in_all_and_for_an_address() {
        let turns = Turns::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = Box::pin(turns.take(at(1), 8));
        let Poll::Ready(turn) = first.as_mut().poll(&mut cx) else {
            unreachable!("free");
        };
        let turn = turn.unwrap();
        // Four of eight places for each address.
        let mut waiting = Vec::new();
        for last in 1..=2 {
            for _ in 0..4 {
                let mut one = Box::pin(turns.take(at(last), 8));
                assert!(one.as_mut().poll(&mut cx).is_pending());
                waiting.push(one);
            }
            let mut fifth = Box::pin(turns.take(at(last), 8));
            assert!(matches!(
                fifth.as_mut().poll(&mut cx),
                Poll::Ready(Err(Busy))
            ));
        }
        let mut ninth = Box::pin(turns.take(at(9), 8));
        assert!(matches!(
            ninth.as_mut().poll(&mut cx),
            Poll::Ready(Err(Busy))
        ));
        // In order, and whoever gives up waiting leaves nothing behind.
        drop(turn);
        let served = waiting
            .iter_mut()
            .rev()
            .map(|one| one.as_mut().poll(&mut cx));
        let served: Vec<bool> = served.map(|polled| polled.is_ready()).collect();
        assert_eq!(
            served,
            [false, false, false, false, false, false, false, true]
        );
        waiting.clear();
        assert!(turns.by_address.borrow().is_empty() && turns.waiting.get() == 0);
    }
}

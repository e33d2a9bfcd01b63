//! Turns at work that costs much: one handshake, then everything else that is ready, then the next handshake.
//!
//! A rush of handshakes would hold up all other work of a worker for as long as it lasts, because each is a third of a
//! millisecond of pure computing. A task takes a turn before it computes. [`Turns::pass_on`], a task of the worker, gives it
//! to the next when all that was ready had its own, so that requests pass in between; after some handshakes the sockets are
//! looked at for new ones. (The task of the connection could wait for that itself, but it is large: it would be fetched into
//! the cache once more.) Tasks wait in order; how many may wait is limited, and no address may take more than half of the
//! places. A turn is never held while waiting for a client.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

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
    /// A turn has ended.
    over: Notify,
    waiting: Cell<usize>,
    by_address: RefCell<HashMap<IpAddr, usize, foldhash::fast::RandomState>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(1),
            over: Notify::new(),
            waiting: Cell::new(0),
            by_address: RefCell::default(),
        }
    }
}

/// A turn. Give it back by [`Turn::end`]; dropped, it is the next one's at once.
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

    /// Passes turns on that have ended, for as long as the worker lives.
    pub async fn pass_on(&self) -> Infallible {
        loop {
            for _ in 1..LOOK_EVERY {
                // Woken at the end of the line of all tasks that are ready.
                self.over.notified().await;
                self.turns.add_permits(1);
            }
            self.over.notified().await;
            // Comes back after a look at the sockets.
            tokio::task::yield_now().await;
            self.turns.add_permits(1);
        }
    }
}

impl Turn<'_> {
    /// Ends it. The next begins when [`Turns::pass_on`] had its own turn.
    pub fn end(self) {
        if let Some(permit) = self.permit {
            permit.forget();
            self.turns.over.notify_one();
        }
    }
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;
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

    #[test]
    fn a_turn_that_has_ended_is_passed_on_behind_all_that_is_ready() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        let said = Rc::clone(&order);
        runtime.block_on(async move {
            let turns = Rc::new(Turns::default());
            let passes = Rc::clone(&turns);
            drop(crate::net::local::spawn(
                async move { passes.pass_on().await },
            ));
            let mut tasks = Vec::new();
            for task in 0..10 {
                let (turns, said) = (Rc::clone(&turns), Rc::clone(&said));
                tasks.push(crate::net::local::spawn(async move {
                    let turn = turns.take(at(task), 100).await.unwrap();
                    said.borrow_mut().push(format!("turn {task}"));
                    turn.end();
                    let said = Rc::clone(&said);
                    // Ready before the turn is passed on.
                    drop(crate::net::local::spawn(async move {
                        said.borrow_mut().push(format!("request {task}"));
                    }));
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            tokio::task::yield_now().await;
        });
        let expected = (0..10).flat_map(|task| [format!("turn {task}"), format!("request {task}")]);
        assert!(order.borrow().iter().eq(&expected.collect::<Vec<_>>()));
    }
}

//! Coarse deadlines: one tick for all waits of a worker instead of a timer for each.
//!
//! A busy proxy arms and disarms several deadlines for each request, and almost none of them ever fires. A timer
//! wheel pays for each of these; here arming is one store. Once a tick the worker looks through its slots and wakes
//! the tasks whose time has come. Deadlines therefore fire up to one [`TICK`] late, never early.
//!
//! The slots are read and written by one worker only; the atomics are there because hyper wants upgradable streams
//! to be `Send`.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use pin_project_lite::pin_project;

/// How often a worker looks through its deadlines.
pub const TICK: Duration = Duration::from_millis(250);

/// Most spare slots a worker keeps for reuse.
const MAX_SPARE: usize = 1024;

/// A worker's coarse clock: ticks since the worker began, starting at 1.
#[derive(Debug, Clone)]
pub struct Ticks(Arc<AtomicU32>);

impl Ticks {
    /// Ticks since the worker began.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// The fewest whole ticks that are not shorter than `duration`.
    #[must_use]
    pub fn in_ticks(duration: Duration) -> u32 {
        u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX)
    }
}

#[derive(Debug)]
struct Slot {
    /// The tick at which to fire; 0 while disarmed, [`FIRED`] once fired.
    due: AtomicU32,
    waker: AtomicWaker,
}

const FIRED: u32 = u32::MAX;

/// One wait that may end by time. Disarmed when new.
#[derive(Debug, Clone)]
pub struct Deadline {
    slot: Arc<Slot>,
    ticks: Ticks,
}

impl Deadline {
    /// Fires `duration` from now, at the earliest; replaces what was armed.
    pub fn arm(&self, duration: Duration) {
        let due = self
            .ticks
            .now()
            .saturating_add(1)
            .saturating_add(Ticks::in_ticks(duration));
        self.slot.due.store(due.min(FIRED - 1), Relaxed);
    }

    /// Does not fire any more.
    pub fn disarm(&self) {
        self.slot.due.store(0, Relaxed);
    }

    /// Whether it is armed and has not fired.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        !matches!(self.slot.due.load(Relaxed), 0 | FIRED)
    }

    /// Whether it has fired since it was last armed.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.slot.due.load(Relaxed) == FIRED
    }

    /// Ready once fired; otherwise the task is woken when it fires. One task at a time.
    pub fn poll_fired(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has_fired() {
            return Poll::Ready(());
        }
        self.slot.waker.register(cx.waker());
        Poll::Pending
    }

    /// Wakes the waiting task without firing, so that it looks at whatever else it waits for.
    pub fn wake(&self) {
        self.slot.waker.wake();
    }

    /// Runs `future` under this deadline: `None` if `duration` passes first. The future is dropped with the call.
    pub fn limit<F: Future>(&self, duration: Duration, future: F) -> Limited<'_, F> {
        Limited {
            deadline: self,
            duration: Some(duration),
            future,
        }
    }
}

pin_project! {
    /// A future under a deadline, from its first poll on: [`Deadline::limit`].
    ///
    /// Not an `async fn`, which would hold the future twice: as what it was given and as what it waits for. That of a
    /// request is large, and every request in flight carries it.
    #[must_use = "futures do nothing unless polled"]
    pub struct Limited<'d, F> {
        deadline: &'d Deadline,
        // Taken by the first poll.
        duration: Option<Duration>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Limited<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(duration) = this.duration.take() {
            this.deadline.arm(duration);
        }
        let out = match this.future.poll(cx) {
            Poll::Ready(out) => Some(out),
            Poll::Pending => {
                std::task::ready!(this.deadline.poll_fired(cx));
                None
            }
        };
        this.deadline.disarm();
        Poll::Ready(out)
    }
}

/// All deadlines of one worker. Cloning gives another handle on the same set.
#[derive(Debug, Clone)]
pub struct Timers {
    ticks: Ticks,
    slots: Rc<RefCell<Slots>>,
}

#[derive(Debug, Default)]
struct Slots {
    all: Vec<Arc<Slot>>,
    spare: Vec<Arc<Slot>>,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            ticks: Ticks(Arc::new(AtomicU32::new(1))),
            slots: Rc::default(),
        }
    }
}

impl Timers {
    /// The clock that the deadlines go by.
    #[must_use]
    pub fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    /// A new deadline, disarmed.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.spare.pop().unwrap_or_else(|| {
            let slot = Arc::new(Slot {
                due: AtomicU32::new(0),
                waker: AtomicWaker::new(),
            });
            slots.all.push(Arc::clone(&slot));
            slot
        });
        Deadline {
            slot,
            ticks: self.ticks.clone(),
        }
    }

    /// Takes back a deadline of a short life (one a request), so that the next one costs no allocation.
    pub fn recycle(&self, deadline: Deadline) {
        deadline.disarm();
        let mut slots = self.slots.borrow_mut();
        if slots.spare.len() < MAX_SPARE {
            drop(deadline.slot.waker.take());
            slots.spare.push(deadline.slot);
        }
    }

    /// Moves the clock by one tick and wakes every task whose deadline has passed. Forgets slots nobody holds.
    pub fn tick(&self) {
        let now = self.ticks.0.load(Relaxed).saturating_add(1);
        self.ticks.0.store(now, Relaxed);
        self.sweep(|slot| {
            let due = slot.due.load(Relaxed);
            if due != 0 && due <= now {
                slot.due.store(FIRED, Relaxed);
                slot.waker.wake();
            }
        });
    }

    /// Wakes every waiting task (for a drain).
    pub fn wake_all(&self) {
        self.sweep(|slot| slot.waker.wake());
    }

    fn sweep(&self, mut visit: impl FnMut(&Slot)) {
        let mut slots = self.slots.borrow_mut();
        slots.all.retain(|slot| {
            // Spare slots are held twice (here and in the spare list), slots in use too; one holder is only us.
            if Arc::strong_count(slot) == 1 {
                return false;
            }
            visit(slot);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_after_its_time_and_not_before() {
        let timers = Timers::default();
        let deadline = timers.deadline();
        deadline.arm(TICK * 2);
        timers.tick();
        timers.tick();
        assert!(!deadline.has_fired());
        timers.tick();
        assert!(deadline.has_fired());
        deadline.arm(Duration::MAX);
        timers.tick();
        assert!(!deadline.has_fired() && deadline.is_armed());
    }

    #[test]
    fn forgets_dropped_slots_and_reuses_returned_ones() {
        let timers = Timers::default();
        drop(timers.deadline());
        let kept = timers.deadline();
        timers.tick();
        assert_eq!(timers.slots.borrow().all.len(), 1);
        timers.recycle(kept);
        let again = timers.deadline();
        assert_eq!(timers.slots.borrow().all.len(), 1);
        assert!(!again.is_armed());
    }
}

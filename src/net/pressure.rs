//! One flag that all workers read: the process holds too much memory to take more work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether requests are to be turned away. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<AtomicBool>);

impl Pressure {
    /// Whether the process holds too much.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Notes what the control plane has found.
    pub fn set(&self, high: bool) {
        self.0.store(high, Relaxed);
    }
}

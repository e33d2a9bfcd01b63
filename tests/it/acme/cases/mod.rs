//! What goes wrong at the CA, on the way to it, and on this machine: each case is named after its number and what is
//! injected, and runs the real program against Pebble through a proxy with faults.
//!
//! Time is that of libfaketime: hours pass between two runs and not in them.

mod advice;
mod answers;
mod clock;
mod damaged;
mod killed;
pub(super) mod lab;
mod limits;
mod progress;
mod waiting;
mod wrong;

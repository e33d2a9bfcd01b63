//! The fixtures themselves: each real part starts, answers, and says why when it cannot.

mod clients;
mod fault_proxy;
mod postgres;
mod processes;
mod servers;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The message of a panic that must happen.
fn panic_of(action: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(action)).expect_err("a panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a message")).to_owned(),
    }
}

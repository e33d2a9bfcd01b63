//! Counts the interim answers (1xx) that an app gives to one request.
//!
//! hyper takes them and goes on waiting for the final one, without an end. They say nothing that the edge passes on, so
//! an app that sends more than [`MOST`] is not waited for: its connection is closed. For HTTP/1.1; of HTTP/2 nothing tells
//! them apart from outside, and `response_timeout` ends the wait.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use http::Request;

/// Most interim answers to one request. An honest app sends a 100 and a few 103.
pub const MOST: u32 = 16;

/// The count of one connection, whose requests come one after the other.
#[derive(Debug, Default)]
pub struct Interim(AtomicU32);

impl Interim {
    /// Begins to count those to `request`.
    pub fn watch<B>(self: &Arc<Self>, request: &mut Request<B>) {
        self.0.store(0, Relaxed);
        let count = Arc::clone(self);
        hyper::ext::on_informational(request, move |_| {
            count.0.fetch_add(1, Relaxed);
        });
    }

    /// Whether there were more than [`MOST`].
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        self.0.load(Relaxed) > MOST
    }
}

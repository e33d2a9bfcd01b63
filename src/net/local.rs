//! The one way to start a task on a worker.
//!
//! A task of a worker runs on that worker to its end. The drain waits for client connections (each is counted from
//! accept to the end of its last tunnel); whatever else runs here belongs to one of them or ends with the worker.

/// Runs `work` on this worker. A panic in it ends only that task.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that starts tasks on a worker"
)]
pub fn spawn<F: Future + 'static>(work: F) -> tokio::task::JoinHandle<F::Output>
where
    F::Output: 'static,
{
    tokio::task::spawn_local(work)
}

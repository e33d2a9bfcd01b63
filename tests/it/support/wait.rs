//! Waiting for an event, with a deadline. Never for a time.

use std::time::{Duration, Instant};

/// Long enough for two cores that others keep busy too, short enough to name the test that hangs before nextest ends it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at something that cannot tell us by itself.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `probe` gives a value; panics with `what` after [`DEADLINE`].
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "waited {DEADLINE:?} in vain: {what}"
        );
        std::thread::sleep(PAUSE);
    }
}

/// The same inside async code: other tasks go on meanwhile.
pub(crate) async fn until_async<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await
}

/// The output of `future`, or a panic with `what` after [`DEADLINE`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} in vain: {what}"),
    }
}
